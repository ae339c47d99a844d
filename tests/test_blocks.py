"""Markers, locks and the running of units: what is done stays done, what fails is named."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from gssm_cube import blocks, clusters
from gssm_cube.grid import Block, Layout, Tile, Window

LAYOUT = Layout(Tile(60, 370), 1, 1, date(2018, 3, 1), date(2019, 4, 1), 96)
UNITS = ["r060c370_w00", "r060c371_w00", "r061c370_w00", "r061c371_w00"]
HOLDER = """
import sys
from gssm_cube.blocks import locked
with locked(sys.argv[1]):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def results_held(dask_scheduler):
    """Rows that workers still hold for the client."""
    return sum(task.state == "memory" for task in dask_scheduler.tasks.values())


@pytest.fixture(scope="module")
def client():
    shape = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(**shape) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def shard(tmp_path):
    """Write a store with one object and its marker; return the object."""
    path = tmp_path / "s.zarr" / "ssm" / "c" / "0"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345678")
    blocks.write_marker(
        tmp_path / "s.zarr", "predict", UNITS[0], "k", ["ssm/c/0", "ssm/c/1"], valid=3
    )
    return path


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``s.zarr``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "s.zarr")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


# ---- labels -----------------------------------------------------------------------------------


def test_labels_of_tiles_and_blocks_are_read_back():
    block = Block(Tile(60, 370), Window(1, 366, 31))
    assert blocks.parse_block(str(block), LAYOUT) == block
    assert blocks.parse_tile("r060c370") == blocks.parse_tile("r060c370_w01") == Tile(60, 370)


def test_a_digest_hashes_values_whatever_the_order_of_keys():
    assert blocks.digest({"a": 1, "b": [2]}) == blocks.digest({"b": [2], "a": 1})
    hashes = {blocks.digest(*parts) for parts in ([1], [2], ["1"], [[1]], [1, None], [])}
    assert len(hashes) == 6


def test_a_checksum_tells_shapes_apart_and_overlooks_strides():
    array = np.arange(6, dtype="int16")
    assert blocks.checksum(array) != blocks.checksum(array.reshape(2, 3))
    assert blocks.checksum(array.reshape(2, 3).T) == blocks.checksum(array.reshape(2, 3).T.copy())


# ---- markers ----------------------------------------------------------------------------------


def test_a_unit_is_done_under_its_own_key_only(shard, tmp_path):
    store = tmp_path / "s.zarr"
    assert blocks.is_done(store, "predict", UNITS[0], "k")
    assert not blocks.is_done(store, "predict", UNITS[0], "other")
    assert not blocks.is_done(store, "daily", UNITS[0], "k")
    assert not blocks.is_done(store, "predict", UNITS[1], "k")


def test_a_marker_lists_its_objects_that_exist_and_its_facts(shard, tmp_path):
    marker = blocks.read_marker(tmp_path / "s.zarr", "predict", UNITS[0])
    assert marker == {"unit": UNITS[0], "key": "k", "objects": {"ssm/c/0": 8}, "valid": 3}
    folder = blocks.marker_folder(tmp_path / "s.zarr", "predict")
    assert folder == tmp_path / "s.zarr.markers" / "predict"  # Zarr warns of strangers inside


def test_a_unit_whose_object_is_gone_is_not_done(shard, tmp_path):
    shard.unlink()
    assert not blocks.is_done(tmp_path / "s.zarr", "predict", UNITS[0], "k")


def test_a_unit_whose_object_is_truncated_is_not_done(shard, tmp_path):
    shard.write_bytes(b"1234")
    assert not blocks.is_done(tmp_path / "s.zarr", "predict", UNITS[0], "k")


@pytest.mark.parametrize("rest", ["", '{"unit": "r060'])
def test_a_unit_whose_marker_is_cut_is_not_done(shard, tmp_path, rest):
    marker = blocks.marker_folder(tmp_path / "s.zarr", "predict") / f"{UNITS[0]}.json"
    marker.write_text(rest)
    assert not blocks.is_done(tmp_path / "s.zarr", "predict", UNITS[0], "k")


