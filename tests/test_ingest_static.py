"""Static predictors of the small world, pixel by pixel from the raw files by plain loops."""

from datetime import date

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr

from gssm_cube.cube import open_cube
from gssm_cube.grid import Layout
from gssm_cube.harmonise.terrain import NEIGHBOURS, topographic_index
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.static import check_same_cells, index_by_slabs, soil_means
from gssm_cube.sources.homolosine import PROJECTION, project
from gssm_cube.sources.raster import Raster
from gssm_cube.sources.soilgrids import find_files

PIXELS = [(31, 77), (10, 89), (34, 33)]  # land all round


@pytest.fixture(scope="module")
def static(small_world):
    return open_cube(small_world.cube).drop_dims("time").load()


def edges_of(small_world, row, col):
    """West, south, east, north of a pixel."""
    west, _, _, north = small_world.layout.bounds
    return west + col / 120, north - (row + 1) / 120, west + (col + 1) / 120, north - row / 120


# ---- soil -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def soil(small_world):
    layers = {}
    for path in (small_world.raw / "soilgrids").glob("*.tif"):
        with rasterio.open(path) as source:
            layers[path.name.split("_")[0]] = source.read(1).astype("float64")
            layers["corner"] = source.transform.c, source.transform.f, source.transform.a
    return layers


def fine_cells(soil, edges):
    """Yield the fine cells of a pixel with the share of the pixel that each covers."""
    west, south, east, north = edges
    left, top, size = soil["corner"]
    for i in range(int((top - north) / size), int((top - south) / size) + 1):
        height = min(north, top - i * size) - max(south, top - (i + 1) * size)
        for j in range(int((west - left) / size), int((east - left) / size) + 1):
            width = min(east, left + (j + 1) * size) - max(west, left + j * size)
            yield (i, j), height * width * 120**2


@pytest.mark.parametrize(("row", "col"), PIXELS)
def test_soil_is_the_mean_of_the_fine_cells_by_area(small_world, static, soil, row, col):
    cells = list(fine_cells(soil, edges_of(small_world, row, col)))
    assert sum(share for _, share in cells) == pytest.approx(1.0)
    assert all(soil["clay"][place] > 0 for place, _ in cells)
    pixel = static.isel(lat=row, lon=col)
    for name in ("clay", "sand", "silt"):
        expected = sum(share * soil[name][place] / 10 for place, share in cells)
        assert float(pixel[name]) == pytest.approx(expected, abs=0.0055)
    omc, porosity = 0.0, 0.0
    for place, share in cells:
        organic = soil["soc"][place] / 10000 * 1.724  # dg/kg to a share of the mass
        omc += share * 100 * organic
        density = 1 / (organic / 1.4 + (1 - organic) / 2.65)
        porosity += share * (1 - soil["bdod"][place] / 100 / density)
    assert float(pixel["omc"]) == pytest.approx(omc, abs=0.0055)
    assert float(pixel["porosity"]) == pytest.approx(porosity, abs=0.00006)


def test_a_hole_in_the_soil_map_is_filled_and_flagged(small_world, static, soil):
    filled = xr.open_zarr(
        small_world.cube, group="static", consolidated=False, mask_and_scale=False
    )["filled"].values
    empty = []
    for row, col in np.argwhere(static["land"].values == 1):
        cells = fine_cells(soil, edges_of(small_world, row, col))
        if all(soil["clay"][place] < 0 for place, _ in cells):
            empty.append((row, col))
    assert len(empty) > 3
    assert all(filled[place] == 1 for place in empty)
    assert all(filled[place] == 0 for place in PIXELS)
    at = tuple(np.array(empty).T)
    assert np.isfinite(static["clay"].values[at]).all()
    total = sum(static[name].values[at] for name in ("clay", "sand", "silt"))
    np.testing.assert_allclose(total, 100.0, atol=0.02)


