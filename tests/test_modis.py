"""MODIS cut-outs: their place on the sinusoidal grid, quality bits, and the files of a day."""

from datetime import date
from itertools import product

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from gssm_cube.sources import modis
from gssm_cube.sources.sinusoidal import Cutout
from gssm_cube.sources.vegetation_500m import coarsen

# The corner and pixel as the MODIS Land Team states them, m.
LEFT, TOP, PIXEL = -20015109.354, 10007554.677, 926.62543305
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def write(path, values, row=100, col=200, pixel=PIXEL, shift=0.0, crs=SINUSOIDAL):
    values = np.asarray(values)
    left, top = LEFT + (col + shift) * pixel, TOP - row * pixel
    profile = dict(driver="GTiff", count=1, height=values.shape[0], width=values.shape[1])
    profile |= dict(dtype=values.dtype, crs=crs, transform=Affine(pixel, 0, left, 0, -pixel, top))
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)
    return path


NUMBERS = np.arange(1, 13, dtype="uint16").reshape(3, 4)  # rows 100..102, columns 200..203


def test_a_file_knows_its_first_global_row_and_column(tmp_path):
    cutout = modis.read_cutout(write(tmp_path / "a.tif", NUMBERS, 21000, 43000))
    assert (cutout.row, cutout.col) == (21000, 43000)
    np.testing.assert_array_equal(cutout.values, NUMBERS)
    assert cutout.values.dtype == np.uint16


@pytest.mark.parametrize(
    ("rows", "cols", "expected", "place"),
    [
        (range(101, 103), range(201, 203), [[6, 7], [10, 11]], (101, 201)),
        (range(0, 101), range(203, 999), [[4]], (100, 203)),
        (range(90, 200), range(190, 300), NUMBERS, (100, 200)),
    ],
)
def test_a_part_is_cut_by_global_rows_and_columns(tmp_path, rows, cols, expected, place):
    cutout = modis.read_cutout(write(tmp_path / "a.tif", NUMBERS), rows, cols)
    np.testing.assert_array_equal(cutout.values, expected)
    assert (cutout.row, cutout.col) == place


def test_pixels_outside_the_file_get_the_fill(tmp_path):
    path = write(tmp_path / "a.tif", NUMBERS)
    rows = np.array([99, 100, 102, 103], dtype="int32")
    cols = np.array([[200, 201], [199, 200], [203, 204], [200, 201]], dtype="int32")
    expected = [[77, 77], [77, 1], [12, 77], [77, 77]]
    for cutout in (
        modis.read_cutout(path),
        modis.read_cutout(path, range(99, 104), range(199, 205)),
    ):
        found = cutout.at(rows, cols, 77)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint16


def test_a_file_elsewhere_gives_nothing_but_fill(tmp_path):
    path = write(tmp_path / "a.tif", NUMBERS.astype("int16"))
    cutout = modis.read_cutout(path, range(0, 5), range(0, 5))
    found = cutout.at(np.arange(5, dtype="int32"), np.tile(np.arange(5, dtype="int32"), (5, 1)), -3)
    np.testing.assert_array_equal(found, np.full((5, 5), -3))


def read_as_lst(path):
    modis.read_lst({"": {"LST_Day_1km": path, "QC_Day": path}}, "Day", range(9), range(9))


def check_as_lst(path):
    modis.check_day({"": {"LST_Day_1km": path}})


@pytest.mark.parametrize("read", [modis.read_cutout, read_as_lst, check_as_lst])
@pytest.mark.parametrize(
    "change",
    [
        {"pixel": 1000.0},
        {"pixel": PIXEL / 2},  # the 500 m products
        {"shift": 0.5},
        {"pixel": 1 / 120, "crs": "EPSG:4326"},
    ],
)
def test_another_grid_is_refused_with_the_numbers(tmp_path, read, change):
    path = write(tmp_path / "MOD11A1_a.tif", NUMBERS, **change)
    with pytest.raises(ValueError, match=r"a\.tif is not on the MODIS 1 km .* expected 926\.625 m"):
        read(path)


# ---- quality ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mandatory", "error"), list(product(range(4), range(4))))
def test_good_pixels_and_fair_ones_up_to_two_kelvin_are_kept(mandatory, error):
    # Bits 7-6 error, 5-4 emissivity, 3-2 data quality, 1-0 mandatory: the middle ones are free.
    flags = [int(f"{error:02b}{middle:04b}{mandatory:02b}", 2) for middle in range(16)]
    kept = modis.usable_lst(np.full(16, 15000, "uint16"), np.array(flags, "uint8"))
    wanted = {(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)}
    np.testing.assert_array_equal(kept, np.full(16, (mandatory, error) in wanted))


