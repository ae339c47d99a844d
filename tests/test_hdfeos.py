"""HDF-EOS2 tiles: opened by window, placed by their metadata, judged by GDAL and a projection."""

import shutil
import subprocess
import sys
import threading
from datetime import date

import numpy as np
import pyproj
import pytest
import rasterio
from hdfeos_writer import (
    GRID_NAMES,
    PIXEL,
    struct_metadata,
    write_grid,
    write_lst,
    write_vegetation,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, reproject

from gssm_cube.grid import Grid
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.sources import hdfeos, modis
from gssm_cube.sources.sinusoidal import Cutout, mosaic, span

DAY = date(2019, 1, 1)
LEFT, TOP = -20015109.354, 10007554.677  # m, as the MODIS Land Team states them
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
NUMBERS = (9000 + np.arange(12)).reshape(3, 4).astype("uint16")
CLEAR = np.zeros((3, 4), dtype="uint8")
VALUES = ("LST_Day_1km", "QC_Day", "LST_Night_1km", "QC_Night")


def lst_layers(numbers=NUMBERS):
    clear = np.zeros(numbers.shape, dtype="uint8")
    night = np.where(numbers > 0, numbers - 300, 0).astype("uint16")
    return dict(zip(VALUES, (numbers, clear, night, clear), strict=True))


def write_tile(folder, numbers=NUMBERS, tile="h18v04", **more):
    return write_lst(folder, DAY, tile, lst_layers(numbers), **more)


def read_day(path, rows, cols, tile="h18v04"):
    return modis.read_lst({tile: {"hdf": path}}, "Day", rows, cols)


# ---- the reader -------------------------------------------------------------------------------


def test_a_header_says_where_the_grid_lies(tmp_path):
    header = hdfeos.read_header(write_tile(tmp_path))
    assert (header.name, header.shape) == ("MODIS_Grid_Daily_1km_LST", (3, 4))
    assert header.corner == pytest.approx((0.0, 5559752.598), abs=0.01)
    assert header.pixel == pytest.approx((PIXEL, PIXEL), rel=1e-6)
    assert header.fields == VALUES


def test_the_nesting_of_the_metadata_is_kept():
    text = (
        'GROUP=A\n\tOBJECT=B\n\t\tName="x y"\n\tEND_OBJECT=B\n\tN = (1,2)\nEND_GROUP=A\nEND\n\0\0'
    )
    assert hdfeos.parse_struct_metadata(text) == {"A": {"B": {"Name": "x y"}, "N": "(1,2)"}}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_window_holds_what_the_field_holds_there(tmp_path_factory, data):
    values = np.arange(70, dtype="int16").reshape(7, 10)
    path = tmp_path_factory.getbasetemp() / "window.hdf"
    if not path.exists():
        write_grid(path, {"a": values}, 0, 0)
    top, left = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 9))
    place = (
        slice(top, data.draw(st.integers(top + 1, 7))),
        slice(left, data.draw(st.integers(left + 1, 10))),
    )
    with hdfeos.open_grid(path) as grid:
        np.testing.assert_array_equal(grid.read("a", *place), values[place])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "float32"])
def test_types_survive(tmp_path, dtype):
    values = np.array([[0, 1], [100, 127]], dtype=dtype)
    with hdfeos.open_grid(write_grid(tmp_path / "a.hdf", {"a": values}, 0, 0)) as grid:
        found = grid.read("a", slice(0, 2), slice(0, 2))
        hdfeos.check_field(grid, "a", dtype, {})
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("rows", [slice(0, 4), slice(-1, 2), slice(2, 2)])
def test_a_window_beyond_the_grid_is_refused(tmp_path, rows):
    with hdfeos.open_grid(write_tile(tmp_path)) as grid:
        with pytest.raises(ValueError, match=r"asked for, expected a window within 3 x 4"):
            grid.read("QC_Day", rows, slice(0, 1))


