"""A real S3 server: cube and product in its buckets, from provider files to soil moisture."""

import numpy as np
import pytest
from ceph_node import ceph_server, lacking
from object_proxy import Proxy
from object_server import Server

from gssm_cube import cube, ingest, open_product
from gssm_cube.forest import Preset, compile_forest, train_forest
from gssm_cube.predict import predict_product
from gssm_cube.storage import locations
from gssm_cube.storage.locks import locked

pytestmark = [
    pytest.mark.ceph,
    pytest.mark.skipif(bool(lacking()), reason=f"Ceph cannot start here, it lacks {lacking()}"),
]
FEATURES = ("apei", "lst", "ndvi", "clay", "lat")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """Ceph behind a proxy; the environment names the proxy."""
    folder = tmp_path_factory.mktemp("ceph")
    with (
        pytest.MonkeyPatch.context() as patch,
        ceph_server(folder) as ceph,
        Proxy(ceph.endpoint) as proxy,
    ):
        for name, value in Server(proxy.url).environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="module")
def bucket(proxy):
    return f"s3://{Server(proxy.url).make_bucket()}"


@pytest.fixture(scope="module")
def forest(small_world, tmp_path_factory):
    """Folder of a small forest on the cube's own values; what is observed is invented."""
    region = cube.open_cube(small_world.cube).isel(time=slice(0, None, 37), lat=slice(0, None, 5))
    table = region[list(FEATURES[:-1])].to_dataframe().reset_index().dropna()
    table["observed"] = 0.2 + 0.001 * table["apei"] + 0.002 * table["clay"]
    preset = Preset(name="small", features=FEATURES, trees=3, min_samples_leaf=20)
    folder = tmp_path_factory.mktemp("forests") / "forest"
    compile_forest(train_forest(table, preset, seed=0), preset="small").save(folder)
    return folder


@pytest.fixture(scope="module")
def expected(small_world, forest, tmp_path_factory):
    """Objects of the product predicted from disk to disk."""
    target = tmp_path_factory.mktemp("product") / "ssm.zarr"
    predict_product(small_world.cube, target, forest, {})
    return objects(target)


def objects(store):
    """All written objects of a store."""
    names = [found.name for found in locations.files(store) if "/c/" in found.name]
    return {name: locations.read(locations.join(store, name)) for name in names}


@pytest.fixture(scope="module")
def far_cube(small_world, bucket, tmp_path_factory):
    """The cube of the small world, harmonised into a bucket."""
    store, scratch = f"{bucket}/features.zarr", tmp_path_factory.mktemp("scratch") / "s.zarr"
    steps = ingest.harmonise(store, small_world.layout, small_world.folders, scratch_place=scratch)
    assert steps["units"].sum() > 20 and not scratch.exists()
    return store


def test_the_cube_is_the_one_on_disk_to_the_bit(small_world, far_cube):
    assert objects(far_cube) == objects(small_world.cube)
    here, there = cube.open_cube(small_world.cube), cube.open_cube(far_cube)
    assert there.isel(time=slice(0, 370, 60)).equals(here.isel(time=slice(0, 370, 60)))


@pytest.mark.parametrize("busy_every", [0, 100])
def test_the_product_is_the_one_on_disk_to_the_bit(
    proxy, bucket, far_cube, forest, expected, busy_every
):
    target = f"{bucket}/busy_{busy_every}/ssm.zarr"
    proxy.forget()
    proxy.busy_every = busy_every
    try:
        status, skipped = predict_product(far_cube, target, forest, {})
        assert (len(status), skipped) == (4, 0)
        assert predict_product(far_cube, target, forest, {})[1] == 4
    finally:
        proxy.busy_every = 0
    assert any(status == 503 for *_, status, _ in proxy.seen) == (busy_every > 0)
    assert objects(target) == expected
    assert np.isfinite(open_product(target)["ssm"].values).any()


def test_of_two_runs_the_second_is_refused(bucket):
    store = f"{bucket}/held.zarr"
    with locked(store), pytest.raises(RuntimeError, match="is being written by process"):
        with locked(store):
            pass
    with locked(store):
        assert locations.names(f"{store}.lease") == ["00000002"]
