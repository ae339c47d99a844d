"""What a run will take: bytes worked by hand, counts as they stand on disk."""

from datetime import date
from io import StringIO
from math import prod

import numpy as np
import pytest
from rich.console import Console

from gssm_cube import cube, plan
from gssm_cube.grid import Layout, Tile
from gssm_cube.settings import read_settings
from gssm_cube.stores import array_of, open_group

LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 3, 1), date(2018, 3, 10), 48)  # 10 days


@pytest.fixture(scope="module")
def run(small_world, tmp_path_factory):
    return read_settings(small_world.write_settings(tmp_path_factory.mktemp("plan")))


@pytest.fixture(scope="module")
def found(run):
    return plan.plan_run(run)


# ---- by hand ----------------------------------------------------------------------------------


def test_bytes_of_a_cube_are_those_of_its_arrays():
    # daily 2 x int16 + 16 flags; 2 composites of 16 days and their flags; 4 x 5 x 9 cells; 9
    # static codes and 2 x 7 harmonics of float32, a pixel.
    by_hand = 6 * 1000 + 6 * 1000 / 16 + 2 * 4 * 5 * 9 * 10 + (2 * 9 + 2 * 4 * 7) * 100
    assert plan.cube_bytes(LAYOUT, pixels=100, land_pixel_days=1000) == by_hand


def test_bytes_of_a_whole_cube_without_sea_are_those_that_zarr_counts(tmp_path):
    days = np.array(["2018-02-18", "2018-03-22"], dtype="M8[D]")
    cube.create_cube(tmp_path / "c.zarr", LAYOUT, days, {})
    root = open_group(tmp_path / "c.zarr")
    left_out = {"land", "filled", "lat", "lon", "time"}
    counted = sum(
        prod(array.shape) * array.dtype.itemsize
        for group in ("static", "daily", "meteo")
        for name, array in root[group].arrays()
        if name not in left_out
    )
    counted += 2 * array_of(root, "climatology/lst_day").nbytes
    pixels = 48 * 96
    composites = 6 * 10 * pixels / 16
    assert plan.cube_bytes(LAYOUT, pixels, 10 * pixels) == counted + composites


def test_memory_of_an_ingest_task_is_that_of_the_larger_step():
    pixel_days = 48 * 48 * 366
    climatology = (2 + 4) * pixel_days + 8 * (49 + 7) * 48 * 48
    assert plan.ingest_bytes(LAYOUT) == max(2 * 6 * pixel_days, climatology) == 12 * pixel_days


def test_memory_of_a_prediction_is_a_block_and_a_chunk_of_features():
    chunk = 48 * 48 * 366
    assert plan.predict_bytes(LAYOUT, features=18) == 4 * chunk + 8 * 18 * chunk + 16 * chunk


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1000, "1 kB"), (1234, "1.23 kB"),
        (999_600, "1 MB"), (12_345_678, "12.3 MB"), (5e9, "5 GB"), (4.5e12, "4.5 TB"),
    ],
)  # fmt: skip
def test_bytes_are_told_in_a_unit_that_reads_well(count, text):
    assert plan.size(count) == text


# ---- on a small world -------------------------------------------------------------------------


def test_counts_are_those_on_disk(found, small_world):
    root = open_group(small_world.cube)
    land = array_of(root, "static/land")
    tiles = [
        bool(land[small_world.layout.tile_slices(t)].any()) for t in small_world.layout.tiles()
    ]
    assert (found.tiles, found.land_tiles) == (len(tiles), sum(tiles)) == (2, 2)
    assert (found.windows, found.days, found.blocks) == (2, 370, 4)
    markers = list((small_world.folder / "features.zarr.markers" / "daily").glob("*.json"))
    assert len(markers) == found.blocks


def test_files_and_bytes_are_those_of_the_gridded_sources(found, small_world):
    files = [
        path
        for folder in small_world.folders.values()
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert found.files == len(files)
    assert found.bytes_read == sum(path.stat().st_size for path in files)


def test_land_is_estimated_near_the_cubes_own(found, small_world):
    land = array_of(open_group(small_world.cube), "static/land")[:]
    assert 0.1 < land.mean() < 0.95
    np.testing.assert_allclose(found.land_share, land.mean(), atol=0.03)


def test_what_is_missing_fails_in_the_plan_as_in_the_run(run, small_world, tmp_path):
    folders = small_world.link_raw(tmp_path / "raw")
    for path in folders["bedrock"].rglob("*"):
        path.unlink()
    sources = run.sources.model_copy(update={"bedrock": folders["bedrock"]})
    with pytest.raises(FileNotFoundError, match="bedrock"):
        plan.plan_run(run.model_copy(update={"sources": sources}))


def test_the_table_tells_counts_and_costs(run, found):
    console = Console(file=StringIO(), width=100)
    console.print(plan.plan_table(found, run.folder))
    text = console.file.getvalue()
    assert "2 (2)" in text and "370, 2" in text
    assert plan.size(found.bytes_read) in text and plan.size(found.cube_bytes) in text
