"""Who is held out from whom."""

import logging
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gssm_cube.grid import Grid
from gssm_cube.splits import (
    Split,
    coarser_groups,
    place_folds,
    place_groups,
    random_folds,
    region_groups,
    split_random_rows,
    split_years,
)

EARTH_KM = 6371.0


def places(count: int) -> st.SearchStrategy:
    latitudes = arrays("float64", count, elements=st.floats(-90, 90))
    longitudes = arrays("float64", count, elements=st.floats(-180, 180))
    return st.tuples(latitudes, longitudes)


def days(*years: int) -> pd.DatetimeIndex:
    return pd.to_datetime([f"{year}-{day}" for year in years for day in ("01-01", "12-31")])


def km_between(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lat, lon), (lat2, lon2) = np.radians(a), np.radians(b)
    half = np.sin((lat - lat2) / 2) ** 2
    half += np.cos(lat) * np.cos(lat2) * np.sin((lon - lon2) / 2) ** 2
    return 2 * EARTH_KM * float(np.arcsin(np.sqrt(half)))


def test_a_quarter_of_the_rows_is_held_out_at_random():
    held = split_random_rows(10, seed=1)
    assert (held.size, held.sum()) == (10, 3)  # 2.5, rounded up
    np.testing.assert_array_equal(held, split_random_rows(10, seed=1))
    assert (held != split_random_rows(10, seed=2)).any()


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_fraction_that_leaves_one_side_empty_is_refused(fraction):
    with pytest.raises(ValueError, match="held_fraction is"):
        split_random_rows(10, held_fraction=fraction)


@pytest.mark.parametrize(
    "years, held_years",
    [
        ((2019, 2020), {2020}),
        ((2017, 2018, 2019, 2020), {2020}),
        ((2016, 2017, 2018, 2019, 2020), {2019, 2020}),
        ((2010, 2020, 2015), {2020}),  # gaps and order do not matter
    ],
)
def test_the_last_quarter_of_the_years_is_held_out_rounded_up(years, held_years):
    time = days(*years)
    assert set(time.year[split_years(time)]) == held_years
    assert not set(time.year[~split_years(time)]) & held_years


def test_years_that_are_held_out_are_whole_though_the_record_ends_within_one():
    time = pd.date_range("2018-03-01", "2021-02-28")
    held = time[split_years(time)]
    assert (held[0], held[-1], held.size) == (*pd.to_datetime(["2020-03-01", "2021-02-28"]), 365)
    longer = pd.date_range("2016-03-01", "2021-02-28")  # five years: a quarter is two
    assert longer[split_years(longer)][0] == pd.Timestamp("2019-03-01")
    leap = pd.date_range("2017-01-01", "2020-02-28")  # a year that would begin on 29 February
    assert leap[split_years(leap)][0] == pd.Timestamp("2019-03-01")


def test_a_record_of_less_than_two_years_is_split_at_the_turn_of_the_year():
    time = pd.date_range("2018-03-01", "2019-12-30")
    assert time[split_years(time)][0] == pd.Timestamp("2019-01-01")


@given(st.dates(date(1999, 1, 1), date(2015, 12, 31)), st.integers(731, 9000))
@settings(deadline=None)
def test_of_a_long_record_a_quarter_or_more_is_held_out_in_whole_years(first, count):
    time = pd.date_range(first, periods=count)
    held = time[split_years(time)]
    assert held[-1] == time[-1]
    years = round(held.size / 365.25)
    assert held[0] + pd.DateOffset(years=years) - time[-1] <= pd.Timedelta(days=2)
    assert 0.25 * (count - 366) <= held.size <= 0.25 * count + 366
    assert (~split_years(time)).sum() >= 365


def test_one_calendar_year_cannot_be_split():
    assert split_years(days(2020)) is None


