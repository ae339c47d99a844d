"""Regridding: weights by hand, areas conserved, pixels against pyproj."""

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.grid import Grid
from gssm_cube.harmonise.regrid import (
    area_mean,
    fill_from_nearest,
    overlap_weights,
    sinusoidal_index,
)

EDGES = st.lists(st.integers(-800, 800), min_size=2, max_size=12, unique=True).map(
    lambda tenths: np.sort(tenths) / 10.0
)


def ramp_mean(source_lat_edges, source_lon_edges, target_lat_edges, target_lon_edges):
    """Means of lat and of lon, sampled at the centres of the source cells."""
    edges = (source_lat_edges, source_lon_edges, target_lat_edges, target_lon_edges)
    lat, lon = (np.convolve(e, [0.5, 0.5], "valid") for e in edges[:2])
    lats, lons = np.meshgrid(lat, lon, indexing="ij")
    return area_mean(lats, *edges), area_mean(lons, *edges)


# ---- overlaps and area means ------------------------------------------------------------------


def test_a_target_shares_its_length_among_the_cells_it_meets():
    weights = overlap_weights([0, 1, 2, 3], [0.5, 2.25, 9.0]).toarray()
    np.testing.assert_allclose(weights, [[0.5, 1.0, 0.25], [0.0, 0.0, 0.75]], atol=1e-15)


@pytest.mark.parametrize("flip_source", [False, True])
@pytest.mark.parametrize("flip_target", [False, True])
@given(source=EDGES, target=EDGES)
@settings(max_examples=25, deadline=None)
def test_overlaps_equal_those_of_a_loop_whichever_way_edges_run(
    flip_source, flip_target, source, target
):
    source = source[::-1] if flip_source else source
    target = target[::-1] if flip_target else target
    expected = np.zeros((target.size - 1, source.size - 1))
    for (i, j), _ in np.ndenumerate(expected):
        upper = min(max(source[j : j + 2]), max(target[i : i + 2]))
        expected[i, j] = max(0.0, upper - max(min(source[j : j + 2]), min(target[i : i + 2])))
    np.testing.assert_allclose(overlap_weights(source, target).toarray(), expected, atol=1e-12)


def test_edges_that_agree_but_for_rounding_leave_no_sliver():
    weights = overlap_weights(np.arange(4) * 0.1, np.array([0.0, 0.1, 0.2, 0.3]) + 1e-15)
    assert weights.nnz == 3


def test_a_merit_pixel_is_eleven_cells_with_rims_of_half_weight():
    third_arcsec = 1 / 1200
    source = (np.arange(-2, 14) - 0.5) * third_arcsec  # centres on multiples of 3 arcsec
    weights = overlap_weights(source, [0.0, 1 / 120]).toarray()[0]
    expected = np.r_[np.zeros(2), 0.5, np.ones(9), 0.5, np.zeros(2)] * third_arcsec
    np.testing.assert_allclose(weights, expected, atol=1e-15)


def test_the_mean_weighs_rows_by_their_true_area():
    mean, share = area_mean(np.array([[1.0], [0.0]]), [60, 30, 0], [0, 1], [60, 0], [0, 1])
    np.testing.assert_allclose(mean, (np.sqrt(3) - 1) / np.sqrt(3))  # (sin 60 - sin 30) / sin 60
    np.testing.assert_allclose(share, 1.0)


def test_missing_cells_lower_the_share_and_leave_the_mean_alone():
    values = np.array([[2.0, np.nan, 6.0, np.nan]])
    mean, share = area_mean(values, [1, 0], np.arange(5), [1, 0], [0, 3, 4, 5])
    np.testing.assert_allclose(mean, [[4.0, np.nan, np.nan]])
    np.testing.assert_allclose(share, [[2 / 3, 0.0, 0.0]])