def test_a_field_that_is_not_there_is_refused_by_name(tmp_path):
    with hdfeos.open_grid(write_tile(tmp_path)) as grid:
        with pytest.raises(ValueError, match=r"has no field 'NDVI', only \['LST_Day_1km', "):
            grid.read("NDVI", slice(0, 1), slice(0, 1))


def test_threads_take_turns_and_read_the_same(tmp_path):
    paths = [
        write_tile(tmp_path / str(n), (9000 + n + NUMBERS * 0).astype("uint16")) for n in (1, 2)
    ]
    found = [None] * 8

    def read(number):
        for _ in range(20):
            part = read_day(paths[number % 2], range(4800, 4803), range(21600, 21604))
            found[number] = part.values.copy()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, values in enumerate(found):
        np.testing.assert_array_equal(values, np.full((3, 4), 9001 + number % 2))


# ---- what is wrong with a file ----------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_short_is_refused_by_name_and_never_read_wrongly(tmp_path, kept):
    path = write_tile(tmp_path, np.random.default_rng(0).integers(7500, 60000, (60, 60), "uint16"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"061\.2021001000000\.hdf \(\d+ bytes\): .* download it"):
        read_day(path, range(4800, 4860), range(21600, 21660))


def test_what_is_no_hdf_is_refused(tmp_path):
    path = tmp_path / "MOD11A1.A2019001.h18v04.061.2021001000000.hdf"
    path.write_text("<html>Sign in</html>")
    with pytest.raises(
        ValueError, match=r"\(20 bytes\): it cannot be read .* expected a whole HDF4"
    ):
        read_day(path, range(4800, 4801), range(21600, 21601))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        hdfeos.read_header(path)


@pytest.mark.parametrize("count", [0, 2])
def test_anything_but_one_grid_is_refused(tmp_path, count):
    one = struct_metadata("A", (3, 4), 0, 0, PIXEL, lst_layers())
    body = one[one.index("\tGROUP=GRID_1") : one.index("END_GROUP=GridStructure")]
    grids = "".join(body.replace("GRID_1", f"GRID_{n + 1}") for n in range(count))
    path = write_tile(tmp_path, text=f"GROUP=GridStructure\n{grids}END_GROUP=GridStructure\nEND\n")
    with pytest.raises(ValueError, match=rf"\.hdf holds {count} HDF-EOS2 grids, expected one"):
        hdfeos.read_header(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\t\tYDim=3\n", "", "'YDim'"),
        ("UpperLeftPointMtrs=(", "UpperLeftPointMtrs=(west", "could not convert"),
        ("HDFE_GD_UL", "HDFE_GD_LR", "GridOrigin .found HDFE_GD_LR"),
        ("\t\tXDim=4\n", "\t\tXDim=0\n", "shape"),
    ],
)
def test_metadata_that_say_no_place_are_refused(tmp_path, old, new, said):
    text = struct_metadata(GRID_NAMES["11A1"], (3, 4), 4800, 21600, PIXEL, lst_layers())
    assert old in text
    path = write_tile(tmp_path, text=text.replace(old, new))
    with pytest.raises(ValueError, match=rf"\.hdf: StructMetadata\.0 states no usable .*{said}"):
        hdfeos.read_header(path)