def test_stations_of_one_pixel_share_a_group_though_a_block_edge_runs_between_them():
    grid = Grid()
    lat = grid.lat(np.arange(0, grid.rows, 7))
    inside = 0.49 / grid.pixels_per_degree
    north = place_groups(lat + inside, np.full(lat.size, 10.1))
    south = place_groups(lat - inside, np.full(lat.size, 10.1))
    np.testing.assert_array_equal(north, south)


@pytest.mark.parametrize("lat", [0.0, 45.3, -60.2, 84.9, -84.85, -84.95, -85.05])
def test_blocks_are_at_least_25_km_and_not_much_more_in_both_directions(lat):
    step = 1 / 120
    around = np.arange(-180 + step / 2, 180, step)
    changes = np.flatnonzero(np.diff(place_groups(np.full(around.size, lat), around)))
    east = km_between((lat, 0), (lat, step)) * np.diff(changes)
    along = lat + np.arange(-300, 300) * step
    along = along[np.abs(along) < 90]
    bands = place_groups(along, np.full(along.size, -180 + step / 2))
    north = km_between((0, 0), (step, 0)) * np.diff(np.flatnonzero(np.diff(bands)))
    # Edges are seen to a pixel.
    assert 25 - km_between((lat, 0), (lat, step)) <= east.min() and east.max() < 32
    assert 25 - km_between((0, 0), (step, 0)) <= north.min() and north.max() < 27


def test_a_group_keeps_its_number_in_another_table():
    lat, lon = np.array([50.1, -33.2, 0.0]), np.array([8.9, 151.0, -0.01])
    np.testing.assert_array_equal(place_groups(lat, lon)[2], place_groups(lat[2:], lon[2:])[0])


def test_longitudes_past_180_are_the_same_places():
    assert place_groups([10.0], [200.0]) == place_groups([10.0], [-160.0])


@pytest.mark.parametrize("lat, lon", [(np.nan, 0), (91, 0), (0, np.nan), (0, 999)])
def test_a_place_off_the_globe_is_counted_and_refused(lat, lon):
    with pytest.raises(ValueError, match="1 of 2 places are missing or off the globe"):
        place_groups([0, lat], [0, lon])


def test_a_block_without_size_is_refused():
    with pytest.raises(ValueError, match="block_km is 0"):
        place_groups([0], [0], block_km=0)


@given(places(30))
@settings(max_examples=50, deadline=None)
def test_places_of_one_pixel_are_always_in_one_group_and_far_ones_never(both):
    lat, lon = both
    grid, groups = Grid(), place_groups(*both)
    centre = place_groups(grid.lat(grid.row_of(lat)), grid.lon(grid.col_of(lon)))
    np.testing.assert_array_equal(groups, centre)
    for other in range(1, lat.size):
        if abs(lat[0] - lat[other]) > 0.25:
            assert groups[0] != groups[other]


