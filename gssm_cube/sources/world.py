"""The physics of a small invented world: terrain, soil, weather and water as plain arrays.

Everything is a function of a layout and a seed. Smooth fields are sums of plane waves, defined at
any place, so that every provider's grid samples the same world. The climate is one of middle
latitudes wherever the layout lies, and all constants are invented: learnable, not true.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from gssm_cube.grid import Layout
from gssm_cube.sources.waves import MovingWaves, Waves, drifting_waves, random_waves, rng_of

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

MERIT_PER_DEGREE = 1200  # 3 arcsec
MERIT_PER_PIXEL = 10
OCEAN = np.float32(-9999.0)  # MERIT Hydro's mark
SPINUP_DAYS = 366  # a year of meteorology, and the day whose total the first 00 UTC stamp holds
TAIL_DAYS = 80  # composites reach 48 + 16 days past the last day and last 16 days
WIND = (0.08, 0.25)  # north, east, deg h-1
WEATHER_DEG = ((0.6, 4.0), (2.0, 8.0), (0.06, 0.5))  # wavelengths of storm, spell and patch
LAPSE = 0.0065  # K m-1, International Standard Atmosphere
MARGIN_PIXELS = 18  # one and a half 0.1 deg cells
LAND_SHARE, HIGHEST = 0.6, 1200.0  # m


@dataclass(frozen=True)
class Relief:
    """Height above the sea as a function of place."""

    waves: Waves
    sea_level: float
    summit: float

    def height(self, lat: Floats, lon: Floats) -> Floats:
        """Return metres above the sea (lat, lon), 0 or less at sea."""
        share = (self.waves.on(lat, lon) - self.sea_level) / (self.summit - self.sea_level)
        return HIGHEST * np.sign(share) * np.abs(share) ** 1.3


def make_relief(layout: Layout, seed: int) -> Relief:
    """Return a relief whose sea takes four tenths of the layout."""
    west, south, east, north = layout.bounds
    longest = 2.5 * max(east - west, north - south)
    waves = random_waves(rng_of(seed, "relief"), 240, (0.006, longest))
    raw = waves.on(layout.lat, layout.lon)
    return Relief(waves, float(np.quantile(raw, 1 - LAND_SHARE)), float(raw.max()))


def pixel_sums(cells: NDArray) -> Floats:
    """Return sums over pixels of 11 x 11 MERIT cells, weighted by overlap: the rims count half.

    ``cells`` (10 n + 1, 10 m + 1) begin at the corner of the first pixel; the weights of a pixel
    sum to 100.
    """
    total, step = np.asarray(cells, dtype="float64"), MERIT_PER_PIXEL
    for _ in range(2):  # rows, then columns
        whole = total[:-1].reshape(-1, step, total.shape[1]).sum(axis=1)
        total = (whole + 0.5 * (total[step::step] - total[:-1:step])).T
    return total


@dataclass(frozen=True)
class Terrain:
    """MERIT cells and 1 km pixels of the layout grown by 18 pixels.

    ``first_cell`` counts from 90 N and 180 W; ``elv`` m; ``elevation`` m, mean over the land of a
    pixel, 0 at sea; ``ridge`` from -2 (valley) to 2, in standard deviations of local height.
    """

    relief: Relief
    first_cell: tuple[int, int]
    elv: NDArray[np.float32]
    lat: Floats
    lon: Floats
    elevation: Floats
    land: Bools
    ridge: Floats


def merit_coordinates(first: tuple[int, int], shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return latitude and longitude of MERIT cell centres: multiples of 3 arcsec."""
    lat = 90 - (first[0] + np.arange(shape[0])) / MERIT_PER_DEGREE
    return lat, (first[1] + np.arange(shape[1])) / MERIT_PER_DEGREE - 180


