"""Prediction: a block, a lazy region and the stored product agree, and a run can be resumed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from gssm_cube import open_product
from gssm_cube.block_inputs import land_blocks
from gssm_cube.blocks import UnitsFailed, locked_in_part, marker_folder
from gssm_cube.cube import create_cube, open_cube
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.forest import Preset, compile_forest, load_forest, train_forest
from gssm_cube.ingest.inputs import composite_starts
from gssm_cube.predict import open_forest, predict, predict_block, predict_product
from gssm_cube.storage.run_log import RunLog, read_rows
from gssm_cube.variables import FILL, SSM

FEATURES = ("apei", "lst", "ndvi", "clay", "lat")
BLOCKS = ["r116c370_w00", "r116c370_w01", "r116c371_w00", "r116c371_w01"]
CHUNKS = {"time": 366, "lat": 48, "lon": 48}


def train(small_world, seed):
    """A small forest on the cube's own values; what is observed is invented."""
    region = open_cube(small_world.cube).isel(time=slice(0, None, 37), lat=slice(0, None, 5))
    table = region[list(FEATURES[:-1])].to_dataframe().reset_index().dropna()
    table["observed"] = 0.2 + 0.001 * table["apei"] + 0.002 * table["clay"]
    preset = Preset(name="small", features=FEATURES, trees=3, min_samples_leaf=20)
    return compile_forest(train_forest(table, preset, seed=seed), preset="small")


@pytest.fixture(scope="module")
def forest(small_world, tmp_path_factory):
    """Folder of a saved forest."""
    folder = tmp_path_factory.mktemp("forests") / "forest"
    train(small_world, 0).save(folder)
    return folder


@pytest.fixture(scope="module")
def written(small_world, forest, tmp_path_factory):
    """The product, written without Dask."""
    target = tmp_path_factory.mktemp("product") / "ssm.zarr"
    status, skipped = predict_product(small_world.cube, target, forest, {"history": "test"})
    assert (list(status["unit"]), skipped) == (BLOCKS, 0)
    return target


@pytest.fixture(scope="module")
def region(small_world):
    """A corner of the cube across both tiles and both windows."""
    box = dict(time=slice(360, 370), lat=slice(20, 40), lon=slice(40, 60))
    return open_cube(small_world.cube).isel(box)


def shards(store):
    return {str(path.relative_to(store)): path.read_bytes() for path in _shard_paths(store)}


def _shard_paths(store):
    folders = (store / name / "c" for name in ("ssm", "ssm_spread", "quality"))
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def codes(store):
    raw = xr.open_zarr(store, chunks=None, consolidated=False, mask_and_scale=False)
    return raw["ssm"].values


# ---- one block --------------------------------------------------------------------------------


def test_a_block_a_lazy_region_and_the_product_agree(region, forest, written):
    eager = predict_block(region.load(), load_forest(forest))
    assert (eager.name, eager.dims, eager.dtype) == ("ssm", ("time", "lat", "lon"), np.float32)
    assert eager.attrs["units"] == "m3 m-3" and np.isfinite(eager.values).mean() > 0.2
    lazy = predict(region.chunk(time=4, lat=7, lon=9), load_forest(forest))
    np.testing.assert_array_equal(lazy.values, eager.values)
    np.testing.assert_array_equal(predict(region, str(forest)).values, eager.values)
    stored = codes(written)[360:370, 20:40, 40:60]
    box = dict(time=slice(360, 370), lat=slice(20, 40), lon=slice(40, 60))
    opened = open_product(written).isel(box)
    frozen = opened["quality"].values & PRODUCT_FLAGS["frozen"] > 0
    assert 0 < frozen.sum() < np.isfinite(eager.values).sum()
    expected = np.where(frozen, FILL, SSM.packing.encode(eager.values))
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_allclose(opened["ssm"], eager.where(~frozen), atol=0.00051)
    np.testing.assert_array_equal(np.isnan(opened["ssm"]), np.isnan(eager.where(~frozen)))


