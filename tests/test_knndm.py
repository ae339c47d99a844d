"""Nearest-neighbour distance matching: folds, and the distances that they are chosen by."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from test_sphere import brute_km, places

from gssm_cube.skill.knndm import matched_folds, prediction_points
from gssm_cube.splits import place_folds, place_groups


def five_towns(per_town: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Stations 60 km apart in five towns that are 1,500 km apart."""
    east = np.repeat([0.0, 15, 30, 45, 60], per_town)
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, east.size), east + rng.uniform(-1, 1, east.size)


def even_points(west: float, east: float) -> tuple[np.ndarray, np.ndarray]:
    lat, lon = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(west, east, 60))
    return lat.ravel(), lon.ravel()


def brute_fold_km(folds: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    km = brute_km(lat, lon, lat, lon)
    return np.where(folds[:, None] == folds[None], np.inf, km).min(axis=1)


def test_the_distances_are_those_of_brute_force():
    lat, lon = five_towns()
    target = even_points(-20, 80)
    groups = place_groups(lat, lon)
    found = matched_folds(groups, lat, lon, *target)
    order = np.lexsort((lon, lat, np.unique(groups, return_inverse=True)[1]))  # as they stand
    lat, lon, folds, group = (values[order] for values in (lat, lon, found.folds, groups))
    np.testing.assert_allclose(found.fold_km, brute_fold_km(folds, lat, lon), rtol=1e-9)
    np.testing.assert_allclose(found.station_km, brute_fold_km(group, lat, lon), rtol=1e-9)
    expected = brute_km(*target, lat, lon).min(axis=1)
    np.testing.assert_allclose(found.prediction_km, expected, rtol=1e-9)
    gap = wasserstein_distance(found.fold_km, found.prediction_km)
    assert found.wasserstein_km == pytest.approx(gap)


def test_predictions_far_from_clustered_stations_hold_out_whole_towns():
    lat, lon = five_towns()
    groups = place_groups(lat, lon)
    north, east = even_points(-5, 65)
    found = matched_folds(groups, lat, lon, north + 14, east)  # as far as town from town
    assert found.clusters == 5
    towns = np.repeat(np.arange(5), 8)
    assert all(np.unique(found.folds[towns == town]).size == 1 for town in range(5))
    at_random = brute_fold_km(place_folds(groups), lat, lon)
    assert found.wasserstein_km < 0.5 * wasserstein_distance(at_random, found.prediction_km)


def test_predictions_among_the_stations_deal_places_at_random():
    lat, lon = five_towns()
    groups = place_groups(lat, lon)
    rng = np.random.default_rng(2)
    near = lat + rng.uniform(-0.3, 0.3, lat.size), lon + rng.uniform(-0.3, 0.3, lon.size)
    found = matched_folds(groups, lat, lon, *near, seed=3)
    assert found.clusters is None
    names = np.unique(groups, return_inverse=True)[1]
    expected = place_folds(np.arange(names.max() + 1), seed=3)[names]
    np.testing.assert_array_equal(found.folds, expected)


@given(places(30), places(20), st.integers(2, 5), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_no_group_is_in_two_folds_and_every_row_is_in_one(both, target, k, seed):
    lat, lon = (np.tile(values, 2) for values in both)  # two days a station
    groups = place_groups(lat, lon)
    found = matched_folds(groups, lat, lon, *target, k=k, seed=seed)
    if np.unique(groups).size < 2:
        assert found is None
        return
    assert found.folds.shape == lat.shape and found.folds.min() >= 0
    assert 2 <= np.unique(found.folds).size <= k
    for group in np.unique(groups):
        assert np.unique(found.folds[groups == group]).size == 1
    assert (found.fold_km >= found.station_km - 1e-6).all()


def test_the_seed_deals_anew_and_the_order_of_rows_does_not_matter():
    lat, lon = five_towns()
    groups, target = place_groups(lat, lon), even_points(-3, 63)
    found = matched_folds(groups, lat, lon, *target, k=2, seed=1)
    turned = matched_folds(groups[::-1], lat[::-1], lon[::-1], *target, k=2, seed=1)
    np.testing.assert_array_equal(found.folds, turned.folds[::-1])
    others = [matched_folds(groups, lat, lon, *target, k=2, seed=seed).folds for seed in range(5)]
    assert any((folds != found.folds).any() for folds in others)


def test_no_prediction_point_is_refused():
    with pytest.raises(ValueError, match="no prediction point"):
        matched_folds([1, 2], [0, 1], [0, 1], [], [])


def test_prediction_points_are_pixels_of_the_land_evenly_drawn():
    lat, lon = np.arange(60, 40, -0.1), np.arange(0, 40, 0.1)
    sea = np.add.outer(lat * 0, lon) < 20
    land = xr.DataArray(np.where(sea, 0, 1), {"lat": lat, "lon": lon}, ("lat", "lon"))
    north, east = prediction_points(land, drawn=800)  # of 80,000 pixels every 10th each way
    assert north.size == 400 and east.min() > 20
    np.testing.assert_allclose(np.diff(np.unique(north)), 1.0)
    every = prediction_points(land[:2, -3:])
    assert every[0].size == 6