def make_terrain(layout: Layout, seed: int) -> Terrain:
    """Return the terrain; a pixel is land where at least half of it is."""
    relief = make_relief(layout, seed)
    rows, cols = (size + 2 * MARGIN_PIXELS for size in layout.shape)
    row, col = layout.row - MARGIN_PIXELS, layout.col - MARGIN_PIXELS
    first = (row * MERIT_PER_PIXEL, col * MERIT_PER_PIXEL)
    shape = (rows * MERIT_PER_PIXEL + 1, cols * MERIT_PER_PIXEL + 1)
    height = relief.height(*merit_coordinates(first, shape))
    elv = np.where(height > 0, height, OCEAN).astype("float32")
    dry = elv != OCEAN
    share = pixel_sums(dry)
    elevation = pixel_sums(np.where(dry, elv, 0)) / np.maximum(share, 1e-9)
    over = elevation - gaussian_filter(elevation, 5.0)
    ridge = np.clip(over / over.std(), -2, 2)
    lat, lon = layout.grid.lat(row + np.arange(rows)), layout.grid.lon(col + np.arange(cols))
    return Terrain(relief, first, elv, lat, lon, elevation, share >= 50.0, ridge)


@dataclass(frozen=True)
class Soil:
    """Top soil: ``sand`` ``clay`` ``silt`` %, ``density`` g cm-3, ``carbon`` g kg-1."""

    sand: Floats
    clay: Floats
    silt: Floats
    density: Floats
    carbon: Floats

    @property
    def porosity(self) -> Floats:
        """Pore space, m3 m-3; organic matter is lighter than minerals."""
        organic = 1.724e-3 * self.carbon
        return 1 - self.density * (organic / 1.4 + (1 - organic) / 2.65)

    @property
    def residual(self) -> Floats:
        """Water that never leaves, m3 m-3."""
        return 0.02 + 0.0012 * self.clay


def soil_on(lat: Floats, lon: Floats, elevation: Floats, seed: int) -> Soil:
    """Return the soil on a regular grid; hills are richer in organic matter."""
    fields = [random_waves(rng_of(seed, "soil", k), 24, (0.1, 0.8)).on(lat, lon) for k in range(4)]
    sand = 48 + 20 * np.tanh(0.8 * fields[0])
    clay = (100 - sand) * (0.4 + 0.2 * np.tanh(0.8 * fields[1]))
    carbon = 15 + 0.02 * np.maximum(elevation, 0) + 6 * np.tanh(fields[2])
    density = 1.42 + 0.002 * (sand - 48) - 0.006 * carbon + 0.04 * np.tanh(fields[3])
    return Soil(sand, clay, 100 - sand - clay, density, carbon)


@dataclass(frozen=True)
class Weather:
    """Hourly weather on the 0.1 deg cells: the layout's and one more on each side.

    ``rain`` mm in the hour that starts, ``temperature`` degC at sea level, both (day, hour, lat,
    lon); ``pet`` mm d-1 (day, lat, lon); ``summer`` (day) from -1 in midwinter to 1; ``cloud``
    in standard deviations.
    """

    days: NDArray[np.datetime64]
    lat: Floats
    lon: Floats
    rain: NDArray[np.float32]
    temperature: NDArray[np.float32]
    pet: Floats
    summer: Floats
    cloud: MovingWaves


def make_weather(layout: Layout, seed: int) -> Weather:
    """Return moving storms, dry spells, fronts, seasons and the course of the day."""
    start = np.datetime64(layout.first_day, "D") - SPINUP_DAYS
    days = start + np.arange(SPINUP_DAYS + layout.days + TAIL_DAYS)
    lat = np.round(layout.cell_lat[0] + 0.1 - 0.1 * np.arange(layout.cells_shape[0] + 2), 1)
    lon = np.round(layout.cell_lon[0] - 0.1 + 0.1 * np.arange(layout.cells_shape[1] + 2), 1)
    summer = _summer(days, float(lat.mean()))[:, None, None, None]
    wetness, cloud = _storms(days.size * 24, lat, lon, seed)
    wetness = wetness.reshape(days.size, 24, lat.size, lon.size)
    rain = 2.0 * np.maximum(wetness - (1.2 + 0.25 * summer), 0) ** 1.3
    swing = (3 + 1.5 * summer) * (1 - 0.4 * (rain.sum(axis=1, keepdims=True) > 1))  # K, half range
    rng = rng_of(seed, "fronts")
    fronts = drifting_waves(random_waves(rng, 12, (3.0, 10.0)), rng, days.size * 24, 90, WIND)
    course = np.cos(2 * np.pi * (np.arange(24) + lon.mean() / 15 - 15) / 24)[:, None, None]
    waves = fronts.on(lat, lon).reshape(rain.shape)
    temperature = 11.5 + 8.5 * summer + 3 * waves + swing * course
    warmth = np.maximum(temperature.mean(axis=1) + 17.8, 0)
    # Hargreaves (FAO Irrigation and Drainage Paper 56, eq. 52); radiation of 43 N in mm d-1
    pet = 0.0023 * (11 + 6 * summer[:, 0]) * warmth * np.sqrt(2 * swing[:, 0])
    hourly = rain.astype("float32"), temperature.astype("float32")
    return Weather(days, lat, lon, *hourly, pet, summer.ravel(), cloud)


