"""Cube and product in an object store: the same product, few requests, faults outlived."""

import pickle
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bare_cube import many_blocks, write_bare_cube
from object_proxy import Proxy
from object_server import SECRET, Server, moto_server

from gssm_cube import blocks, open_product, pipeline
from gssm_cube.forest import Preset, compile_forest, load_forest, train_forest
from gssm_cube.predict import predict_product
from gssm_cube.product import series
from gssm_cube.settings import read_settings
from gssm_cube.status import run_status
from gssm_cube.storage import locations, object_stores
from gssm_cube.storage.object_stores import StoreError
from gssm_cube.storage.stores import array_of, open_group

LAYOUT = many_blocks(1, 2, date(2019, 3, 5))  # 370 days: a window and a short one
FEATURES = ("apei", "evaporation", "clay", "elevation", "lst", "ndvi")
DATA = ("ssm", "ssm_spread", "quality")


@dataclass(frozen=True)
class Stored:
    """The same small cube on disk and in a bucket behind a proxy, its forest and its product."""

    folder: Path
    server: Server
    proxy: Proxy
    bucket: str

    @property
    def url(self) -> str:
        """Of the bucket."""
        return f"s3://{self.bucket}"

    @property
    def cube(self) -> str:
        """The cube in the bucket; read only."""
        return f"{self.url}/features.zarr"

    @property
    def forest(self) -> Path:
        """Folder of a forest."""
        return self.folder / "forest"

    @property
    def expected(self) -> dict[str, bytes]:
        """Objects of the product that was predicted from disk to disk."""
        return objects(self.folder / "ssm.zarr")

    def new_product(self, name: str) -> str:
        """Return a place for a product of a test's own."""
        return f"{self.url}/{name}/ssm.zarr"


def write_cube(store):
    """A cube of few features, all at random: weather, soil, LST, vegetation and their flags."""
    write_bare_cube(store, LAYOUT)
    root, rng = open_group(store, "r+"), np.random.default_rng(3)
    for name in ("daily/lst", "composite/ndvi", "daily/quality", "composite/quality"):
        array = array_of(root, name)
        values = rng.integers(0, 900 if name.endswith(("lst", "ndvi")) else 4, array.shape)
        array[:] = values.astype(array.dtype)


def save_forest(folder):
    """A small forest on invented samples."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({name: rng.uniform(-30, 30, 400) for name in FEATURES}, dtype="float32")
    table["observed"] = 0.25 + 0.003 * table["apei"] + 0.001 * table["lst"] * table["ndvi"]
    preset = Preset(name="small", features=FEATURES, trees=3, min_samples_leaf=10)
    compile_forest(train_forest(table, preset, seed=0), preset="small").save(folder)


def objects(store):
    """All written objects of a product's layers."""
    names = (found.name for found in locations.files(store))
    wanted = [name for name in names if name.startswith(DATA) and "/c/" in name]
    return {name: locations.read(locations.join(store, name)) for name in wanted}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    write_cube(folder / "features.zarr")
    save_forest(folder / "forest")
    predict_product(folder / "features.zarr", folder / "ssm.zarr", folder / "forest", {})
    with (
        pytest.MonkeyPatch.context() as patch,
        moto_server() as moto,
        Proxy(moto.endpoint) as proxy,
    ):
        server = Server(proxy.url)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        found = Stored(folder, server, proxy, server.make_bucket())
        write_cube(found.cube)
        yield found


@pytest.fixture
def calm(stored):
    """The proxy, which afterwards does nothing to requests any more."""
    stored.proxy.forget()
    yield stored.proxy
    stored.proxy.busy_every, stored.proxy.refused, stored.proxy.denied = 0, frozenset(), False


@pytest.fixture(scope="module")
def product(stored):
    """The product predicted from bucket to bucket, and the requests that it took."""
    target = stored.new_product("once")
    stored.proxy.forget()
    status, skipped = predict_product(stored.cube, target, stored.forest, {"history": "test"})
    assert (len(status), skipped) == (4, 0)
    assert status["bytes"].sum() == sum(map(len, stored.expected.values()))
    return target, list(stored.proxy.seen)


# ---- the whole stage --------------------------------------------------------------------------