def test_rows_are_those_of_the_forest_s_own_table(region, forest):
    opened = load_forest(forest)
    eager = predict_block(region.load(), opened)
    place = dict(time=3, lat=10, lon=15)
    row = {name: [np.float32(region[name].isel(place, missing_dims="ignore"))] for name in FEATURES}
    assert eager.isel(place).item() == np.float32(opened.predict(pd.DataFrame(row))[0])


def test_chunks_survive_and_nothing_is_computed_early(small_world, forest):
    dataset = open_cube(small_world.cube, chunks={})
    lazy = predict(dataset, forest)
    assert lazy.chunks == ((366, 4), (48,), (48, 48))
    assert lazy.name == "ssm" and (lazy["time"] == dataset["time"]).all()
    given = predict(dataset.isel(lat=slice(0, 10)).chunk(time=100, lat=5, lon=32), forest)
    assert given.chunks == ((100, 100, 100, 70), (5, 5), (32, 32, 32))
    unchunked = predict(open_cube(small_world.cube), forest)
    assert unchunked.chunks == ((366, 4), (48,), (48, 48))


@pytest.mark.parametrize(
    "one", [{"time": 4}, {"lat": 10, "lon": 15}, {"time": 4, "lat": 10, "lon": 15}, {"lon": 3}]
)
def test_a_selection_of_one_day_or_place_is_predicted_as_in_its_region(region, forest, one):
    found = predict(region.isel(one), forest)
    xr.testing.assert_identical(found.load(), predict(region, forest).isel(one).load())


def test_a_list_of_points_is_no_region(region, forest):
    places = {dim: xr.DataArray([3, 5], dims="point") for dim in ("lat", "lon")}
    with pytest.raises(ValueError, match=r"dimensions \['point', 'time'\], expected a region"):
        predict(region.isel(places), forest)


def test_sea_and_missing_features_are_missing_and_a_mask_is_not_needed(region, forest):
    opened, loaded = load_forest(forest), region.load()
    whole = predict_block(loaded, opened)
    assert np.isnan(whole.values[:, loaded["land"].values == 0]).all()
    unmasked = predict_block(loaded.drop_vars("land"), opened)
    np.testing.assert_array_equal(unmasked.values, whole.values)  # clay is missing at sea
    holed = loaded.copy(deep=True)
    holed["ndvi"][2, 3, :] = np.nan
    found = predict_block(holed, opened)
    assert np.isnan(found.values[2, 3]).all()
    others = np.ones(found.shape, dtype=bool)
    others[2, 3] = False
    np.testing.assert_array_equal(found.values[others], whole.values[others])


@pytest.mark.parametrize("masked", [False, True])
def test_a_block_without_any_value_is_all_missing(region, forest, masked):
    empty = region.load().copy(deep=True)
    for name in FEATURES[:-1]:
        empty[name][:] = np.nan
    if masked:
        empty["land"][:] = 0
    assert np.isnan(predict_block(empty, load_forest(forest)).values).all()


def test_features_that_are_not_there_are_named(region, forest):
    with pytest.raises(ValueError, match=r"the forest needs \['apei', 'clay'\], which the"):
        predict(region.drop_vars(["apei", "clay"]), load_forest(forest))


def test_a_forest_of_other_days_is_refused(region, forest):
    local = replace(load_forest(forest), card={"day": "local"})
    with pytest.raises(ValueError, match="trained on 'local' days, those of .* are 'UTC'"):
        predict(region.assign_attrs(gssm_day="UTC"), local)


# ---- the whole run ----------------------------------------------------------------------------


