"""What a run will take: bytes worked by hand, counts as they stand on disk."""

from datetime import date
from io import StringIO
from math import prod

import numpy as np
import pytest
from rich.console import Console

from gssm_cube import cube, plan
from gssm_cube.grid import Layout, Tile
from gssm_cube.ingest import scratch
from gssm_cube.settings import read_settings
from gssm_cube.storage.stores import array_of, open_group

LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 3, 1), date(2018, 3, 10), 48)  # 10 days


@pytest.fixture(scope="module")
def run(small_world, tmp_path_factory):
    return read_settings(small_world.write_settings(tmp_path_factory.mktemp("plan")))


@pytest.fixture(scope="module")
def found(run):
    return plan.plan_run(run)


# ---- by hand ----------------------------------------------------------------------------------


def test_bytes_of_a_cube_are_those_of_its_arrays():
    # daily 2 x int16 + 16 flags; 2 composites of 16 days and their flags; 5 x 9 cells of 18
    # features a day, 7 of climate, 10 float64 of state; 9 static codes, one of LST, 2 x 7 terms.
    by_hand = 6 * 1000 + 6 * 1000 / 16 + (2 * 18 * 10 + 2 * 7 + 8 * 10) * 5 * 9
    by_hand += (2 * 9 + 2 + 2 * 4 * 7) * 100
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
    counted += array_of(root, "climatology/climate_lst_diff").nbytes
    pixels = 48 * 96
    composites = 6 * 10 * pixels / 16
    assert plan.cube_bytes(LAYOUT, pixels, 10 * pixels) == counted + composites


def test_bytes_of_a_scratch_are_those_that_zarr_counts(tmp_path):
    scratch.create_scratch(tmp_path / "s", LAYOUT)
    arrays = [array for _, array in open_group(tmp_path / "s").arrays()]
    pixel_days = 10 * 48 * 96
    # There are arrays for Terra, Aqua and VIIRS; a sensor without files writes none.
    assert plan.scratch_bytes(LAYOUT, pixel_days, (3, 3)) == sum(a.nbytes for a in arrays)
    one, two = (plan.scratch_bytes(LAYOUT, pixel_days, sensors) for sensors in ((1, 1), (2, 1)))
    assert two - one == 2 * 2 * pixel_days  # day and night of the second


def test_core_hours_follow_from_amounts_and_rates(run):
    costs = plan.Plan(3, 2, 0.5, 2, 370, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    hours = plan.core_hours(run, costs)
    cells, pixels = run.layout.cells_shape[0] * run.layout.cells_shape[1], 2 * 48 * 48
    assert hours == pytest.approx(
        {
            "meteorology": cells * (370 + 365) / 6.5e5 / 3600,
            "static layers": pixels / 1.5e5 / 3600,
            "LST": pixels * 370 / 1.1e6 / 3600,
            "vegetation": pixels * 370 / 6.3e6 / 3600,
            # 5 trees, leaves of 5 samples, beside twice 200 and 100 small ones of the blend; half
            # of three tiles is land.
            "prediction": 1.5 * 48 * 48 * 370 * (100e-9 + 5 * 5.8e-9 + 500 * 1.8e-9) / 3600,
        }
    )


def test_memory_of_an_ingest_task_is_that_of_the_larger_step():
    # A pixel's 366 days: two layers of 2 bytes and two copies of one, 84 bytes on each of 16 days.
    block = (2 + 2) * 2 * 366 + 84 * 16
    # Numbers of 2 bytes twice, degrees of 4, a mask; 7 x 7 and 7 sums of 8 bytes.
    climatology = (2 * 2 + 4 + 1) * 366 + 8 * (49 + 7)
    assert (block, climatology) == (4272, 3742)
    assert plan.ingest_bytes(LAYOUT) == 4272 * 48 * 48


def test_memory_of_a_prediction_is_a_block_and_a_chunk_of_features():
    chunk = 48 * 48 * 366
    assert plan.predict_bytes(LAYOUT, features=18) == 8 * chunk + 8 * 18 * chunk + 16 * chunk


def test_shards_that_a_task_holds_count_for_a_cube_at_a_url_alone(run):
    assert plan.held_bytes(run) == 0
    stores = run.stores.model_copy(update={"cube": "s3://bucket/features.zarr"})
    # zhang2021: lst lst_diff and flags of 366 days, ndvi evi and flags of 46 composites.
    far = run.model_copy(update={
        "stores": stores, "training": run.training.model_copy(update={"preset": "zhang2021"}),
    })  # fmt: skip
    assert plan.held_bytes(far) == 0.55 * 2 * 48 * 48 * (3 * 366 + 3 * 46)


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
