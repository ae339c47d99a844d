"""Gaps of LST that also take what was seen round them on that day."""

import numpy as np
import pytest

from gssm_cube import ingest
from gssm_cube.flags import FLAGS
from gssm_cube.harmonise.spatial import fill_residual
from gssm_cube.ingest.lst import REACH_PIXELS, rim_pixels, slices_of
from gssm_cube.sources import synthetic
from gssm_cube.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS


def daily(store, name):
    return array_of(open_group(store), f"daily/{name}")[:]


def has(quality, name):
    return quality & FLAGS[name] > 0


@pytest.fixture(scope="module")
def moved(small_world, tmp_path_factory):
    """The small world's cube again, filled in space as well."""
    store = tmp_path_factory.mktemp("space") / "features.zarr"
    ingest.harmonise(store, small_world.layout, small_world.folders, lst_filling="temporal_spatial")
    return store


def test_only_what_was_filled_moves_and_what_moved_says_so(small_world, moved):
    before, after = daily(small_world.cube, "quality"), daily(moved, "quality")
    space = FLAGS["lst_day_spatial"] | FLAGS["lst_night_spatial"]
    np.testing.assert_array_equal(after & ~np.uint16(space), before)
    assert not (before & space).any()
    for time in ("day", "night"):
        in_space = has(after, f"lst_{time}_spatial")
        assert not (in_space & ~has(after, f"lst_{time}_filled")).any()
        assert in_space.sum() > 0.8 * has(after, f"lst_{time}_filled").sum()
    still = after & space == 0
    for name in ("lst", "lst_diff"):
        old, new = (daily(store, name) for store in (small_world.cube, moved))
        # Each overpass moves by less than a code, their difference by less than two.
        assert np.abs(new.astype(int) - old)[still].max() <= 2
        assert (new != old)[~still].mean() > 0.9


def test_the_world_s_hidden_surface_is_met_better_than_in_time_alone(small_world, moved):
    # Wet soil cools the day and warms the night, so that the mean of both hides what it does.
    world = synthetic.World(small_world.layout, 0)
    land = array_of(open_group(moved), "static/land")[:] == 1
    rmse = {}
    for name, store in {"time": small_world.cube, "space": moved}.items():
        quality = daily(store, "quality")
        found = PREDICTORS["lst_diff"].packing.decode(daily(store, "lst_diff"))
        errors = []
        for day in range(0, small_world.layout.days, 7):
            surface = synthetic.surface_temperature(world, day)
            hidden = (quality[day] & 0b11 > 0)[land]
            errors.append((found[day][land] - surface["Day"] + surface["Night"])[hidden])
        rmse[name] = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert rmse["space"] < 0.85 * rmse["time"]


def test_the_same_setting_again_does_nothing(small_world, moved):
    again = ingest.harmonise(
        moved, small_world.layout, small_world.folders, lst_filling="temporal_spatial"
    )
    assert (again["units"] == 0).all()


def test_tiles_that_see_a_rim_meet_at_their_border_as_one_plane_does():
    # Bands 60 and 30 pixels wide are hidden, on both sides of the border at row and column 144.
    rim, size = rim_pixels(REACH_PIXELS), 144
    rows, cols = np.mgrid[: 2 * size, : 2 * size] / 40.0
    noise = np.random.default_rng(1).normal(0, 0.8, rows.shape)
    plane = 2 * np.sin(rows) + 3 * np.cos(1.7 * cols + rows) + noise
    plane[:, size - 20 : size + 40] = np.nan
    plane[size - 15 : size + 15] = np.nan
    whole = fill_residual(plane, reach_pixels=REACH_PIXELS)
    seen = slice(size - rim, 2 * size)
    part = fill_residual(plane[seen, seen], reach_pixels=REACH_PIXELS)[rim:, rim:]
    # A departure of 5 K at the rim's end fades to a twentieth.
    assert np.abs(part - whole[size:, size:]).max() < 5 * np.exp(-3)


def test_the_rim_is_three_reaches_in_whole_coarse_pixels():
    assert rim_pixels(16.0) == 48 and rim_pixels(8.0) == 32 and rim_pixels(1.0) == 16


def test_a_window_is_cut_where_the_scratch_s_chunks_end():
    assert list(slices_of(slice(366, 370), 16)) == [slice(366, 368), slice(368, 370)]
    assert list(slices_of(slice(0, 40), 16)) == [slice(0, 16), slice(16, 32), slice(32, 40)]