@given(places(40), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_group_is_on_both_sides_of_any_fold(both, k, seed):
    groups = place_groups(*both)
    folds = place_folds(groups, k=k, seed=seed)
    if np.unique(groups).size < 2:
        assert folds is None
        return
    for fold in np.unique(folds):
        assert not set(groups[folds == fold]) & set(groups[folds != fold])


@given(arrays("int64", 60, elements=st.integers(0, 25)), st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_folds_differ_by_one_group_at_most_and_none_is_empty(groups, k):
    names = np.unique(groups)
    folds = place_folds(groups, k=k)
    if folds is None:
        assert names.size == 1
        return
    sizes = [np.unique(groups[folds == fold]).size for fold in range(min(k, names.size))]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert sum(sizes) == names.size


def test_folds_do_not_depend_on_the_order_of_rows_but_on_the_seed():
    groups = np.random.default_rng(0).integers(0, 50, 500)
    folds = place_folds(groups, seed=3)
    np.testing.assert_array_equal(place_folds(groups[::-1], seed=3), folds[::-1])
    assert (place_folds(groups, seed=4) != folds).any()


def test_fewer_groups_than_folds_give_fewer_folds_and_say_so(caplog):
    with caplog.at_level(logging.WARNING):
        folds = place_folds([7, 7, 9, 11], k=5)
    assert folds[0] == folds[1]
    assert set(folds) == {0, 1, 2}
    assert "only 3 groups of places: 3 folds, not 5" in caplog.text


def test_one_group_cannot_be_split():
    assert place_folds([4, 4, 4]) is None


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="k is 1"):
        place_folds([1, 2], k=1)


def test_random_folds_hold_each_row_once_and_differ_by_one_row():
    folds = random_folds(13, k=5, seed=2)
    assert sorted(np.bincount(folds)) == [2, 2, 3, 3, 3]
    np.testing.assert_array_equal(folds, random_folds(13, k=5, seed=2))
    assert (folds != random_folds(13, k=5, seed=3)).any()


@given(places(40), st.sampled_from([100.0, 300.0, 1500.0]))
@settings(max_examples=50, deadline=None)
def test_larger_blocks_and_regions_never_cut_a_block_of_25_km(both, km):
    groups = place_groups(*both)
    for coarse in (
        coarser_groups(groups, *both, block_km=km),
        region_groups(groups, *both, across_km=km),
    ):
        assert coarse.shape == groups.shape
        for group in np.unique(groups):
            assert np.unique(coarse[groups == group]).size == 1


def test_stations_of_a_25_km_block_on_both_sides_of_a_100_km_edge_stay_together():
    # Along a parallel: blocks of 25 km are not nested in blocks of 100 km.
    lon = np.arange(-60, 60, 1 / 120) + 1 / 240
    lat = np.full(lon.size, 45.05)
    groups, plain = place_groups(lat, lon), place_groups(lat, lon, block_km=100)
    cut = [g for g in np.unique(groups) if np.unique(plain[groups == g]).size > 1]
    assert cut  # the case is there
    coarse = coarser_groups(groups, lat, lon, block_km=100)
    assert all(np.unique(coarse[groups == group]).size == 1 for group in cut)
    assert np.unique(coarse).size < np.unique(groups).size / 3


def test_a_region_is_not_wider_than_said_and_is_the_same_in_any_order():
    rng = np.random.default_rng(6)
    lat, lon = rng.uniform(-60, 60, 80), rng.uniform(-180, 180, 80)
    groups = place_groups(lat, lon)
    region = region_groups(groups, lat, lon, across_km=3000)
    assert 5 < np.unique(region).size < 80
    for number in np.unique(region):
        inside = [*zip(lat[region == number], lon[region == number], strict=True)]
        assert max(km_between(a, b) for a in inside for b in inside) <= 3000
    turned = region_groups(groups[::-1], lat[::-1], lon[::-1], across_km=3000)
    np.testing.assert_array_equal(turned[::-1], region)


def test_two_continents_are_two_regions_and_one_block_is_one():
    lat, lon = [40.0, 41.0, -30.0], [-100.0, -101.0, 140.0]
    np.testing.assert_equal(np.bincount(region_groups([1, 2, 3], lat, lon)).tolist(), [2, 1])
    np.testing.assert_array_equal(region_groups([4, 4], [0.0, 0.0], [1.0, 1.0]), [0, 0])


def test_a_split_judges_each_row_of_a_fold_by_the_others():
    split = Split(np.array([0, 0, 1, 2]))
    trains, tests = zip(*split.parts(), strict=True)
    np.testing.assert_array_equal(np.sum(tests, axis=0), [1, 1, 1, 1])
    for train, test in zip(trains, tests, strict=True):
        np.testing.assert_array_equal(train, ~test)


def test_a_split_by_place_and_year_trains_on_neither_and_leaves_empty_parts_out():
    last = np.array([False, True, False, True, False])
    split = Split(np.array([0, 0, 1, 1, 2]), judged=last, trained=~last)
    parts = [(np.flatnonzero(train).tolist(), np.flatnonzero(test).tolist())
             for train, test in split.parts()]  # fmt: skip
    assert parts == [([2, 4], [1]), ([0, 4], [3])]  # fold 2 has no row of the last year