def test_the_product_is_the_one_from_disk_to_the_bit(stored, product):
    assert objects(product[0]) == stored.expected and len(stored.expected) == 12
    here, there = open_product(stored.folder / "ssm.zarr"), open_product(product[0])
    assert there.equals(here) and there["ssm"].attrs == here["ssm"].attrs


def test_a_block_reads_each_shard_in_one_request_and_writes_without_reading(stored, product):
    bucket = f"/{stored.bucket}/"
    asked = [path.removeprefix(bucket) for method, path, *_ in product[1] if method == "GET"]
    of_cube = [path.removeprefix("features.zarr/") for path in asked if path.startswith("features")]
    places_of = [f"c/{window}/0/{tile}" for window in (0, 1) for tile in (0, 1)]
    daily = [path for path in of_cube if path.startswith("daily/")]
    assert sorted(daily) == sorted(
        f"daily/{name}/{place}" for name in ("lst", "quality") for place in places_of
    )
    assert sum(path.startswith("static/elevation/c") for path in of_cube) == 4  # one a block
    assert not [path for path in asked if path.startswith("once/ssm.zarr/") and "/c/" in path]
    written = [path for method, path, *_ in product[1] if method == "PUT" and "/c/" in path]
    assert len(written) == len(set(written))


def test_a_second_run_skips_all_and_a_lost_object_is_made_again_alone(stored, tmp_path):
    target = stored.new_product("resumed")
    predict_product(stored.cube, target, stored.forest, {})
    assert predict_product(stored.cube, target, stored.forest, {})[1] == 4
    locations.delete(f"{target}/ssm/c/0/0/1")
    status, skipped = predict_product(stored.cube, target, stored.forest, {})
    assert (len(status), skipped) == (1, 3)
    assert objects(target) == stored.expected


def test_parts_share_a_product(stored):
    target, done = stored.new_product("parts"), []
    for number in (1, 2):
        status, _ = predict_product(stored.cube, target, stored.forest, {}, part=(number, 2))
        done += list(status["unit"])
    assert len(done) == len(set(done)) == 4
    assert objects(target) == stored.expected


def test_a_run_with_stores_at_urls_predicts_and_tells_its_state(stored, tmp_path):
    text = "\n".join(f'{name} = "x"' for name in (
        "era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock", "ismn",
    ))  # fmt: skip
    west, south, east, north = LAYOUT.bounds
    (tmp_path / "run.toml").write_text(
        f"bounds = [{west}, {south}, {east}, {north}]\ntile_size = 48\n"
        f"first_day = {LAYOUT.first_day}\nlast_day = {LAYOUT.last_day}\n"
        f'[stores]\ncube = "{stored.cube}"\nproduct = "{stored.new_product("run")}/"\n'
        f'forest = "{stored.url}/run/forest"\n[sources]\n{text}\n[cluster]\nkind = "none"\n'
    )
    settings = read_settings(tmp_path / "run.toml")
    assert settings.scratch == tmp_path / "features.zarr.scratch"
    with pytest.raises(FileNotFoundError, match="no forest in .* or at s3://.*/run/forest"):
        pipeline.predict_all(settings)
    pipeline.publish_folder(stored.forest, settings.stores.forest, "forest.json")
    assert pipeline.predict_all(settings).startswith("predict: 4 blocks done, 0 skipped")
    assert objects(settings.product) == stored.expected
    assert not list(tmp_path.rglob("*.npy")) and not (tmp_path / "s3:").exists()
    stage = run_status(tmp_path, ())[0]
    assert (stage.stage, stage.state, stage.done, stage.left) == ("predict", "done", 4, 0)
    about = dict(open_group(settings.product).attrs)
    assert stored.bucket not in str(about) and about["forest_preset"] == "small"


# ---- faults -----------------------------------------------------------------------------------


def test_answers_of_busy_that_come_now_and_then_change_nothing(stored, calm, monkeypatch):
    monkeypatch.setattr(object_stores, "PAUSE_SECONDS", (0.01, 0.1))
    object_stores._opened.cache_clear()
    calm.busy_every = 10
    target = stored.new_product("busy")
    predict_product(stored.cube, target, stored.forest, {})
    turned_away = sum(status == 503 for *_, status, _ in calm.seen)
    calm.busy_every = 0
    assert turned_away > 10
    assert objects(target) == stored.expected