def test_a_shape_that_the_metadata_deny_is_refused(tmp_path):
    text = struct_metadata(GRID_NAMES["11A1"], (3, 5), 4800, 21600, PIXEL, lst_layers())
    path = write_tile(tmp_path, text=text)
    with pytest.raises(ValueError, match=r"'LST_Day_1km' is \(3, 4\), expected \(3, 5\)"):
        read_day(path, range(4800, 4801), range(21600, 21601))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"projection": "GCTP_GEO"}, "projection is GCTP_GEO .* expected GCTP_SNSOID on a sphere"),
        ({"grid_name": "MODIS_Grid_8Day_1km_LST"}, "holds the grid 'MODIS_Grid_8Day_1km_LST', exp"),
        ({"pixel": PIXEL / 2, "row": 9600, "col": 43200}, r"pixel 463\.313 x 463\.313 m .* 926\.6"),
        ({"row": 4800.5}, "is not on the MODIS 1 km sinusoidal grid"),
        ({"col": 22800}, "lies in tile h19v04 by its own metadata, expected h18v04"),
    ],
)
def test_another_grid_or_product_or_place_is_refused_by_name(tmp_path, more, message):
    path = write_tile(tmp_path, **more)
    for use in (
        lambda: read_day(path, range(4800, 4900), range(21600, 21700)),
        lambda: modis.check_day({"h18v04": {"hdf": path}}),
    ):
        with pytest.raises(ValueError, match=rf"2021001000000\.hdf.*{message}"):
            use()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_factor": 0.01}, "scale_factor of 'LST_Day_1km' is 0.01, expected 0.02"),
        ({"units": "C"}, "units of 'LST_Day_1km' is 'C', expected 'K'"),
        ({"add_offset": -273.15}, "add_offset of 'LST_Day_1km' is -273.15, expected 0.0"),
        ({"_FillValue": 65535}, "_FillValue of 'LST_Day_1km' is 65535, expected 0"),
    ],
)
def test_units_changed_half_way_are_refused_with_found_and_expected(tmp_path, change, message):
    path = write_tile(tmp_path, change={"LST_Day_1km": change})
    with pytest.raises(ValueError, match=rf"\.hdf: {message}; its units are not those"):
        read_day(path, range(4800, 4803), range(21600, 21604))


def test_a_field_of_another_type_or_without_scale_is_refused(tmp_path):
    kelvin = lst_layers() | {"LST_Day_1km": NUMBERS.astype("float32") * 0.02}
    path = write_lst(tmp_path, DAY, "h18v04", kelvin)
    with pytest.raises(ValueError, match="type of 'LST_Day_1km' is 'float32', expected 'uint16'"):
        read_day(path, range(4800, 4803), range(21600, 21604))
    write_grid(path, lst_layers(), 4800, 21600)
    with pytest.raises(ValueError, match="scale_factor of 'LST_Day_1km' is 'missing', expected"):
        read_day(path, range(4800, 4803), range(21600, 21604))


