"""Soil, water table and bedrock files: which are read, where, and what is missing."""

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine

from gssm_cube.sources import bedrock, groundwater, soilgrids

STEP = 1 / 120


def write_tif(path, values, nodata):
    values = np.asarray(values)
    profile = dict(driver="GTiff", count=1, height=values.shape[0], width=values.shape[1])
    profile |= dict(dtype=values.dtype, crs="EPSG:4326", nodata=nodata)
    with rasterio.open(path, "w", **profile, transform=Affine(0.1, 0, 5, 0, -0.1, 1)) as raster:
        raster.write(values, 1)


def write_wtd(path, values, north=10.0, west=20.0, *, upward=False, time=False, name="WTD"):
    """Write water table heights as Fan's files have them; `values` north first, NaN is masked."""
    values = np.ma.masked_invalid(np.asarray(values, dtype="float32"))
    lat = north - STEP * (np.arange(values.shape[0]) + 0.5)
    lon = west + STEP * (np.arange(values.shape[1]) + 0.5)
    if upward:
        lat, values = lat[::-1], values[::-1]
    dims = ("time", "lat", "lon") if time else ("lat", "lon")
    with netCDF4.Dataset(path, "w") as file:
        for axis, places in (("lat", lat), ("lon", lon)):
            file.createDimension(axis, places.size)
            file.createVariable(axis, "f8", (axis,))[:] = places
        file.createDimension("time", 1)
        file.createVariable(name, "f4", dims, fill_value=-9999.0)[:] = values
    return path


ALL = (20.0, 10 - 3 * STEP, 20 + 4 * STEP, 10.0)
HEIGHTS = [[-1.0, -2.0, np.nan, -4.0], [-5.0, -6.0, -7.0, -8.0], [-9.0, -10.0, -11.0, 0.0]]


# ---- soil -------------------------------------------------------------------------------------


def test_soil_is_read_in_its_mapped_units_without_what_is_missing(tmp_path):
    for name in soilgrids.LAYERS:
        write_tif(tmp_path / f"{name}_0-5cm_mean.tif", np.int16([[231, -32768], [0, 5]]), -32768)
    files = soilgrids.find_files(tmp_path)
    assert list(files) == ["clay", "sand", "silt", "bdod", "soc"]
    (raster,) = soilgrids.read_layer(files, "clay", (5.0, 0.8, 5.2, 1.0))
    np.testing.assert_array_equal(raster.values, [[231, np.nan], [0, 5]])


def test_missing_soil_layers_are_all_named(tmp_path):
    for name in ("clay", "silt", "bdod"):
        (tmp_path / f"{name}_0-5cm_mean.tif").touch()
    with pytest.raises(FileNotFoundError, match=r"/sand_0-5cm_mean\.tif, .*/soc_0-5cm_mean\.tif$"):
        soilgrids.find_files(tmp_path)


# ---- bedrock ----------------------------------------------------------------------------------


def test_bedrock_is_read_in_centimetres_without_what_is_missing(tmp_path):
    nodata = int(np.iinfo("int32").min)
    write_tif(tmp_path / "BDTICM_M_1km_ll.tif", np.int32([[nodata, 21345], [0, 7]]), nodata)
    path = bedrock.find_files(tmp_path)
    raster = bedrock.read_depth(path, (5.1, 0.9, 5.2, 1.0))
    np.testing.assert_array_equal(raster.values, [[21345]])
    whole = bedrock.read_depth(path, (5.0, 0.8, 5.2, 1.0)).values
    np.testing.assert_array_equal(whole, [[np.nan, 21345], [0, 7]])


def test_a_missing_bedrock_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"download BDTICM_M_1km_ll\.tif"):
        bedrock.find_files(tmp_path)


# ---- water table ------------------------------------------------------------------------------


