"""VIIRS tiles and cut-outs: their files, their place on the sinusoidal grid, and quality bits."""

from datetime import date
from itertools import product

import netCDF4
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from viirs_writer import LST_GRID, PIXEL, struct_metadata, write_lst, write_vegetation

from gssm_cube.sources import hdfeos5, viirs
from gssm_cube.sources.hdfeos5 import read_tile
from gssm_cube.sources.viirs import LST, LST_PRODUCTS, QUALITY, VEGETATION, VNP13A2

DAY = LST_PRODUCTS["Day"]
NUMBERS = np.arange(14001, 14013, dtype="uint16").reshape(3, 4)
GOOD = np.zeros((3, 4), "uint16")
# Tile h18v04: its first global row and column.
ROW, COL = 4800, 21600
WHERE = range(ROW, ROW + 3), range(COL, COL + 4)


def write_raster(path, values, row=ROW, col=COL):
    left, top = -20015109.354 + col * PIXEL, 10007554.677 - row * PIXEL
    profile = dict(driver="GTiff", count=1, height=values.shape[0], width=values.shape[1])
    crs = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
    transform = Affine(PIXEL, 0, left, 0, -PIXEL, top)
    with rasterio.open(path, "w", dtype=values.dtype, crs=crs, transform=transform, **profile) as r:
        r.write(values, 1)
    return path


# ---- tiles ------------------------------------------------------------------------------------


def test_what_the_writer_writes_another_library_reads_by_the_products_names(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    with netCDF4.Dataset(path) as file:
        fields = file[f"HDFEOS/GRIDS/{LST_GRID}/Data Fields"]
        fields.set_auto_maskandscale(False)
        np.testing.assert_array_equal(fields["LST_1KM"][:], NUMBERS)
        assert fields["LST_1KM"].scale_factor == 0.02 and fields["LST_1KM"].units == "K"
    found = read_tile(path, DAY, LST, *WHERE)
    np.testing.assert_array_equal(found.values, NUMBERS)


def test_gdal_sees_the_same_grid_in_what_the_writer_writes(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    name = f'HDF5:"{path}"://HDFEOS/GRIDS/{LST_GRID}/Data_Fields/LST_1KM'
    with rasterio.open(name) as field:
        np.testing.assert_array_equal(field.read(1), NUMBERS)
        corner = field.transform * (0, 0)
    np.testing.assert_allclose(corner, (0.0, 5559752.598), atol=0.01)  # m: 0 E, 50 N


@pytest.mark.parametrize(
    ("rows", "cols", "expected", "place"),
    [
        (range(ROW + 1, ROW + 3), range(COL + 1, COL + 3), NUMBERS[1:, 1:3], (1, 1)),
        (range(0, ROW + 1), range(COL + 3, 43200), [[14004]], (0, 3)),
        (range(0, 21600), range(0, 43200), NUMBERS, (0, 0)),
    ],
)  # fmt: skip
def test_a_part_is_cut_by_global_rows_and_columns(tmp_path, rows, cols, expected, place):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    found = read_tile(path, DAY, LST, rows, cols)
    np.testing.assert_array_equal(found.values, expected)
    assert (found.row - ROW, found.col - COL) == place and found.values.dtype == np.uint16


def test_a_tile_elsewhere_gives_nothing(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    assert read_tile(path, DAY, LST, range(0, ROW), range(0, 43200)) is None


def test_a_file_cut_short_is_refused_by_name_and_size(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    with pytest.raises(
        ValueError, match=rf"VNP21A1D\.A2024001.*\({size} bytes\).*download it again"
    ):
        read_tile(path, DAY, LST, *WHERE)


def test_damaged_values_are_refused_too(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    with hdfeos5.open_file(path) as file:
        chunk = file[f"HDFEOS/GRIDS/{LST_GRID}/Data Fields/LST_1KM"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read .*expected a whole HDF5 file"):
        read_tile(path, DAY, LST, *WHERE)


def test_the_night_is_not_taken_for_the_day_by_name_nor_by_metadata(tmp_path):
    night = write_lst(tmp_path, "VNP21A1N", "2024001", "h18v04", NUMBERS, GOOD)
    with pytest.raises(ValueError, match=r"VNP21A1N\..* is VNP21A1N, expected VNP21A1D"):
        read_tile(night, DAY, LST, *WHERE)
    renamed = write_lst(
        tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD, short_name="VNP21A1N"
    )
    with pytest.raises(ValueError, match=r"VNP21A1D\..* is VNP21A1N, expected VNP21A1D"):
        read_tile(renamed, DAY, LST, *WHERE)


def test_a_file_without_the_field_is_refused(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    other = hdfeos5.Product("VNP21A1D", "VIIRS_Grid_Other", (LST,))
    with pytest.raises(ValueError, match="has no 'HDFEOS/GRIDS/VIIRS_Grid_Other/Data Fields/LST"):
        read_tile(path, other, LST, *WHERE)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"scale_factor": 0.1}, r"scale_factor of 'LST_1KM' is 0\.1, expected 0\.02"),
        ({"scale_factor": None}, "scale_factor of 'LST_1KM' is missing, expected"),
        ({"units": "degC"}, "units of 'LST_1KM' is 'degC', expected K or Kelvin"),
        ({"add_offset": 273.15}, r"add_offset of 'LST_1KM' is 273\.15, expected 0"),
        ({"_FillValue": 65535}, "_FillValue of 'LST_1KM' is 65535, expected 0"),
    ],
)
def test_numbers_that_mean_something_else_are_refused(tmp_path, attributes, message):
    changed = {"LST_1KM": attributes}
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD, attributes=changed)
    with pytest.raises(ValueError, match=message):
        read_tile(path, DAY, LST, *WHERE)


def test_another_type_of_number_is_refused(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    byte = hdfeos5.Layer("QC", ("uint8",))
    with pytest.raises(ValueError, match="type of 'QC' is 'uint16', expected uint8"):
        read_tile(path, DAY, byte, *WHERE)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"pixel": PIXEL / 2}, r"not on the 1 km sinusoidal grid: pixel 463\.313"),
        ({"projection": "HE5_GCTP_GEO"}, "not on the 1 km sinusoidal grid.*HE5_GCTP_GEO"),
    ],
)
def test_another_grid_is_refused_with_the_numbers(tmp_path, metadata, message):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        read_tile(path, DAY, LST, *WHERE)


