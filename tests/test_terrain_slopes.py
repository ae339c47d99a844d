"""The topographic index on slopes that have an answer on paper, at several latitudes."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.stats import spearmanr

from gssm_cube.harmonise.regrid import area_mean
from gssm_cube.harmonise.terrain import EARTH_RADIUS, topographic_index
from gssm_cube.sources.synthetic import flow_directions, upstream_area

CELL = 1 / 1200
DY = np.radians(CELL) * EARTH_RADIUS
SIZE = 12
EAST, SOUTH, WEST, NORTH, SOUTH_EAST, NORTH_WEST = 1, 4, 16, 64, 2, 32


def plane(lat, north, east):
    """Heights (m) of a plane that rises by ``north`` and ``east`` m a metre, and cell latitudes."""
    lats = lat - CELL * np.arange(SIZE)
    up = north * DY * -np.arange(SIZE)[:, None]
    right = east * DY * np.cos(np.radians(lats))[:, None] * np.arange(SIZE)
    return (1000 + up + right).astype("float64"), lats


def index_of(elevation, lats, code, area=1.0):
    """Index and floor of the inner cells, all draining the same way."""
    areas, codes = np.full(elevation.shape, area), np.full(elevation.shape, code, "uint8")
    ti, floored = topographic_index(elevation, areas, codes, lats)
    return ti[1:-1, 1:-1], floored[1:-1, 1:-1]


@pytest.mark.parametrize("lat", [0.0, 45.0, -60.0, 80.0])
@pytest.mark.parametrize(
    ("code", "slope"), [(SOUTH, (0.1, 0)), (NORTH, (-0.1, 0)), (WEST, (0, 0.1)), (EAST, (0, -0.1))]
)
def test_planes_that_fall_along_an_axis_have_their_slope_at_any_latitude(lat, code, slope):
    elevation, lats = plane(lat, *slope)
    ti, floored = index_of(elevation, lats, code)
    dx = DY * np.cos(np.radians(lats[1:-1]))
    width = dx if code in (SOUTH, NORTH) else np.full(dx.size, DY)
    expected = np.log(1e6 / (width * 0.1))[:, None]
    # Heights are float32: 0.06 mm in 0.16 m at 80 N.
    np.testing.assert_allclose(ti, np.broadcast_to(expected, ti.shape), 0, 1e-3)
    assert not floored.any()


@pytest.mark.parametrize("lat", [0.0, 45.0, 70.0])
@pytest.mark.parametrize(("code", "sign"), [(SOUTH_EAST, 1), (NORTH_WEST, -1)])
def test_a_plane_that_falls_along_the_diagonal_has_its_slope_there(lat, code, sign):
    lats = lat - CELL * np.arange(SIZE)
    dx = DY * np.cos(np.radians(lats))[:, None]
    distance = np.hypot(dx, DY)
    # 0.05 m a metre along the diagonal: a step down and a step right lose as much each.
    rows, cols = np.indices((SIZE, SIZE))
    elevation = 500 - sign * 0.05 * distance[SIZE // 2] * (rows + cols) / 2
    ti, _ = index_of(elevation, lats, code)
    width = 2 * dx * DY / distance
    np.testing.assert_allclose(ti, (np.log(1e6 / (width * 0.05)) + 0 * ti[:1])[1:-1], 0, 1e-3)


def test_cells_shrink_toward_the_pole_and_the_index_follows():
    """The same heights: falling south the flow narrows, falling east the slope steepens."""
    steps = np.add.outer(100.0 - np.arange(SIZE), -np.arange(SIZE))
    near, far = 10.0, 80.0
    for code in (SOUTH, EAST):
        low, high = (
            index_of(steps, at - CELL * np.arange(SIZE), code)[0][0, 0] for at in (near, far)
        )
        shrink = np.log(np.cos(np.radians(near - CELL)) / np.cos(np.radians(far - CELL)))
        assert high - low == pytest.approx(shrink if code == SOUTH else -shrink, abs=1e-4)


def test_a_valley_with_a_lake_a_mouth_and_the_sea_from_its_ridge():
    """One row draining east: slope, flat, sink; and slope, mouth, sea."""
    elevation = np.array([[30.0, 20.0, 20.0, 20.0, 10.0, 1.0, -9999.0]])
    codes = np.array([[EAST, EAST, EAST, 255, EAST, 0, 247]], "uint8")
    area = np.array([[1.0, 2, 3, 4, 1, 2, -9999]])
    ti, floored = topographic_index(elevation, area, codes, [0.0])
    slopes = np.array([10 / DY, 0.001, 0.001, 0.001, 9 / DY, 0.001])
    np.testing.assert_allclose(ti[0, :6], np.log(area[0, :6] * 1e6 / DY / slopes), rtol=1e-6)
    assert np.isnan(ti[0, 6])
    assert floored[0].tolist() == [False, True, True, True, False, True, False]
    assert floored.sum() / np.isfinite(ti).sum() == pytest.approx(4 / 6)


# ---- real terrain -----------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_heights_are_averaged_as_by_counting_cells(real_data):
    """Each 3 arcsec cell is cut into 2 x 2: halves then fall wholly into a pixel."""
    with rasterio.open(real_data / "grids/dem/hydrosheds_3arcsec_fortworth.tif") as source:
        cells, transform = source.read(1).astype("float64"), source.transform
        assert not (cells == source.nodata).any()
    north, west = (round(v * 2400) for v in (transform.f, transform.c))  # in half cells
    top, left = north // 20, -(-west // 20)  # the first whole pixel
    halves = np.kron(cells, np.ones((2, 2)))[north - 20 * top :, 20 * left - west :]
    rows, cols = halves.shape[0] // 20, halves.shape[1] // 20
    expected = halves[: 20 * rows, : 20 * cols].reshape(rows, 20, cols, 20).mean(axis=(1, 3))
    lat_edges = transform.f - np.arange(cells.shape[0] + 1) / 1200
    lon_edges = transform.c + np.arange(cells.shape[1] + 1) / 1200
    target = (top - np.arange(rows + 1)) / 120, (left + np.arange(cols + 1)) / 120
    mean, share = area_mean(cells, lat_edges, lon_edges, *target)
    np.testing.assert_allclose(share, 1, 0, 1e-6)
    np.testing.assert_allclose(mean, expected, 0, 0.002)  # m, over 150-300 m of height
    assert mean.mean() == pytest.approx(expected.mean(), rel=1e-6)


@pytest.mark.real_data
def test_a_real_grid_of_our_cells_lands_on_them_without_shift(real_data):
    path = real_data / "grids/delaware_1km/DE_terrain_covariates_1km.nc"
    with xr.open_dataset(path, engine="netcdf4") as file:
        land = file["land"].sortby("lat", ascending=False).load()
    # Our pixels: centres are odd multiples of 1/240 deg.
    lat, lon = (np.round(land[axis].values * 120 - 0.5) + 0.5 for axis in ("lat", "lon"))
    np.testing.assert_allclose(land.lat * 120, lat, 0, 0.01)
    np.testing.assert_allclose(land.lon * 120, lon, 0, 0.01)
    edges = np.append(lat + 0.5, lat[-1] - 0.5) / 120, np.append(lon - 0.5, lon[-1] + 0.5) / 120
    own = np.append(land.lat + 1 / 240, land.lat[-1] - 1 / 240), edges[1]
    mean, _ = area_mean(land.values, *own, *edges)
    inside = np.isfinite(land.values)
    np.testing.assert_allclose(mean[inside], land.values[inside], 0, 0.5)


@pytest.mark.real_data
def test_the_index_of_real_terrain_ranks_pixels_as_another_programme_does(real_data):
    """SAGA's wetness index: several ways down, slopes in m a degree; so ranks say more than r."""
    path = real_data / "grids/delaware_1km/DE_terrain_covariates_1km.nc"
    with xr.open_dataset(path, engine="netcdf4") as file:
        height, wetness = file["land"].load(), file["wetness"].values
    elevation = np.where(np.isnan(height), -9999, height).astype("float32")
    lat = height["lat"].values
    codes = flow_directions(elevation, lat)
    area = 100 * upstream_area(elevation, codes, lat)  # cells are ten times as wide as MERIT's
    ti, _ = topographic_index(elevation, area, codes, lat, cell_degrees=1 / 120)
    both = np.isfinite(ti) & np.isfinite(wetness)
    assert both.sum() > 46000
    assert np.corrcoef(ti[both], wetness[both])[0, 1] > 0.58
    assert spearmanr(ti[both], wetness[both]).statistic > 0.72
