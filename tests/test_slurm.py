"""A run on a real Slurm, one node on loopback, gives the bits of the local one."""

import os
import re
import shutil
import sys
import time
from pathlib import Path

import dask
import pytest
from slurm_node import lacking, slurm_node, told, wait_until

from gssm_cube import clusters, pipeline, predict
from gssm_cube.cluster_settings import Cluster
from gssm_cube.settings import read_settings

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(lacking()), reason=f"Slurm cannot start here, for want of {lacking()}"),
]
SCRIPT = Path(__file__).parent.parent / "cluster" / "slurm" / "predict_array.sh"
TABLE = """\
[cluster]
kind = "slurm"
workers = 2
threads = 1
memory_limit = "1500MB"
queue = "debug"
interface = "lo"
walltime = "00:20:00"
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_node(folder):
        yield folder


@pytest.fixture
def empty_run(small_run, tmp_path):
    """Settings of a copy of the small run without its product."""
    path = small_run.copy(tmp_path / "run")
    for found in path.parent.glob("ssm.zarr*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    return path


def contents(store):
    files = (path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def test_two_jobs_write_the_product_of_the_local_run_over_tls(
    small_run, empty_run, slurm, monkeypatch
):
    monkeypatch.setenv("HOME", str(empty_run.parent))  # certificates and logs of jobs lie there
    empty_run.write_text(re.sub(r"\[cluster\]\nkind = .*\n", TABLE, empty_run.read_text()))
    addresses, really = [], predict.predict_product

    def noting(*places, client, **options):
        client.wait_for_workers(2, timeout=300)
        addresses.extend([client.scheduler.address, *client.nthreads()])
        return really(*places, client=client, **options)

    monkeypatch.setattr(predict, "predict_product", noting)
    line = pipeline.predict_all(read_settings(empty_run))
    assert line.startswith("predict: 4 blocks done, 0 skipped; ")
    assert contents(empty_run.parent / "ssm.zarr") == contents(small_run.folder / "ssm.zarr")
    assert len(addresses) == 3 and all(a.startswith("tls://") for a in addresses)
    wait_until(lambda: told("squeue", "-h") == "", slurm)  # the jobs end with the run


def test_jobs_follow_the_work_and_the_run_ends(small_run, empty_run, slurm, monkeypatch):
    monkeypatch.setenv("HOME", str(empty_run.parent))
    table = TABLE.replace("workers = 2", "workers = 1\nmax_workers = 2")
    empty_run.write_text(re.sub(r"\[cluster\]\nkind = .*\n", table, empty_run.read_text()))
    seen, really = [], predict.predict_product

    def noting(*places, client, **options):
        seen.append(len(jobs()))
        more_work = client.map(time.sleep, [0.5] * 400, pure=False)
        client.wait_for_workers(2, timeout=300)
        client.cancel(more_work)
        found = really(*places, client=client, **options)
        wait_until(lambda: len(jobs()) == 1, slurm)
        return found

    monkeypatch.setattr(predict, "predict_product", noting)
    line = pipeline.predict_all(read_settings(empty_run))
    assert line.startswith("predict: 4 blocks done, 0 skipped; ") and seen == [1]
    assert contents(empty_run.parent / "ssm.zarr") == contents(small_run.folder / "ssm.zarr")
    wait_until(lambda: not jobs(), slurm)


def jobs():
    return told("squeue", "-h", "-o", "%i").split()


@pytest.mark.parametrize("most", [None, 2])
def test_either_shape_of_workers_takes_as_many_jobs(most, slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shape = {"workers": 2, "max_workers": most, "threads": 2, "memory_limit": "500MB"}
    chosen = Cluster(kind="slurm", queue="debug", interface="lo", **shape)
    with clusters.open_client(chosen, "ingest", folder=tmp_path) as client:
        client.wait_for_workers(2, timeout=300)  # of the first job, the other may have to wait
        wait_until(lambda: len(jobs()) == 2, slurm)
    wait_until(lambda: not jobs(), slurm)


@pytest.mark.parametrize(("profile", "threads"), [("predict", 1), ("ingest", 2)])
def test_a_job_that_is_lost_is_replaced(profile, threads, slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(clusters, "KEEP_SECONDS", 0.5)
    monkeypatch.setattr(clusters, "AWAY_SECONDS", 5.0)
    shape = {"workers": 1, "threads": threads, "memory_limit": "1500MB"}
    chosen = Cluster(kind="slurm", queue="debug", interface="lo", **shape)
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "2s"}),
        clusters.open_client(chosen, profile, folder=tmp_path) as client,
    ):
        client.wait_for_workers(threads, timeout=300)
        lost = told("squeue", "-h", "-o", "%i")
        assert lost.isdecimal()
        told("scancel", lost)
        wait_until(lambda: told("squeue", "-h", "-o", "%i") not in ("", lost), slurm)
        client.wait_for_workers(threads, timeout=300)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
    wait_until(lambda: told("squeue", "-h") == "", slurm)


def test_an_array_of_jobs_writes_the_same_product_without_dask(
    small_run, empty_run, slurm, monkeypatch
):
    binaries = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(empty_run.parent)
    said = told("sbatch", "--array=1-2", "--mem=1500M", str(SCRIPT), str(empty_run))
    assert said.startswith("Submitted batch job"), said
    wait_until(lambda: told("squeue", "-h") == "", slurm, seconds=600)
    logs = "".join(path.read_text() for path in empty_run.parent.glob("gssm-predict-*.log"))
    assert logs.count("predict: 2 blocks done, 0 skipped") == 2, logs
    assert contents(empty_run.parent / "ssm.zarr") == contents(small_run.folder / "ssm.zarr")
