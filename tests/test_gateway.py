"""A run on a real dask-gateway server on loopback gives the bits of the local one."""

import re
import shutil
import time
import tomllib

import dask
import pytest
from gateway_server import PASSWORD, gateway_server

from gssm_cube import pipeline, predict
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.settings import read_settings
from gssm_cube.storage.run_log import read_rows

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Address of a server, with its password in Dask's configuration."""
    pytest.importorskip("dask_gateway", reason="the extras gateway and gateway-server are missing")
    password = {"username": "tester", "password": PASSWORD}
    with (
        gateway_server(tmp_path_factory.mktemp("gateway")) as address,
        dask.config.set({"gateway.auth.type": "basic", "gateway.auth.kwargs": password}),
    ):
        yield address


def clusters_at(address):
    from dask_gateway import Gateway

    with Gateway(address) as gateway:
        found = gateway.list_clusters()
    gateway._asynchronous = True  # else its __del__ asks for a loop that has ended
    return found


def shards(store):
    """All objects of a product but the attributes, which name the run's settings."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def test_two_workers_of_a_gateway_write_the_product_of_the_local_run(small_run, tmp_path, gateway):
    path = small_run.copy(tmp_path / "run")
    calm = shards(path.parent / "ssm.zarr")
    for name in ("ssm.zarr", "ssm.zarr.markers"):
        shutil.rmtree(path.parent / name)
    shutil.rmtree(path.parent / "log")
    table = f'[cluster]\nkind = "gateway"\naddress = "{gateway}"\nworkers = 2\n'
    path.write_text(re.sub(r"\[cluster\]\nkind = .*\n", table, path.read_text()))
    assert tomllib.loads(path.read_text())["cluster"]["workers"] == 2
    said = pipeline.predict_all(read_settings(path))
    assert said.startswith("predict: 4 blocks done, 0 skipped; ")
    assert shards(path.parent / "ssm.zarr") == calm
    rows = read_rows(next((path.parent / "log").glob("*.json")))
    assert len(rows) == 4 and (rows["worker"] != "").all() and (rows["bytes"] > 0).all()
    assert clusters_at(gateway) == []  # closed with the run


def test_workers_of_a_gateway_follow_the_work_and_the_run_ends(
    small_run, tmp_path, gateway, monkeypatch
):
    path = small_run.copy(tmp_path / "run")
    calm = shards(path.parent / "ssm.zarr")
    for name in ("ssm.zarr", "ssm.zarr.markers"):
        shutil.rmtree(path.parent / name)
    table = f'[cluster]\nkind = "gateway"\naddress = "{gateway}"\nworkers = 1\nmax_workers = 2\n'
    path.write_text(re.sub(r"\[cluster\]\nkind = .*\n", table, path.read_text()))
    seen, really = [], predict.predict_product

    def noting(*places, client, **options):
        seen.append(len(client.scheduler_info()["workers"]))
        more_work = client.map(time.sleep, [0.5] * 400, pure=False)
        client.wait_for_workers(2, timeout=300)
        client.cancel(more_work)
        found = really(*places, client=client, **options)
        seen.append(workers_come_to(client, 1))
        return found

    monkeypatch.setattr(predict, "predict_product", noting)
    said = pipeline.predict_all(read_settings(path))
    assert said.startswith("predict: 4 blocks done, 0 skipped; ")
    assert seen == [1, 1] and shards(path.parent / "ssm.zarr") == calm
    assert clusters_at(gateway) == []


def workers_come_to(client, count, seconds=300):
    """Wait until so many workers are there; return how many are."""
    end = time.monotonic() + seconds
    while (there := len(client.scheduler_info()["workers"])) != count and time.monotonic() < end:
        time.sleep(0.2)
    return there


def test_a_cluster_of_a_gateway_is_closed_after_an_error_and_its_workers_see_the_folder(
    tmp_path, gateway
):
    chosen = Cluster(kind="gateway", address=gateway, workers=2, options={"worker_cores": 1})
    with (
        pytest.raises(KeyError, match="in the run"),
        open_client(chosen, "predict", folder=tmp_path) as client,
    ):
        client.wait_for_workers(2, timeout=300)
        assert list(client.nthreads().values()) == [1, 1]
        assert client.scheduler.address.startswith("gateway://")
        raise KeyError("in the run")
    assert clusters_at(gateway) == []
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_with_another_password_is_not_entered(tmp_path, gateway):
    wrong = {"username": "tester", "password": "wrong"}
    with (
        dask.config.set({"gateway.auth.kwargs": wrong}),
        pytest.raises(Exception, match="401|[Uu]nauthorized|authentication"),
        open_client(Cluster(kind="gateway", address=gateway), "predict"),
    ):
        pass