def test_a_second_run_skips_all_and_another_forest_redoes_all(small_world, written, tmp_path):
    # One folder holds two forests in turn, in one process.
    folder, target = tmp_path / "forest", tmp_path / "ssm.zarr"
    train(small_world, 0).save(folder)
    assert len(predict_product(small_world.cube, target, folder, {})[0]) == 4
    assert shards(target) == shards(written)
    status, skipped = predict_product(small_world.cube, target, folder, {})
    assert (len(status), skipped) == (0, 4)
    other = train(small_world, 1)
    other.save(folder)
    status, skipped = predict_product(small_world.cube, target, folder, {})
    assert (list(status["unit"]), skipped) == (BLOCKS, 0)
    assert shards(target) != shards(written)
    chunk = open_cube(small_world.cube).isel(time=[200], lat=slice(0, 48), lon=slice(0, 48))
    expected = SSM.packing.encode(predict_block(chunk.load(), other).values)
    np.testing.assert_array_equal(codes(target)[200:201, :, :48], expected)


def test_another_way_with_frozen_ground_redoes_all_and_only_fills_it(
    small_world, forest, written, tmp_path
):
    target = tmp_path / "ssm.zarr"
    predict_product(small_world.cube, target, forest, {})
    status, skipped = predict_product(small_world.cube, target, forest, {}, frozen="flag")
    assert (list(status["unit"]), skipped) == (BLOCKS, 0)
    frozen = open_product(target)["quality"].values & PRODUCT_FLAGS["frozen"] > 0
    assert status["frozen"].sum() == frozen.sum() > 0
    np.testing.assert_array_equal(codes(written) == FILL, frozen | (codes(target) == FILL))
    np.testing.assert_array_equal(codes(written)[~frozen], codes(target)[~frozen])


def test_a_forest_that_was_changed_under_the_run_is_refused(forest):
    with pytest.raises(ValueError, match="holds the forest .*, expected abc; it was trained again"):
        open_forest(str(forest), digest="abc")


@pytest.mark.parametrize("lost", ["marker", "ssm", "ssm_spread", "quality", "both"])
def test_one_lost_block_is_done_again_alone(small_world, forest, written, tmp_path, lost):
    target = tmp_path / "ssm.zarr"
    predict_product(small_world.cube, target, forest, {})
    if lost in ("marker", "both"):
        (marker_folder(target, "predict") / f"{BLOCKS[2]}.json").unlink()
    if lost != "marker":
        (target / ("ssm" if lost == "both" else lost) / "c/0/0/1").unlink()
    status, skipped = predict_product(small_world.cube, target, forest, {})
    assert (list(status["unit"]), skipped) == ([BLOCKS[2]], 3)
    assert shards(target) == shards(written)


