"""MODIS cut-outs: their place on the sinusoidal grid, quality bits, and the files of a day."""

from datetime import date
from itertools import product

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.sources import modis
from gssm_cube.sources.modis import LST_LAYERS, VEGETATION_LAYERS, Cutout

# The corner and pixel as the MODIS Land Team states them, m.
LEFT, TOP, PIXEL = -20015109.354, 10007554.677, 926.62543305
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def write(path, values, row=100, col=200, pixel=PIXEL, shift=0.0, crs=SINUSOIDAL):
    values = np.asarray(values)
    left, top = LEFT + (col + shift) * PIXEL, TOP - row * PIXEL
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


def test_the_westernmost_and_easternmost_pixels_of_the_equator_are_found():
    first = Cutout(np.array([[5]], dtype="int16"), 10800, 0)
    last = Cutout(np.array([[6]], dtype="int16"), 10800, 43199)
    rows, cols = sinusoidal_index([-1 / 240], [-180 + 1 / 240, 180 - 1 / 240])
    np.testing.assert_array_equal(first.at(rows, cols, 0), [[5, 0]])
    np.testing.assert_array_equal(last.at(rows, cols, 0), [[0, 6]])


@pytest.mark.parametrize("read", [modis.read_cutout, modis.check_grid])
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
    path = write(tmp_path / "a.tif", NUMBERS, **change)
    with pytest.raises(ValueError, match=r"a\.tif is not on the MODIS 1 km .* expected 926\.625 m"):
        read(path)


# ---- quality ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mandatory", "error"), product(range(4), range(4)))
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


def test_lst_is_zero_where_it_is_not_usable(tmp_path):
    quality = np.array([[0, 2, 3, 17], [65, 129, 193, 81], [0, 0, 1, 0]], dtype="uint8")
    numbers = np.full((3, 4), 14000, dtype="uint16")
    numbers[2] = [0, 7499, 7500, 65535]
    files = {
        "LST_Night_1km": write(tmp_path / "lst.tif", numbers),
        "QC_Night": write(tmp_path / "qc.tif", quality),
    }
    cutout = modis.read_lst(files, "Night", range(100, 103), range(200, 204))
    good = 14000
    expected = [[good, 0, 0, good], [good, 0, 0, good], [0, 0, 7500, 65535]]
    np.testing.assert_array_equal(cutout.values, expected)
    assert cutout.values.dtype == np.uint16 and (cutout.row, cutout.col) == (100, 200)


@pytest.mark.parametrize(
    "quality",
    [
        {"values": np.zeros((3, 3), "uint8")},
        {"values": np.zeros((3, 4), "uint8"), "col": 201},  # the same size one pixel aside
    ],
)
def test_quality_of_another_area_is_refused(tmp_path, quality):
    files = {
        "LST_Day_1km": write(tmp_path / "lst.tif", NUMBERS),
        "QC_Day": write(tmp_path / "qc.tif", **quality),
    }
    with pytest.raises(ValueError, match=r"qc\.tif covers another area than its LST"):
        modis.read_lst(files, "Day", range(0, 200), range(0, 300))


# ---- files ------------------------------------------------------------------------------------


def touch(folder, name, layers, days, ending="aid0001.tif"):
    folder.mkdir(exist_ok=True)
    for layer, day in product(layers, days):
        (folder / f"{name}.061_{layer}_doy{day}_{ending}").touch()


def test_files_are_found_by_day_and_layer(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2020366", "2019001"])
    touch(tmp_path / "b", "MOD11A1", ["Clear_day_cov"], ["2019001"])
    touch(tmp_path / "b", "MOD13A2", VEGETATION_LAYERS, ["2019001"])
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    assert list(files) == [date(2019, 1, 1), date(2020, 12, 31)]  # 2020 has a day 366
    assert set(files[date(2019, 1, 1)]) == set(LST_LAYERS)
    night = files[date(2020, 12, 31)]["QC_Night"]
    assert night.name == "MOD11A1.061_QC_Night_doy2020366_aid0001.tif"


def test_names_of_layers_that_begin_with_an_underscore_are_understood(tmp_path):
    touch(tmp_path / "a", "MOD13A2", VEGETATION_LAYERS, ["2018065"])
    files = modis.find_files(tmp_path, "MOD13A2", VEGETATION_LAYERS)
    assert list(files) == [date(2018, 3, 6)]
    assert files[date(2018, 3, 6)]["_1_km_16_days_NDVI"].name.startswith("MOD13A2.061__1_km")


def test_a_day_without_a_layer_is_refused_by_date_and_layer(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS[:3], ["2019002"])
    with pytest.raises(FileNotFoundError, match=r"MOD11A1 of 2019-01-02 .* lacks \['QC_Night'\]"):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_two_areas_in_one_folder_are_refused_rather_than_mixed(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    touch(tmp_path / "a", "MOD11A1", ["QC_Day"], ["2019001"], "aid0002.tif")
    with pytest.raises(ValueError, match="MOD11A1 of 2019-01-01 is there twice"):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_a_folder_without_files_is_refused(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    with pytest.raises(FileNotFoundError, match=r"no MOD13A2\.061 GeoTIFF"):
        modis.find_files(tmp_path, "MOD13A2", VEGETATION_LAYERS)


@pytest.mark.parametrize(
    ("day", "out"),
    [
        (date(2016, 2, 17), False),
        (date(2016, 2, 18), True),
        (date(2016, 2, 28), True),
        (date(2016, 2, 29), False),
        (date(2022, 10, 9), False),
        (date(2022, 10, 19), True),
        (date(2022, 10, 20), False),
    ],
)
def test_known_outages_begin_and_end_on_their_days(day, out):
    assert modis.in_outage(day) == out