@given(
    lat_cuts=st.sets(st.integers(1, 39), max_size=8),
    lon_cuts=st.sets(st.integers(1, 39), max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_the_mean_over_the_whole_box_is_conserved(lat_cuts, lon_cuts, seed):
    source_lat, source_lon = np.linspace(80, -40, 12), np.linspace(10, 30, 14)
    target_lat = 80 - 3.0 * np.array(sorted(lat_cuts | {0, 40}))
    target_lon = 10 + 0.5 * np.array(sorted(lon_cuts | {0, 40}))
    values = np.random.default_rng(seed).normal(size=(11, 13))

    def whole(array, lat, lon):
        areas = np.outer(-np.diff(np.sin(np.radians(lat))), np.diff(lon))
        return np.average(array, weights=areas)

    mean, share = area_mean(values, source_lat, source_lon, target_lat, target_lon)
    expected = whole(values, source_lat, source_lon)
    assert abs(whole(mean, target_lat, target_lon) - expected) < 1e-9
    np.testing.assert_allclose(share, 1.0, atol=1e-12)


@pytest.mark.parametrize(
    ("step", "shift", "tolerance"),
    [
        (1 / 1200, 0.5 / 1200, 1e-6),  # MERIT: rims are cut in half, so errors cancel
        (1 / 120, 0.0, 1e-6),
        # A cell cut at a share f counts with its own mean: off by f (1 - f) step2 / (2 width).
        (0.00225, 0.0007, 0.00225**2 / 8 * 120 + 1e-6),
    ],
)
def test_a_linear_ramp_comes_back_also_at_the_antimeridian(step, shift, tolerance):
    target_lat, target_lon = 60 - np.arange(25) / 120, 180 - np.arange(24, -1, -1) / 120
    cells = int(0.2 / step) + 3
    source_lat = 60 + step + shift - np.arange(cells + 1) * step
    source_lon = 180 + step - shift - np.arange(cells, -1, -1) * step  # runs past 180 E
    (lat, share), (lon, _) = ramp_mean(source_lat, source_lon, target_lat, target_lon)
    np.testing.assert_allclose(share, 1.0, atol=1e-12)
    lat_centres, lon_centres = 60 - (np.arange(24) + 0.5) / 120, 180 - (23.5 - np.arange(24)) / 120
    np.testing.assert_allclose(lat, np.repeat(lat_centres[:, None], 24, axis=1), 0, tolerance)
    np.testing.assert_allclose(lon, np.repeat(lon_centres[None], 24, axis=0), 0, tolerance)


def test_float32_comes_back_as_float32_and_wide_arrays_are_cut_unseen():
    values = np.arange(2 * 1200, dtype="float32").reshape(2, 1200)
    lon = np.arange(1201)
    mean, _ = area_mean(values, [1, 0, -1], lon, [1, -1], lon[::100])
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean[0], values.mean(axis=0).reshape(12, 100).mean(axis=1))


def test_edges_out_of_order_are_refused():
    with pytest.raises(ValueError, match="target_edges .* not monotonic"):
        overlap_weights([0, 1, 2], [0, 2, 1])


def test_edges_that_do_not_fit_the_values_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(2, 2\)"):
        area_mean(np.zeros((2, 3)), [2, 1, 0], [0, 1, 2], [2, 0], [0, 2])


# ---- the sinusoidal grid ----------------------------------------------------------------------


@pytest.mark.parametrize("pixels_per_degree", [120, 240])
def test_sinusoidal_pixels_are_those_of_pyproj(pixels_per_degree):
    rng = np.random.default_rng(1)
    grid = Grid(120)
    lat = grid.lat(np.sort(rng.choice(grid.rows, 150, replace=False)))
    lon = grid.lon(np.sort(rng.choice(grid.cols, 150, replace=False)))
    rows, cols = sinusoidal_index(lat, lon, pixels_per_degree)
    radius = 6371007.181
    pixel = 2 * np.pi * radius / (360 * pixels_per_degree)
    projection = pyproj.Proj(proj="sinu", R=radius, over=True)
    lons, lats = np.meshgrid(lon, lat)
    x, y = projection(lons, lats)
    if pixels_per_degree == 120:  # at 240, pixel centres lie on row borders: rounding decides
        expected = np.floor((np.pi / 2 * radius - y) / pixel)
        np.testing.assert_array_equal(np.broadcast_to(rows[:, None], cols.shape), expected)
    np.testing.assert_array_equal(cols, np.floor((x + np.pi * radius) / pixel))


def test_rows_of_the_1_km_grids_are_the_same():
    grid = Grid(120)
    rows, _ = sinusoidal_index(grid.lat(np.arange(grid.rows)), [0.0])
    np.testing.assert_array_equal(rows, np.arange(grid.rows))


def test_delft_lies_in_tile_h18v03_and_maqu_in_h26v05():
    rows, cols = sinusoidal_index([52.0, 33.9], [4.37, 102.1])
    assert (rows[0] // 1200, cols[0, 0] // 1200) == (3, 18)
    assert (rows[1] // 1200, cols[1, 1] // 1200) == (5, 26)


def test_the_corners_of_the_globe_stay_inside_the_grid():
    rows, cols = sinusoidal_index([90.0, 0.0, -90.0], [-180.0, 180.0])
    np.testing.assert_array_equal(rows, [0, 10800, 21599])
    np.testing.assert_array_equal(cols[1], [0, 43199])
    np.testing.assert_array_equal(cols[[0, 2]], 21600)  # a pole is one point, at x = 0


# ---- holes ------------------------------------------------------------------------------------


def test_a_hole_takes_the_nearest_value_and_the_sea_stays_empty():
    values = np.array([[1.0, np.nan, np.nan, np.nan, 5.0, np.nan]])
    wanted = np.array([[True, True, False, True, True, True]])
    filled_values, filled = fill_from_nearest(values, wanted, None)
    np.testing.assert_array_equal(filled_values, [[1.0, 1.0, np.nan, 5.0, 5.0, 5.0]])
    np.testing.assert_array_equal(filled, [[False, True, False, True, False, True]])


def test_holes_farther_than_the_limit_stay():
    values = np.full((4, 4), np.nan)
    values[0, 0] = 3.0
    filled_values, filled = fill_from_nearest(values, np.ones((4, 4), bool), 2.0)
    rows, cols = np.indices((4, 4))
    near = np.hypot(rows, cols) <= 2.0
    np.testing.assert_array_equal(filled_values, np.where(near, 3.0, np.nan))
    assert filled.sum() == near.sum() - 1


def test_a_pixel_that_lacks_one_layer_takes_all_layers_from_one_place():
    clay, sand = np.array([[30.0, np.nan, 10.0]]), np.array([[50.0, 99.0, np.nan]])
    values, filled = fill_from_nearest(np.stack([clay, sand]), np.ones((1, 3), bool), None)
    np.testing.assert_array_equal(values, [[[30.0] * 3], [[50.0] * 3]])
    np.testing.assert_array_equal(filled, [[False, True, True]])


def test_without_any_complete_pixel_nothing_is_filled():
    values, filled = fill_from_nearest(np.full((2, 2), np.nan), np.ones((2, 2), bool), None)
    assert np.isnan(values).all() and not filled.any()