def test_a_failed_write_leaves_the_old_text_whole(tmp_path, monkeypatch):
    path = tmp_path / "marker.json"
    blocks.write_atomically(path, "old")

    def killed(source, target):
        raise OSError("killed before the rename")

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(OSError, match="killed"):
        blocks.write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_stage_digest_follows_key_and_contents_of_its_units(tmp_path):
    def digest_of(key="k", checksum="c", units=UNITS[:2]):
        for unit in UNITS[:2]:
            blocks.write_marker(tmp_path / "s", "daily", unit, key, checksum=checksum, seconds=1)
        return blocks.stage_digest(tmp_path / "s", "daily", units)

    base = digest_of()
    assert digest_of(units=UNITS[1::-1]) == base
    others = {digest_of(key="j"), digest_of(checksum="d"), digest_of(units=UNITS[:3])}
    assert len(others | {base}) == 4


def test_what_a_killed_writer_left_is_removed_and_the_rest_kept(shard, tmp_path):
    leftovers = [
        shard.with_name("0.ab12.partial"),
        tmp_path / "s.zarr" / "zarr.json.7f.partial",
        tmp_path / "s.zarr.markers" / "predict" / "x.json.7f.partial",
    ]
    for path in leftovers:
        path.write_text("")
    assert blocks.remove_partial_files(tmp_path / "s.zarr") == 3
    assert not any(path.exists() for path in leftovers)
    assert blocks.is_done(tmp_path / "s.zarr", "predict", UNITS[0], "k")


# ---- the lock ---------------------------------------------------------------------------------


def test_a_second_process_is_refused_with_the_number_of_the_first(holder, tmp_path):
    match = f"s.zarr is being written by process {holder.pid}; wait"
    with pytest.raises(RuntimeError, match=match), blocks.locked(tmp_path / "s.zarr"):
        pass
    with blocks.locked(tmp_path / "other.zarr"):
        pass


