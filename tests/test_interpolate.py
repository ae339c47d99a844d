"""Interpolation on codes: exact integers, the same bits for a pixel and for a block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from gssm_cube.interpolate import (
    interpolate_days,
    nearest_window,
    upsample_cells,
    upsample_window,
)
from gssm_cube.variables import FILL

CODES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(-32767, 32768, (2, 4, 5)).astype("int16")
)


def bilinear_by_integers(codes, cell_pixels):
    """The rule in Python's own integers, pixel by pixel."""
    whole = 2 * cell_pixels
    rows, cols = ((size - 1) * cell_pixels for size in codes.shape)
    result = np.empty((rows, cols), dtype="int16")
    for row, col in np.ndindex(rows, cols):
        (i, y), (j, x) = divmod(row, cell_pixels), divmod(col, cell_pixels)
        y, x = 2 * y + 1, 2 * x + 1
        four = [int(code) for code in codes[i : i + 2, j : j + 2].ravel()]
        weights = [(whole - y) * (whole - x), (whole - y) * x, y * (whole - x), y * x]
        total = sum(weight * code for weight, code in zip(weights, four, strict=True))
        result[row, col] = FILL if FILL in four else (2 * total + whole**2) // (2 * whole**2)
    return result


# ---- bilinear in exact integers ---------------------------------------------------------------


def test_two_pixels_a_cell_weigh_three_to_one():
    codes = np.array([[0, 4], [8, 12]], dtype="int16")
    np.testing.assert_array_equal(upsample_cells(codes, 2), [[3, 5], [7, 9]])


@pytest.mark.parametrize(("last", "expected"), [(2, 1), (-2, 0), (-6, -1), (1, 0), (-1, 0)])
def test_halves_round_up_whatever_the_sign(last, expected):
    codes = np.array([[0, 0], [0, last]], dtype="int16")
    assert upsample_cells(codes, 1).item() == expected  # last / 4, halves towards plus infinity


@pytest.mark.parametrize("cell_pixels", [1, 5, 12])
@given(codes=CODES)
@settings(max_examples=15, deadline=None)
def test_pixels_are_exact_integers_rounded_once(cell_pixels, codes):
    expected = np.stack([bilinear_by_integers(layer, cell_pixels) for layer in codes])
    np.testing.assert_array_equal(upsample_cells(codes, cell_pixels), expected)


@pytest.mark.parametrize("extreme", [-32767, 32767])
def test_a_constant_field_stays_what_it_is(extreme):
    assert (upsample_cells(np.full((3, 3), extreme, dtype="int16")) == extreme).all()


def test_a_missing_cell_empties_the_four_squares_round_it():
    codes = np.full((4, 4), 7, dtype="int16")
    codes[1, 1] = FILL
    expected = np.full((9, 9), 7)
    expected[:6, :6] = FILL
    np.testing.assert_array_equal(upsample_cells(codes, 3), expected)


@given(codes=CODES, bounds=st.tuples(*[st.integers(0, 36)] * 2, *[st.integers(0, 48)] * 2))
@settings(max_examples=40, deadline=None)
def test_a_window_has_the_bits_of_the_whole(codes, bounds):
    codes[0, 2, 3] = FILL
    rows, cols = slice(*sorted(bounds[:2])), slice(*sorted(bounds[2:]))
    window = upsample_window(codes, rows, cols)
    np.testing.assert_array_equal(window, upsample_cells(codes)[:, rows, cols])


def test_a_window_past_the_last_centre_is_refused():
    with pytest.raises(ValueError, match=r"not a window of 0\.\.12"):
        upsample_window(np.zeros((2, 2), "int16"), slice(0, 13), slice(0, 12))


def test_a_ramp_stays_a_ramp_with_weights_of_odd_24ths():
    codes = np.array([[0, 24], [0, 24]], dtype="int16")
    np.testing.assert_array_equal(upsample_cells(codes)[0], 2 * np.arange(12) + 1)
    rows, cols = np.mgrid[0:5, 0:6]
    plane = upsample_cells((480 * rows - 240 * cols).astype("int16"))
    down, right = np.mgrid[0:48, 0:60]
    np.testing.assert_array_equal(plane, 20 * (2 * down + 1) - 10 * (2 * right + 1))


