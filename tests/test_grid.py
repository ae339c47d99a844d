"""The grid, tiles and windows: places worked by hand, and round trips over the globe."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.grid import Block, Grid, Layout, Tile, Window, box_in_words, inner_chunks

GRID = Grid()
DAY = date(2018, 3, 1)
DEMO = (-32.0, 42.0, -30.4, 43.6)


def small(tile_rows=2, tile_cols=3, last_day=DAY, **options):
    return Layout(Tile(60, 370), tile_rows, tile_cols, DAY, last_day, 96, **options)


# ---- pixels -----------------------------------------------------------------------------------


def test_the_grid_has_the_rows_and_columns_of_30_arc_seconds():
    assert (GRID.rows, GRID.cols) == (21600, 43200)
    np.testing.assert_allclose(GRID.lat([0, 10799, 21599]), [90 - 1 / 240, 1 / 240, 1 / 240 - 90])
    np.testing.assert_allclose(GRID.lon([0, 21600, 43199]), [1 / 240 - 180, 1 / 240, 180 - 1 / 240])


@pytest.mark.parametrize(
    ("lat", "row"),
    [(90.0, 0), (89.9999, 0), (0.0, 10800), (1e-9, 10799), (-90.0, 21599), (52.0, 4560)],
)
def test_a_latitude_on_a_border_lies_in_the_row_below_it(lat, row):
    assert GRID.row_of(lat) == row


@pytest.mark.parametrize(
    ("lon", "col"),
    [(-180.0, 0), (180.0, 0), (179.9999, 43199), (540.0, 0), (190.0, 1200), (-190.0, 42000),
     (0.0, 21600), (4.37, 22124), (-1e-9, 21599)],
)  # fmt: skip
def test_a_longitude_lies_in_the_column_east_of_it_round_the_globe(lon, col):
    assert GRID.col_of(lon) == col


def test_a_pixel_is_numbered_row_by_row():
    assert GRID.pixel_of(90.0, -180.0) == 0
    assert GRID.pixel_of(0.0, 0.0) == 10800 * 43200 + 21600
    assert GRID.pixel_of(-90.0, 179.9999) == 21600 * 43200 - 1


@given(row=st.integers(0, 21599), col=st.integers(0, 43199))
def test_the_centre_of_a_pixel_lies_in_it(row, col):
    lat, lon = GRID.lat(row), GRID.lon(col)
    assert (GRID.row_of(lat), GRID.col_of(lon)) == (row, col)
    assert GRID.pixel_of(lat, lon) == row * 43200 + col


@given(lat=st.floats(-90, 90), lon=st.floats(-180, 180, exclude_max=True))
def test_no_place_is_farther_than_half_a_pixel_from_its_centre(lat, lon):
    assert abs(GRID.lat(GRID.row_of(lat)) - lat) <= 0.5 / 120 + 1e-9
    gap = abs(GRID.lon(GRID.col_of(lon)) - lon)
    assert min(gap, 360 - gap) <= 0.5 / 120 + 1e-9  # rounding may carry 179.99... past 180


@pytest.mark.parametrize("wrong", [0, -120, 125])
def test_pixels_that_do_not_tile_the_cells_are_refused(wrong):
    with pytest.raises(
        ValueError, match=f"pixels_per_degree is {wrong}, expected a multiple of 10"
    ):
        Grid(wrong)


# ---- the box ----------------------------------------------------------------------------------


def test_inexact_bounds_on_tile_borders_add_no_tile():
    layout = Layout.covering(DEMO, DAY, DAY, 96)
    assert layout.first_tile == Tile(58, 185)  # 46.4 deg from the pole, 148 deg from 180 W
    assert (layout.tile_rows, layout.tile_cols) == (2, 2)
    np.testing.assert_allclose(layout.bounds, DEMO, atol=1e-12)


@given(row=st.integers(0, 222), col=st.integers(0, 447), rows=st.integers(1, 3))
def test_the_bounds_of_whole_tiles_cover_just_these(row, col, rows):
    layout = Layout(Tile(row, col), rows, 3, DAY, DAY, 96)
    assert Layout.covering(layout.bounds, DAY, DAY, 96) == layout


@given(
    west=st.integers(-1800, 1798), width=st.integers(1, 100),
    south=st.integers(-900, 898), height=st.integers(1, 100),
)  # fmt: skip
def test_bounds_in_tenths_are_covered_by_the_fewest_tiles(west, width, south, height):
    east, north = min(west + width, 1800), min(south + height, 900)
    layout = Layout.covering((west / 10, south / 10, east / 10, north / 10), DAY, DAY, 480)
    assert layout.first_tile == Tile((900 - north) // 40, (west + 1800) // 40)
    assert layout.tile_rows == -(-(900 - south) // 40) - layout.first_tile.row
    assert layout.tile_cols == -(-(east + 1800) // 40) - layout.first_tile.col


def test_a_layout_says_what_it_spans_in_words():
    layout = Layout.covering((-0.3, -5, 3.9, 2), date(2019, 1, 1), date(2019, 3, 1), 480)
    span = "2019-01-01 to 2019-03-01, 4 tiles of 480 pixels of 1/120 deg"
    assert str(layout) == f"4W to 4E, 6S to 2N, {span}"
    some = replace(layout, chosen=(layout.first_tile,))
    assert str(some) == f"4W to 4E, 6S to 2N, {span.replace('4 tiles', '1 of 4 tiles')}"
    assert box_in_words((-117.35, 0.0, -117.0, 0.05)) == "117.35W to 117W, 0 to 0.05N"


def test_bounds_within_a_tile_grow_to_it():
    layout = Layout.covering((4.3, 49.9, 4.4, 52.1), DAY, DAY)
    assert (layout.first_tile, layout.shape) == (Tile(9, 46), (960, 480))
    np.testing.assert_allclose(layout.bounds, (4, 46, 8, 54))


def test_the_whole_globe_is_4050_tiles_and_wraps_at_180_degrees():
    layout = Layout.covering((-180, -90, 180, 90), DAY, DAY)
    assert len(list(layout.tiles())) == 4050
    assert layout.shape == (21600, 43200)
    assert layout.cells_shape == (1801, 3601)
    np.testing.assert_array_equal(layout.cell_lat[[0, 900, 1800]], [90, 0, -90])
    np.testing.assert_array_equal(layout.cell_lon[[0, 1800, 3600]], [-180, 0, 180])


@pytest.mark.parametrize(
    "bounds",
    [(4, 51, 4, 52), (5, 51, 4, 52), (4, 52, 5, 51), (170, 0, 190, 1), (-181, 0, 0, 1),
     (0, 80, 1, 91), (float("nan"), 0, 1, 1)],
)  # fmt: skip
def test_bounds_that_are_no_box_are_refused(bounds):
    with pytest.raises(ValueError, match=r"bounds are .*, expected \(west, south, east, north\)"):
        Layout.covering(bounds, DAY, DAY)


@pytest.mark.parametrize("size", [0, -48, 50, 24, 1440 * 48, 7 * 48])
def test_a_tile_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"tile_size is {size}, expected a multiple of 48 that"):
        Layout(Tile(0, 0), 1, 1, DAY, DAY, size)


def test_tiles_are_whole_cells_on_other_grids_too():
    with pytest.raises(ValueError, match="tile_size is 48, expected a multiple of 240"):
        Layout(Tile(0, 0), 1, 1, DAY, DAY, 48, Grid(100))  # a cell is 10 x 10 pixels
    assert Layout(Tile(0, 0), 1, 1, DAY, DAY, 240, Grid(100)).cells_shape == (25, 25)


def test_days_that_run_backwards_are_refused():
    with pytest.raises(ValueError, match="last_day 2018-02-28 is before first_day 2018-03-01"):
        small(last_day=date(2018, 2, 28))


@pytest.mark.parametrize(
    ("tile", "rows", "cols"),
    [((0, 0), 0, 1), ((0, 0), 1, 0), ((-1, 0), 1, 1), ((224, 0), 2, 1), ((0, 449), 1, 2)],
)
def test_tiles_that_are_not_on_the_globe_are_refused(tile, rows, cols):
    with pytest.raises(ValueError, match=r"are not within the globe's \(225, 450\)"):
        Layout(Tile(*tile), rows, cols, DAY, DAY, 96)


def test_a_layout_comes_back_from_its_plain_values():
    layout = small(last_day=date(2019, 2, 3), grid=Grid(120))
    assert layout.to_dict() == {
        "first_tile": [60, 370],
        "tiles": [2, 3],
        "first_day": "2018-03-01",
        "last_day": "2019-02-03",
        "tile_size": 96,
        "pixels_per_degree": 120,
    }
    assert Layout.from_dict(layout.to_dict()) == layout


def test_chosen_tiles_span_their_box_and_come_back_from_plain_values():
    layout = Layout.of_tiles([Tile(61, 372), Tile(60, 370), Tile(61, 372)], DAY, DAY, 96)
    assert (layout.first_tile, layout.tile_rows, layout.tile_cols) == (Tile(60, 370), 2, 3)
    assert list(layout.tiles()) == [Tile(60, 370), Tile(61, 372)]
    assert layout.to_dict()["chosen"] == ["r060c370", "r061c372"]
    assert Layout.from_dict(layout.to_dict()) == layout
    assert layout.tile_slices(Tile(61, 372)) == (slice(96, 192), slice(192, 288))


def test_a_box_of_chosen_tiles_without_a_gap_is_a_plain_box():
    layout = Layout.of_tiles(Layout(Tile(60, 370), 2, 3, DAY, DAY, 96).tiles(), DAY, DAY, 96)
    assert layout == Layout(Tile(60, 370), 2, 3, DAY, DAY, 96)
    assert "chosen" not in layout.to_dict()


@pytest.mark.parametrize(
    "chosen",
    [(), (Tile(60, 373),), (Tile(60, 371), Tile(60, 370)), (Tile(60, 370), Tile(60, 370))],
)
def test_chosen_tiles_are_sorted_ones_of_the_box(chosen):
    with pytest.raises(ValueError, match="chosen tiles are .*expected some of the 2 x 3 from r060"):
        Layout(Tile(60, 370), 2, 3, DAY, DAY, 96, chosen=chosen)


def test_no_tiles_make_no_layout():
    with pytest.raises(ValueError, match="no tile is given"):
        Layout.of_tiles([], DAY, DAY)


@given(st.integers(0, 449), st.integers(0, 899))
def test_a_tile_comes_back_from_its_label(row, col):
    assert Tile.parse(str(Tile(row, col))) == Tile(row, col)


@pytest.mark.parametrize("label", ["", "r1c2", "c001r002", "r001c002_w00", "r-01c002"])
def test_what_is_no_label_of_a_tile_is_refused(label):
    with pytest.raises(ValueError, match=f"tile is '{label}', expected a row and a column"):
        Tile.parse(label)


# ---- tiles, windows, blocks -------------------------------------------------------------------


def test_tiles_run_row_by_row_and_keep_their_global_numbers():
    tiles = list(small().tiles())
    assert [str(tile) for tile in tiles] == [
        "r060c370", "r060c371", "r060c372", "r061c370", "r061c371", "r061c372",
    ]  # fmt: skip
    assert str(Block(tiles[0], Window(2, 732, 366))) == "r060c370_w02"


def test_a_tile_has_its_rows_and_columns_in_the_store():
    assert small().tile_slices(Tile(61, 372)) == (slice(96, 192), slice(192, 288))


@pytest.mark.parametrize("tile", [Tile(59, 370), Tile(60, 369), Tile(62, 370), Tile(60, 373)])
def test_a_tile_outside_the_store_is_refused_by_name(tile):
    with pytest.raises(ValueError, match=f"tile {tile} is outside the store"):
        small().tile_slices(tile)


def test_the_last_window_is_short():
    layout = small(last_day=date(2021, 2, 28))  # 1,096 days
    assert layout.days == 1096
    expected = [Window(0, 0, 366), Window(1, 366, 366), Window(2, 732, 364)]
    assert layout.windows() == expected
    assert layout.windows()[2].slice == slice(732, 1096)
    assert small().windows() == [Window(0, 0, 1)]


@given(days=st.integers(1, 2000))
def test_windows_cover_each_day_once(days):
    last_day = (np.datetime64(DAY) + days - 1).item()
    windows = small(last_day=last_day).windows()
    covered = np.concatenate([np.arange(days)[window.slice] for window in windows])
    np.testing.assert_array_equal(covered, np.arange(days))
    assert [window.days for window in windows[:-1]] == [366] * (len(windows) - 1)


def test_the_axes_are_those_of_the_box():
    layout = small(last_day=date(2018, 3, 3))
    np.testing.assert_allclose(layout.lat[[0, -1]], [42 - 1 / 240, 42 - 1.6 + 1 / 240])
    np.testing.assert_allclose(layout.lon[[0, -1]], [116 + 1 / 240, 116 + 2.4 - 1 / 240])
    days = np.array(["2018-03-01", "2018-03-02", "2018-03-03"], dtype="M8[D]")
    np.testing.assert_array_equal(layout.time, days)


def test_inner_chunks_tile_a_tile():
    chunks = list(inner_chunks(slice(96, 192), slice(0, 96)))
    assert chunks[:2] == [(slice(96, 144), slice(0, 48)), (slice(96, 144), slice(48, 96))]
    assert len(chunks) == 4


# ---- cells ------------------------------------------------------------------------------------


def test_a_tile_of_480_pixels_needs_41_by_41_cells():
    layout = Layout(Tile(10, 20), 1, 1, DAY, DAY)
    assert layout.cells_shape == (41, 41)
    np.testing.assert_allclose(layout.cell_lat[[0, -1]], [50, 46])
    np.testing.assert_allclose(layout.cell_lon[[0, -1]], [-100, -96])


def test_pixels_lie_between_the_centres_of_their_cells():
    layout = small()
    for centres, places in ((layout.cell_lat, layout.lat), (layout.cell_lon, layout.lon)):
        offsets = (places - np.repeat(centres[:-1], 12)) * np.sign(centres[1] - centres[0])
        np.testing.assert_allclose(
            offsets, np.tile((np.arange(12) + 0.5) / 120, len(offsets) // 12)
        )