@pytest.mark.parametrize("upward", [False, True])
@pytest.mark.parametrize("time", [False, True])
def test_heights_become_depths_whichever_way_latitude_runs(tmp_path, upward, time):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS, upward=upward, time=time)
    raster = groundwater.read_depth([path], ALL)
    expected = [[1, 2, np.nan, 4], [5, 6, 7, 8], [9, 10, 11, 0]]
    np.testing.assert_array_equal(raster.values, expected)
    assert raster.values.dtype == np.float32
    np.testing.assert_allclose(raster.lat_edges, 10 - STEP * np.arange(4))
    np.testing.assert_allclose(raster.lon_edges, 20 + STEP * np.arange(5))


def test_a_window_has_at_least_the_cells_that_touch_it_at_their_places(tmp_path):
    heights = -np.arange(100.0).reshape(10, 10)
    path = write_wtd(tmp_path / "a.nc", heights)
    bounds = (20 + 4 * STEP, 10 - 6 * STEP, 20 + 5 * STEP, 10 - 5 * STEP)  # row 5, column 4
    raster = groundwater.read_depth([path], bounds)
    assert 1 <= raster.values.shape[0] <= 3 and 1 <= raster.values.shape[1] <= 3
    row = int(np.flatnonzero(np.isclose(raster.lat_edges, bounds[3], atol=1e-9))[0])
    col = int(np.flatnonzero(np.isclose(raster.lon_edges, bounds[0], atol=1e-9))[0])
    assert raster.values[row, col] == 54


def test_where_continents_overlap_each_fills_what_the_other_lacks(tmp_path):
    first = write_wtd(tmp_path / "a.nc", [[-1.0, -2.0], [np.nan, -4.0]])
    # One cell south and east of the first: its 50 lies under the 4.
    second = write_wtd(tmp_path / "b.nc", [[-50.0, -60.0], [-70.0, -80.0]], 10 - STEP, 20 + STEP)
    bounds = (20.0, 10 - 3 * STEP, 20 + 3 * STEP, 10.0)
    raster = groundwater.read_depth([first, second], bounds)
    expected = [[1, 2, np.nan], [np.nan, 4, 60], [np.nan, 70, 80]]
    np.testing.assert_array_equal(raster.values, expected)
    swapped = groundwater.read_depth([second, first], bounds)
    expected[1][1] = 50
    np.testing.assert_array_equal(swapped.values, expected)
    for found in (raster, swapped):
        np.testing.assert_allclose(found.lat_edges, 10 - STEP * np.arange(4))
        np.testing.assert_allclose(found.lon_edges, 20 + STEP * np.arange(4))


def test_a_file_that_the_bounds_touch_by_one_row_is_read(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS)
    raster = groundwater.read_depth([path], (20.0, 10 - STEP / 4, 20 + 4 * STEP, 11.0))
    assert raster.values.shape[0] in (1, 2)
    np.testing.assert_array_equal(raster.values[0], [1, 2, np.nan, 4])
    np.testing.assert_allclose(raster.lat_edges[:2], [10.0, 10 - STEP])


def test_a_continent_elsewhere_is_passed_over_and_its_absence_is_told(tmp_path):
    far = write_wtd(tmp_path / "a.nc", HEIGHTS, north=-30.0)
    near = write_wtd(tmp_path / "b.nc", HEIGHTS)
    assert groundwater.find_files(tmp_path) == [far, near]
    np.testing.assert_array_equal(groundwater.read_depth([far, near], ALL).values[1], [5, 6, 7, 8])
    with pytest.raises(ValueError, match=r"no water table file reaches .*there are \['a.nc'\]"):
        groundwater.read_depth([far], ALL)


def test_a_file_without_the_variable_is_refused(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS, name="wtd_mean")
    with pytest.raises(ValueError, match=r"has \['wtd_mean'\], expected WTD"):
        groundwater.check_files([path])


def test_a_folder_without_water_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no water table depth NetCDF"):
        groundwater.find_files(tmp_path)


def test_a_file_that_runs_to_360_degrees_is_read_at_its_place(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS, west=200.0)
    raster = groundwater.read_depth([path], (-160.0, 10 - 3 * STEP, -160 + 4 * STEP, 10.0))
    np.testing.assert_array_equal(raster.values[1], [5, 6, 7, 8])
    np.testing.assert_allclose(raster.lon_edges, -160 + STEP * np.arange(5))


