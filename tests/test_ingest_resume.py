"""Harmonise again: nothing, what was lost, what depends on a changed file; with Dask or without."""

import os
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from distributed import Client, LocalCluster

from gssm_cube import ingest
from gssm_cube.block_inputs import land_blocks
from gssm_cube.blocks import marker_folder
from gssm_cube.grid import Layout, Tile
from gssm_cube.ingest.meteo import cell_units
from gssm_cube.ingest.scratch import zones
from gssm_cube.storage.stores import open_group, read_layout

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


# ---- a changed file ---------------------------------------------------------------------------

# 370 days from 2018-03-01: window 0 ends on 2019-03-01, window 1 has the four days after.


@pytest.fixture
def changed(small_world, tmp_path):
    """A copy of the small world's cube, and a function that renews a file and harmonises."""
    store = small_world.copy_cube(tmp_path)
    folders = small_world.link_raw(tmp_path / "raw")

    def renew(pattern, layout=small_world.layout, **options):
        (path,) = (tmp_path / "raw").glob(pattern)
        content = path.read_bytes()
        path.unlink()  # a link: the session's own file stays
        path.write_bytes(content)
        os.utime(path, (1.5e9, 1.5e9))
        return ingest.harmonise(store, layout, folders, **options)

    renew.store = store
    renew.again = lambda **o: ingest.harmonise(store, small_world.layout, folders, **o)
    return renew


def done(steps):
    """Units done by step, those without left out."""
    return {row.step: row.units for row in steps.itertuples() if row.units}


def times(store):
    """When each object of a cube was written."""
    return {
        str(path.relative_to(store)): path.stat().st_mtime_ns
        for path in store.rglob("*")
        if path.is_file()
    }


ALL_METEO = {"ERA5-Land files": 23, "meteorology": 2, "climate": 1}


@pytest.mark.parametrize(
    ("pattern", "again", "written"),
    [
        # 366 days are 23 runs of 16 days.
        ("mod11a1/*_QC_Day_doy2018161_*", {"MOD11A1 files": 23, "LST blocks": 2},
         r"daily/\w+/c/0/"),
        # Days 366 to 369 lie in the runs of days 352 and 368.
        ("mod11a1/*_LST_Night_1km_doy2019063_*", {"MOD11A1 files": 2, "LST blocks": 2},
         r"daily/\w+/c/1/"),
        # Memory: every window depends on all days before, those of the lead-in too. 735 days are
        # 23 runs of 32.
        ("era5_land/*_2019_02.nc",
         ALL_METEO | {"ERA5-Land's soil": 1, "MOD11A1 files": 23, "LST blocks": 2},
         r"meteo/|daily/\w+/c/0/"),
        ("era5_land/*_2017_06.nc", ALL_METEO, "meteo/"),
        ("soilgrids/clay*", {"static layers": 2}, "static/"),
        ("merit_hydro/*_upa.tif", {"static layers": 2}, "static/"),
        ("wtd/*.nc", {"static layers": 2}, "static/"),
    ],
)  # fmt: skip
def test_a_changed_file_renews_only_what_depends_on_it(changed, pattern, again, written):
    before = times(changed.store), contents(changed.store)
    assert done(changed(pattern)) == again
    after = times(changed.store)
    assert contents(changed.store) == before[1]  # the same values, so the same bytes
    touched = [name for name in after if after[name] != before[0][name]]
    assert bool(touched) == bool(again)
    assert [name for name in touched if not re.match(written, name)] == []


def test_a_changed_composite_renews_the_years_that_it_reaches(small_world, changed):
    # 24 composites and more: the last one of the year before reaches both, an early one the first.
    steps = done(changed("mod13a2/*_NDVI_doy2018145_*"))
    assert set(steps) == {"MOD13A2 files", "vegetation"} and steps["vegetation"] == 2
    assert done(changed.again()) == {}


def test_the_climatology_stays_as_it_was_fitted_unless_asked(changed):
    pattern = "mod11a1/*_QC_Day_doy2019063_*"
    assert "LST climatology" not in done(changed(pattern))
    whole = {"air temperature climatology": 1, "LST climatology": 2, "LST blocks": 4}
    # All days are read again: 370 are 24 runs.
    assert done(changed.again(refit_climatology=True)) == whole | {"MOD11A1 files": 24}
    assert done(changed.again(refit_climatology=True)) == {}
    assert done(changed.again()) == {}


