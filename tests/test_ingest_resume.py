"""Harmonise again: nothing, what was lost, what depends on a changed file; with Dask or without."""

import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from gssm_cube import ingest
from gssm_cube.blocks import marker_folder

FINAL = ("static layers", "meteorology", "LST climatology", "LST blocks", "vegetation")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def counts(steps, names=FINAL):
    """Units done and skipped by step."""
    table = steps.set_index("step")
    return {name: (int(table["units"][name]), int(table["skipped"][name])) for name in names}


@pytest.fixture(scope="module")
def short(small_world):
    """The small world's last twenty days."""
    return replace(small_world.layout, first_day=date(2019, 2, 14))


@pytest.fixture(scope="module")
def alone(small_world, short, tmp_path_factory):
    """Those days, harmonised without Dask."""
    folder = tmp_path_factory.mktemp("alone")
    steps = ingest.harmonise(folder / "features.zarr", short, small_world.folders)
    return folder, steps


def copy(alone, folder):
    shutil.copytree(alone[0], folder)
    return folder / "features.zarr"


def test_workers_write_the_same_bytes_and_markers_as_one_process(
    small_world, short, alone, tmp_path
):
    told = []
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        steps = ingest.harmonise(
            tmp_path / "features.zarr",
            short,
            small_world.folders,
            client=client,
            progress=lambda *state: told.append(state),
        )
    for name in ("features.zarr", "features.zarr.markers"):
        assert contents(tmp_path / name) == contents(alone[0] / name)
    assert steps.equals(alone[1])
    last = {stage: (done, total) for stage, done, total in told}
    assert last["LST blocks"] == (2, 2) and set(last) == set(steps["step"])


def test_a_second_run_does_nothing_and_leaves_no_scratch(small_world, short, alone, tmp_path):
    store = copy(alone, tmp_path / "again")
    before = contents(store.parent)
    steps = ingest.harmonise(store, short, small_world.folders)
    done = {"static layers": 2, "meteorology": 1, "LST climatology": 2, "LST blocks": 2}
    assert counts(alone[1]) == {name: (n, 0) for name, n in (done | {"vegetation": 2}).items()}
    assert counts(steps) == {name: (0, n) for name, n in (done | {"vegetation": 2}).items()}
    after = contents(store.parent)
    assert {n: b for n, b in after.items() if not n.endswith(".lock")} == {
        n: b for n, b in before.items() if not n.endswith(".lock")
    }
    assert not list(store.parent.glob("*.scratch*"))


def test_what_was_lost_is_done_again_and_nothing_else(small_world, short, alone, tmp_path):
    store = copy(alone, tmp_path / "lost")
    tiles = [str(tile) for tile in short.tiles()]
    (store / "daily/lst_diff/c/0/0/1").unlink()
    (store / "static/ti/c/0/0").write_bytes(b"cut short")
    (marker_folder(store, "composite") / f"{tiles[0]}_y00.json").unlink()
    (store / "daily/lst/c/0/0/0.1234.partial").write_bytes(b"left by a killed writer")
    steps = ingest.harmonise(store, short, small_world.folders)
    assert counts(steps) == {
        "static layers": (1, 1),
        "meteorology": (0, 1),
        "LST climatology": (0, 2),
        "LST blocks": (1, 1),
        "vegetation": (1, 1),
    }
    for name in ("features.zarr", "features.zarr.markers"):
        assert contents(store.parent / name) == contents(alone[0] / name)


@pytest.mark.parametrize(
    ("pattern", "again"),
    [
        ("mod13a2/*_NDVI_doy2019049_*", {"vegetation"}),
        ("era5_land/*_2018_05.nc", {"meteorology", "LST climatology", "LST blocks"}),
        ("mod11a1/*_QC_Day_doy2019050_*", {"LST climatology", "LST blocks"}),
    ],
)
def test_a_changed_file_renews_what_depends_on_it(
    small_world, short, alone, tmp_path, pattern, again
):
    store = copy(alone, tmp_path / "changed")
    folders = small_world.link_raw(tmp_path / "raw")
    (path,) = (tmp_path / "raw").glob(pattern)
    content = path.read_bytes()
    path.unlink()  # a link: the session's own file stays
    path.write_bytes(content)
    os.utime(path, (1.5e9, 1.5e9))
    steps = counts(ingest.harmonise(store, short, folders))
    assert {name for name, (done, _) in steps.items() if done} == again
    assert all(skipped == 0 for name, (_, skipped) in steps.items() if name in again)


def test_files_outside_the_period_may_come_and_go(small_world, short, alone, tmp_path):
    store = copy(alone, tmp_path / "more")
    folders = small_world.link_raw(tmp_path / "raw")
    for path in (tmp_path / "raw" / "mod11a1").glob("*_doy2018060_*"):
        path.unlink()
    steps = counts(ingest.harmonise(store, short, folders))
    assert not any(done for done, _ in steps.values())
