"""A small invented world in the formats of its providers, so that everything runs offline.

The files are what a user would have on disk after the downloads: ERA5-Land from the Climate Data
Store, MODIS cut-outs from AppEEARS, SoilGrids, MERIT Hydro, water table, bedrock, an ISMN archive.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numba import njit
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.ndimage import distance_transform_edt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from gssm_cube.grid import Layout
from gssm_cube.sources import world as physics
from gssm_cube.sources.synthetic_era5 import write_era5_land
from gssm_cube.sources.synthetic_ismn import write_archive, write_truth
from gssm_cube.sources.world import OCEAN, SPINUP_DAYS, TAIL_DAYS, Bools, Floats, World

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
Steps = Iterator[tuple[int, int]]  # files done, files in all

RADIUS = 6371007.181  # m, the sphere of the MODIS sinusoidal grid
MODIS_PIXEL = 2 * np.pi * RADIUS / 43200  # m
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
TERRA_HOURS = {"Day": 10.5, "Night": 22.5}  # local solar time of the overpasses
CLOUD_LEVEL = 0.33  # standard deviations: about 38 % of a place is clouded
SOIL_PIXEL = 0.0022  # deg, about 250 m
MERIT_TILE = 6000  # cells along the edge of a 5 deg tile
DOWN, RIGHT = (0, 1, 1, 1, 0, -1, -1, -1), (1, 1, 0, -1, -1, -1, 0, 1)
STEPS = tuple(zip((1, 2, 4, 8, 16, 32, 64, 128), DOWN, RIGHT, strict=True))


# One thread of linear algebra: the same bits on any number of cores, and no idle spinning.
@threadpool_limits.wrap(limits=1)
def write_world(
    folder: Path,
    layout: Layout,
    *,
    seed: int = 0,
    stations: int = 48,
    progress: Progress | None = None,
    truth_store: Path | str | None = None,
) -> None:
    """Write the world of a layout and a seed as its providers would deliver it.

    Parameters
    ----------
    folder : Path
        Made if missing; one subfolder a provider: ``era5_land``, ``mod11a1``, ``mod13a2``,
        ``soilgrids``, ``merit_hydro``, ``wtd``, ``bedrock``, ``ismn``.
    layout, seed
        120 pixels per degree, off the poles and 180 deg; the same two write the same bytes.
    stations : int
        ISMN stations.
    progress : callable, optional
        Called with the stage, the files done and the files in all.
    truth_store : path, optional
        Where to write the true soil moisture, a Zarr, which no provider has.
    """
    logger.info("synthetic world: start, %s pixels, %d days", layout.shape, layout.days)
    world = World(layout, seed)
    writers = (write_era5_land, write_mod11a1, write_mod13a2, write_soilgrids, write_merit_hydro)
    for write in (*writers, write_wtd, write_bedrock):
        stage = write.__name__.removeprefix("write_")
        (folder / stage).mkdir(parents=True, exist_ok=True)
        for done, total in write(world, folder / stage):
            if progress:
                progress(stage, done, total)
    (folder / "ismn").mkdir(exist_ok=True)
    write_archive(folder / "ismn", world, stations, progress)
    if truth_store is not None:
        write_truth(truth_store, world)
    logger.info("synthetic world: done, %d land pixels", world.land.sum())


def write_tif(path: Path, array: NDArray, corner: tuple[float, float], pixel: float) -> None:
    """Write a raster in degrees; ``corner`` is the outer north-west one (lon, lat)."""
    nodata = np.iinfo("int32").min if array.dtype == np.int32 else -32768
    profile = _profile(
        array, "EPSG:4326", Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), nodata
    )
    with rasterio.open(path, "w", **profile, compress="deflate", zlevel=1) as raster:
        raster.write(array, 1)


def _profile(array: NDArray, crs: str, transform: Affine, nodata: float | None) -> dict[str, Any]:
    """Return what GDAL must know of a single band."""
    profile = dict(driver="GTiff", count=1, crs=CRS.from_string(crs), nodata=nodata)
    height, width = array.shape
    return profile | dict(dtype=array.dtype, height=height, width=width, transform=transform)


class Cutout:
    """The rectangle of the MODIS sinusoidal grid round a layout; its rows are the layout's.

    ``source`` numbers the land pixel that lies at each of its pixels; one past the last: none.
    """

    def __init__(self, layout: Layout, land: Bools) -> None:
        west, south, east, north = layout.bounds
        edges = [np.cos(np.radians(lat)) for lat in (south, north, max(south, min(north, 0.0)))]
        x = (np.outer(edges, (west, east)) + 180) * 120  # in pixels from the left edge
        first, stop = int(np.floor(x.min() + 1e-6)), int(np.ceil(x.max() - 1e-6))
        self.shape = layout.shape[0], stop - first
        corner = (first - 21600) * MODIS_PIXEL, (10800 - layout.row) * MODIS_PIXEL
        self.transform = Affine(MODIS_PIXEL, 0, corner[0], 0, -MODIS_PIXEL, corner[1])
        lon = ((np.arange(first, stop) + 0.5) / 120 - 180) / np.cos(np.radians(layout.lat))[:, None]
        cols = np.floor((lon - west) * 120).astype("int64")
        inside = (cols >= -2) & (cols < layout.shape[1] + 2)  # so that no edge goes without
        cols = np.clip(cols, 0, layout.shape[1] - 1)
        number = np.where(land, np.cumsum(land).reshape(land.shape) - 1, land.sum())
        self.source = np.where(inside, np.take_along_axis(number, cols, axis=1), land.sum())


class Press:
    """GDAL lays out one raster; the rest, fifty times faster, are its bytes with other pixels."""

    def __init__(self, cutout: Cutout, dtype: str, nodata: int | None, scale: float = 1.0) -> None:
        self.source, self.dtype = cutout.source, np.dtype(dtype)
        blank = np.zeros(cutout.shape, dtype)
        profile = _profile(blank, SINUSOIDAL, cutout.transform, nodata)
        with MemoryFile() as memory:
            with memory.open(**profile, blockysize=cutout.shape[0]) as raster:
                raster.write(blank, 1)
                raster.scales = (scale,)
            with memory.open() as raster:
                start = int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
            page = bytes(memory.getbuffer())
        self.head, self.tail = page[:start], page[start + blank.nbytes :]

    def write(self, path: Path, values: NDArray, sea: int) -> None:
        """Write the values of the land pixels and one for all the rest."""
        pixels = np.append(values, sea).astype(self.dtype)[self.source]
        path.write_bytes(self.head + pixels.tobytes() + self.tail)


def surface_temperature(world: World, day: int) -> dict[str, Floats]:
    """Return clear-sky LST of the land pixels by ``Day`` and ``Night``, K; wet soil swings less."""
    soil, ssm = world.soil, world.water.ssm[TAIL_DAYS + day]
    wet = np.clip((ssm - soil.residual) / (soil.porosity - soil.residual), 0, 1)
    swing = (22 - 14 * wet) * (0.9 + 0.1 * world.weather.summer[SPINUP_DAYS + day])
    noise = physics.rng_of(world.seed, "lst", day).normal(0, 0.8, (2, wet.size))
    mean = world.tair[SPINUP_DAYS + day] + 273.15
    return {"Day": mean + 0.6 * swing + noise[0], "Night": mean - 0.4 * swing + noise[1]}


def write_mod11a1(world: World, folder: Path) -> Steps:
    """Write daily MOD11A1.061 with its quality flags, four files a day."""
    cutout = Cutout(world.layout, world.land)
    lst, qc = Press(cutout, "uint16", 0, 0.02), Press(cutout, "uint8", None)
    for day in range(world.layout.days):
        stamp = f"doy{world.layout.time[day].astype(object):%Y%j}_aid0001.tif"
        for time, kelvin in surface_temperature(world, day).items():
            rng = physics.rng_of(world.seed, "quality", time, day)
            codes, flags = lst_codes(kelvin, cloudy(world, day, TERRA_HOURS[time]), rng)
            lst.write(folder / f"MOD11A1.061_LST_{time}_1km_{stamp}", codes, 0)
            qc.write(folder / f"MOD11A1.061_QC_{time}_{stamp}", flags, 3)
        yield 4 * (day + 1), 4 * world.layout.days


def cloudy(world: World, day: int, solar_hour: float) -> Bools:
    """Tell which land pixels are clouded at an overpass, by blocks of 2 x 2 pixels."""
    hour = int(np.round(solar_hour - world.layout.lon.mean() / 15)) % 24  # of the UTC day
    waves, hour = world.weather.cloud, hour + 24 * (SPINUP_DAYS + day)
    still = physics.Waves(waves.north, waves.east, waves.series[hour])
    cloud = still.on(world.layout.lat[::2], world.layout.lon[::2])
    return (cloud > CLOUD_LEVEL).repeat(2, axis=0).repeat(2, axis=1)[world.land]


def lst_codes(kelvin: Floats, clouded: Bools, rng: np.random.Generator) -> list[NDArray]:
    """Return MOD11A1 codes and flags: good, fair, poor (several K too cold), clouded."""
    luck = rng.random(kelvin.size)
    flags = np.select([luck < 0.01, luck < 0.02, luck < 0.06, luck < 0.10], [193, 129, 65, 17], 0)
    wrong = (flags > 128) * rng.uniform(4, 9, kelvin.size)
    codes = np.clip(np.rint((kelvin - wrong) / 0.02), 7500, 65535)
    return [np.where(clouded, 0, codes), np.where(clouded, 2, flags)]


def composite_starts(first: date, last: date) -> NDArray[np.datetime64]:
    """Return the starts of the 16-day composites that touch a period; they restart each year."""
    januaries = np.arange(f"{first.year - 1}", f"{last.year + 1}", dtype="datetime64[Y]")
    starts = np.add.outer(
        januaries.astype("datetime64[D]"), 16 * np.arange(23, dtype="timedelta64[D]")
    ).ravel()
    return starts[(starts + 15 >= np.datetime64(first)) & (starts <= np.datetime64(last))]


def write_mod13a2(world: World, folder: Path) -> Steps:
    """Write 16-day MOD13A2.061, four files a composite, 64 days past the layout at both ends."""
    cutout = Cutout(world.layout, world.land)
    index, day = Press(cutout, "int16", -3000, 0.0001), Press(cutout, "int16", -1)
    reliability = Press(cutout, "int8", -1)
    starts = composite_starts(*(world.layout.time[[0, -1]] + [-64, 64]).astype(object))
    for done, start in enumerate(starts, 1):
        values = _composite(world, start)
        stamp = f"doy{start.astype(object):%Y%j}_aid0001.tif"
        for name, press in zip(values, (index, index, reliability, day), strict=True):
            fill = -3000 if press is index else -1
            press.write(folder / f"MOD13A2.061__1_km_16_days_{name}_{stamp}", values[name], fill)
        yield 4 * done, 4 * starts.size


def _composite(world: World, start: np.datetime64) -> dict[str, NDArray]:
    """Codes of one composite: clouds (3) and haze (1) lower the indices, snow (2) ends them."""
    rng, count = physics.rng_of(world.seed, "composite", str(start)), int(world.land.sum())
    dates = start + rng.integers(0, 16, count)
    days = (dates - (world.layout.time[0] - TAIL_DAYS)).astype("int64")
    luck, noise = rng.random(count), rng.normal(0, 0.01, (2, count))
    season = world.weather.summer[days + SPINUP_DAYS - TAIL_DAYS]
    green = 0.66 * world.water.green[days, np.arange(count)] * (0.8 + 0.2 * season)
    cold = world.tair[days + SPINUP_DAYS - TAIL_DAYS, np.arange(count)] < -3
    flags = np.select([cold, luck < 0.08, luck < 0.20], [2, 3, 1], 0)
    loss = np.array([0, 0.02, 0.3, 0.2])[flags] * rng.uniform(0.6, 1.2, count)
    indices = (0.12 + green, 0.09 + 0.62 * green) + noise - loss  # NDVI and EVI
    codes = np.clip(np.rint(10000 * indices), -2000, 10000)
    own_day = (dates - dates.astype("datetime64[Y]")).astype("int64") + 1
    names = ("NDVI", "EVI", "pixel_reliability", "composite_day_of_the_year")
    return dict(zip(names, (*codes, flags, own_day), strict=True))


def write_soilgrids(world: World, folder: Path) -> Steps:
    """Write SoilGrids 0-5 cm means on a grid of their own, with a lake-like hole inland."""
    west, south, east, north = world.layout.bounds
    corner = west - 10.3 * SOIL_PIXEL, north + 9.6 * SOIL_PIXEL
    rows, cols = (int(span / SOIL_PIXEL) + 20 for span in (north - south, east - west))
    lat = corner[1] - SOIL_PIXEL * (np.arange(rows) + 0.5)
    lon = corner[0] + SOIL_PIXEL * (np.arange(cols) + 0.5)
    height = world.terrain.relief.height(lat, lon)
    soil = physics.soil_on(lat, lon, height, world.seed)
    away = distance_transform_edt(np.pad(world.land, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(away.argmax(), away.shape)
    hole = np.hypot(lat[:, None] - world.layout.lat[row], lon - world.layout.lon[col]) < 0.0135
    layers = {"clay": np.rint(10 * soil.clay), "sand": np.rint(10 * soil.sand)}
    layers["silt"] = 1000 - layers["clay"] - layers["sand"]
    layers |= {"bdod": 100 * soil.density, "soc": 10 * soil.carbon}
    for done, (name, values) in enumerate(layers.items(), 1):
        codes = np.where((height > 0) & ~hole, np.rint(values), -32768).astype("int16")
        write_tif(folder / f"{name}_0-5cm_mean.tif", codes, corner, SOIL_PIXEL)
        yield done, len(layers)


def write_wtd(world: World, folder: Path) -> Steps:
    """Write the water table as Fan et al. have it: negative below the surface, m."""
    terrain = world.terrain
    depth = np.maximum(0.2, 4 + 0.03 * terrain.elevation + 2.5 * terrain.ridge)
    wtd = np.where(terrain.land, -depth, np.nan).astype("float32")
    array = xr.DataArray(wtd, (("lat", terrain.lat), ("lon", terrain.lon)), name="WTD")
    array.assign_attrs(units="m").to_netcdf(folder / "wtd_annualmean.nc", engine="netcdf4")
    yield 1, 1


def write_bedrock(world: World, folder: Path) -> Steps:
    """Write depth to bedrock in cm: deep in the plains, shallow on ridges."""
    terrain = world.terrain
    depth = 200 + 2000 * np.exp(-terrain.elevation / 400) * (1 - 0.2 * terrain.ridge)
    codes = np.where(terrain.land, np.rint(depth), np.iinfo("int32").min).astype("int32")
    corner = terrain.lon[0] - 1 / 240, terrain.lat[0] + 1 / 240
    write_tif(folder / "BDTICM_M_1km_ll.tif", codes, corner, 1 / 120)
    yield 1, 1


def flow_directions(elv: NDArray[np.float32], lat: Floats) -> NDArray[np.uint8]:
    """Return MERIT's codes of the steepest way down: 0 into the sea, 255 a sink, 247 the sea."""
    land = elv != OCEAN
    ground = np.pad(np.where(land, elv, 0), 1, constant_values=np.inf).astype("float32")
    north_south = np.radians(RADIUS / physics.MERIT_PER_DEGREE)
    east_west = north_south * np.cos(np.radians(lat))[:, None]
    (rows, cols), codes = elv.shape, np.full(elv.shape, 255, "uint8")
    steepest = np.zeros(elv.shape, "float32")
    for code, down, right in STEPS:
        window = slice(1 + down, 1 + down + rows), slice(1 + right, 1 + right + cols)
        distance = np.hypot(down * north_south, right * east_west).astype("float32")
        slope = (ground[1:-1, 1:-1] - ground[window]) / distance
        better = slope > steepest
        codes[better] = np.where(ground[window][better] > 0, code, 0)
        steepest = np.maximum(slope, steepest)
    codes[~land] = 247
    return codes


