"""What is wrong with the input is said in one sentence before any work."""

import os
import shutil
from dataclasses import replace
from datetime import date

import netCDF4
import numpy as np
import pytest
import rasterio
import zarr
from rasterio.crs import CRS

from gssm_cube import ingest
from gssm_cube.ingest.inputs import find_inputs


@pytest.fixture
def folders(small_world, tmp_path):
    """Links to the provider files, to be removed or replaced by spoilt copies."""
    return small_world.link_raw(tmp_path / "raw")


def remove(folders, source, *patterns):
    for pattern in patterns:
        paths = list(folders[source].glob(pattern))
        assert paths, pattern
        for path in paths:
            path.unlink()


def spoil(folders, source, pattern):
    """Replace a link by a copy, so that the shared file stays as it is."""
    path = sorted(folders[source].glob(pattern))[0]
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    os.replace(copy, path)
    return path


def refused(tmp_path, layout, folders, error, message):
    """The ingest raises and has made nothing."""
    with pytest.raises(error, match=message):
        ingest.harmonise(tmp_path / "out" / "features.zarr", layout, folders)
    assert not (tmp_path / "out").exists()


def test_missing_days_of_lst_are_named(tmp_path, short, folders):
    remove(folders, "mod11a1", "*_doy2019050_*", "*_doy2019052_*")
    message = "MOD11A1 in .* lacks 2 days that this run needs: 2019-02-19, 2019-02-21; download"
    refused(tmp_path, short, folders, FileNotFoundError, message)


def test_of_many_missing_days_five_and_the_last_are_shown(tmp_path, short, folders):
    remove(folders, "mod11a1", "*_doy201905*")
    message = r"lacks 10 days .*: 2019-02-19, (2019-02-2\d, ){4}\.\.\. 2019-02-28;"
    refused(tmp_path, short, folders, FileNotFoundError, message)


def test_a_missing_composite_in_the_smoother_s_reach_is_named(tmp_path, short, folders):
    remove(folders, "mod13a2", "*_doy2019001_*")
    message = "MOD13A2 in .* lacks 1 days that this run needs: 2019-01-01;"
    refused(tmp_path, short, folders, FileNotFoundError, message)


def test_missing_months_of_the_lead_in_are_named(tmp_path, short, folders):
    remove(folders, "era5_land", "*_2018_05.nc")
    message = r"ERA5-Land in .* lacks 31 days .*: 2018-05-01, .*\.\.\. 2018-05-31;"
    refused(tmp_path, short, folders, FileNotFoundError, message)


def test_a_missing_layer_of_a_day_is_named(tmp_path, short, folders):
    remove(folders, "mod11a1", "*_QC_Day_doy2019050_*")
    message = r"MOD11A1 of 2019-02-19 .* lacks \['QC_Day'\]"
    refused(tmp_path, short, folders, FileNotFoundError, message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("era5_land", "no ERA5-Land NetCDF"),
        ("mod11a1", r"no MOD11A1\.061 GeoTIFF"),
        ("mod13a2", r"no MOD13A2\.061 GeoTIFF"),
        ("soilgrids", "SoilGrids layers are missing, download: .*clay_0-5cm_mean.tif"),
        ("merit_hydro", "no MERIT Hydro tile"),
        ("wtd", "no water table depth NetCDF"),
        ("bedrock", "no depth to bedrock"),
    ],
)
def test_an_empty_folder_is_refused(tmp_path, short, small_world, source, message):
    (tmp_path / "empty").mkdir()
    folders = small_world.folders | {source: tmp_path / "empty"}
    refused(tmp_path, short, folders, FileNotFoundError, message)


def test_wrong_units_are_refused(tmp_path, short, folders):
    path = spoil(folders, "era5_land", "*_2018_05.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["tp"].units = "mm"
    message = r"era5_land_2018_05\.nc: units of tp are 'mm', expected 'm'"
    refused(tmp_path, short, folders, ValueError, message)


@pytest.mark.parametrize(
    ("source", "pattern", "message"),
    [
        ("mod11a1", "*_LST_Night_1km_doy2019045_*", "is not on the MODIS 1 km sinusoidal grid"),
        ("mod13a2", "*_EVI_doy2018337_*", "is not on the MODIS 1 km sinusoidal grid"),
        ("soilgrids", "silt*", r"silt_0-5cm_mean\.tif does not reach"),
        ("bedrock", "*", r"BDTICM_M_1km_ll\.tif does not reach"),
    ],
)
def test_a_raster_on_another_grid_is_refused(tmp_path, short, folders, source, pattern, message):
    path = spoil(folders, source, pattern)
    with rasterio.open(path, "r+") as raster:
        raster.transform = rasterio.Affine(0.1, 0, 100.0, 0, -0.1, 10.0)
    refused(tmp_path, short, folders, ValueError, message)


def test_a_raster_in_another_projection_is_refused(tmp_path, short, folders):
    path = spoil(folders, "soilgrids", "clay*")
    with rasterio.open(path, "r+") as raster:
        raster.crs = CRS.from_epsg(3857)
    message = r"clay_0-5cm_mean\.tif: coordinate system is EPSG:3857, expected EPSG:4326"
    refused(tmp_path, short, folders, ValueError, message)


def test_meteorology_of_another_area_is_refused(tmp_path, short, folders):
    tile = replace(short.first_tile, row=short.first_tile.row + 10)
    message = r"latitude .* does not hold the cells 39\.2\.\.39\.6 of this run"
    refused(tmp_path, replace(short, first_tile=tile), folders, ValueError, message)


def test_terrain_of_another_area_is_refused(tmp_path, short, folders):
    for path in folders["merit_hydro"].iterdir():
        path.rename(path.with_name(path.name.replace("n40", "n00")))
    message = r"no MERIT Hydro tile of \['n00w035'\] reaches"
    refused(tmp_path, short, folders, ValueError, message)


def test_a_box_without_land_is_refused(tmp_path, short, folders):
    path = spoil(folders, "merit_hydro", "n40w035_elv.tif")
    with rasterio.open(path) as raster:
        profile = raster.profile | {"sparse_ok": True}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.full((1, 1, 1), -9999, "float32"), window=((0, 1), (0, 1)))
    with pytest.raises(ValueError, match="has no land: check the run's bounds and MERIT Hydro"):
        ingest.harmonise(tmp_path / "features.zarr", short, folders)


def test_only_files_of_the_days_in_need_are_taken(small_world, short):
    found = find_inputs(small_world.folders, short)
    assert list(found.lst) == list(short.time.astype(object))
    starts = list(found.vegetation)
    # 48 days and a composite's own 15 before the first one of the cube, 48 after the last.
    assert (starts[0], starts[-1]) == (date(2018, 12, 3), date(2019, 4, 23))
    names = [file.path.name for file in found.era5_land]
    assert (names[0], names[-1]) == ("era5_land_2018_02.nc", "era5_land_2019_03.nc")


def test_a_cube_of_another_period_is_kept_and_refused(small_world, short, tmp_path):
    store = small_world.copy_cube(tmp_path)
    with pytest.raises(ValueError, match="spans .* 2018-03-01 to .*; the settings ask for"):
        ingest.harmonise(store, short, small_world.folders)


def test_a_foreign_store_is_refused(small_world, short, tmp_path):
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    with pytest.raises(ValueError, match="is not a store of gssm_cube"):
        ingest.harmonise(tmp_path / "a.zarr", short, small_world.folders)
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(ValueError, match="exists and is not a complete store"):
        ingest.harmonise(tmp_path / "b.zarr", short, small_world.folders)
