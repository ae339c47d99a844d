"""Directions of flow and drainage area from heights: worked by hand, and for any heights."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gssm_cube.harmonise.drainage import CODES, DOWN, KM_PER_DEGREE, RIGHT, drainage

SIDE = 1 / KM_PER_DEGREE  # cells of 1 km2 at the equator


def flow(heights):
    """Drainage of heights at the equator."""
    values = np.array(heights, dtype="float32")
    return drainage(values, np.zeros(values.shape[0]), SIDE)


def test_a_ramp_to_the_sea_drains_down_it():
    codes, area = flow([[np.nan, 1, 2, 3]])
    np.testing.assert_array_equal(codes, [[247, 0, 16, 16]])
    np.testing.assert_allclose(area, [[0, 3, 2, 1]], rtol=1e-6)


def test_a_pit_is_filled_and_drains_over_its_lowest_rim():
    heights = np.full((5, 5), 9.0)
    heights[1:4, 1:4] = [[5, 5, 5], [5, 1, 5], [5, 5, 5]]
    heights[2, 4], heights[2, 3] = 6.0, 5.0
    codes, area = flow(heights)
    assert codes[2, 3] == 1  # over the rim of 6 m in the east
    assert codes[2, 2] in (128, 1, 2)  # the pit itself, filled to 6 m
    np.testing.assert_allclose(area[2, 4], 25, rtol=1e-6)  # the rim falls inward as well


def test_diagonals_are_longer_and_degrees_of_longitude_shorter():
    heights = np.array([[9, 9, 9, 9], [9, 4, 3, 9], [9, 3, 2.5, 9], [9, 9, 1, 9]], "float32")
    codes, _ = drainage(heights, np.zeros(4), SIDE)
    # From 4 m: 1 m in one cell against 1.5 m in 1.41 cells: the diagonal is steeper, 1.06.
    assert codes[1, 1] == 2
    codes, _ = drainage(heights, np.full(4, 60.0), SIDE)
    # At 60 N a cell is half as wide: east falls 2 m a cell, the diagonal 1.5 / 1.12 = 1.34.
    assert codes[1, 1] == 1


@settings(max_examples=60)
@given(arrays("float32", (7, 9), elements=st.integers(0, 6).map(float)), st.integers(0, 62))
def test_all_water_of_any_heights_leaves_and_none_is_lost(heights, lake):
    heights[np.unravel_index(lake, heights.shape)] = np.nan
    codes, area = drainage(heights, np.zeros(7), SIDE)
    ends = (codes == 0) & ~np.isnan(heights)
    np.testing.assert_allclose(area[ends].sum(), 62, rtol=1e-5)
    assert (codes[np.isnan(heights)] == 247).all()
    for row, col in np.argwhere(~np.isnan(heights)):
        for _ in range(63):  # no circle
            code = codes[row, col]
            if code == 0:
                break
            (way,) = np.flatnonzero(CODES == code)
            row, col = row + DOWN[way], col + RIGHT[way]
        assert codes[row, col] == 0