def test_the_lock_dies_with_its_holder(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with blocks.locked(tmp_path / "s.zarr"):
        assert (tmp_path / "s.zarr.lock").read_text() == str(os.getpid())


def test_the_lock_is_given_back_also_after_a_failure(tmp_path):
    with pytest.raises(KeyError), blocks.locked(tmp_path / "s.zarr"):
        raise KeyError("in the run")
    with blocks.locked(tmp_path / "s.zarr"):
        match = f"process {os.getpid()}"
        with pytest.raises(RuntimeError, match=match), blocks.locked(tmp_path / "s.zarr"):
            pass


# ---- running ----------------------------------------------------------------------------------


def noting(log: Path, bad: str = ""):
    """Work that notes each run of a unit in a file and fails for one."""

    def work(unit):
        with log.open("a") as file:
            file.write(f"{unit}\n")
        if unit == bad:
            raise OSError(f"cannot read the shard of {unit}")
        return {"valid": len(unit)}

    return work


@pytest.fixture(params=["here", "threads", "cluster"])
def where(request):
    """One unit after another, three threads, or a cluster of processes."""
    if request.param == "cluster":
        return {"client": request.getfixturevalue("client")}
    return {"threads": 3} if request.param == "threads" else {}


def test_every_unit_runs_once_and_gives_a_row(where, tmp_path):
    steps = []
    status = blocks.run_units(
        noting(tmp_path / "log"),
        UNITS[::-1],
        stage="predict",
        progress=lambda *step: steps.append(step),
        **where,
    )
    assert sorted((tmp_path / "log").read_text().split()) == UNITS
    assert status["unit"].tolist() == UNITS
    assert (status["valid"] == 12).all() and (status["error"] == "").all()
    assert (status["seconds"] > 0).all()
    assert steps == [("predict", done, 4) for done in (1, 2, 3, 4)]


def test_a_failing_unit_is_named_and_the_others_are_done(where, tmp_path):
    work = noting(tmp_path / "log", bad=UNITS[1])
    match = rf"predict: 1 of its units failed.*\n  {UNITS[1]}: OSError: cannot read the shard of"
    with pytest.raises(blocks.UnitsFailed, match=match) as caught:
        blocks.run_units(work, UNITS, stage="predict", **where)
    assert caught.value.failed["unit"].tolist() == [UNITS[1]]
    assert sorted((tmp_path / "log").read_text().split()) == UNITS


def test_a_second_run_of_the_same_units_runs_them_again(where, tmp_path):
    work = noting(tmp_path / "log")
    kept = [blocks.run_units(work, UNITS, stage="predict", **where) for _ in range(2)]
    assert sorted((tmp_path / "log").read_text().split()) == sorted(UNITS * 2)
    assert kept[0]["unit"].equals(kept[1]["unit"])


def test_a_unit_runs_again_though_its_last_result_is_still_held(client, tmp_path):
    work, begun = noting(tmp_path / "log"), []

    def again(stage, done, total):
        if not begun:  # within the first run, whose other rows are still on their way
            begun.append(done)
            blocks.run_units(work, UNITS, stage="predict", client=client)

    blocks.run_units(work, UNITS, stage="predict", client=client, progress=again)
    assert sorted((tmp_path / "log").read_text().split()) == sorted(UNITS * 2)


def test_an_interrupt_ends_the_threads_too(tmp_path):
    def stop(stage, done, total):
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        blocks.run_units(noting(tmp_path / "log"), UNITS, stage="predict", threads=2, progress=stop)
    assert set(threading.enumerate()) <= before


def test_without_units_nothing_runs_and_the_table_is_empty(tmp_path):
    status = blocks.run_units(noting(tmp_path / "log"), [], stage="predict")
    assert status.empty and list(status.columns) == ["unit", "seconds", "error"]
    assert not (tmp_path / "log").exists()


def test_a_unit_that_kills_every_worker_is_reported_and_the_other_is_done(client, tmp_path):
    log = tmp_path / "log"

    def work(unit):
        with log.open("a") as file:
            file.write(f"{unit}\n")
        if unit == UNITS[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(blocks.UnitsFailed, match=f"{UNITS[1]}: KilledWorker") as caught:
        blocks.run_units(work, UNITS[:2], stage="predict", client=client)
    assert caught.value.failed["unit"].tolist() == [UNITS[1]]
    assert set(log.read_text().split()) == set(UNITS[:2])


def test_a_unit_whose_worker_is_killed_once_runs_again(client, tmp_path):
    log = tmp_path / "log"

    def work(unit):
        with log.open("a") as file:
            file.write("begun\n")
        if log.read_text() == "begun\n":
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    status = blocks.run_units(work, UNITS[:1], stage="predict", client=client)
    assert status["unit"].tolist() == UNITS[:1] and status["retries"].tolist() == [1]
    assert log.read_text() == "begun\nbegun\n"


def test_a_row_that_is_reported_is_not_lost_with_its_worker(client, tmp_path):
    held = []

    def note(stage, done, total):
        counts = (client.run_on_scheduler(results_held) for _ in range(100))
        held.append(next((count for count in counts if count == 0), "still held"))

    blocks.run_units(noting(tmp_path / "log"), UNITS, stage="predict", client=client, progress=note)
    assert held[-1] == 0  # a row that a worker holds for the client dies with it: done again


def test_a_run_that_stays_without_workers_ends_and_names_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "NO_WORKERS_SECONDS", 0.5)
    shape = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    units = [f"r060c{col:03d}_w00" for col in range(20)]
    with (
        LocalCluster(processes=False, **shape) as cluster,
        clusters.open_client(cluster.scheduler_address, "predict") as client,
        pytest.raises(blocks.UnitsFailed, match="NoWorkerError") as caught,
    ):
        blocks.run_units(
            noting(tmp_path / "log"), units, stage="predict", client=client,
            progress=lambda *step: cluster.scale(0),
        )  # fmt: skip
    done = set((tmp_path / "log").read_text().split())
    failed = set(caught.value.failed["unit"])
    assert failed and done | failed == set(units)


def test_markers_are_plain_json_that_people_can_read(shard, tmp_path):
    path = tmp_path / "s.zarr.markers" / "predict" / f"{UNITS[0]}.json"
    assert json.loads(path.read_text())["key"] == "k"
    assert len(path.read_text().splitlines()) > 4
