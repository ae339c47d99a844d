"""Windows of rasters in degrees: cells, edges, what is missing, and other grids refused."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from gssm_cube.sources.raster import check_geotiff, read_geotiff

VALUES = np.arange(20, dtype="int16").reshape(4, 5)  # half-degree cells from 50 N, 10 E
NORTH_UP = Affine(0.5, 0, 10.0, 0, -0.5, 50.0)


def write(path, values=VALUES, nodata=None, crs="EPSG:4326", transform=NORTH_UP):
    height, width = values.shape
    profile = dict(driver="GTiff", count=1, height=height, width=width, dtype=values.dtype)
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as raster:
        raster.write(values, 1)
    return path


@pytest.mark.parametrize(
    "bounds",
    [
        (10.5, 48.5, 12.0, 49.5),  # on the edges of cells
        (10.6, 48.6, 11.9, 49.4),  # within the same cells
        (10.5 - 1e-9, 48.5 - 1e-9, 12.0 + 1e-9, 49.5 + 1e-9),  # on the edges but for rounding
    ],
)
def test_all_cells_that_touch_the_bounds_are_read_and_no_more(tmp_path, bounds):
    raster = read_geotiff(write(tmp_path / "a.tif"), bounds)
    np.testing.assert_array_equal(raster.values, [[6, 7, 8], [11, 12, 13]])
    assert raster.values.dtype == np.float32
    np.testing.assert_allclose(raster.lat_edges, [49.5, 49.0, 48.5])
    np.testing.assert_allclose(raster.lon_edges, [10.5, 11.0, 11.5, 12.0])


def test_bounds_past_the_file_end_at_its_edges(tmp_path):
    raster = read_geotiff(write(tmp_path / "a.tif"), (-20.0, 49.2, 10.2, 80.0))
    np.testing.assert_array_equal(raster.values, [[0], [5]])
    np.testing.assert_allclose(raster.lat_edges, [50.0, 49.5, 49.0])
    np.testing.assert_allclose(raster.lon_edges, [10.0, 10.5])


def test_the_nodata_value_is_missing_and_zero_is_not(tmp_path):
    bounds = (10.0, 48.0, 12.5, 50.0)
    marked = read_geotiff(write(tmp_path / "a.tif", nodata=7), bounds).values
    assert np.argwhere(np.isnan(marked)).tolist() == [[1, 2]]
    assert marked[0, 0] == 0
    plain = read_geotiff(write(tmp_path / "b.tif"), bounds).values
    np.testing.assert_array_equal(plain, VALUES)


def test_a_nodata_value_of_nan_stays_missing(tmp_path):
    values = VALUES.astype("float32")
    values[3, 4] = np.nan
    found = read_geotiff(write(tmp_path / "a.tif", values, np.nan), (10.0, 48.0, 12.5, 50.0))
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize("read", [read_geotiff, check_geotiff])
@pytest.mark.parametrize(
    ("change", "bounds", "message"),
    [
        ({}, (20.0, 48.0, 21.0, 49.0), r"a\.tif does not reach \(20.0, 48.0, 21.0, 49.0\)"),
        ({}, (12.5, 48.0, 13.0, 49.0), "does not reach"),  # touches the east edge only
        ({"crs": "EPSG:3857"}, (10.0, 48.0, 11.0, 49.0), "is EPSG:3857, expected EPSG:4326"),
        ({"crs": None}, (10.0, 48.0, 11.0, 49.0), "is None, expected EPSG:4326"),
        (
            {"transform": Affine(0.5, 0, 10.0, 0, 0.5, 48.0)},
            (10.0, 48.0, 11.0, 49.0),
            "do not run from north to south",
        ),
        (
            {"transform": Affine(0.5, 0.01, 10.0, 0, -0.5, 50.0)},
            (10.0, 48.0, 11.0, 49.0),
            "do not run from north to south",
        ),
    ],
)
def test_another_grid_or_region_is_refused(tmp_path, read, change, bounds, message):
    path = write(tmp_path / "a.tif", **change)
    with pytest.raises(ValueError, match=message):
        read(path, bounds)


def test_a_file_that_runs_to_360_degrees_is_joined_at_greenwich(tmp_path):
    values = np.arange(36, dtype="int16").reshape(1, 36)
    path = write(tmp_path / "a.tif", values, transform=Affine(10, 0, 0, 0, -10, 10))
    raster = read_geotiff(path, (-15.0, 0.0, 5.0, 10.0))
    np.testing.assert_array_equal(raster.values, [[34, 35, 0]])
    np.testing.assert_allclose(raster.lon_edges, [-20, -10, 0, 10])
    west = read_geotiff(path, (-180.0, 0.0, -165.0, 10.0))
    np.testing.assert_array_equal(west.values, [[18, 19]])
    np.testing.assert_allclose(west.lon_edges, [-180, -170, -160])
    np.testing.assert_array_equal(read_geotiff(path, (170.0, 0.0, 180.0, 10.0)).values, [[17]])


def test_a_value_may_be_missing_besides_the_one_declared(tmp_path):
    path = write(tmp_path / "a.tif", nodata=7)
    values = read_geotiff(path, (10.0, 48.0, 12.5, 50.0), missing=3).values
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 3], [1, 2]]


def test_several_bands_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    profile = dict(driver="GTiff", count=2, height=1, width=1, dtype="int16", crs="EPSG:4326")
    with rasterio.open(path, "w", **profile, transform=NORTH_UP):
        pass
    with pytest.raises(ValueError, match="holds 2 bands, expected one"):
        read_geotiff(path, (10.0, 49.5, 10.5, 50.0))