def _summer(days: NDArray[np.datetime64], lat: float) -> Floats:
    """Season from -1 (about 20 January in the north) to 1."""
    day_of_year = (days - days.astype("datetime64[Y]")).astype("int64")
    return -np.cos(2 * np.pi * (day_of_year - 20) / 365.25) * (1 if lat >= 0 else -1)


def _storms(hours: int, lat: Floats, lon: Floats, seed: int) -> tuple[Floats, MovingWaves]:
    """Wetness of the air (hour, lat, lon), and the clouds that go with it."""
    rngs = [rng_of(seed, name) for name in ("storm", "spell", "patch")]
    waves = [random_waves(rng, 40, size) for rng, size in zip(rngs, WEATHER_DEG, strict=True)]
    storm = drifting_waves(waves[0], rngs[0], hours, 10, WIND)
    spell = drifting_waves(waves[1], rngs[1], hours, 120, (0.0, 0.0))
    patch = drifting_waves(waves[2], rngs[2], hours, 6, WIND)
    wetness = 0.75 * storm.on(lat, lon) + 0.66 * spell.on(lat, lon)
    series = np.hstack([0.50 * storm.series, 0.43 * spell.series, 0.75 * patch.series])
    north, east = (np.hstack([getattr(w, way) for w in waves]) for way in ("north", "east"))
    return wetness, MovingWaves(north, east, series)


class Bucket:
    """Daily water balance of a thin top layer over a root zone, for any number of places."""

    def __init__(self, soil: Soil, ridge: Floats) -> None:
        self.residual, self.pores = soil.residual, soil.porosity - soil.residual
        self.shape = 1 + 0.15 * ridge
        self.capacity = 60 * self.pores  # mm
        self.field = 0.30 + 0.006 * soil.clay  # share of capacity held against gravity
        self.drainage = 0.05 + 0.004 * soil.sand  # d-1
        self.root_capacity = 250 * self.pores
        self.top, self.root = 0.5 * self.capacity, 0.5 * self.root_capacity
        self.snow, self.green = np.zeros_like(self.top), np.full_like(self.top, 0.5)

    def step(self, rain: Floats, temperature: Floats, pet: Floats) -> Floats:
        """Move one day on (mm, degC, mm); return the evaporation, mm."""
        freezing = temperature < 0
        melt = np.where(freezing, 0, np.minimum(self.snow, 3 * temperature))
        self.snow += np.where(freezing, rain, 0) - melt
        top = self.top + np.where(freezing, 0, rain) + melt
        excess = np.maximum(top - self.capacity, 0)
        top -= excess
        dried = 0.6 * pet * np.minimum(1, top / (0.6 * self.capacity))
        sunk = self.drainage * np.maximum(top - self.field * self.capacity, 0)
        self.top = np.maximum(top - dried - sunk, 0)
        root = self.root + excess + sunk
        drunk = np.minimum(0.4 * pet * np.minimum(1, root / (0.5 * self.root_capacity)), root)
        self.root = np.minimum(root - drunk, self.root_capacity)
        self.green += (self.root / self.root_capacity - self.green) / 20  # weeks behind the water
        return top - sunk - self.top + drunk

    @property
    def ssm(self) -> Floats:
        """Soil moisture of the top layer, m3 m-3; valleys are wetter than ridges."""
        return self.residual + self.pores * (self.top / self.capacity) ** self.shape