@pytest.mark.parametrize(
    ("number", "kept"), [(0, False), (7499, False), (7500, True), (65535, True)]
)
def test_numbers_below_7500_are_no_temperature(number, kept):
    assert modis.usable_lst(np.array([number], "uint16"), np.array([0], "uint8"))[0] == kept


def lst_files(folder, lst, quality, **place):
    return {
        "LST_Night_1km": write(folder / "MOD11A1.lst.tif", lst, **place),
        "QC_Night": write(folder / "MOD11A1.qc.tif", quality, **place),
    }


def test_lst_is_zero_where_it_is_not_usable_and_where_no_file_reaches(tmp_path):
    quality = np.array([[0, 2, 3, 17], [65, 129, 193, 81], [0, 0, 1, 0]], dtype="uint8")
    numbers = np.full((3, 4), 14000, dtype="uint16")
    numbers[2] = [0, 7499, 7500, 65535]
    day = {"": lst_files(tmp_path, numbers, quality)}
    cutout = modis.read_lst(day, "Night", range(100, 104), range(199, 204))
    good = 14000
    expected = [[0, good, 0, 0, good], [0, good, 0, 0, good], [0, 0, 0, 7500, 65535], [0] * 5]
    np.testing.assert_array_equal(cutout.values, expected)
    assert cutout.values.dtype == np.uint16 and (cutout.row, cutout.col) == (100, 199)


@pytest.mark.parametrize(
    "quality",
    [
        {"values": np.zeros((3, 3), "uint8")},
        {"values": np.zeros((3, 4), "uint8"), "col": 201},  # the same size one pixel aside
        {"values": np.zeros((3, 4), "uint8"), "col": 900},
    ],
)
def test_quality_of_another_area_is_refused(tmp_path, quality):
    files = {
        "LST_Day_1km": write(tmp_path / "MOD11A1.lst.tif", NUMBERS),
        "QC_Day": write(tmp_path / "MOD11A1.qc.tif", **quality),
    }
    with pytest.raises(ValueError, match=r"qc\.tif covers another area than its LST_Day_1km"):
        modis.read_lst({"": files}, "Day", range(0, 200), range(0, 300))


# ---- GeoTIFF tiles ----------------------------------------------------------------------------


def test_tiles_of_a_day_are_laid_together_and_an_absent_one_is_missing(tmp_path):
    # The last columns of h18v04 and the first of h19v04, row 4800 on; h18v05 is not there.
    day = {}
    for tile, col, first in (("h18v04", 22798, 9000), ("h19v04", 22800, 9100)):
        numbers = (first + np.arange(4)).reshape(2, 2).astype("uint16")
        (tmp_path / tile).mkdir()
        zeros = np.zeros((2, 2), "uint8")
        day[tile] = lst_files(tmp_path / tile, numbers, zeros, row=5998, col=col)
    cutout = modis.read_lst(day, "Night", range(5998, 6001), range(22798, 22802))
    expected = [[9000, 9001, 9100, 9101], [9002, 9003, 9102, 9103], [0, 0, 0, 0]]
    np.testing.assert_array_equal(cutout.values, expected)
    away = modis.read_lst(day, "Night", range(0, 2), range(0, 2))
    np.testing.assert_array_equal(away.values, np.zeros((2, 2)))


def test_a_tile_that_lies_elsewhere_than_its_name_says_is_refused(tmp_path):
    day = {"h18v04": lst_files(tmp_path, NUMBERS, NUMBERS.astype("uint8"), row=4800, col=22800)}
    message = r"lst\.tif lies in tile h19v04 by its own metadata, expected h18v04 by its name"
    with pytest.raises(ValueError, match=message):
        modis.read_lst(day, "Night", range(4800, 4900), range(21600, 21700))