def test_a_tile_that_lies_elsewhere_than_it_is_named_is_refused(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    renamed = path.rename(tmp_path / path.name.replace("h18", "h19"))
    with pytest.raises(
        ValueError, match="starts at row 4800, column 21600 .* expected tile h19v04"
    ):
        read_tile(renamed, DAY, LST, *WHERE)


def test_metadata_of_another_size_or_none_is_refused(tmp_path):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)
    name = "HDFEOS INFORMATION/StructMetadata.0"
    replace(path, name, struct_metadata(LST_GRID, (4, 4), ROW, COL))
    with pytest.raises(ValueError, match=r"'LST_1KM' is \(3, 4\), expected \(4, 4\)"):
        read_tile(path, DAY, LST, *WHERE)
    replace(path, name, "GROUP=GridStructure\nEND_GROUP=GridStructure\n")
    with pytest.raises(ValueError, match=r"StructMetadata\.0 states no usable 'YDim'"):
        read_tile(path, DAY, LST, *WHERE)
    replace(path, name, None)
    with pytest.raises(ValueError, match=r"has no 'HDFEOS INFORMATION/StructMetadata\.0'"):
        read_tile(path, DAY, LST, *WHERE)


def replace(path, name, text):
    import h5py

    with h5py.File(path, "a") as file:
        del file[name]
        if text is not None:
            file[name] = np.bytes_(text)


def test_without_h5py_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    path = write_lst(tmp_path, "VNP21A1D", "2024001", "h18v04", NUMBERS, GOOD)

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(hdfeos5, "import_module", absent)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gssm-cube\[viirs\]'"):
        read_tile(path, DAY, LST, *WHERE)


# ---- quality ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mandatory", "accuracy"), [*product(range(4), range(4))])
def test_good_pixels_and_fair_ones_of_two_kelvin_or_better_are_kept(mandatory, accuracy):
    # Bits 15-14 accuracy (11 is best), 13-6 free, 5-4 cloud, 3-2 data, 1-0 mandatory.
    flags = [int(f"{accuracy:02b}{free:08b}0000{mandatory:02b}", 2) for free in range(256)]
    kept = viirs.usable_lst(np.full(256, 15000, "uint16"), np.array(flags, "uint16"))
    wanted = {(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)}
    np.testing.assert_array_equal(kept, np.full(256, (mandatory, accuracy) in wanted))