@dataclass(frozen=True)
class Water:
    """Soil moisture m3 m-3 and greenness 0-1 (day, land pixel), and what the cells' own soil does.

    The first two begin ``TAIL_DAYS`` before the layout, ``evaporation`` (mm d-1) and ``cell_ssm``
    (m3 m-3) of the cells with the weather.
    """

    ssm: NDArray[np.float32]
    green: NDArray[np.float32]
    evaporation: NDArray[np.float32]
    cell_ssm: NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """The world of a layout and a seed; one-dimensional arrays hold its land pixels row by row."""

    layout: Layout
    seed: int = 0

    def __post_init__(self) -> None:
        bounds, pixels = self.layout.bounds, self.layout.grid.pixels_per_degree
        if pixels != 120 or max(np.abs(bounds) + 1 - np.array([180, 90, 180, 90])) > 0:
            raise ValueError(
                f"layout has {pixels} pixels per degree and bounds {bounds}, expected 120 and a "
                "degree of room to the poles and to 180 deg; choose another box"
            )

    @cached_property
    def terrain(self) -> Terrain:
        """Terrain, with a margin round the layout."""
        return make_terrain(self.layout, self.seed)

    @cached_property
    def weather(self) -> Weather:
        """Weather on the 0.1 deg cells."""
        return make_weather(self.layout, self.seed)

    @cached_property
    def land(self) -> Bools:
        """Land of the layout (lat, lon)."""
        return self.inner(self.terrain.land)

    @cached_property
    def elevation(self) -> Floats:
        """Elevation of the land pixels, m."""
        return self.inner(self.terrain.elevation)[self.land]

    @cached_property
    def soil(self) -> Soil:
        """Soil of the land pixels."""
        elevation = self.inner(self.terrain.elevation)
        soil = soil_on(self.layout.lat, self.layout.lon, elevation, self.seed)
        return Soil(**{name: part[self.land] for name, part in vars(soil).items()})

    @cached_property
    def tair(self) -> NDArray[np.float32]:
        """Daily mean air temperature of the land pixels, degC, on the weather's days."""
        mean, cooler = self.weather.temperature.mean(axis=1), LAPSE * self.elevation
        return np.stack([(self.at_pixels(day) - cooler).astype("float32") for day in mean])

    @cached_property
    def water(self) -> Water:
        """Water of the land pixels and evaporation of the cells."""
        return run_water(self)

    def at_pixels(self, field: Floats) -> Floats:
        """Interpolate a field of the weather's cells to the land pixels, bilinearly."""
        pairs = (self.layout.lat, self.weather.lat), (self.layout.lon, self.weather.lon)
        rows, cols = (np.maximum(0, 1 - 10 * np.abs(np.subtract.outer(*p))) for p in pairs)
        return (rows @ field @ cols.T)[self.land]

    def cells(self, array: NDArray) -> Floats:
        """Return means of a terrain array over the weather's cells."""
        return array.reshape(self.weather.lat.size, 12, -1, 12).mean(axis=(1, 3))

    @staticmethod
    def inner(array: NDArray) -> NDArray:
        """Cut the margin off a terrain array."""
        return array[MARGIN_PIXELS:-MARGIN_PIXELS, MARGIN_PIXELS:-MARGIN_PIXELS]


def run_water(world: World) -> Water:
    """Run the bucket on pixels and on cells; the first year is run twice, to spin up."""
    weather, terrain = world.weather, world.terrain
    rain, height = weather.rain.sum(axis=1), world.cells(terrain.elevation)
    tair = weather.temperature.mean(axis=1) - LAPSE * height
    waves = random_waves(rng_of(world.seed, "rain"), 16, (0.1, 0.6))
    more = 1 + 0.07 * waves.on(world.layout.lat, world.layout.lon)[world.land]
    pixels = Bucket(world.soil, world.inner(terrain.ridge)[world.land])
    coarse = Bucket(soil_on(weather.lat, weather.lon, height, world.seed), np.zeros_like(height))
    ssm, green, evaporation, cell_ssm = [], [], [], []
    for turn, day in enumerate([*range(365), *range(weather.days.size)]):
        evaporation.append(coarse.step(rain[day], tair[day], weather.pet[day]))
        cell_ssm.append(coarse.ssm.astype("float32"))
        wet = world.at_pixels(rain[day]) * more
        pixels.step(wet, world.tair[day], world.at_pixels(weather.pet[day]))
        if turn >= 365 + SPINUP_DAYS - TAIL_DAYS:
            ssm.append(pixels.ssm.astype("float32"))
            green.append(pixels.green.astype("float32"))
    cells = np.stack(evaporation[365:]), np.stack(cell_ssm[365:])
    return Water(np.stack(ssm), np.stack(green), *cells)
