"""A synthetic world of the size that matters for forest benchmarks: stations and blocks.

Stations and blocks are drawn from the same random fields, so that a forest trained on the stations
meets in a block what it knows, and splits it as it would split real ones. How deep the trees are,
and so how fast anything predicts, follows from the number of rows and their noise. Features have
the structure of the feature cube: meteorology stands on cells of 0.1 deg and is interpolated to
pixels, vegetation every 16 days and is interpolated to days, soil and terrain differ from pixel to
pixel, land surface temperature from pixel to pixel and day to day.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.forest import find_preset
from gssm_cube.interpolate import interpolate_days, upsample_cells
from gssm_cube.variables import PREDICTORS

FEATURES = find_preset("gssm1km").features
STATIC = tuple(n for n in FEATURES if PREDICTORS[n].group in ("static", "position"))
DYNAMIC = tuple(n for n in FEATURES if n not in STATIC)
CELLS = tuple(n for n in DYNAMIC if PREDICTORS[n].group == "meteo")  # of 0.1 deg
COMPOSITES = tuple(n for n in DYNAMIC if PREDICTORS[n].group == "composite")
COMPOSITE = 16  # days
STEP = 1 / 120  # degrees
SPIN_UP = 90  # days
WAVES = 48
Places = NDArray[np.float64]  # (place, 2): latitude and longitude


@dataclass(frozen=True)
class Field:
    """A smooth random field: a sum of waves of one scale, of unit variance."""

    scale: float  # degrees
    seed: int
    memory: float = 0.0  # correlation from day to day

    @cached_property
    def waves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Wave numbers and phases."""
        rng = np.random.default_rng(self.seed)
        return rng.normal(size=(2, WAVES)) / self.scale, rng.uniform(0, 2 * np.pi, WAVES)

    def basis(self, places: Places) -> NDArray[np.float64]:
        """Waves at places (place, wave)."""
        numbers, phases = self.waves
        return np.cos(places @ numbers + phases) * np.sqrt(2 / WAVES)

    def at(self, places: Places) -> NDArray[np.float64]:
        """Values at places."""
        return self.basis(places) @ np.random.default_rng(self.seed + 1).normal(size=WAVES)

    def series(self, places: Places, days: int) -> NDArray[np.float64]:
        """Values (place, day); the amplitudes are an autoregression of order one."""
        rng = np.random.default_rng(self.seed + 1)
        amplitudes = np.empty((WAVES, days))
        now = rng.normal(size=WAVES)
        for day in range(days):
            fresh = rng.normal(size=WAVES)
            now = self.memory * now + np.sqrt(1 - self.memory**2) * fresh
            amplitudes[:, day] = now
        return self.basis(places) @ amplitudes


def varied(places: Places, seed: int, white: float, finest: float = 0.0) -> NDArray[np.float64]:
    """Return a field of four scales, from regions to a few pixels, with noise on each pixel.

    With ``finest`` (degrees) the smaller scales and the noise are left out.
    """
    scales = ((15.0, 1.0), (2.5, 0.7), (0.3, 0.45), (0.05, 0.25))
    kept = [(n, s, a) for n, (s, a) in enumerate(scales) if s >= finest]
    total = sum(a * Field(s, seed + 10 * n).at(places) for n, s, a in kept)
    if finest == 0.0:
        total = total + white * np.random.default_rng((seed, len(places))).normal(size=len(places))
    return total / np.sqrt(1.8 + white**2)


def static_features(places: Places, finest: float = 0.0) -> pd.DataFrame:
    """Soil, terrain and position of places, one row each, in house units."""
    whites = (0.12, 0.12, 0.15, 0.5, 0.1)
    f = [varied(places, 1000 * n, white, finest) for n, white in enumerate(whites)]
    g = [varied(places, 9000 + 1000 * n, 0.2, finest) for n in range(3)]
    clay = np.clip(24 + 9 * f[0], 2, 75)
    sand = np.clip(60 - 0.6 * clay + 13 * f[1], 3, 95)
    columns = {
        "clay": clay,
        "sand": sand,
        "silt": np.clip(100 - clay - sand, 1, 95),
        "porosity": np.clip(0.46 - 0.0012 * (sand - 45) + 0.025 * g[0], 0.3, 0.65),
        "omc": np.clip(np.exp(0.6 * f[2] + 0.7), 0.1, 30),
        "ti": np.clip(9 + 2.2 * f[3], 2, 25),
        "elevation": np.clip(500 + 450 * f[4], 0, 4000),
        "wtd": np.clip(np.exp(1.5 + 0.9 * g[1]), 0, 150),
        "dtb": 100 * np.clip(np.exp(2.4 + 0.6 * g[2]), 0.2, 200),
        "lat": places[:, 0],
        "lon": places[:, 1],
    }
    return pd.DataFrame(columns)[list(STATIC)]