@pytest.mark.parametrize(("cloud", "data"), [*product(range(4), range(4))])
def test_cirrus_cloud_and_bad_radiances_are_never_kept(cloud, data):
    flag = int(f"11000000{0:02b}{cloud:02b}{data:02b}00", 2)
    kept = viirs.usable_lst(np.array([15000], "uint16"), np.array([flag], "uint16"))
    assert kept[0] == (cloud in (0, 2) and data in (0, 2))


def test_the_error_bits_run_the_other_way_round_than_in_mod11a1():
    fair_poor, fair_best = 0b00000000_00000001, 0b11000000_00000001
    numbers = np.full(2, 15000, "uint16")
    kept = viirs.usable_lst(numbers, np.array([fair_poor, fair_best], "uint16"))
    np.testing.assert_array_equal(kept, [False, True])
    from gssm_cube.sources.modis import usable_lst

    kept = usable_lst(numbers, np.array([0b00000001, 0b11000001], "uint8"))
    np.testing.assert_array_equal(kept, [True, False])


@pytest.mark.parametrize(
    ("number", "kept"), [(0, False), (7499, False), (7500, True), (65535, True)]
)
def test_numbers_below_7500_are_no_temperature(number, kept):
    assert viirs.usable_lst(np.array([number], "uint16"), np.array([0], "uint16"))[0] == kept


# ---- days -------------------------------------------------------------------------------------


def test_two_tiles_of_a_day_are_laid_together_and_outside_is_missing(tmp_path):
    bad = GOOD.copy()
    bad[0, 0] = 2  # not produced, cloud
    size = (1200, 1200)
    west = np.full(size, 14000, "uint16")
    write_lst(tmp_path, "VNP21A1N", "2024001", "h17v04", west, np.zeros(size, "uint16"))
    write_lst(tmp_path, "VNP21A1N", "2024001", "h18v04", NUMBERS, bad)
    write_lst(tmp_path, "VNP21A1N", "2024001", "h00v08", NUMBERS, GOOD)
    files = viirs.find_files(tmp_path, LST_PRODUCTS["Night"])[date(2024, 1, 1)]
    assert sorted(files) == ["h00v08", "h17v04", "h18v04"]
    found = viirs.read_lst(files, "Night", range(ROW - 1, ROW + 2), range(COL - 1, COL + 2))
    np.testing.assert_array_equal(
        found.values, [[0, 0, 0], [14000, 0, 14002], [14000, 14005, 14006]]
    )
    assert (found.row, found.col, found.values.dtype) == (ROW - 1, COL - 1, np.uint16)


def test_appeears_cutouts_give_the_same_as_tiles(tmp_path):
    quality = np.array([[0, 1, 0xC001, 3], [0, 0, 0, 0], [0, 0x10, 0x20, 0]], "uint16")
    write_lst(tmp_path / "h5", "VNP21A1D", "2024060", "h18v04", NUMBERS, quality)
    (tmp_path / "tif").mkdir()
    for layer, values in {"LST_1KM": NUMBERS, "QC": quality}.items():
        write_raster(tmp_path / "tif" / f"VNP21A1D.002_{layer}_doy2024060_aid0001.tif", values)
    window = range(ROW - 1, ROW + 4), range(COL - 1, COL + 5)
    days = [viirs.find_files(tmp_path / kind, DAY) for kind in ("h5", "tif")]
    assert list(days[0]) == list(days[1]) == [date(2024, 2, 29)]
    tile, raster = (viirs.read_lst(day[date(2024, 2, 29)], "Day", *window) for day in days)
    np.testing.assert_array_equal(tile.values, raster.values)
    expected = NUMBERS.copy()
    expected[[0, 0, 2], [1, 3, 1]] = 0
    np.testing.assert_array_equal(tile.values[1:4, 1:5], expected)
    assert not tile.values[[0, 4]].any() and not tile.values[:, [0, 5]].any()


def test_a_cutout_of_scaled_numbers_is_refused(tmp_path):
    files = {}
    for layer, values in {"LST_1KM": NUMBERS * np.float32(0.02), "QC": GOOD}.items():
        files[layer] = write_raster(tmp_path / f"{layer}.tif", values)
    with pytest.raises(ValueError, match=r"LST_1KM\.tif is float32, expected uint16"):
        viirs.read_lst(files, "Day", *WHERE)