def test_a_file_from_0_to_360_degrees_is_joined_at_greenwich(tmp_path):
    heights = np.tile(-np.arange(43200.0), (2, 1))
    path = write_wtd(tmp_path / "a.nc", heights, west=0.0)
    raster = groundwater.read_depth([path], (-2 * STEP, 10 - 2 * STEP, 2 * STEP, 10.0))
    np.testing.assert_array_equal(raster.values[0], [43198, 43199, 0, 1])
    np.testing.assert_allclose(raster.lon_edges, STEP * np.arange(-2, 3), atol=1e-12)


def test_float32_coordinates_are_put_back_on_the_grid(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS, north=61.0, west=-150.0)
    with netCDF4.Dataset(path, "a") as file:
        for axis in ("lat", "lon"):
            file[axis][:] = file[axis][:].astype("float32")
    bounds = (-150.0, 61 - 3 * STEP, -150 + 4 * STEP, 61.0)
    raster = groundwater.read_depth([path], bounds)
    assert raster.values.shape == (3, 4)
    np.testing.assert_allclose(raster.lat_edges, 61 - STEP * np.arange(4), 0, 1e-12)
    np.testing.assert_allclose(raster.lon_edges, -150 + STEP * np.arange(5), 0, 1e-12)


def test_packed_heights_under_the_mask_of_a_continent_are_missing(tmp_path):
    # As delivered: scaled integers, 0 where the mask is 0, which is at sea and elsewhere.
    path = tmp_path / "NAMERICA_WTD_annualmean.nc"
    with netCDF4.Dataset(path, "w") as file:
        for axis, places in (("lat", 9.5 * STEP), ("lon", 20 + 0.5 * STEP)):
            file.createDimension(axis, 2)
            file.createVariable(axis, "f4", (axis,))[:] = places + STEP * np.arange(2)
        file.createDimension("time", 1)
        heights = file.createVariable("WTD", "i2", ("time", "lat", "lon"), fill_value=-32768)
        heights.scale_factor, heights.add_offset = 0.01, -100.0
        heights[:] = [[[-3.25, 0.0], [0.0, -120.5]]]
        file.createVariable("mask", "i1", ("lat", "lon"))[:] = [[1, 0], [1, 1]]
    raster = groundwater.read_depth([path], (20.0, 9 * STEP, 20 + 2 * STEP, 11 * STEP))
    np.testing.assert_allclose(raster.values, [[0, 120.5], [3.25, np.nan]], atol=1e-4)


def test_the_same_continent_twice_is_refused(tmp_path):
    paths = [write_wtd(tmp_path / name, HEIGHTS) for name in ("a.nc", "b.nc")]
    with pytest.raises(ValueError, match=r"a\.nc and .*b\.nc have the same box; keep one"):
        groundwater.check_files(paths)
    groundwater.check_files([paths[0], write_wtd(tmp_path / "c.nc", HEIGHTS, west=21.0)])


def test_depths_in_place_of_heights_are_refused(tmp_path):
    path = write_wtd(tmp_path / "a.nc", -np.array(HEIGHTS))
    with pytest.raises(ValueError, match=r"10 heights .* above 0 \(highest 11\).* turn the sign"):
        groundwater.read_depth([path], ALL)


def test_a_water_table_just_above_the_surface_is_at_the_surface(tmp_path):
    heights = np.full((20, 20), -1.0)
    heights[0, 0] = 0.2
    path = write_wtd(tmp_path / "a.nc", heights)
    raster = groundwater.read_depth([path], (20.0, 10 - 20 * STEP, 20 + 20 * STEP, 10.0))
    assert raster.values[0, 0] == 0 and (raster.values >= 0).all()


