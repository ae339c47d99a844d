"""Workers, a scheduler and the client of a run are killed; the product has the calm bits."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dask
import pytest
from bare_cube import many_blocks, save_small_forest, write_bare_cube
from distributed import Client, LocalCluster, Status
from gateway_server import free_port

from gssm_cube import blocks
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.predict import predict_product
from gssm_cube.run_log import RunLog, read_rows

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

LAYOUT = many_blocks(14, 15, date(2018, 3, 20))  # 210 tiles, one short window
KILLS = 22
CLIENT = """
import sys
from pathlib import Path
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.predict import predict_product
if __name__ == "__main__":
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    with open_client(Cluster(workers=1), "predict", folder=target.parent) as client:
        predict_product(folder / "features.zarr", target, folder / "forest", {}, client=client)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folder of a cube of 210 blocks, a forest, and the product of a calm run without Dask."""
    folder = tmp_path_factory.mktemp("world")
    write_bare_cube(folder / "features.zarr", LAYOUT)
    save_small_forest(folder / "forest")
    status, _ = predict_product(
        folder / "features.zarr", folder / "calm.zarr", folder / "forest", {}
    )
    assert len(status) == 210
    return folder


def run(world, target, client, **options):
    """Predict what is left."""
    place = world / "features.zarr", target, world / "forest"
    return predict_product(*place, {}, client=client, **options)


def markers_of(target):
    return list(blocks.marker_folder(target, "predict").glob("*.json"))


def contents(store):
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def wait_for(count, target, process):
    """Wait for so many markers; the process must not end before."""
    while len(markers_of(target)) < count:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)


def kill_the_client(world, target):
    """Start a run in a process of its own and kill that process alone, not its workers."""
    script = world / "client.py"
    script.write_text(CLIENT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(world), str(target)], start_new_session=True
    )
    wait_for(12, target, process)
    process.kill()
    process.wait()


def kill_the_scheduler(world, target):
    """Run on a scheduler and a worker that were started by hand, and kill the scheduler."""
    dask, address = str(Path(sys.executable).parent / "dask"), f"tcp://127.0.0.1:{free_port()}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    port = address.rpartition(":")[2]
    words = [dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    scheduler = subprocess.Popen(words, **quiet)
    words = [dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    worker = subprocess.Popen(words, **quiet)
    before = len(markers_of(target))

    def watch(stage, done, total):
        if done == 12:
            scheduler.kill()

    try:
        with (
            pytest.raises(RuntimeError, match="the scheduler is gone.*start again"),
            open_client(Cluster(kind=address), "predict", folder=world) as client,
        ):
            run(world, target, client, progress=watch)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert before < len(markers_of(target)) < 210


def is_up(nanny, cluster):
    """Whether the scheduler knows a worker; a nanny whose worker dies while it starts gives up."""
    running = nanny.status == nanny.process.status == Status.running
    return running and nanny.worker_address in cluster.scheduler.workers


@contextmanager
def nursed_workers():
    """Two workers, each started again when it dies."""
    shape = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 50}),
        LocalCluster(**shape) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


def kill_workers(world, target):
    """Finish the run while a worker is killed after every few new markers; return the kills."""
    chance, killed = random.Random(1), []

    def watch(stage, done, total):
        if stage != "predict" or len(killed) >= KILLS or done % 7:
            return
        alive = [nanny.pid for nanny in cluster.workers.values() if is_up(nanny, cluster)]
        if alive:
            victim = chance.choice(alive)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    with nursed_workers() as (cluster, client):
        log = RunLog(target.parent / "log")
        status, skipped = run(world, target, client, progress=watch, log=log)
    assert len(status) + skipped == 210
    return killed, status


def test_a_run_that_loses_workers_scheduler_and_client_ends_with_the_calm_product(world, tmp_path):
    target = tmp_path / "ssm.zarr"
    kill_the_client(world, target)
    assert 12 <= len(markers_of(target)) < 210
    kill_the_scheduler(world, target)
    before = time.time()
    killed, status = kill_workers(world, target)
    assert len(killed) >= 20 and len(set(killed)) == len(killed)
    assert contents(target) == contents(world / "calm.zarr")
    for path in markers_of(target):
        marker = blocks.read_marker(target, "predict", path.stem)
        assert blocks.is_done(target, "predict", path.stem, marker["key"])
    assert len(markers_of(target)) == 210
    left = [*target.rglob("*.partial"), *Path(f"{target}.markers").rglob("*.tmp")]
    left += [path for path in target.rglob("*") if path.name.endswith(".tmp")]
    assert left == []
    rows = read_rows(next((tmp_path / "log").glob("*.json")))
    assert set(rows["unit"]) == set(status["unit"]) and rows["retries"].sum() >= 1
    assert rows["ended"].min() >= before