def weather(places: Places, elevation: NDArray[np.float64], days: int) -> dict[str, NDArray]:
    """Air temperature, rain and cloud, each (place, day)."""
    field = {
        name: Field(scale, 50_000 + 100 * number, memory).series(places, days)
        for number, (name, scale, memory) in enumerate(
            [("synoptic", 8.0, 0.82), ("local", 1.0, 0.6), ("rain", 4.0, 0.45),
             ("shower", 0.6, 0.1), ("cloud", 3.0, 0.4), ("puff", 0.25, 0.2)]
        )
    }  # fmt: skip
    lat = np.abs(places[:, :1])
    season = np.cos(2 * np.pi * (np.arange(days) - 200) / 365.25)
    warmth = 28 - 0.42 * lat - 0.0055 * elevation[:, None] + (3 + 0.28 * lat) * season
    rain = 9 * np.maximum(0, 0.8 * field["rain"] + 0.6 * field["shower"] - 0.75)
    cloud = 0.4 * field["cloud"] + 0.25 * field["puff"] + 0.35 + 0.3 * (rain > 0)
    return {
        "tair": warmth + 3.6 * field["synoptic"] + 1.2 * field["local"],
        "rain": rain,
        "cloud": np.clip(cloud, 0, 1),
        "season": np.broadcast_to(season, rain.shape),
    }