def test_soil_layers_on_different_grids_are_refused():
    edges = np.array([2.0, 1.0, 0.0]), np.array([5.0, 6.0, 7.0])
    one = Raster(np.zeros((2, 2), "float32"), *edges)
    aside = Raster(one.values, edges[0], edges[1] + 0.5)
    check_same_cells({"clay": [one], "sand": [Raster(one.values, *edges)]})
    with pytest.raises(ValueError, match="SoilGrids sand and clay lie on different grids"):
        check_same_cells({"clay": [one], "sand": [aside]})


# ---- terrain ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def merit(small_world):
    """Cells round the layout: the first is centred on its north-west corner less one cell."""
    west, _, _, north = small_world.layout.bounds
    layers = {}
    for name in ("elv", "upa", "dir"):
        with rasterio.open(small_world.raw / "merit_hydro" / f"n40w035_{name}.tif") as source:
            row, col = source.index(west, north)
            layers[name] = source.read(1)[row - 1 : row + 482, col - 1 : col + 962]
    return {name: layer.astype("float64") for name, layer in layers.items()}


RIM = np.outer([0.5, *[1.0] * 9, 0.5], [0.5, *[1.0] * 9, 0.5])


def box(row, col):
    """The 11 x 11 cells of a pixel."""
    return slice(1 + 10 * row, 12 + 10 * row), slice(1 + 10 * col, 12 + 10 * col)


def test_land_and_elevation_are_of_eleven_cells_with_rims_of_half_weight(static, merit):
    land = np.zeros(static["land"].shape, dtype=bool)
    for row, col in np.ndindex(land.shape):
        cells = merit["elv"][box(row, col)]
        weights = np.where(cells == -9999, 0.0, RIM)
        land[row, col] = weights.sum() >= 50
        if land[row, col] and (row + col) % 7 == 0:
            mean = (weights * cells).sum() / weights.sum()
            assert float(static["elevation"][row, col]) == pytest.approx(mean, abs=0.27)
    np.testing.assert_array_equal(static["land"].values == 1, land)
    shares = [np.sum(RIM[merit["elv"][box(*place)] != -9999]) for place in np.ndindex(land.shape)]
    assert min(abs(share - 50) for share in shares) < 0.01  # a tie, which is land


def cell_index(merit, lat, i, j):
    """Return ln(SCA / tan slope) of one cell."""
    down, right = {
        1: (0, 1), 2: (1, 1), 4: (1, 0), 8: (1, -1),
        16: (0, -1), 32: (-1, -1), 64: (-1, 0), 128: (-1, 1),
    }.get(int(merit["dir"][i, j]), (0, 0))  # fmt: skip
    dy = 6371007.181 * np.pi / 180 / 1200
    dx = dy * np.cos(np.radians(lat))
    distance = np.hypot(down * dy, right * dx)
    drop = merit["elv"][i, j] - merit["elv"][i + down, j + right]
    slope = max(drop / distance, 0.001) if distance else 0.001
    width = {(0, 1): dy, (1, 0): dx, (1, 1): 2 * dx * dy / np.hypot(dx, dy), (0, 0): (dx + dy) / 2}
    area = merit["upa"][i, j] * 1e6
    return np.log(area / (width[abs(down), abs(right)] * slope))


@pytest.mark.parametrize(("row", "col"), PIXELS)
def test_the_topographic_index_is_the_mean_over_cells(small_world, static, merit, row, col):
    rows, cols = box(row, col)
    north = small_world.layout.bounds[3]
    assert (merit["elv"][rows, cols] != -9999).all()
    index = [
        [cell_index(merit, north - (i - 1) / 1200, i, j) for j in range(cols.start, cols.stop)]
        for i in range(rows.start, rows.stop)
    ]
    expected = (RIM * index).sum() / 100
    assert float(static["ti"][row, col]) == pytest.approx(expected, abs=0.0015)


@pytest.mark.parametrize("slab_rows", [1, 4, 11, 100])
def test_the_index_by_slabs_is_that_of_the_whole(slab_rows):
    rng = np.random.default_rng(0)
    elevation, area = rng.uniform(0, 50, (11, 7)), rng.uniform(1, 9, (11, 7))
    codes = rng.choice([*NEIGHBOURS, 0, 255, 247], (11, 7)).astype("float32")
    lat = 60 - np.arange(11) / 1200
    expected = topographic_index(elevation, area, codes.astype("uint8"), lat)
    codes[codes == 247] = np.nan  # as the files have the sea
    for found, whole in zip(
        index_by_slabs(elevation, area, codes, lat, slab_rows), expected, strict=True
    ):
        np.testing.assert_array_equal(found, whole)


