"""Each kind of static source against independent reprojections, with the largest difference.

GDAL's average (rasterio.warp) weighs cells in a rectangle round each pixel, so it is exact where
grids are parallel and blurs where they are not; there the reference are many points a pixel,
projected by pyproj and looked up in the raster.
"""

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy.ndimage import uniform_filter
from scipy.signal import convolve2d

from gssm_cube.harmonise.lobes import lobe_sums, mean_of_sums
from gssm_cube.harmonise.regrid import area_mean
from gssm_cube.sources import homolosine, merit_hydro
from gssm_cube.sources.homolosine import LobeRaster
from gssm_cube.sources.raster import read_geotiff

IGH = pyproj.Proj("+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m")
CELL = 250.0
PIXELS = 24


def edges_from(north, west, pixels=PIXELS):
    """Edges of our pixels from a corner, which is given in pixels."""
    return (north - np.arange(pixels + 1)) / 120, (west + np.arange(pixels + 1)) / 120


def bounds_of(lat_edges, lon_edges):
    return float(lon_edges[0]), float(lat_edges[-1]), float(lon_edges[-1]), float(lat_edges[0])


def write(path, values, transform, crs="EPSG:4326"):
    profile = dict(driver="GTiff", count=1, dtype="float32", crs=crs, transform=transform)
    with rasterio.open(
        path, "w", **profile, height=values.shape[0], width=values.shape[1], nodata=-32768
    ) as raster:
        raster.write(values.astype("float32"), 1)
    return path


def warp(path, lat_edges, lon_edges, method=Resampling.average):
    """GDAL's own reprojection onto our pixels, in exact coordinates."""
    result = np.full((lat_edges.size - 1, lon_edges.size - 1), np.nan, "float32")
    transform = Affine(1 / 120, 0, lon_edges[0], 0, -1 / 120, lat_edges[0])
    with rasterio.open(path) as source:
        reproject(
            rasterio.band(source, 1), result, dst_transform=transform, dst_crs="EPSG:4326",
            resampling=method, dst_nodata=np.nan, tolerance=0,
        )  # fmt: skip
    return result


def rough(shape, seed=0):
    """Noise of neighbouring cells on a smooth ground, 100..900."""
    rng = np.random.default_rng(seed)
    ground = uniform_filter(rng.random(shape), 15)
    return 500 + 2000 * (ground - 0.5) + rng.uniform(-100, 100, shape)


def mean_in_degrees(path, lat_edges, lon_edges):
    raster = read_geotiff(path, bounds_of(lat_edges, lon_edges))
    return area_mean(raster.values, raster.lat_edges, raster.lon_edges, lat_edges, lon_edges)


def mean_of_lobes(path, lat_edges, lon_edges):
    sums = areas = 0.0
    for part in homolosine.read_homolosine(path, bounds_of(lat_edges, lon_edges)):
        place = part.lat_edges, part.rows, part.lon_first, part.lon_step, part.limits
        more = lobe_sums(part.values, *place, lat_edges, lon_edges)
        sums, areas = sums + more[0], areas + more[1]
    return mean_of_sums(sums, areas, lat_edges, lon_edges)


# ---- grids in degrees -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "shift", "largest"),
    [
        (1 / 1200, 0.5, 0.02),  # MERIT Hydro: half a cell aside
        (0.00225, 0.3, 0.05),  # SoilGrids in degrees
        (1 / 120, 0.0, 1e-4),  # water table, bedrock: our own pixels
        (1 / 120, 0.5, 0.03),  # the same, between our pixels: GDAL takes rows as equally large
    ],
)
@pytest.mark.parametrize("north", [60 * 120, -120 * 20, 80 * 120])
def test_grids_in_degrees_agree_with_gdal(tmp_path, cell, shift, largest, north):
    lat_edges, lon_edges = edges_from(north, 5 * 120)
    count = int(PIXELS / 120 / cell) + 4
    transform = Affine(cell, 0, 5 - (1 + shift) * cell, 0, -cell, north / 120 + (1 + shift) * cell)
    path = write(tmp_path / "a.tif", rough((count, count)), transform)
    mean, share = mean_in_degrees(path, lat_edges, lon_edges)
    expected = warp(path, lat_edges, lon_edges)
    np.testing.assert_allclose(share, 1, 0, 1e-9)
    assert np.abs(mean - expected).max() < largest  # of values 100..900
    assert mean.mean() == pytest.approx(expected.mean(), rel=1e-5)


