"""Gaps of LST that also take what was seen round them on that day."""

from datetime import date, timedelta

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gssm_cube import cube, ingest
from gssm_cube.flags import FLAGS
from gssm_cube.grid import Layout
from gssm_cube.harmonise.spatial import fill_residual
from gssm_cube.ingest import scratch
from gssm_cube.ingest.inputs import composite_starts
from gssm_cube.ingest.lst import REACH_PIXELS, DailyBlock, rim_pixels, slices_of
from gssm_cube.sources import synthetic
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS


def daily(store, name):
    return array_of(open_group(store), f"daily/{name}")[:]


def has(quality, name):
    return quality & FLAGS[name] > 0


@pytest.fixture(scope="module")
def moved(small_world, tmp_path_factory):
    """The small world's cube again, filled in space as well."""
    store = small_world.copy_cube(tmp_path_factory.mktemp("space"))
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


# ---- seams of what is stored ------------------------------------------------------------------

DEPARTURE = 6.0  # K, of the days from the estimate in time


def cloudy_numbers(shape, seed):
    """LST numbers of a plane that departs from 12 degC by up to six kelvin, half under clouds."""
    rng = np.random.default_rng(seed)
    wave, cover = (gaussian_filter(rng.normal(size=shape), sigma) for sigma in (20, 9))
    departure = DEPARTURE * wave / np.abs(wave).max()
    return np.where(cover > 0, 0, np.rint((12 + departure + 273.15) / 0.02)).astype("uint16")


def filled_in_space(folder, layout, numbers, reach):
    """Return the daily group of a cube whose blocks were filled from the same numbers."""
    store = folder / f"{layout.tile_size}_{layout.first_day}" / "features.zarr"
    store.parent.mkdir()
    cube.create_cube(store, layout, composite_starts(layout), {"title": "", "gssm_day": "UTC"})
    root = open_group(store, "r+")
    coast = gaussian_filter(np.random.default_rng(9).normal(size=layout.shape), 15)
    land = coast > np.quantile(coast, 0.2)
    array_of(root, "static/land")[:] = land.astype("uint8")
    array_of(root, "meteo/cells")[:] = np.int16(0)
    for name, mean in {"lst_day": 12.0, "lst_night": 12.0, "tair": 0.0}.items():
        array = array_of(root, f"climatology/{name}")
        terms = np.zeros(array.shape, "float32")
        terms[0] = mean
        if name != "tair":
            terms[:, ~land] = np.nan
        array[:] = terms
    place = store.with_name("scratch.zarr")
    scratch.create_scratch(place, layout)
    for shift, name in enumerate(("lst_day", "lst_night")):
        array_of(open_group(place, "r+"), name)[:] = np.roll(numbers, 7 * shift, axis=2)
    for window in layout.windows():
        for tile in layout.tiles():
            DailyBlock(store, place, layout, "key", (), reach)(f"{tile}_{window}")
    return {name: daily(store, name) for name in ("lst", "lst_diff", "quality")}


def degrees(found, name):
    return PREDICTORS[name].packing.decode(found[name])


def test_stored_tiles_meet_as_one_larger_tile_within_a_twentieth_of_the_departures(tmp_path):
    # 25 tiles of 96 pixels, whose rims end in their neighbours, and the one of 480 over them.
    first = date(2019, 7, 1)
    layouts = [Layout.covering((4.0, 46.0, 8.0, 50.0), first, first, size) for size in (480, 96)]
    numbers = cloudy_numbers(layouts[0].shape, 0)[None]
    whole, parts = (filled_in_space(tmp_path, layout, numbers, REACH_PIXELS) for layout in layouts)
    rest = ~np.uint16(FLAGS["lst_day_spatial"] | FLAGS["lst_night_spatial"])
    np.testing.assert_array_equal(whole["quality"] & rest, parts["quality"] & rest)
    gaps = has(whole["quality"], "lst_day_filled") | has(whole["quality"], "lst_night_filled")
    land = whole["lst"] != cube.FILL
    assert 0.4 < gaps.mean() < 0.8 and land.mean() == pytest.approx(0.8, abs=0.01)
    for name in ("lst", "lst_diff"):
        apart = np.abs(degrees(whole, name) - degrees(parts, name))
        assert apart[land & ~gaps].max() == 0
        edge = np.zeros(apart.shape, bool)
        for side in range(96, 480, 96):
            edge[:, side - 1 : side + 1] = edge[:, :, side - 1 : side + 1] = True
        assert (edge & land & gaps).sum() > 3000
        # A departure fades to e**-3 on its way over the rim.
        assert apart[edge & land].max() < DEPARTURE * np.exp(-3)
        assert np.sqrt(np.mean(apart[edge & gaps & land] ** 2)) < 0.02


def test_days_beside_the_border_of_two_windows_are_as_within_one(tmp_path):
    last = date(2020, 1, 10)
    box = (4.0, 44.0, 4.4, 44.4)
    cut, within = (Layout.covering(box, last - timedelta(days - 1), last, 48) for days in (370, 30))
    assert [window.days for window in cut.windows()] == [366, 4]
    numbers = np.zeros((370, 48, 48), "uint16")
    numbers[-30:] = [cloudy_numbers((48, 48), seed) for seed in range(30)]
    two = filled_in_space(tmp_path, cut, numbers, 4.0)
    one = filled_in_space(tmp_path, within, numbers[-30:], 4.0)
    assert has(one["quality"][-8:], "lst_day_spatial").any(axis=(1, 2)).all()
    for name, values in one.items():
        np.testing.assert_array_equal(two[name][-30:], values)