# ---- water table and bedrock ------------------------------------------------------------------


@pytest.mark.parametrize(("row", "col"), PIXELS)
def test_layers_on_our_own_grid_are_taken_as_they_are(small_world, static, row, col):
    lat, lon = small_world.layout.lat[row], small_world.layout.lon[col]
    with xr.open_dataset(small_world.raw / "wtd" / "wtd_annualmean.nc", engine="netcdf4") as file:
        height = float(file["WTD"].sel(lat=lat, lon=lon, method="nearest", tolerance=1e-6))
    assert height < 0
    assert float(static["wtd"][row, col]) == pytest.approx(-height, abs=0.026)
    with rasterio.open(small_world.raw / "bedrock" / "BDTICM_M_1km_ll.tif") as source:
        depth = next(source.sample([(lon, lat)]))[0]
    assert float(static["dtb"][row, col]) == pytest.approx(float(depth), abs=5.1)


def test_soil_in_homolosine_gives_what_the_same_map_in_degrees_gives(tmp_path):
    """A map of broad waves in both projections, over the tile that lies west of 180 E."""
    layout = Layout.covering((179.6, 64.8, 180.0, 65.2), date(2018, 1, 1), date(2018, 1, 1), 48)
    padded = Padded(layout, next(layout.tiles()))
    west, south, east, north = padded.bounds
    degrees, metres = tmp_path / "degrees", tmp_path / "metres"
    lon, lat = np.meshgrid(np.linspace(west, east), np.linspace(south, north))
    x, y = project(lon, lat)
    shapes = {
        degrees: ("EPSG:4326", 0.00225, west - 0.01, north + 0.01, 0.5, 0.5),
        metres: (
            PROJECTION,
            250.0,
            x.min() - 600,
            y.max() + 600,
            np.ptp(x) + 1200,
            np.ptp(y) + 1200,
        ),
    }
    for folder, (crs, step, left, top, width, height) in shapes.items():
        folder.mkdir()
        across, down = (step * (np.arange(int(span / step)) + 0.5) for span in (width, height))
        places = np.meshgrid(left + across, top - down)
        if crs == PROJECTION:
            places = pyproj.Proj(PROJECTION)(*places, inverse=True)
        inside = np.isfinite(places[0])  # past 180 E there is nothing
        lon, lat = (np.where(inside, axis, 0) for axis in places)
        wave = np.where(inside, np.sin(40 * (lon - 180)) * np.cos(60 * (lat - 65)), 0)
        clay, soc = 300 + 100 * wave, 500 - 200 * wave
        layers = {"clay": clay, "sand": 900 - 2 * clay, "silt": 100 + clay, "soc": soc}
        for name, values in (layers | {"bdod": 130 - 20 * wave}).items():
            profile = dict(driver="GTiff", count=1, dtype="int16", crs=crs, nodata=-32768)
            profile |= dict(height=wave.shape[0], width=wave.shape[1])
            transform = rasterio.Affine(step, 0, left, 0, -step, top)
            path = folder / f"{name}_0-5cm_mean.tif"
            with rasterio.open(path, "w", **profile, transform=transform) as raster:
                raster.write(np.rint(values).astype("int16"), 1)
    one, other = (soil_means(find_files(folder), padded) for folder in (degrees, metres))
    assert list(one) == ["clay", "sand", "silt", "porosity", "omc"]
    for name, largest in (("clay", 0.4), ("sand", 0.8), ("silt", 0.4), ("omc", 0.14)):
        assert np.abs(one[name] - other[name]).max() < largest
        assert one[name].mean() == pytest.approx(other[name].mean(), rel=1e-3)
    assert np.abs(one["porosity"] - other["porosity"]).max() < 0.008
    assert np.ptp(one["clay"]) > 15