@pytest.fixture
def impatient(monkeypatch):
    """Requests are made again once."""
    monkeypatch.setattr(object_stores, "MAX_RETRIES", 1)
    monkeypatch.setattr(object_stores, "PAUSE_SECONDS", (0.01, 0.02))
    object_stores._opened.cache_clear()
    yield
    object_stores._opened.cache_clear()


def test_a_store_that_stays_busy_is_named_before_any_block(stored, calm, impatient):
    calm.refused = frozenset({"PUT"})
    target = stored.new_product("down")
    with pytest.raises(StoreError, match=r"s3://.*/down/.*does not answer .*\(SlowDown\), after"):
        predict_product(stored.cube, target, stored.forest, {})
    assert sum(status == 503 for *_, status, _ in calm.seen) == 2
    assert not objects(target)


def test_blocks_that_a_store_does_not_take_fail_and_the_next_run_does_them(stored, calm, impatient):
    target = stored.new_product("later")
    calm.refused_paths = "/ssm_spread/c/1/"
    with pytest.raises(blocks.UnitsFailed, match="2 of its units failed.*\n.*ssm_spread/c/1"):
        predict_product(stored.cube, target, stored.forest, {})
    calm.refused_paths = ""
    status, skipped = predict_product(stored.cube, target, stored.forest, {})
    assert (len(status), skipped) == (2, 2)
    assert objects(target) == stored.expected


def test_refused_access_and_a_bucket_that_is_not_there_are_named(stored, calm, impatient):
    calm.denied = True
    with pytest.raises(StoreError, match=r"s3://.*: access is denied \(AccessDenied\); give") as e:
        locations.check_writable(stored.new_product("denied"))
    assert SECRET not in str(e.value) and "AKSHOWN" not in str(e.value)
    assert e.value.__cause__ is None and e.value.__suppress_context__
    with pytest.raises(StoreError, match="access is denied"):
        open_product(stored.new_product("denied"))
    calm.denied = False
    with pytest.raises(StoreError, match="s3://nobody-s-bucket/.*there is no such bucket; make"):
        locations.check_writable(stored.folder, "s3://nobody-s-bucket/ssm.zarr")
    with pytest.raises(FileNotFoundError, match="no Zarr store at s3://.*/nothing"):
        open_product(f"{stored.url}/nothing")


def test_a_server_that_nobody_runs_is_named(monkeypatch, impatient):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="s3://a-bucket/x.zarr.probe.*does not answer"):
        locations.check_writable("s3://a-bucket/x.zarr")


# ---- opening ----------------------------------------------------------------------------------


def test_what_travels_to_workers_is_the_url_alone(stored, product):
    lazy = open_product(product[0], chunks={})["ssm"]
    travelled = pickle.dumps(lazy)
    assert SECRET.encode() not in travelled and b"a-test-key" not in travelled
    np.testing.assert_array_equal(pickle.loads(travelled).values, lazy.values)


def test_a_product_opens_from_a_web_server_in_one_request_and_is_not_written(stored, product):
    stored.server.publish(stored.bucket)
    web = f"{stored.proxy.url}/{stored.bucket}/once/ssm.zarr"
    stored.proxy.forget()
    there = open_product(web)
    assert {path for _, path, *_ in stored.proxy.seen if "/c/" not in path} == {
        f"/{stored.bucket}/once/ssm.zarr/zarr.json"
    }
    assert there.equals(open_product(stored.folder / "ssm.zarr"))
    with pytest.raises(ValueError, match="is on a web server, which is only read; give s3://"):
        locations.check_writable(web)


def test_series_of_many_points_are_read_from_a_bucket(stored, product):
    rng = np.random.default_rng(1)
    west, south, east, north = LAYOUT.bounds
    points = pd.DataFrame({"lat": rng.uniform(south, north, 9), "lon": rng.uniform(west, east, 9)})
    found, known = (series(s, points) for s in (product[0], stored.folder / "ssm.zarr"))
    assert found.equals(known)


def test_a_forest_is_fetched_from_a_bucket_as_it_was_saved(stored, tmp_path):
    url = f"{stored.url}/kept/forest"
    pipeline.publish_folder(stored.forest, url, "forest.json")
    copy = pipeline.predict.local_forest(tmp_path / "none", url)
    assert load_forest(copy, check=True).digest == load_forest(stored.forest).digest