def test_workers_write_the_same_bytes_and_predict_a_lazy_region(
    small_world, region, forest, written, tmp_path
):
    options = dict(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0")
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        status, _ = predict_product(
            small_world.cube, tmp_path / "ssm.zarr", forest, {}, client=client
        )
        lazy = predict(region, forest).compute()  # by the client that is active
    assert sorted(status["unit"]) == BLOCKS
    assert shards(tmp_path / "ssm.zarr") == shards(written)
    np.testing.assert_array_equal(lazy, predict_block(region.load(), load_forest(forest)))


def test_parts_do_all_blocks_once_and_the_same_bytes(small_world, forest, written, tmp_path):
    target, log = tmp_path / "ssm.zarr", tmp_path / "log"
    done = []
    for number in (1, 2, 3):
        status, skipped = predict_product(
            small_world.cube, target, forest, {},
            part=(number, 3), log=RunLog(log, f"{number}/3"),
        )  # fmt: skip
        assert skipped == 0
        done += list(status["unit"])
    assert sorted(done) == BLOCKS
    assert shards(target) == shards(written)
    tables = [read_rows(path) for path in log.glob("*.json")]
    rows = pd.concat(tables).set_index("unit").sort_index()
    assert list(rows.index) == BLOCKS and len(tables) == 3
    land = open_cube(small_world.cube)["land"].values == 1
    assert rows.loc[BLOCKS[0], "pixel_days"] == 366 * land[:, :48].sum()
    sizes = [path.stat().st_size for path in _shard_paths(target)]
    assert rows["bytes"].sum() == sum(sizes)
    assert rows.loc[BLOCKS[1], "rows"] == (codes(target)[366:, :, :48] != -32768).sum()


def test_a_part_begins_again_where_a_shard_is_damaged(small_world, forest, written, tmp_path):
    target = tmp_path / "ssm.zarr"
    predict_product(small_world.cube, target, forest, {})
    damaged = target / "ssm/c/0/0/1"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    hold = locked_in_part(target, list)  # another part is at work: nothing is cleaned for us
    with hold:
        status, skipped = predict_product(small_world.cube, target, forest, {}, part=(1, 1))
    assert (list(status["unit"]), skipped) == ([BLOCKS[2]], 3)
    assert shards(target) == shards(written)


def test_workers_fetch_the_forest_from_a_url_once(
    small_world, forest, written, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    url = f"file://{forest}"
    target = tmp_path / "ssm.zarr"
    status, _ = predict_product(small_world.cube, target, forest, {}, forest_url=url)
    assert len(status) == 4 and shards(target) == shards(written)
    copies = [path for path in (tmp_path / "node").rglob("forest.json")]
    assert len(copies) == 1
    assert load_forest(copies[0].parent, check=True).digest in copies[0].parent.name


def test_a_failed_block_is_named_the_others_are_done_and_it_alone_is_repeated(
    small_world, forest, written, tmp_path
):
    store, target = small_world.copy_cube(tmp_path), tmp_path / "ssm.zarr"
    shard = store / "daily/lst/c/1/0/0"
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    told = []
    with pytest.raises(
        UnitsFailed, match=r"predict: 1 of its units failed.*\n  r116c370_w01: "
    ) as e:
        predict_product(store, target, forest, {}, progress=lambda *state: told.append(state))
    assert list(e.value.failed["unit"]) == [BLOCKS[1]]
    assert told[-1] == ("predict", 4, 4)
    assert (codes(target)[366:, :, :48] == -32768).all()  # missing, not 0
    shard.write_bytes(content)
    status, skipped = predict_product(store, target, forest, {})
    assert (list(status["unit"]), skipped) == ([BLOCKS[1]], 3)
    assert shards(target) == shards(written)


@pytest.mark.parametrize("part", ["daily/r116c370_w01", "meteo/k00k00_w00", "climate/k00k00"])
def test_a_cube_that_is_not_complete_is_refused_before_any_block(
    small_world, forest, tmp_path, part
):
    store = small_world.copy_cube(tmp_path)
    (tmp_path / "features.zarr.markers" / f"{part}.json").unlink()
    with pytest.raises(ValueError, match=f"not complete: it lacks 1 of 17 parts, such as {part};"):
        predict_product(store, tmp_path / "ssm.zarr", forest, {})
    assert not (tmp_path / "ssm.zarr").exists()


def test_an_empty_cube_is_refused(small_world, forest, tmp_path):
    layout = small_world.layout
    create_cube(tmp_path / "features.zarr", layout, composite_starts(layout), {})
    with pytest.raises(ValueError, match="has no land yet; run `gssm harmonise` to its end"):
        predict_product(tmp_path / "features.zarr", tmp_path / "ssm.zarr", forest, {})


def test_every_tile_with_land_gives_a_block_a_window(small_world):
    labels = [str(block) for block in land_blocks(small_world.cube, small_world.layout)]
    assert sorted(labels) == BLOCKS


def test_what_is_missing_or_foreign_is_said_before_any_block(small_world, forest, tmp_path):
    with pytest.raises(FileNotFoundError, match="no Zarr store at .*nowhere"):
        predict_product(tmp_path / "nowhere", tmp_path / "ssm.zarr", forest, {})
    with pytest.raises(FileNotFoundError, match="no forest in .*nowhere"):
        predict_product(small_world.cube, tmp_path / "ssm.zarr", tmp_path / "nowhere", {})
    assert not (tmp_path / "ssm.zarr").exists()
    with pytest.raises(ValueError, match="is not an SSM product"):
        predict_product(small_world.cube, small_world.copy_cube(tmp_path), forest, {})
