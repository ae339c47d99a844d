"""Files that lack their end are found out by their headers, wherever they were cut."""

import os

import netCDF4
import numpy as np
import pytest
import rasterio
from hdfeos_writer import write_lst
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from gssm_cube.sources import merit_hydro, modis, viirs, whole
from gssm_cube.sources.raster import check_geotiff, open_raster, read_geotiff

KINDS = {
    "plain": {},
    "tiled": dict(tiled=True, blockxsize=16, blockysize=16),
    "deflated": dict(compress="deflate", predictor=2),
    "big": dict(BIGTIFF="YES"),
    "big-endian": dict(ENDIANNESS="BIG"),
    "cloud-optimised": dict(driver="COG"),
}
BOX = (10.2, 49.0, 10.4, 49.8)


@pytest.fixture(params=KINDS, scope="module")
def geotiff(request, tmp_path_factory):
    """A small raster, whose directory is written at its end, as after a change."""
    path = tmp_path_factory.mktemp("whole") / f"{request.param}.tif"
    profile = dict(driver="GTiff", count=1, height=64, width=48, dtype="int16", nodata=-9999)
    profile |= dict(crs="EPSG:4326", transform=Affine(1 / 64, 0, 10, 0, -1 / 64, 50))
    values = np.random.default_rng(1).integers(0, 1000, (64, 48)).astype("int16")
    with rasterio.open(path, "w", **profile | KINDS[request.param]) as raster:
        raster.write(values, 1)
    if request.param != "cloud-optimised":
        with rasterio.open(path, "r+") as raster:
            raster.update_tags(history="written " * 40)
    return path


def test_a_whole_geotiff_passes(geotiff):
    check_geotiff(geotiff, BOX)
    assert read_geotiff(geotiff, BOX).values.size


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_geotiff_cut_anywhere_is_refused(geotiff, tmp_path, share):
    path = tmp_path / "cut.tif"
    content = geotiff.read_bytes()
    # GDAL pads a COG's last block by up to four bytes, which nobody reads.
    path.write_bytes(content[: int(share * (len(content) - 4))])
    with pytest.raises(ValueError, match=r"cut\.tif .*(cut short|cannot be read).*download it"):
        check_geotiff(path, BOX)


def test_a_lost_directory_is_refused_in_reading_too(geotiff, tmp_path):
    if geotiff.stem == "cloud-optimised":  # its directory stands first
        content = geotiff.read_bytes()[:200]
    else:
        content = geotiff.read_bytes()[:-20]
    path = tmp_path / "cut.tif"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cut short|cannot be read"), open_raster(path):
        pass


def test_what_is_no_tiff_is_left_to_its_reader(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no raster at all")
    whole.check_directory(tmp_path / "a.tif")
    whole.check_directory("/vsitar/{a.tar}/b.tif")


# ---- HDF4 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    from datetime import date

    numbers = np.arange(1200, dtype="uint16").reshape(30, 40) + 8000
    clear = np.zeros((30, 40), "uint8")
    layers = dict(zip(modis.LST_LAYERS, (numbers, clear, numbers, clear), strict=True))
    return write_lst(tmp_path_factory.mktemp("hdf"), date(2019, 1, 1), "h18v04", layers)


def test_a_whole_hdf4_file_passes(tile):
    whole.check_hdf4(tile)
    modis.check_tiles({"h18v04": {"hdf": tile}})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_an_hdf4_file_cut_anywhere_is_refused(tile, tmp_path, share):
    content = tile.read_bytes()
    path = tmp_path / "cut.hdf"
    # The library writes a byte behind the last part, which belongs to none.
    path.write_bytes(content[: int(share * (len(content) - 1))])
    with pytest.raises(ValueError, match=r"cut\.hdf has \d+ bytes, expected \d+ .* is cut short"):
        whole.check_hdf4(path)


@pytest.mark.real_data
def test_a_real_hdf4_file_passes_whole_and_not_without_its_last_bytes(real_data, tmp_path):
    (path,) = (real_data / "grids" / "modis").glob("MOD11B2*.hdf")
    whole.check_hdf4(path)
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="is cut short"):
        whole.check_hdf4(cut)


# ---- others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_classic_netcdf_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 1000)
        file.createVariable("v", "f4", ("x",))[:] = np.arange(1000)
    whole.check_netcdf(path)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ValueError, match=r"a\.nc is cut short"):
        whole.check_netcdf(path)


def test_viirs_cutouts_are_told_one_by_one(tmp_path):
    pixel = 926.6254330555555
    profile = dict(driver="GTiff", count=1, height=8, width=8, crs=None)
    place = dict(transform=Affine(pixel, 0, 0, 0, -pixel, pixel * 100))
    files = {}
    for layer, dtype in {"LST_1KM": "float32", "QC": "uint16"}.items():
        files[layer] = tmp_path / f"VNP21A1D.002_{layer}_doy2019001_aid0001.tif"
        with rasterio.open(files[layer], "w", dtype=dtype, **profile, **place) as raster:
            raster.write(np.ones((8, 8), dtype), 1)
    os.truncate(files["QC"], files["QC"].stat().st_size - 3)
    errors = []
    viirs.check_files(files, viirs.LST_PRODUCTS["Day"], errors.append)
    assert ["float32" in str(errors[0]), "cut short" in str(errors[1])] == [True, True]
    with pytest.raises(ValueError, match="LST_1KM.* is float32, expected uint16"):
        viirs.check_files(files, viirs.LST_PRODUCTS["Day"])


def test_a_tile_of_terrain_elsewhere_than_its_name_says_is_refused(geotiff):
    # The raster lies at 10 E, 49..50 N.
    with pytest.raises(ValueError, match="does not reach"):
        merit_hydro.check_tile("n50e010", {"elv": geotiff})
    with pytest.raises(ValueError, match="names no tile"):
        merit_hydro.check_tile("n50", {})
