"""Workers, a scheduler and the client of a run are killed; the product has the calm bits."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from bare_cube import many_blocks, save_small_forest, write_bare_cube
from gateway_server import free_port

from gssm_cube import blocks
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.predict import predict_product
from gssm_cube.storage.run_log import RunLog, read_rows

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

LAYOUT = many_blocks(14, 15, date(2018, 3, 20))  # 210 tiles, one short window
KILLS, EVERY = 22, 7  # workers, and markers between two of them
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


def workers_up(cluster):
    """Process numbers of the workers that the scheduler knows: others have no work to lose."""
    known = cluster.scheduler.workers
    return [nanny.pid for nanny in cluster.workers.values() if nanny.worker_address in known]


def kill_workers(world, target):
    """Finish the run while a worker is killed after every few new markers; return the kills."""
    chance, killed, due = random.Random(1), [], [EVERY]

    def watch(stage, done, total):
        if stage != "predict" or len(killed) == KILLS or done < due[0]:
            return
        alive = [pid for pid in workers_up(client.cluster) if pid not in (None, *killed)]
        if alive:
            killed.append(chance.choice(alive))
            os.kill(killed[-1], signal.SIGKILL)
            due[0] = done + EVERY

    with open_client(Cluster(workers=2), "ingest", folder=world) as client:
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
    assert len(killed) >= 20
    assert contents(target) == contents(world / "calm.zarr")
    for path in markers_of(target):
        marker = blocks.read_marker(target, "predict", path.stem)
        assert blocks.is_done(target, "predict", path.stem, marker["key"])
    assert len(markers_of(target)) == 210
    folders = target, Path(f"{target}.markers")
    assert [path for folder in folders for path in folder.rglob("*.partial")] == []
    rows = read_rows(next((tmp_path / "log").glob("*.json")))
    assert set(rows["unit"]) == set(status["unit"]) and rows["retries"].sum() >= 1
    assert rows["ended"].min() >= before