def test_a_grid_between_our_pixels_agrees_with_scipy(tmp_path):
    values = rough((PIXELS + 1, PIXELS + 1)).astype("float32")
    path = write(tmp_path / "a.tif", values, Affine(1 / 120, 0, 5 - 1 / 240, 0, -1 / 120, 1 / 240))
    mean, _ = mean_in_degrees(path, *edges_from(0, 600))
    expected = convolve2d(values.astype("float64"), np.full((2, 2), 0.25), "valid")
    assert np.abs(mean - expected).max() < 1e-3  # rows differ in area by 1e-6


def test_a_ramp_of_merit_hydro_comes_back_to_a_millionth_of_a_degree_at_180(tmp_path):
    """Two tiles that meet at 180 E; degrees from a corner, so that float32 holds them."""
    step, north = 1 / 1200, 65.0
    files = {}
    for west, first in ((175, 180 - 260 * step), (-180, 180.0)):
        lons = first + step * np.arange(260 if west == 175 else 10)
        down, right = np.meshgrid(step * np.arange(300), lons - 179.8, indexing="ij")
        tile = {}
        for layer, values in (("elv", right), ("upa", down)):
            left = first - step / 2 - (360 if west == -180 else 0)
            transform = Affine(step, 0, left, 0, -step, north - step / 2)
            tile[layer] = write(tmp_path / f"{west}_{layer}.tif", values, transform)
        files[merit_hydro.tile_name(60, west)] = tile
    lat_edges, lon_edges = edges_from(65 * 120 - 1, 180 * 120 - PIXELS)
    for layer, expected in (
        ("elv", ((lon_edges[:-1] + lon_edges[1:]) / 2 - 179.8)[None, :]),
        ("upa", (north - step - (lat_edges[:-1] + lat_edges[1:]) / 2)[:, None]),
    ):
        raster = merit_hydro.read_layer(files, layer, bounds_of(lat_edges, lon_edges))
        mean, share = area_mean(
            raster.values, raster.lat_edges, raster.lon_edges, lat_edges, lon_edges
        )
        np.testing.assert_allclose(share, 1, 0, 1e-9)
        np.testing.assert_allclose(mean, np.broadcast_to(expected, mean.shape), 0, 1e-6)


# ---- homolosine -------------------------------------------------------------------------------

PLACES = {
    "Europe": (52 * 120, 5 * 120),
    "where Mollweide meets the sinusoid": (41 * 120, 600),
    "two northern lobes": (20 * 120, -40 * 120 - 12),
    "three lobes at the equator": (12, -20 * 120 - 12),
    "east of the antimeridian": (-17 * 120, -180 * 120),
    "west of the antimeridian": (-17 * 120, 180 * 120 - PIXELS),
    "far from the middle meridian": (70 * 120, 170 * 120),
    "the north of Greenland": (83 * 120, -40 * 120 - 12),
}


def around(lat_edges, lon_edges, margin=2):
    """Rows and columns (first, last) of 250 m cells round a box, from (0, 0)."""
    lons = np.linspace(lon_edges[0] + 1e-7, lon_edges[-1] - 1e-7, 201)
    x, y = IGH(*np.meshgrid(lons, np.linspace(lat_edges[0], lat_edges[-1], 51)))
    rows = int(np.floor(-y.max() / CELL)) - margin, int(np.ceil(-y.min() / CELL)) + margin
    cols = int(np.floor(x.min() / CELL)) - margin, int(np.ceil(x.max() / CELL)) + margin
    return rows, cols


def write_homolosine(path, lat_edges, lon_edges, values_of):
    (top, bottom), (left, right) = around(lat_edges, lon_edges)
    values = values_of((bottom - top, right - left), top, left).astype("float32")
    transform = Affine(CELL, 0, left * CELL, 0, -CELL, -top * CELL)
    write(path, values, transform, homolosine.PROJECTION)
    return values, transform


def points_mean(values, transform, lat_edges, lon_edges, points=60):
    """Mean over points x points places a pixel, each projected and looked up."""
    steps = (np.arange(PIXELS * points) + 0.5) / points / 120
    x, y = IGH(*np.meshgrid(lon_edges[0] + steps, lat_edges[0] - steps))
    cols = np.floor((x - transform.c) / CELL).astype(int)
    rows = np.floor((transform.f - y) / CELL).astype(int)
    return values[rows, cols].astype("float64").reshape(PIXELS, points, PIXELS, points).mean((1, 3))