@pytest.mark.parametrize("scale", [0.0001, 10000.0, np.float32(0.0001)])
def test_vegetation_comes_in_the_numbers_of_mod13a2(tmp_path, scale):
    ndvi = [[-15000, -13000, -10001], [-10000, 0, 10000]]
    evi = [[10001, 1234, -2000], [0, 0, 0]]
    reliability = [[0, 4, 6], [8, 11, -4]]
    day_of_year = [[1, 366, 0], [367, -1, 17]]
    attributes = {"1 km 16 days NDVI": {"scale_factor": scale}}
    values = (ndvi, evi, reliability, day_of_year)
    write_vegetation(tmp_path, "2024017", "h18v04", *values, attributes=attributes)
    files = viirs.find_files(tmp_path, VNP13A2)[date(2024, 1, 17)]
    expected = {
        "ndvi": [[-3000, -3000, -3000], [-10000, 0, 10000]],
        "evi": [[-3000, 1234, -2000], [0, 0, 0]],
        "reliability": [[0, 1, 3], [2, -1, -1]],
        "day": [[1, 366, -1], [-1, -1, 17]],
    }
    for name, numbers in expected.items():
        found = viirs.read_vegetation(files, name, range(ROW, ROW + 3), range(COL, COL + 3))
        np.testing.assert_array_equal(found.values[:2], numbers)
        assert found.values.dtype == np.int16
        outside = -3000 if name in ("ndvi", "evi") else -1
        np.testing.assert_array_equal(found.values[2], [outside] * 3)


def test_each_rank_of_viirs_has_one_of_modis(tmp_path):
    ranks = np.arange(-4, 14).reshape(1, 18)
    layers = [ranks] * 4
    write_vegetation(tmp_path, "2024001", "h18v04", *layers)
    files = viirs.find_files(tmp_path, VNP13A2)[date(2024, 1, 1)]
    found = viirs.read_vegetation(files, "reliability", range(ROW, ROW + 1), range(COL, COL + 18))
    expected = [-1] * 4 + [0, 0, 1, 1, 1, 3, 3, 3, 2, 3, -1, -1] + [-1] * 2
    np.testing.assert_array_equal(found.values[0], expected)


def test_vegetation_cutouts_are_named_with_underscores(tmp_path):
    names = [layer.geotiff for layer in VNP13A2.layers]
    assert names[0] == "_1_km_16_days_NDVI" and QUALITY.geotiff == "QC"
    values = np.full((3, 4), 5000, "int16")
    for name in names:
        kind = "int8" if "reliability" in name else "int16"
        path = tmp_path / f"VNP13A2.002_{name}_doy2024009_aid0001.tif"
        write_raster(path, (values % 127).astype(kind) if kind == "int8" else values)
    files = viirs.find_files(tmp_path, VNP13A2)
    assert list(files) == [date(2024, 1, 9)]
    found = viirs.read_vegetation(files[date(2024, 1, 9)], "ndvi", *WHERE)
    np.testing.assert_array_equal(found.values, values)
    assert VEGETATION["ndvi"].geotiff in files[date(2024, 1, 9)]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ([], FileNotFoundError, r"no VNP21A1D\.002 tile \(\.h5\) or AppEEARS GeoTIFF"),
        (["VNP21A1D.A2024001.h18v04.001.1.h5"], FileNotFoundError, "no VNP21A1D"),
        (["VNP21A1D.A2024001.h18v04.002.1.h5", "VNP21A1D.A2024001.h18v04.002.2.h5"],
         ValueError, "VNP21A1D of 2024-01-01 is there twice"),
        (["VNP21A1D.002_QC_doy2024001_aid1.tif"], FileNotFoundError,
         r"VNP21A1D of 2024-01-01 .* lacks \['LST_1KM'\]"),
        (["VNP21A1D.002_QC_doy2024001_a.tif", "VNP21A1D.A2024001.h18v04.002.1.h5"],
         ValueError, r"holds VNP21A1D as \.h5 and as \.tif"),
    ],
)  # fmt: skip
def test_files_that_are_absent_or_twofold_are_refused(tmp_path, names, error, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(error, match=message):
        viirs.find_files(tmp_path, DAY)
