"""The invented world as ERA5-Land: hourly weather, and what a coarse model says of the soil."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import lfilter

from gssm_cube.sources import world as physics
from gssm_cube.sources.world import SPINUP_DAYS, Floats, World

Steps = Iterator[tuple[int, int]]  # files done, files in all

# A reanalysis has a soil of its own: too wet where it is dry, and its ups and downs too small.
WET_OFFSET, WET_SHARE = 0.08, 0.75
SOIL_DAYS = 5.0  # by which the soil's temperature lags behind


def since_midnight(hourly: Floats) -> Floats:
    """Return (day, 24, ...) hourly amounts as totals since 00 UTC, without the first day.

    Stamp 00 UTC holds the whole day before; stamp hh holds the hours from 00 to hh.
    """
    totals = np.cumsum(hourly, axis=1, dtype="float64")
    return np.hstack([totals[:-1, -1:], totals[1:, :-1]]).reshape(-1, *hourly.shape[2:])


def write_era5_land(world: World, folder: Path) -> Steps:
    """Write hourly ERA5-Land, a file a month, from a year before the layout to a day after."""
    days = np.arange(1, SPINUP_DAYS + world.layout.days + 1)
    months = world.weather.days[days].astype("datetime64[M]")
    for done, month in enumerate(np.unique(months), 1):
        span = days[months == month]
        _write_month(folder / f"era5_land_{str(month).replace('-', '_')}.nc", world, span)
        yield done, np.unique(months).size


def _write_month(path: Path, world: World, days: NDArray) -> None:
    """Write some days of ERA5-Land as the new Climate Data Store does."""
    weather = world.weather
    sea, height = world.cells(~world.terrain.land) > 0.5, world.cells(world.terrain.elevation)
    before = slice(days[0] - 1, days[-1] + 1)
    kelvin = weather.temperature[days] - (physics.LAPSE * height - 273.15).astype("float32")
    hours = (np.arange(24) * 3600 + weather.days[days].astype("int64")[:, None] * 86400).ravel()
    fields = {
        "t2m": ("K", kelvin.reshape(-1, *sea.shape)),
        "tp": ("m", since_midnight(weather.rain[before]) / 1000),
        "e": ("m of water equivalent", _upward(world, before)),
        "swvl1": ("m**3 m**-3", _hourly(WET_OFFSET + WET_SHARE * world.water.cell_ssm[days])),
        "stl1": ("K", _hourly(_soil_temperature(world)[days] + 273.15)),
    }
    axes = ("valid_time", "latitude", "longitude")
    arrays = {
        name: (axes, np.where(sea, np.nan, values).astype("float32"), {"units": units})
        for name, (units, values) in fields.items()
    }
    coords = {
        "number": ((), 0),
        "valid_time": ("valid_time", hours, {"units": "seconds since 1970-01-01"}),
        "latitude": ("latitude", weather.lat, {"units": "degrees_north"}),
        "longitude": ("longitude", weather.lon, {"units": "degrees_east"}),
        "expver": ("valid_time", np.full(hours.size, "0001", "O")),
    }
    packing = {name: dict(zlib=True, complevel=1, _FillValue=np.nan) for name in arrays}
    dataset = xr.Dataset(arrays, coords, {"GRIB_centre": "ecmf", "Conventions": "CF-1.7"})
    dataset.to_netcdf(path, engine="netcdf4", encoding=packing)


def _upward(world: World, days: slice) -> Floats:
    """Accumulated evaporation, m, negative; a little dew falls at night."""
    solar = np.arange(24) + world.weather.lon.mean() / 15
    sun = np.cos(2 * np.pi * (solar - 12.5) / 24)[:, None, None]
    light, dark = (np.maximum(part, 0) / np.maximum(part, 0).sum() for part in (sun, -sun))
    return since_midnight(0.05 * dark - light * world.water.evaporation[days, None]) / 1000


def _soil_temperature(world: World) -> Floats:
    """Daily temperature of the cells' soil, degC: it lags behind that of the air."""
    height = world.cells(world.terrain.elevation)
    air = world.weather.temperature.mean(axis=1) - physics.LAPSE * height
    keep = np.exp(-1 / SOIL_DAYS)
    return lfilter([1 - keep], [1, -keep], air, axis=0, zi=keep * air[:1])[0]


def _hourly(daily: Floats) -> Floats:
    """Repeat each day's value for its 24 hours."""
    return np.repeat(daily, 24, axis=0)