@pytest.mark.parametrize("place", PLACES)
def test_homolosine_agrees_with_many_points_looked_up(tmp_path, place):
    edges = edges_from(*PLACES[place])
    path = tmp_path / "a.tif"
    values, transform = write_homolosine(path, *edges, lambda shape, *_: rough(shape))
    mean, share = mean_of_lobes(path, *edges)
    expected = points_mean(values, transform, *edges)
    np.testing.assert_allclose(share, 1, 0, 1e-9)
    # Points themselves err by about one; neighbouring cells differ by up to 200.
    assert np.abs(mean - expected).max() < 4
    assert np.sqrt(np.mean((mean - expected) ** 2)) < 1
    assert mean.mean() == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize("place", ["Europe", "where Mollweide meets the sinusoid"])
def test_homolosine_agrees_with_gdal_on_smooth_ground(tmp_path, place):
    edges = edges_from(*PLACES[place])
    path = tmp_path / "a.tif"

    def wave(shape, top, left):
        rows, cols = np.indices(shape)
        return 500 + 300 * np.sin((top + rows) / 25) * np.cos((left + cols) / 30)

    write_homolosine(path, *edges, wave)
    mean, _ = mean_of_lobes(path, *edges)
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(mean - warp(path, *edges))[inner].max() < 15  # GDAL's rectangles, not ours:
    with rasterio.open(path) as source:
        expected = points_mean(source.read(1), source.transform, *edges, 100)
    assert np.abs(mean - expected).max() < 0.3


@pytest.mark.parametrize("place", PLACES)
def test_a_latitude_ramp_on_homolosine_comes_back_within_eleven_metres(tmp_path, place):
    """Not to 1e-6: a cell of 250 m that a parallel cuts counts with its own mean."""
    lat_edges, lon_edges = edges_from(*PLACES[place])
    middle = (lat_edges[:-1] + lat_edges[1:]) / 2

    def latitude(shape, top, left):
        y = -CELL * (top + np.arange(shape[0]) + 0.5)
        middle_x = np.where(y > 0, IGH(30, 1)[0], IGH(20, -1)[0])  # lobes of 30 E and 20 E
        lat = IGH(middle_x, y, inverse=True)[1]
        return np.repeat((np.asarray(lat) - middle[0])[:, None], shape[1], axis=1)

    write_homolosine(tmp_path / "a.tif", lat_edges, lon_edges, latitude)
    mean, _ = mean_of_lobes(tmp_path / "a.tif", lat_edges, lon_edges)
    expected = np.repeat((middle - middle[0])[:, None], PIXELS, axis=1)
    np.testing.assert_allclose(mean, expected, 0, 1e-4)


