"""A gap of one day: by hand, against a direct solution, and on a real scene."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.sparse import diags, eye_array, kron
from scipy.sparse.linalg import spsolve

from gssm_cube.harmonise.spatial import fill_residual

NAN = np.nan


def direct(residual, reach, aspect=1.0):
    """Solve the same equations at once, on a sparse matrix."""

    def second(n):
        middle = np.r_[1.0, np.full(n - 2, 2.0), 1.0]
        return diags([middle, -np.ones(n - 1), -np.ones(n - 1)], [0, 1, -1])

    rows, cols = residual.shape
    matrix = kron(second(rows), eye_array(cols)) + kron(eye_array(rows), second(cols)) / aspect**2
    matrix = (matrix + eye_array(residual.size) / reach**2).tocsr()
    flat, gap = residual.ravel().copy(), np.isnan(residual).ravel()
    pull = -matrix[gap][:, ~gap] @ flat[~gap]
    flat[gap] = spsolve(matrix[gap][:, gap].tocsc(), pull)
    return flat.reshape(residual.shape)


def test_one_missing_pixel_is_the_mean_of_its_four_neighbours():
    residual = np.array([[9.0, 1.0, 9.0], [2.0, NAN, 3.0], [9.0, 6.0, 9.0]])
    np.testing.assert_allclose(fill_residual(residual)[1, 1], 3.0, rtol=1e-6)


def test_a_spring_pulls_one_missing_pixel_towards_zero():
    residual = np.array([[9.0, 1.0, 9.0], [2.0, NAN, 3.0], [9.0, 6.0, 9.0]])
    # (1 + 2 + 3 + 6) / (4 + 1 / 0.5**2)
    np.testing.assert_allclose(fill_residual(residual, reach_pixels=0.5)[1, 1], 1.5, rtol=1e-6)


def test_narrow_pixels_listen_to_their_sides():
    residual = np.array([[9.0, 1.0, 9.0], [2.0, NAN, 3.0], [9.0, 6.0, 9.0]])
    # (1 + 6 + 4 * (2 + 3)) / (2 + 2 * 4)
    np.testing.assert_allclose(fill_residual(residual, aspect=0.5)[1, 1], 2.7, rtol=1e-6)


def test_a_ramp_goes_straight_through_a_gap():
    ramp = np.tile(np.arange(16.0), (16, 1))
    holed = ramp.copy()
    holed[5:10, 4:11] = NAN
    np.testing.assert_allclose(fill_residual(holed), ramp, atol=0.01)


def test_the_residual_fades_by_e_over_the_reach_from_a_straight_border():
    residual = np.full((8, 64), NAN)
    residual[:, 0] = 2.0
    filled = fill_residual(residual, reach_pixels=8.0)
    # On a grid the fade is by 2 + 1/64 = 2 cosh(log(step)) a pixel, 0.06 % slower than by e.
    np.testing.assert_allclose(filled[4, [8, 16]], 2.0 * np.exp([-1, -2]), rtol=0.01)
    assert abs(filled[4, 60]) < 0.01


@pytest.mark.parametrize(("reach", "aspect"), [(np.inf, 1.0), (6.0, 1.0), (6.0, 0.7)])
def test_the_surface_is_near_that_of_a_direct_solution(reach, aspect):
    rng = np.random.default_rng(5)
    field = np.cumsum(np.cumsum(rng.normal(size=(40, 53)), axis=0), axis=1) / 20
    field[8:25, 10:33] = NAN
    field[rng.random(field.shape) < 0.3] = NAN
    exact = direct(field, reach, aspect)
    gap = np.isnan(field)
    error = (fill_residual(field, reach_pixels=reach, aspect=aspect) - exact)[gap]
    assert np.sqrt(np.mean(error**2)) < 0.005 * exact.std()


@pytest.mark.parametrize("reach", [6.0, 12.0, 24.0])
def test_the_fade_is_within_a_hundredth_at_one_and_two_reaches(reach):
    residual = np.full((8, 128), NAN)
    residual[:, 0] = 2.0
    far = [int(reach), int(2 * reach)]
    exact = direct(residual, reach)[4, far]
    found = fill_residual(residual, reach_pixels=reach)[4, far]
    np.testing.assert_allclose(found, exact, rtol=0.01)


def test_widths_row_by_row_are_those_of_one_number_where_all_are_alike():
    residual = np.full((9, 11), NAN)
    residual[3:6, 4] = [1.0, 3.0, 2.0]
    alike = fill_residual(residual, reach_pixels=4.0, aspect=np.full(9, 0.7))
    np.testing.assert_array_equal(alike, fill_residual(residual, reach_pixels=4.0, aspect=0.7))


def test_a_width_for_each_column_is_refused():
    with pytest.raises(ValueError, match=r"aspect has shape \(4,\), expected one number or \(3,\)"):
        fill_residual(np.zeros((3, 4)), aspect=np.ones(4))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000), st.floats(0.5, 50))
@settings(max_examples=60, deadline=None)
def test_observed_pixels_stay_to_the_bit_and_gaps_stay_within_their_range(rows, cols, seed, reach):
    rng = np.random.default_rng(seed)
    residual = rng.normal(size=(rows, cols)).astype("float32")
    residual[rng.random(residual.shape) < 0.6] = NAN
    seen = ~np.isnan(residual)
    filled = fill_residual(residual, reach_pixels=reach)
    assert filled.dtype == np.float32 and not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[seen], residual[seen])
    np.testing.assert_array_equal(filled, fill_residual(residual, reach_pixels=reach))
    if seen.all() or not seen.any():
        assert seen.all() or not filled.any()
    else:
        # Over-relaxation may leave a little beyond the extremes of what is known and of 0.
        low, high = min(residual[seen].min(), 0.0), max(residual[seen].max(), 0.0)
        room = 0.05 * (high - low)
        assert low - room <= filled.min() and filled.max() <= high + room


def test_a_day_without_observation_is_the_estimate_in_time_or_missing():
    cloud = np.full((3, 4), NAN)
    np.testing.assert_array_equal(fill_residual(cloud, reach_pixels=5.0), np.zeros((3, 4)))
    np.testing.assert_array_equal(fill_residual(cloud), cloud)


def test_the_input_is_not_touched():
    residual = np.array([[1.0, NAN], [NAN, 2.0]])
    fill_residual(residual)
    np.testing.assert_array_equal(residual, [[1.0, NAN], [NAN, 2.0]])


def test_a_stack_of_days_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\).*one day at a time"):
        fill_residual(np.zeros((2, 3, 4)))


@pytest.mark.parametrize("options", [{"reach_pixels": 0.0}, {"aspect": -1.0}, {"aspect": NAN}])
def test_lengths_that_are_not_positive_are_refused(options):
    with pytest.raises(ValueError, match="expected both above 0"):
        fill_residual(np.zeros((2, 2)), **options)


@pytest.mark.real_data
def test_on_a_real_scene_a_shifted_gap_is_filled_better_than_by_the_nearest(real_data):
    path = real_data / "grids" / "lst_gap" / "modis_lst_20160804_masked.nc"
    with xr.open_dataset(path) as dataset:
        scene = dataset["lst"].values
    hidden = np.isnan(scene)[::-1, ::-1] & ~np.isnan(scene)
    known = np.where(hidden, NAN, scene)
    nearest = known[tuple(distance_transform_edt(np.isnan(known), return_indices=True)[1])]
    rmse, by_nearest = (
        np.sqrt(np.mean((estimate - scene)[hidden] ** 2))
        for estimate in (fill_residual(known), nearest)
    )
    assert rmse < 0.87 * by_nearest and rmse < 1.7