def vegetation_files(folder, ndvi, product="MOD13A2", reliability=None, **place):
    """A composite of 2019-01-01 whose dates are its first day."""
    good = np.zeros(np.shape(ndvi), "uint8") if reliability is None else reliability
    layers = {
        "NDVI": ndvi,
        "EVI": np.asarray(ndvi) // 2,
        "pixel_reliability": good,
        "composite_day_of_the_year": np.ones(np.shape(ndvi), "int16"),
    }
    return {
        name: write(folder / f"{product}.{name}.tif", values, **place)
        for name, values in layers.items()
    }


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_reliability_of_any_conversion_has_minus_one_as_fill(tmp_path, dtype):
    ranks = np.array([[0, 1, 2, 3], [-1, -1, 0, 0]]).astype(dtype)
    files = vegetation_files(tmp_path, np.full((2, 4), 5000, "int16"), reliability=ranks)
    start = date(2019, 1, 1)
    found = modis.read_vegetation({"": files}, start, range(100, 102), range(200, 205))
    expected = [[0, 1, 2, 3, -1], [-1, -1, 0, 0, -1]]
    np.testing.assert_array_equal(found["pixel_reliability"].values, expected)
    assert {name: c.values.dtype.name for name, c in found.items()} == {
        "NDVI": "int16", "EVI": "int16", "pixel_reliability": "int8",
        "composite_day_of_the_year": "int16",
    }  # fmt: skip
    np.testing.assert_array_equal(found["NDVI"].values[:, 4], [-3000, -3000])


def test_vegetation_that_was_scaled_already_is_refused_by_name(tmp_path):
    files = vegetation_files(tmp_path, np.full((2, 2), 0.5, "float32"))
    message = r"NDVI\.tif is float32, expected int16 .* of NDVI \(scale 0\.0001\); it was scaled"
    with pytest.raises(ValueError, match=message):
        modis.read_vegetation({"": files}, date(2019, 1, 1), range(100, 102), range(200, 202))


def test_a_scale_changed_half_way_is_refused_by_name(tmp_path):
    files = lst_files(tmp_path, NUMBERS, NUMBERS.astype("uint8"))
    with rasterio.open(files["LST_Night_1km"], "r+") as raster:
        raster.scales = (0.02,)
    modis.read_lst({"": files}, "Night", range(5), range(5))  # that of the product
    with rasterio.open(files["LST_Night_1km"], "r+") as raster:
        raster.scales = (0.01,)
    message = r"lst\.tif: scale and offset are 0\.01 and 0, expected 0\.02 and 0 for LST_Night_1km"
    with pytest.raises(ValueError, match=message):
        modis.read_lst({"": files}, "Night", range(5), range(5))


def test_a_truncated_geotiff_is_refused_by_name(tmp_path):
    numbers = np.arange(40000, dtype="uint16").reshape(200, 200)
    files = lst_files(tmp_path, numbers, numbers.astype("uint8"))
    path = files["LST_Night_1km"]
    whole = path.read_bytes()
    for size in (0, 100, 40000):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"lst\.tif \(\d+ bytes\) cannot be read .* download"):
            modis.read_lst({"": files}, "Night", range(100, 300), range(200, 400))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lst\.tif is gone"):
        modis.read_lst({"": files}, "Night", range(100, 300), range(200, 400))


def test_a_file_of_a_product_that_is_not_read_here_is_refused(tmp_path):
    day = {"": {"LST_Day_1km": write(tmp_path / "MOD11A2.lst.tif", NUMBERS)}}
    with pytest.raises(
        ValueError, match="of no product that is read here, expected one of MOD11A1"
    ):
        modis.check_day(day)


# ---- the 500 m grid ---------------------------------------------------------------------------


def test_a_linear_field_at_500_m_is_exact_at_1_km_and_an_index_is_not(tmp_path):
    # NDVI = 40 i + 8 j at global 500 m rows i and columns j from the corner: a 1 km pixel's
    # centre is at (2r + 0.5, 2c + 0.5), so its value is 80 r + 16 c + 24, and EVI half of it.
    i, j = np.meshgrid(np.arange(6), np.arange(8), indexing="ij")
    ramp = (40 * i + 8 * j).astype("int16")
    files = vegetation_files(tmp_path, ramp, "MOD13A1", row=200, col=400, pixel=PIXEL / 2)
    start, rows, cols = date(2019, 1, 1), range(100, 103), range(200, 204)
    found = modis.read_vegetation({"": files}, start, rows, cols)
    r, c = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    np.testing.assert_array_equal(found["NDVI"].values, 80 * r + 16 * c + 24)
    np.testing.assert_array_equal(found["EVI"].values, 40 * r + 8 * c + 12)
    np.testing.assert_array_equal(found["pixel_reliability"].values, 0)
    np.testing.assert_array_equal(found["composite_day_of_the_year"].values, 1)
    assert (found["NDVI"].row, found["NDVI"].col) == (100, 200)
    assert (
        np.abs(ramp[::2, ::2] - found["NDVI"].values) == 24
    ).all()  # what an index would miss by