def test_a_step_stays_a_step(tmp_path):
    """No blur: pixels wholly on either side of a meridian's coast keep their value exactly."""
    lat_edges, lon_edges = edges_from(*PLACES["Europe"])
    path = tmp_path / "a.tif"
    values, transform = write_homolosine(
        path, lat_edges, lon_edges, lambda shape, *_: np.full(shape, 100.0)
    )
    values[:, values.shape[1] // 2 :] = 900.0
    write(path, values, transform, homolosine.PROJECTION)
    mean, _ = mean_of_lobes(path, lat_edges, lon_edges)
    assert set(np.unique(mean)) >= {100.0, 900.0}
    assert ((mean > 100) & (mean < 900)).sum(axis=1).max() <= 2  # the one or two that it crosses


def equal_parts_mean(values, transform, lat_edges, lon_edges, parts=6):
    """Mean over the box of equal parts of the cells: the projection keeps areas."""
    rows, cols = (np.arange(size * parts) for size in values.shape)
    x = transform.c + CELL * (cols + 0.5) / parts
    y = transform.f - CELL * (rows + 0.5) / parts
    x, y = np.meshgrid(x, y)
    lon, lat = IGH(x, y, inverse=True)
    with np.errstate(invalid="ignore"):
        inside = (lon > lon_edges[0]) & (lon < lon_edges[-1])
        inside &= (lat > lat_edges[-1]) & (lat < lat_edges[0])
    # A few places of the far north are drawn twice; only the lobe of their longitude counts.
    again = IGH(lon[inside], lat[inside])
    own = np.hypot(again[0] - x[inside], again[1] - y[inside]) < 1
    return values[rows[:, None] // parts, cols // parts][inside][own].mean(dtype="float64")


NORTHS = st.integers(-60 * 120, 83 * 120)
WESTS = st.integers(-180 * 120, 180 * 120 - PIXELS) | st.sampled_from(
    [-180 * 120, 180 * 120 - PIXELS, *(120 * lobe - 12 for lobe in (-100, -40, -20, 80))]
)


@given(north=NORTHS, west=WESTS, seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_area_mean_of_homolosine_is_conserved_to_a_thousandth(
    tmp_path_factory, north, west, seed
):
    edges = edges_from(north, west)
    (top, bottom), (left, right) = around(*edges)
    if right - left > 6000:  # lobes far apart in x: the file would be mostly sea
        west = west - west % 1200 + 240
        edges = edges_from(north, min(west, 180 * 120 - PIXELS))
    path = tmp_path_factory.mktemp("igh") / "a.tif"
    values, transform = write_homolosine(path, *edges, lambda shape, *_: rough(shape, seed))
    mean, share = mean_of_lobes(path, *edges)
    heights = -np.diff(np.sin(np.radians(edges[0])))
    found = np.average(mean.mean(axis=1, dtype="float64"), weights=heights)
    np.testing.assert_allclose(share, 1, 0, 1e-9)
    assert found == pytest.approx(equal_parts_mean(values, transform, *edges), rel=1e-3)


@given(north=st.integers(-59 * 120, 84 * 120), west=WESTS, seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_area_mean_of_grids_in_degrees_is_conserved(north, west, seed):
    lat_edges, lon_edges = edges_from(north, west)
    step = 1 / 1200
    lat = lat_edges[0] + step / 2 - step * np.arange(PIXELS * 10 + 2)
    lon = lon_edges[0] - step / 2 + step * np.arange(PIXELS * 10 + 2)
    values = rough((lat.size - 1, lon.size - 1), seed)
    mean, _ = area_mean(values, lat, lon, lat_edges, lon_edges)
    weights = -np.diff(np.sin(np.radians(lat_edges)))
    found = np.average(mean.mean(axis=1), weights=weights)
    # Rims of half a cell lie outside the box.
    cut = np.clip(lat, lat_edges[-1], lat_edges[0]), np.clip(lon, lon_edges[0], lon_edges[-1])
    areas = np.outer(-np.diff(np.sin(np.radians(cut[0]))), np.diff(cut[1]))
    assert found == pytest.approx(np.average(values, weights=areas), rel=1e-9)


# ---- sums by lobe, by hand --------------------------------------------------------------------


def test_a_lobe_is_summed_between_its_limits_by_hand():
    """Two rows of cells 1 and 2 deg wide; the lobe ends in the middle of the second target."""
    part = LobeRaster(
        np.float32([[1, 2, 3, 4], [5, np.nan, 7, 8]]),
        np.array([2.0, 1.0, 0.0]), np.array([0, 1]), np.array([0.0, 0.0]), np.array([1.0, 2.0]),
        (0.0, 3.0),
    )  # fmt: skip
    edges = np.array([2.0, 1.0, 0.0]), np.array([0.0, 2.0, 4.0])
    place = part.lat_edges, part.rows, part.lon_first, part.lon_step, part.limits
    sums, areas = lobe_sums(part.values, *place, *edges)
    heights = -np.diff(np.sin(np.radians(edges[0])))
    np.testing.assert_allclose(sums, heights[:, None] * [[1 + 2, 3], [2 * 5, 0]])
    np.testing.assert_allclose(areas, heights[:, None] * [[2, 1], [2, 0]])
    mean, share = mean_of_sums(sums, areas, *edges)
    np.testing.assert_allclose(mean, [[1.5, 3], [5, np.nan]])
    np.testing.assert_allclose(share, [[1, 0.5], [1, 0]])


def test_bands_that_do_not_fit_are_refused():
    one, edges = np.ones(1), np.array([1.0, 0.0])
    with pytest.raises(ValueError, match=r"sizes \[1, 2\], expected 1"):
        lobe_sums(
            np.ones((1, 1)), edges, np.array([0, 0]), one, one, (0.0, 1.0), edges, edges[::-1]
        )
