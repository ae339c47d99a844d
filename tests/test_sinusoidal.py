"""The global sinusoidal grid: places, tiles' names, and tiles laid together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.sources.sinusoidal import (
    HALF_KILOMETRE,
    KILOMETRE,
    PIXEL,
    Cutout,
    mosaic,
    span,
)

# The corner and the pixels as the MODIS Land Team states them, m.
LEFT, TOP = -20015109.354, 10007554.677


def numbered(rows, cols):
    """Pixels that know their global row and column."""
    grid = np.add.outer(1000 * np.array(rows), np.array(cols)).astype("int32")
    return Cutout(grid, rows.start, cols.start)


def test_pixels_have_the_published_sizes():
    assert KILOMETRE.pixel == pytest.approx(926.62543305, abs=1e-6)
    assert HALF_KILOMETRE.pixel == pytest.approx(463.31271653, abs=1e-6)
    assert (KILOMETRE.shape, HALF_KILOMETRE.shape) == ((21600, 43200), (43200, 86400))
    assert (KILOMETRE.tile_size, HALF_KILOMETRE.tile_size) == (1200, 2400)


@pytest.mark.parametrize("grid", [KILOMETRE, HALF_KILOMETRE])
def test_a_corner_gives_row_and_column_even_when_stated_to_a_metre(grid):
    assert grid.place_of(LEFT, TOP) == (0, 0)
    # h18v04: UpperLeftPointMtrs=(0.000000,5559752.598333), 40 deg below the pole
    middle = grid.place_of(0.0, 5559752.598333)
    assert middle == (40 * grid.pixels_per_degree, 180 * grid.pixels_per_degree)
    assert grid.place_of(0.4, 5559753.0) == middle
    assert grid.place_of(grid.pixel / 2, 5559752.598333) is None


@pytest.mark.parametrize(
    ("rows", "cols", "expected"),
    [
        (range(4800, 6000), range(21600, 22800), {"h18v04"}),
        (range(5999, 6001), range(21599, 21601), {"h17v04", "h18v04", "h17v05", "h18v05"}),
        (range(21599, 21600), range(43199, 43200), {"h35v17"}),
    ],
)
def test_tiles_are_named_by_the_rows_and_columns_they_hold(rows, cols, expected):
    assert KILOMETRE.tiles(rows, cols) == expected


def test_a_seam_between_four_tiles_loses_nothing():
    spans = [(r, c) for r in (range(0, 5), range(5, 10)) for c in (range(3, 6), range(6, 9))]
    whole = mosaic(
        (numbered(*area) for area in spans), range(2, 9), range(4, 8), fill=-1, dtype="int32"
    )
    np.testing.assert_array_equal(whole.values, numbered(range(2, 9), range(4, 8)).values)
    assert (whole.row, whole.col) == (2, 4)


def test_an_absent_tile_is_fill_and_its_neighbour_stays():
    whole = mosaic([numbered(range(2), range(2))], range(2), range(4), fill=-7, dtype="int32")
    np.testing.assert_array_equal(whole.values, [[0, 1, -7, -7], [1000, 1001, -7, -7]])


def test_no_tile_at_all_is_fill_throughout():
    whole = mosaic([], range(5, 7), range(9, 12), fill=3, dtype="uint16")
    np.testing.assert_array_equal(whole.values, np.full((2, 3), 3))
    assert whole.values.dtype == np.uint16


def test_tiles_that_overlap_are_refused_with_the_pixel():
    parts = [numbered(range(4), range(4)), numbered(range(3, 6), range(2, 6))]
    with pytest.raises(ValueError, match="two tiles hold row 3, column 2 .* leave one file"):
        mosaic(parts, range(9), range(9), fill=0, dtype="int32")
    # Outside what is wanted nobody minds.
    mosaic(parts, range(2), range(9), fill=0, dtype="int32")


def test_a_tile_of_another_type_is_refused():
    parts = [Cutout(np.zeros((2, 2), "float32"), 5, 6)]
    with pytest.raises(ValueError, match="row 5, column 6 is float32, expected int16"):
        mosaic(parts, range(9), range(9), fill=0, dtype="int16")


@given(st.integers(0, 6), st.integers(1, 6), st.integers(0, 6), st.integers(1, 6))
def test_any_window_over_any_cut_gives_the_pixels_own_numbers(row, height, col, width):
    rows, cols = range(row, row + height), range(col, col + width)
    parts = [numbered(range(0, 4), range(0, 3)), numbered(range(0, 4), range(3, 7)),
             numbered(range(4, 8), range(0, 7))]  # fmt: skip
    found = mosaic(parts, rows, cols, fill=-1, dtype="int32").values
    i, j = np.meshgrid(rows, cols, indexing="ij")
    np.testing.assert_array_equal(found, np.where((i < 8) & (j < 7), 1000 * i + j, -1))


@given(st.integers(-3, 9), st.integers(-3, 9))
def test_values_are_looked_up_alike_inside_and_outside(row, col):
    cutout = numbered(range(2, 6), range(1, 8))
    rows = np.array([row, row + 1], dtype="int32")
    cols = np.array([[col, col + 2], [col + 1, col]], dtype="int32")
    inside = (rows[:, None] >= 2) & (rows[:, None] < 6) & (cols >= 1) & (cols < 8)
    expected = np.where(inside, 1000 * rows[:, None] + cols, -9)
    np.testing.assert_array_equal(cutout.at(rows, cols, -9), expected)


def test_the_westernmost_and_easternmost_pixels_of_the_equator_are_found():
    first = Cutout(np.array([[5]], dtype="int16"), 10800, 0)
    last = Cutout(np.array([[6]], dtype="int16"), 10800, 43199)
    rows, cols = sinusoidal_index([-1 / 240], [-180 + 1 / 240, 180 - 1 / 240])
    np.testing.assert_array_equal(first.at(rows, cols, 0), [[5, 0]])
    np.testing.assert_array_equal(last.at(rows, cols, 0), [[0, 6]])
    whole = mosaic([first, last], span(rows), span(cols), fill=0, dtype="int16")
    np.testing.assert_array_equal(whole.at(rows, cols, 0), [[5, 6]])
    assert KILOMETRE.tiles(span(rows), span(cols)) >= {"h00v09", "h35v09"}


def test_the_radius_closes_the_globe():
    assert 43200 * PIXEL == pytest.approx(2 * 20015109.354, abs=0.01)


def test_no_column_at_180_degrees_falls_into_a_pixel_outside_the_globe():
    lat = 90 - (np.arange(21600) + 0.5) / 120
    _, cols = sinusoidal_index(lat, [-180 + 1 / 240, 180 - 1 / 240])
    centre_x = (cols + 0.5) / 120 - 180  # deg of the equator
    assert (np.abs(centre_x) < 180 * np.cos(np.radians(lat))[:, None]).all()
    np.testing.assert_array_equal(cols[:, 0], 43199 - cols[:, 1])
    # Without the clamp each column would stand where floor puts it.
    moved = np.floor((np.cos(np.radians(lat)) * (180 - 1 / 240) + 180) * 120) - cols[:, 1]
    assert set(np.unique(moved)) == {0, 1}
    # A share (1 - cos(lat)) / 2 at each latitude, whose mean over latitudes is:
    assert moved.mean() == pytest.approx((1 - 2 / np.pi) / 2, abs=0.006)


def test_a_row_whose_last_pixel_is_outside_takes_the_one_before():
    # Row 2348, 70.4292 N: the outline is 21600 cos(lat) = 7235.39 pixels from the middle, the
    # grid's last centre 7235.23: in a pixel whose centre, 7235.5, lies outside.
    lat = [90 - 2348.5 / 120]
    rows, cols = sinusoidal_index(lat, [-180 + 1 / 240, 180 - 3 / 240, 180 - 1 / 240])
    assert rows[0] == 2348
    np.testing.assert_array_equal(cols[0] - 21600, [-7235, 7234, 7234])