def test_other_years_of_the_climate_renew_nothing_else(changed):
    assert done(changed.again(climate_years=(2019, 2019))) == {"climate": 1}
    assert open_group(changed.store)["meteo"].attrs["climate_years"] == [2019, 2019]
    assert done(changed.again(climate_years=(2019, 2019))) == {}


def test_a_window_continues_from_the_state_that_the_cube_kept(changed):
    """The last window is lost: it is made again without the days before its own, the same bytes."""
    before = contents(changed.store)
    for path in (changed.store / "meteo/cells/c").glob("*/1/0/0"):
        path.unlink()
    # 33 days back from day 365 + 366 of the scratch lie 37 days: two runs of 32.
    assert done(changed.again()) == {"ERA5-Land files": 2, "meteorology": 1}
    assert contents(changed.store) == before


def test_a_changed_day_changes_its_own_window_alone(changed, small_world, tmp_path):
    """The file's values change, and with them the blocks of its window, but no other block."""
    before = contents(changed.store)
    (path,) = (tmp_path / "raw").glob("mod11a1/*_LST_Day_1km_doy2019063_*")
    with rasterio.open(path) as source:
        profile, values = source.profile, source.read()
    path.unlink()
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.where(values > 0, values + 50, 0).astype(values.dtype))  # 1 K
    assert done(changed.again()) == {"MOD11A1 files": 2, "LST blocks": 2}
    after = contents(changed.store)
    others = {name for name in before if before[name] != after[name]}
    assert others and all(
        name.startswith(("daily/lst/c/1/", "daily/lst_diff/c/1/")) for name in others
    )


def test_a_re_run_that_was_broken_off_goes_on_where_it_was(changed):
    class Killed(BaseException):
        pass

    def kill(stage, number, total):
        if (stage, number) == ("MOD11A1 files", 10):
            raise Killed

    with pytest.raises(Killed):
        changed("mod11a1/*_QC_Day_doy2018161_*", progress=kill)
    steps = changed.again()
    assert done(steps) == {"MOD11A1 files": 13, "LST blocks": 2}
    assert counts(steps, ["MOD11A1 files"]) == {"MOD11A1 files": (13, 10)}
    assert done(changed.again()) == {}
    assert not list(changed.store.parent.glob("*.scratch*"))


# ---- what is not touched ----------------------------------------------------------------------


def test_files_outside_the_period_may_come_and_go(small_world, short, alone, tmp_path):
    store = copy(alone, tmp_path / "more")
    folders = small_world.link_raw(tmp_path / "raw")
    for path in (tmp_path / "raw" / "mod11a1").glob("*_doy2018060_*"):
        path.unlink()
    steps = counts(ingest.harmonise(store, short, folders))
    assert not any(done for done, _ in steps.values())


# ---- a part of the box ------------------------------------------------------------------------


def test_only_chosen_tiles_are_harmonised(small_world, short, alone, tmp_path):
    west, east = short.tiles()
    store = tmp_path / "features.zarr"
    steps = ingest.harmonise(store, replace(short, chosen=(east,)), small_world.folders)
    assert counts(steps) == {
        "static layers": (1, 0),
        "meteorology": (1, 0),
        "LST climatology": (1, 0),
        "LST blocks": (1, 0),
        "vegetation": (1, 0),
    }
    root, whole = open_group(store), open_group(alone[0] / "features.zarr")
    rows, cols = short.tile_slices(east)
    for name in ("static/elevation", "static/land", "daily/lst"):
        place = (..., rows, cols)
        found, expected = root[name][place], whole[name][place]
        assert (found == expected).mean() > (0.9 if name == "daily/lst" else 0.9999)
    assert not root["static/land"][short.tile_slices(west)].any()
    assert [str(block.tile) for block in land_blocks(store, read_layout(store))] == [str(east)]


def test_zones_and_cells_without_a_chosen_tile_are_not_read():
    day = date(2018, 3, 1)
    layout = Layout(Tile(0, 0), 1, 20, day, day, 480, chosen=(Tile(0, 0), Tile(0, 12)))
    # Zones of five tiles; a tile is 40 cells and reads 41, a chunk of cells is 120.
    assert [cols.start // 480 for _, cols in zones(layout)] == [0, 10]
    assert cell_units(layout) == ["k00k00_w00", "k00k04_w00"]
