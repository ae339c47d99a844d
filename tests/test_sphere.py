"""Distances and clusters on the sphere, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gssm_cube.statistics.sphere import EARTH_KM, cluster_tree, group_centres, nearest_km


def places(count: int) -> st.SearchStrategy:
    latitudes = arrays("float64", count, elements=st.floats(-90, 90))
    longitudes = arrays("float64", count, elements=st.floats(-180, 180))
    return st.tuples(latitudes, longitudes)


def brute_km(lat, lon, to_lat, to_lon) -> np.ndarray:
    """Vincenty's form for a sphere: another formula than the haversine, exact at any angle."""
    a, b = np.radians(lat)[:, None], np.radians(to_lat)[None]
    east = np.radians(to_lon)[None] - np.radians(lon)[:, None]
    across = np.hypot(np.cos(b) * np.sin(east),
                      np.cos(a) * np.sin(b) - np.sin(a) * np.cos(b) * np.cos(east))  # fmt: skip
    along = np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(east)
    return EARTH_KM * np.arctan2(across, along)


def test_a_quarter_of_the_globe_and_a_step_over_180_degrees_by_hand():
    quarter = EARTH_KM * np.pi / 2
    np.testing.assert_allclose(nearest_km([0], [0], [90], [77]), [quarter], rtol=1e-12)
    step = EARTH_KM * np.radians(0.2)
    np.testing.assert_allclose(nearest_km([0], [179.9], [0], [-179.9]), [step], rtol=1e-9)


@given(places(12), places(9))
@settings(max_examples=60, deadline=None)
def test_the_nearest_is_that_of_brute_force(here, there):
    expected = brute_km(*here, *there).min(axis=1)
    np.testing.assert_allclose(nearest_km(*here, *there), expected, atol=1e-3, rtol=1e-9)


def test_the_centre_of_a_group_counts_a_place_once_and_knows_no_border_at_180_degrees():
    names, lat, lon, index = group_centres(
        [5, 5, 5, 5, 2], [0, 0, 0, 0, 40], [179, 179, 179, -177, 10]
    )
    np.testing.assert_array_equal(names, [2, 5])
    np.testing.assert_allclose(lat, [40, 0], atol=1e-12)
    np.testing.assert_allclose(lon, [10, -179])  # halfway between 179 and 183
    np.testing.assert_array_equal(index, [1, 1, 1, 1, 0])


def test_the_tree_joins_places_at_their_distance_in_km():
    tree = cluster_tree([0, 0, 0], [0, 1, 90], "complete")
    np.testing.assert_allclose(tree[:, 2], EARTH_KM * np.radians([1, 90]), rtol=1e-9)


@pytest.mark.parametrize("method", ["average", "complete"])
def test_the_tree_does_not_see_the_longitude_of_its_origin(method):
    lat, lon = np.array([10.0, 12, 50, 51]), np.array([170.0, 175, 179, -179])
    turned = cluster_tree(lat, lon - 175, method)
    np.testing.assert_allclose(cluster_tree(lat, lon, method), turned, rtol=1e-9)