def upstream_area(elv: Floats, codes: NDArray[np.uint8], lat: Floats) -> NDArray[np.float32]:
    """Return the area that drains through each cell, km2, itself included; -9999 at sea."""
    moves = np.zeros(256, "int64")
    moves[[code for code, _, _ in STEPS]] = [d * codes.shape[1] + r for _, d, r in STEPS]
    edge = np.radians(RADIUS / 1000 / physics.MERIT_PER_DEGREE)
    area = np.broadcast_to(edge**2 * np.cos(np.radians(lat))[:, None], codes.shape).ravel()
    total = _pass_down(np.argsort(-elv, axis=None), moves[codes].ravel(), area.copy())
    return np.where(codes == 247, OCEAN, total.reshape(codes.shape)).astype("float32")


@njit(cache=True)
def _pass_down(order: NDArray, moves: NDArray, area: NDArray) -> NDArray:
    """Pass areas down, from the highest cell to the lowest."""
    for cell in order:
        if moves[cell]:
            area[cell + moves[cell]] += area[cell]
    return area


def write_merit_hydro(world: World, folder: Path) -> Steps:
    """Write elv, dir and upa in 5 deg tiles; only what lies round the layout takes space."""
    elv, first = world.terrain.elv, world.terrain.first_cell
    lat = physics.merit_coordinates(first, elv.shape)[0]
    codes = flow_directions(elv, lat)
    layers: dict[str, NDArray] = {"elv": elv, "dir": codes, "upa": upstream_area(elv, codes, lat)}
    # A tile's cells lie half a cell south and west: its first row is the second below its edge.
    spans = [(f - up, f - up + n) for f, up, n in zip(first, (1, 0), elv.shape, strict=True)]
    tiles = [range(a // MERIT_TILE, (b - 1) // MERIT_TILE + 1) for a, b in spans]
    jobs = [(row, col, name) for row in tiles[0] for col in tiles[1] for name in layers]
    for done, (row, col, name) in enumerate(jobs, 1):
        origin = spans[0][0] - MERIT_TILE * row, spans[1][0] - MERIT_TILE * col
        _write_merit_tile(folder, name, (row, col), origin, layers[name])
        yield done, len(jobs)


def _write_merit_tile(
    folder: Path, name: str, place: tuple[int, int], origin: tuple[int, int], array: NDArray
) -> None:
    """Write the part of a layer that lies on one tile; ``origin`` counts from the tile's corner."""
    south, west = 90 - 5 * (place[0] + 1), 5 * place[1] - 180
    title = f"{'ns'[south < 0]}{abs(south):02d}{'ew'[west < 0]}{abs(west):03d}_{name}.tif"
    cell = 1 / physics.MERIT_PER_DEGREE
    transform = Affine(cell, 0, west - cell / 2, 0, -cell, south + 5 - cell / 2)
    profile = _profile(array, "EPSG:4326", transform, 247 if name == "dir" else -9999)
    profile |= dict(height=MERIT_TILE, width=MERIT_TILE, tiled=True, sparse_ok=True)
    begin = [max(start, 0) for start in origin]
    end = [min(o + n, MERIT_TILE) for o, n in zip(origin, array.shape, strict=True)]
    rows, cols = (slice(b - o, e - o) for b, e, o in zip(begin, end, origin, strict=True))
    window = Window(begin[1], begin[0], end[1] - begin[1], end[0] - begin[0])
    with rasterio.open(folder / title, "w", **profile, compress="deflate", zlevel=1) as raster:
        raster.write(np.ascontiguousarray(array[rows, cols]), 1, window=window)