def test_without_pyhdf_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    path = write_tile(tmp_path)
    monkeypatch.setitem(sys.modules, "pyhdf", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gssm-cube\[modis-hdf\]'"):
        hdfeos.read_header(path)


# ---- products ---------------------------------------------------------------------------------


@pytest.mark.parametrize("product", ["MOD11A1", "MYD11A1"])
def test_day_and_night_of_either_satellite_are_read_where_usable(tmp_path, product):
    layers = lst_layers()
    layers["QC_Day"] = np.array([[0, 2, 65, 129]] * 3, dtype="uint8")
    path = write_lst(tmp_path, DAY, "h18v04", layers, product=product)
    files = modis.find_files(tmp_path, product, modis.LST_LAYERS)
    assert files == {DAY: {"h18v04": {"hdf": path}}}
    rows, cols = range(4801, 4803), range(21599, 21604)
    found = modis.read_lst(files[DAY], "Day", rows, cols)
    expected = [[0, 9004, 0, 9006, 0], [0, 9008, 0, 9010, 0]]
    np.testing.assert_array_equal(found.values, expected)
    night = modis.read_lst(files[DAY], "Night", rows, cols)
    np.testing.assert_array_equal(night.values[:, 1:], NUMBERS[1:] - 300)


@pytest.mark.parametrize(("product", "size"), [("MOD13A2", 1), ("MYD13A2", 1), ("MOD13A1", 2)])
def test_vegetation_of_both_sizes_lands_on_the_1_km_grid(tmp_path, product, size):
    ndvi = np.array([[5000, 6000], [7000, 8000]], dtype="int16").repeat(size, 0).repeat(size, 1)
    layers = {
        "NDVI": ndvi,
        "EVI": ndvi - 1000,
        "pixel reliability": np.zeros(ndvi.shape, "int8"),
        "composite day of the year": np.full(ndvi.shape, 7, "int16"),
    }
    place = {"row": 4800 * size, "col": 21600 * size}
    write_vegetation(tmp_path, DAY, "h18v04", layers, product=product, **place)
    files = modis.find_files(tmp_path, product, modis.VEGETATION_LAYERS)
    modis.check_day(files[DAY])
    found = modis.read_vegetation(files[DAY], DAY, range(4800, 4803), range(21600, 21602))
    values = {name: cutout.values.tolist() for name, cutout in found.items()}
    assert values == {
        "NDVI": [[5000, 6000], [7000, 8000], [-3000, -3000]],
        "EVI": [[4000, 5000], [6000, 7000], [-3000, -3000]],
        "pixel_reliability": [[0, 0], [0, 0], [-1, -1]],
        "composite_day_of_the_year": [[7, 7], [7, 7], [-1, -1]],
    }


def test_vegetation_of_another_scale_is_refused(tmp_path):
    layers = {"NDVI": NUMBERS.astype("int16")}
    change = {"NDVI": {"scale_factor": 0.001}}
    path = write_vegetation(tmp_path, DAY, "h18v04", layers, row=4800, col=21600, change=change)
    with pytest.raises(ValueError, match=r"'1 km 16 days NDVI' is 0\.001, expected 10000\.0 or 0"):
        modis.read_tile({"hdf": path}, ("NDVI",), range(4800, 4801), range(21600, 21601), "h18v04")


# ---- other libraries as judges ----------------------------------------------------------------


@pytest.fixture(scope="module")
def true_size(tmp_path_factory):
    """A tile of the true size with its numbers: h18v04, 1200 x 1200."""
    rng = np.random.default_rng(4)
    numbers = rng.integers(13000, 15500, (1200, 1200), dtype="uint16")
    numbers[rng.random(numbers.shape) < 0.3] = 0
    return write_tile(tmp_path_factory.mktemp("tile"), numbers), numbers


def gdal(*words):
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} (Debian's gdal-bin): GDAL cannot judge the tiles")
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def subdataset(path, field):
    return f'HDF4_EOS:EOS_GRID:"{path}":MODIS_Grid_Daily_1km_LST:{field}'


def test_gdal_sees_the_same_grid(true_size):
    said = gdal("gdalinfo", "-proj4", subdataset(true_size[0], "LST_Day_1km"))
    assert "Size is 1200, 1200" in said
    assert "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181" in said
    origin = said.split("Origin = (")[1].split(")")[0].split(",")
    pixel = said.split("Pixel Size = (")[1].split(")")[0].split(",")
    header = hdfeos.read_header(true_size[0])
    assert [float(number) for number in origin] == pytest.approx(header.corner, abs=1e-3)
    assert [float(number) for number in pixel] == pytest.approx(
        (header.pixel[0], -header.pixel[1]), abs=1e-6
    )
    assert (float(origin[0]), float(origin[1])) == pytest.approx((0.0, 5559752.598), abs=0.01)


@pytest.mark.parametrize(
    ("field", "rows", "cols"),
    [
        ("LST_Day_1km", range(0, 1200), range(0, 1200)),
        ("LST_Night_1km", range(600, 601), range(3, 1200)),
        ("QC_Day", range(1150, 1200), range(1190, 1200)),
    ],
)
def test_gdal_reads_the_same_values(true_size, tmp_path, field, rows, cols):
    path, output = true_size[0], tmp_path / "out.tif"
    window = [str(n) for n in (cols.start, rows.start, len(cols), len(rows))]
    gdal("gdal_translate", "-q", "-srcwin", *window, subdataset(path, field), str(output))
    with rasterio.open(output) as raster:
        expected = raster.read(1)
    tile = {"hdf": path}
    down, across = (
        range(first + n.start, first + n.stop) for first, n in ((4800, rows), (21600, cols))
    )
    part = modis.read_tile(tile, (field,), down, across, "h18v04")[0]
    np.testing.assert_array_equal(part.values, expected)
    assert (part.row, part.col) == (down.start, across.start)


@pytest.mark.real_data
def test_a_real_file_of_6_km_is_read_as_pyhdf_reads_it_and_refused_for_1_km(real_data, tmp_path):
    from pyhdf.SD import SD

    path = next((real_data / "grids/modis").glob("MOD11B2*.hdf"))
    raw = SD(str(path))
    with hdfeos.open_grid(path) as grid:
        hdfeos.check_sinusoidal(path, grid.header)
        assert grid.header.shape == (200, 200) and len(grid.header.fields) == 19
        assert grid.header.pixel == pytest.approx((6 * PIXEL, 6 * PIXEL), rel=1e-6)
        assert grid.header.corner == pytest.approx(
            (LEFT + 16800 * PIXEL, TOP - 4800 * PIXEL), abs=0.01
        )
        for field in grid.header.fields:
            expected = raw.select(field).get()
            whole = grid.read(field, slice(0, 200), slice(0, 200))
            np.testing.assert_array_equal(whole, expected)
            assert whole.dtype == expected.dtype
            part = grid.read(field, slice(7, 90), slice(100, 199))
            np.testing.assert_array_equal(part, expected[7:90, 100:199])
        kelvin = {
            "scale_factor": (0.02,),
            "add_offset": (0.0,),
            "_FillValue": (0,),
            "units": ("K",),
        }
        hdfeos.check_field(grid, "LST_Day_6km", "uint16", kelvin)
        assert raw.select("LST_Day_6km").get().max() > 7500
    raw.end()
    with pytest.raises(ValueError, match="MOD11B2.* is of no product that is read here"):
        modis.check_day({"h14v04": {"hdf": path}})
    renamed = tmp_path / "MOD11A1.A2017001.h14v04.061.2017013155631.hdf"
    renamed.symlink_to(path)
    with pytest.raises(
        ValueError, match="grid 'MODIS_Grid_8Day_6km_LST', expected 'MODIS_Grid_Dai"
    ):
        modis.check_day({"h14v04": {"hdf": renamed}})


# ---- reprojection -----------------------------------------------------------------------------


def centres(rows, cols):
    """Latitude and longitude of sinusoidal pixel centres by PROJ."""
    x, y = LEFT + (np.array(cols) + 0.5) * PIXEL, TOP - (np.array(rows) + 0.5) * PIXEL
    lon, lat = pyproj.Proj(SINUSOIDAL)(*np.meshgrid(x, y), inverse=True)
    return lat, lon


def pixels_by_proj(lat, lon):
    """Places (in pixels) of grid centres on the sinusoidal grid by PROJ."""
    x, y = pyproj.Proj(SINUSOIDAL)(*np.meshgrid(lon, lat))
    return (TOP - y) / PIXEL, (x - LEFT) / PIXEL


def test_the_index_takes_the_pixel_that_rasterio_takes(true_size):
    path, numbers = true_size
    grid = GeoBox.from_bbox((6, 41, 12, 49), "EPSG:4326", resolution=1 / 120)
    lat, lon = (
        np.asarray(grid.coords["latitude"].values),
        np.asarray(grid.coords["longitude"].values),
    )
    rows, cols = sinusoidal_index(lat, lon)
    part = modis.read_tile({"hdf": path}, ("LST_Day_1km",), span(rows), span(cols), "h18v04")[0]
    found = part.at(rows, cols, 0)
    expected = np.zeros(grid.shape, dtype="uint16")
    reproject(
        numbers, expected, resampling=Resampling.nearest, tolerance=0,
        src_transform=rasterio.Affine(PIXEL, 0, 0, 0, -PIXEL, TOP - 4800 * PIXEL),
        src_crs=SINUSOIDAL, dst_transform=grid.affine, dst_crs="EPSG:4326",
    )  # fmt: skip
    _, place = pixels_by_proj(lat, lon)
    tie = np.abs(place - np.round(place)) < 1e-6
    assert tie.mean() < 1e-3
    assert not ((found != expected) & ~tie).any()


def test_a_ramp_of_degrees_comes_through_a_tile_and_a_seam(tmp_path):
    # Latitude and longitude of the centres, in two tiles that meet at column 22800.
    rows, seam, tiles = range(5400, 5460), 22800, []
    for cols in (range(seam - 100, seam), range(seam, seam + 100)):
        lat, lon = centres(rows, cols)
        path = tmp_path / f"{cols.start}.hdf"
        write_grid(path, {"lat": lat, "lon": lon}, rows.start, cols.start)
        with hdfeos.open_grid(path) as grid:
            whole = slice(0, 60), slice(0, 100)
            tiles.append({name: grid.read(name, *whole) for name in ("lat", "lon")})
    lat = Grid().lat(np.arange(5405, 5455))
    middle = (seam / 120 - 180) / np.cos(np.radians(lat.mean()))
    lon = Grid().lon(np.arange(int((middle + 180) * 120) - 20, int((middle + 180) * 120) + 20))
    index = sinusoidal_index(lat, lon)
    assert (index[1] < seam).any() and (index[1] >= seam).any()
    places = (seam - 100, seam)
    found = {
        name: mosaic(
            (Cutout(tile[name], 5400, col) for tile, col in zip(tiles, places, strict=True)),
            span(index[0]), span(index[1]), fill=-999, dtype="float64",
        ).at(*index, -999)
        for name in ("lat", "lon")
    }  # fmt: skip
    np.testing.assert_allclose(found["lat"], np.tile(lat[:, None], 40), atol=1e-6)
    row, col = pixels_by_proj(lat, lon)
    expected_lon = (np.floor(col) + 0.5 - 21600) / 120 / np.cos(np.radians(lat))[:, None]
    np.testing.assert_allclose(found["lon"], expected_lon, atol=1e-6)
    # Half a sinusoidal pixel is all that a nearest pixel can be off.
    half = 1 / 240 / np.cos(np.radians(lat))[:, None]
    assert (np.abs(found["lon"] - lon) <= half + 1e-6).all()


def test_both_sides_of_the_antimeridian_come_from_their_own_tiles(tmp_path):
    # Rows around 16.66 S (Fiji), where 180 deg falls inside tiles h00v10 and h35v10.
    rows = range(12795, 12800)
    edge = [int(np.floor(120 * 180 * (1 - np.cos(np.radians(16.63)))))] * 2
    west, east = range(edge[0] - 3, edge[0] + 12), range(43200 - edge[1] - 12, 43200 - edge[1] + 3)
    day = {}
    for tile, cols, base in (("h00v10", west, 10000), ("h35v10", east, 20000)):
        numbers = (base + np.arange(len(rows) * len(cols))).reshape(len(rows), -1).astype("uint16")
        path = write_tile(tmp_path, numbers, tile, row=rows.start, col=cols.start)
        day[tile] = {"hdf": path}
    lat = Grid().lat(np.arange(12795, 12800))
    for lon, cols, base in (
        (Grid().lon(np.arange(0, 6)), west, 10000),
        (Grid().lon(np.arange(43194, 43200)), east, 20000),
    ):
        index = sinusoidal_index(lat, lon)
        found = modis.read_lst(day, "Day", span(index[0]), span(index[1])).at(*index, 0)
        row, col = (np.floor(place).astype(int) for place in pixels_by_proj(lat, lon + 0.0))
        expected = base + (row - rows.start) * len(cols) + col - cols.start
        np.testing.assert_array_equal(found, expected)