def bucket(
    soil: pd.DataFrame, rain: NDArray[np.float64], demand: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Relative wetness, evaporation and antecedent index (place, day) of a leaking bucket."""
    depth = 250 * soil["porosity"].to_numpy()  # mm
    field_capacity = np.clip(0.35 + 0.006 * soil["clay"] - 0.0012 * soil["sand"], 0.2, 0.85)
    drainage = 0.25 * np.sqrt((1 + 0.08 * soil["sand"].to_numpy()) / 8)
    water, index = 0.5 * depth, np.full(len(soil), 5.0)
    wetness, evaporation, apei = (np.empty_like(rain) for _ in range(3))
    for day in range(rain.shape[1]):
        lost = demand[:, day] * np.minimum(1, 0.12 + 1.15 * water / depth)
        drained = drainage * np.maximum(0, water - field_capacity.to_numpy() * depth)
        water = np.clip(water + rain[:, day] - lost - drained + 0.25, 0.03 * depth, depth)
        index = 0.93 * index + rain[:, day] - 0.35 * lost
        wetness[:, day], evaporation[:, day], apei[:, day] = water / depth, lost, index
    return wetness, evaporation, apei


def cell_features(places: Places, days: int) -> dict[str, NDArray[np.float64]]:
    """Return meteorology by name, each (place, day), as a model of 0.1 deg would have it."""
    soil = static_features(places, finest=2.5)
    sky = weather(places, soil["elevation"].to_numpy(), days + SPIN_UP)
    _, evaporation, apei = bucket(soil, sky["rain"], potential(sky))
    features = {"apei": apei, "tair": sky["tair"], "evaporation": evaporation}
    return {name: features[name][:, SPIN_UP:] for name in CELLS}


def pixel_features(
    places: Places, soil: pd.DataFrame, days: int
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return what satellites see, by name, and the true soil moisture, each (place, day)."""
    rng = np.random.default_rng(len(places) + days)
    sky = weather(places, soil["elevation"].to_numpy(), days + SPIN_UP)
    tair, cloud = sky["tair"], sky["cloud"]
    wet, _, _ = bucket(soil, sky["rain"], potential(sky))
    noise = rng.normal(size=(4, *tair.shape))
    green = 0.32 + 0.12 * varied(places, 30_000, 0.15)[:, None]
    ndvi = green * (1 + 0.55 * sky["season"]) + 0.12 * (np.roll(wet, 10, axis=1) - 0.5)
    features = {
        "lst": tair + (7 - 6 * wet) * (1 - 0.7 * cloud) + 0.8 * noise[0],
        "lst_diff": (14 - 11 * wet) * (1 - 0.6 * cloud) + 0.9 * noise[1],
        "ndvi": ndvi + 0.015 * noise[2],
        "evi": 0.58 * ndvi + 0.03 + 0.012 * noise[3],
    }
    moisture = wet * soil["porosity"].to_numpy()[:, None]
    return {name: values[:, SPIN_UP:] for name, values in features.items()}, moisture[:, SPIN_UP:]


def potential(sky: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Potential evaporation (place, day), mm."""
    return np.maximum(0.15, 0.17 * (sky["tair"] + 4)) * (1.15 - 0.6 * sky["cloud"])


def encoded(name: str, values: NDArray[np.float64]) -> NDArray[np.int16]:
    """Codes (day, place) of a feature, with the composite's day first where it is one."""
    return np.ascontiguousarray(PREDICTORS[name].packing.encode(values).T)


def station_samples(stations: int, days: int, seed: int = 2) -> pd.DataFrame:
    """One row per station-day: the features and the noisy observed soil moisture."""
    rng = np.random.default_rng(seed)
    networks = np.stack([rng.normal(42, 8, 60), rng.uniform(-122, -75, 60)], axis=1)
    reach = rng.choice([0.15, 0.8, 3.0], (stations, 1), p=[0.3, 0.35, 0.35])
    places = networks[rng.integers(0, 60, stations)] + reach * rng.normal(size=(stations, 2))
    soil = static_features(places)
    # Cells are smooth: what a cell model has at the place stands for what is interpolated there.
    values, moisture = pixel_features(places, soil, 2 * days + COMPOSITE)
    values |= cell_features(places, 2 * days + COMPOSITE)
    codes = {name: encoded(name, values[name]) for name in DYNAMIC}
    for name in COMPOSITES:
        codes[name] = interpolate_days(codes[name][::COMPOSITE], *composite_days(2 * days))
    moisture = moisture[:, : 2 * days]
    kept = np.argsort(rng.random(moisture.shape), axis=1)[:, :days]  # stations have gaps
    mean = moisture.mean(axis=1, keepdims=True)
    gain, bias = 1 + 0.25 * rng.normal(size=mean.shape), 0.045 * rng.normal(size=mean.shape)
    observed = mean + gain * (moisture - mean) + bias + 0.036 * rng.normal(size=moisture.shape)
    columns = {n: np.take_along_axis(codes[n].T, kept, axis=1).ravel() for n in DYNAMIC}
    columns |= {
        n: np.repeat(PREDICTORS[n].packing.encode(soil[n].to_numpy()), days) for n in STATIC
    }
    decoded = {n: PREDICTORS[n].packing.decode(columns[n]) for n in FEATURES}
    observed = np.clip(np.take_along_axis(observed, kept, axis=1).ravel(), 0.005, 0.75)
    return pd.DataFrame(decoded).assign(observed=observed.round(4))


def composite_days(days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First days of the composites that as many days need, and these days."""
    return np.arange(0, days + COMPOSITE, COMPOSITE), np.arange(days)


@dataclass(frozen=True)
class Stored:
    """A square block of packed features, as the cube stores it.

    Parameters
    ----------
    daily : by name, ndarray (time, lat, lon), int16
    composites : by name, ndarray (composite, lat, lon), int16
    cells : ndarray (feature, time, cell row, cell column), int16
        In the order of `CELLS`, from border to border.
    static : by name, ndarray (lat, lon), int16
    """

    daily: dict[str, NDArray[np.int16]]
    composites: dict[str, NDArray[np.int16]]
    cells: NDArray[np.int16]
    static: dict[str, NDArray[np.int16]]

    def dynamic(self) -> dict[str, NDArray[np.int16]]:
        """Codes (time, lat, lon) of all features that change, refined as the cube does it."""
        days = len(next(iter(self.daily.values())))
        starts, wanted = composite_days(days)
        refined = {n: interpolate_days(v, starts, wanted) for n, v in self.composites.items()}
        cells = zip(CELLS, upsample_cells(self.cells), strict=True)
        every = self.daily | refined | dict(cells)
        return {name: every[name] for name in DYNAMIC}


def stored_block(days: int, pixels: int, north: float = 42.0, west: float = -100.0) -> Stored:
    """Return the block; its corner is the centre of a cell."""
    number = np.arange(pixels) + 0.5
    places = square(north - number * STEP, west + number * STEP)
    soil = static_features(places)
    values, _ = pixel_features(places, soil, days + COMPOSITE)
    shape = (-1, pixels, pixels)
    codes = {name: encoded(name, array).reshape(shape) for name, array in values.items()}
    edge = 0.1 * np.arange(pixels // 12 + 1)
    cells = cell_features(square(north - edge, west + edge), days)
    return Stored(
        {n: codes[n][:days] for n in ("lst", "lst_diff")},
        {n: codes[n][::COMPOSITE] for n in COMPOSITES},
        np.stack([encoded(n, cells[n]).reshape(-1, edge.size, edge.size) for n in CELLS]),
        {n: PREDICTORS[n].packing.encode(soil[n]).reshape(pixels, pixels) for n in STATIC},
    )


def square(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> Places:
    """All places of rows and columns, row by row."""
    return np.stack(np.meshgrid(lat, lon, indexing="ij"), axis=-1).reshape(-1, 2)