def test_a_500_m_cutout_that_begins_amid_a_pixel_counts_what_is_there(tmp_path):
    ramp = np.array([[1000, 2000, 3000]], dtype="int16")  # row 201, columns 401..403
    files = vegetation_files(tmp_path, ramp, "MOD13A1", row=201, col=401, pixel=PIXEL / 2)
    found = modis.read_vegetation({"": files}, date(2019, 1, 1), range(99, 102), range(199, 203))
    expected = np.full((3, 4), -3000)
    expected[1, 1:3] = 1000, 2500
    np.testing.assert_array_equal(found["NDVI"].values, expected)


def quarters(*values, dtype="int16"):
    """One 1 km pixel of four sub-pixels."""
    return Cutout(np.array(values).reshape(2, 2).astype(dtype), 10, 20)


@pytest.mark.parametrize(
    ("ndvi", "ranks", "days", "expected"),
    [
        ([100, 200, 300, 401], [0, 0, 0, 0], [1, 2, 3, 4], (250, 0, 3)),  # 250.25; 2.5 days up
        ([100, 200, 9000, 9000], [1, 1, 2, 3], [1, 3, 9, 9], (150, 1, 2)),  # clouds stay out
        ([100, 200, 9000, 300], [0, 0, -1, 4], [1, 3, 9, 9], (150, 0, 2)),  # no such rank
        ([100, -3000, -2001, 10001], [1, 0, 0, 0], [5, 1, 1, 1], (100, 1, 5)),  # not valid
        ([-3000] * 4, [0] * 4, [1] * 4, (-3000, -1, -1)),
        ([100, 100, 100, 100], [0, 0, 0, 0], [-1, 4, 8, 17], (100, 0, 6)),  # 17 is too late
        ([100, 100, 100, 100], [0, 0, 0, 0], [-1, -1, 0, 17], (100, 0, -1)),
    ],
)
def test_the_best_sub_pixels_give_value_rank_and_date(ndvi, ranks, days, expected):
    parts = (quarters(*ndvi), quarters(*ndvi), quarters(*ranks, dtype="int8"), quarters(*days))
    found = coarsen(parts, date(2019, 1, 1))
    assert tuple(int(part.values[0, 0]) for part in (found[0], found[2], found[3])) == expected
    assert [(part.row, part.col, part.values.dtype) for part in found] == [
        (5, 10, part.values.dtype) for part in parts
    ]


@pytest.mark.parametrize(
    ("year", "days", "expected"),
    [
        (2019, [364, 364, 2, 2], 1),  # 364, 364, 367, 367: 365.5, up to 366, the 1st of January
        (2020, [366, 366, 366, 366], 366),
        (2020, [365, 366, 365, 366], 366),
        (2019, [366, 366, 366, 366], -1),  # 2019 has none
    ],
)
def test_dates_of_the_last_composite_run_past_the_years_end(year, days, expected):
    ones = [100] * 4
    parts = (quarters(*ones), quarters(*ones), quarters(0, 0, 0, 0), quarters(*days))
    assert coarsen(parts, date(year, 12, 19 if year == 2019 else 18))[3].values == expected


@pytest.mark.real_data
def test_real_composites_of_500_m_are_read_and_the_two_scaled_ones_refused(real_data):
    paths = sorted((real_data / "grids/modis/MOD13A1_NDVI_2016").glob("*.tif"))
    scaled = []
    for path in paths:
        with rasterio.open(path) as raster:
            top, left = (TOP - raster.transform.f) / (PIXEL / 2), raster.transform.c - LEFT
            raw = raster.read(1)
        rows, cols = (range(round(n), round(n) + m) for n, m in zip(
            (top, left / (PIXEL / 2)), raw.shape, strict=True))  # fmt: skip
        try:
            found = modis.read_tile({"NDVI": path}, ("NDVI",), rows, cols)
        except ValueError as error:
            assert f"{path} is float32, expected int16 digital numbers" in str(error)
            scaled.append(path.stem[-3:])
        else:
            np.testing.assert_array_equal(found[0].values, raw)
    assert (len(paths), scaled) == (23, ["337", "353"])