def test_bilinear_is_that_of_scipy_to_half_a_code():
    codes = np.random.default_rng(2).integers(-32767, 32767, (9, 11)).astype("int16")
    axes = [np.arange(size, dtype="float64") for size in codes.shape]
    row, col = (((np.arange(12 * (size - 1)) + 0.5) / 12) for size in codes.shape)
    oracle = RegularGridInterpolator(axes, codes.astype("float64"))
    expected = oracle(np.stack(np.meshgrid(row, col, indexing="ij"), axis=-1))
    assert np.abs(upsample_cells(codes) - expected).max() <= 0.5 + 1e-9


def test_nearest_gives_each_pixel_the_cell_whose_square_it_lies_in():
    codes = np.array([[1, 2, 3], [4, 5, FILL]], dtype="int16")
    top, bottom = [1] * 6 + [2] * 12 + [3] * 6, [4] * 6 + [5] * 12 + [FILL] * 6
    expected = np.array([top] * 6 + [bottom] * 6)
    found = nearest_window(codes, slice(0, 12), slice(0, 24))
    np.testing.assert_array_equal(found, expected)
    part = nearest_window(codes[None], slice(2, 9), slice(5, 20))
    np.testing.assert_array_equal(part[0], expected[2:9, 5:20])


def test_nearest_with_an_odd_number_of_pixels_gives_the_middle_one_to_the_second_cell():
    codes = np.array([[1, 2], [1, 2]], dtype="int16")
    row = nearest_window(codes, slice(0, 3), slice(0, 3), 3)[0]
    np.testing.assert_array_equal(row, [1, 2, 2])


def test_nearest_past_the_last_centre_is_refused():
    with pytest.raises(ValueError, match=r"not a window of 0\.\.12"):
        nearest_window(np.zeros((2, 2), "int16"), slice(0, 13), slice(0, 12))


# ---- days between composites ------------------------------------------------------------------

STARTS = np.array([-9, 7, 12])  # the last composite of a year is shorter


def daily(codes, days, starts=STARTS):
    return interpolate_days(np.asarray(codes, dtype="int16"), starts, np.asarray(days)).tolist()


def test_a_day_between_composites_weighs_them_by_its_distance():
    # 16 days from 0 to 160: 10 a day; 5 days from 160 to 100: -12 a day.
    assert daily([0, 160, 100], [-9, -8, 0, 6, 7, 8, 11, 12]) == [
        0,
        10,
        90,
        150,
        160,
        148,
        112,
        100,
    ]


def test_halves_of_a_code_round_up_between_days():
    two_days = np.array([0, 2])
    assert daily([0, 1], [1], two_days) == [1]
    assert daily([0, -1], [1], two_days) == [0]
    assert daily([-3, 0], [1], two_days) == [-1]


def test_a_missing_composite_empties_the_days_up_to_its_neighbours():
    assert daily([0, FILL, 100], [-9, -8, 6, 7, 11, 12]) == [0, FILL, FILL, FILL, FILL, 100]
    assert daily([FILL, 160, FILL], [-9, 6, 7, 8, 12]) == [FILL, FILL, 160, FILL, FILL]


def test_days_outside_the_composites_are_missing():
    assert daily([0, 160, 100], [-10, 13, 400]) == [FILL] * 3


def test_one_composite_speaks_for_its_own_day_only():
    assert daily([42], [6, 7, 8], np.array([7])) == [FILL, 42, FILL]


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_days_are_exact_integers_rounded_once(seed, count):
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.integers(1, 17, count))
    codes = rng.integers(-32767, 32768, (count, 2, 3)).astype("int16")
    days = np.arange(starts[0], starts[-1] + 1)
    result = interpolate_days(codes, starts, days)
    for (number, row, col), found in np.ndenumerate(result):
        after = int(np.searchsorted(starts, days[number]))
        if starts[after] == days[number]:
            assert found == codes[after, row, col]
            continue
        left, right = (int(codes[c, row, col]) for c in (after - 1, after))
        length, passed = (int(x - starts[after - 1]) for x in (starts[after], days[number]))
        assert found == (2 * (left * (length - passed) + right * passed) + length) // (2 * length)


@pytest.mark.parametrize("extreme", [-32767, 32767])
def test_extreme_codes_survive_the_days(extreme):
    assert daily([extreme] * 3, np.arange(-9, 13)) == [extreme] * 22