def test_another_unit_of_the_water_table_is_refused(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS)
    with netCDF4.Dataset(path, "a") as file:
        file["WTD"].units = "cm"
    with pytest.raises(ValueError, match="units of WTD are 'cm', expected 'm'"):
        groundwater.check_files([path])


def test_monthly_water_tables_are_refused(tmp_path):
    path = tmp_path / "a.nc"
    layer = xr.DataArray(np.zeros((12, 2, 2)), dims=("time", "lat", "lon"), name="WTD")
    layer.assign_coords(lat=[0.5 * STEP, 1.5 * STEP], lon=[0.0, STEP]).to_netcdf(path)
    with pytest.raises(ValueError, match=r"'time': 12.* expected one map .* annual mean"):
        groundwater.check_files([path])


def test_a_water_table_in_metres_east_and_north_is_refused(tmp_path):
    path = tmp_path / "a.nc"
    layer = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), name="WTD")
    layer.assign_coords(y=[0.0, 1000.0], x=[0.0, 1000.0]).to_netcdf(path)
    with pytest.raises(ValueError, match="expected one map over lat and lon in degrees"):
        groundwater.check_files([path])


def test_cells_of_another_size_are_refused(tmp_path):
    path = write_wtd(tmp_path / "a.nc", HEIGHTS)
    with netCDF4.Dataset(path, "a") as file:
        file["lon"][:] = 20 + 0.1 * np.arange(4)
    with pytest.raises(ValueError, match="from 20.0 to 20.3.* are not 30 arcsec apart"):
        groundwater.read_depth([path], ALL)


# ---- damage -----------------------------------------------------------------------------------


def cut_short(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_a_truncated_water_table_is_refused(tmp_path, share):
    heights = -np.random.default_rng(0).random((300, 300))
    path = cut_short(write_wtd(tmp_path / "a.nc", heights), share)
    with pytest.raises(ValueError, match=r"a\.nc cannot be read .*download it again"):
        groundwater.check_files([path])


@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_a_truncated_raster_is_refused(tmp_path, share):
    values = np.random.default_rng(0).integers(0, 1000, (300, 300)).astype("int32")
    write_tif(tmp_path / "BDTICM_M_1km_ll.tif", values, None)
    path = cut_short(bedrock.find_files(tmp_path), share)
    with pytest.raises(ValueError, match=r"BDTICM.*\.tif cannot be read .*download it again"):
        bedrock.read_depth(path, (5.0, -29.0, 35.0, 1.0))


# ---- bedrock as it may come -------------------------------------------------------------------

BOX = (5.0, 0.8, 5.2, 1.0)


def write_bedrock(folder, values, nodata=None):
    write_tif(folder / "BDTICM_M_1km_ll.tif", values, nodata)
    return folder / "BDTICM_M_1km_ll.tif"


def test_bedrock_whose_missing_value_is_not_declared_is_still_missing(tmp_path):
    lowest = int(np.iinfo("int32").min)
    path = write_bedrock(tmp_path, np.int32([[lowest, 300], [200, 250]]))
    bedrock.check_file(path, BOX)
    assert np.argwhere(np.isnan(bedrock.read_depth(path, BOX).values)).tolist() == [[0, 0]]


def test_negative_depths_to_bedrock_are_refused(tmp_path):
    path = write_bedrock(tmp_path, np.int32([[-9999, 300], [200, 250]]))
    with pytest.raises(ValueError, match=r"1 depths are below 0 \(lowest -9999\).* declared"):
        bedrock.read_depth(path, BOX)


def test_bedrock_in_metres_is_refused_at_the_door(tmp_path):
    path = write_bedrock(tmp_path, np.float32([[3, 12], [15, 2]]))
    with pytest.raises(ValueError, match="median depth is .*, expected 20 to 300000 cm"):
        bedrock.check_file(path, BOX)


def test_bedrock_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "old").mkdir()
    for folder in (tmp_path, tmp_path / "old"):
        write_bedrock(folder, np.int32([[1]]))
    with pytest.raises(ValueError, match="is there twice, keep one of"):
        bedrock.find_files(tmp_path)
