"""ERA5-Land to daily values in house units, slab by slab of cell rows."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import Layout
from gssm_cube.harmonise import temperature, water
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.sources import era5_cells
from gssm_cube.sources.era5_land import EXTREMES, MeteoFile, has_extremes

# What is made of each variable in one read.
VARIABLES = {
    "tp": ("precipitation",),
    "e": ("evaporation",),
    "t2m": ("tair", "tmin", "tmax"),
}
SOIL = {"swvl1": ("swvl1",), "stl1": ("stl1",)}  # the same, where files have it

SOIL_WATER = (-0.01, 1.0)  # m3 m-3; a dry soil may be a packing's step below 0

_HOUR = np.timedelta64(1, "h")
Days = NDArray[np.datetime64]
Read = Callable[[NDArray[np.datetime64]], xr.DataArray]


def daily_values(
    source: str, files: list[MeteoFile], days: Days, layout: Layout
) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Return what one variable gives on consecutive days, from whatever form the files have.

    Parameters
    ----------
    source : str
        ``tp`` gives ``precipitation`` mm d-1, ``e`` ``evaporation`` mm d-1 (upward), ``t2m``
        ``tair``, ``tmin`` and ``tmax`` degC; ``swvl1`` (m3 m-3) and ``stl1`` (degC) themselves.
    files : list of MeteoFile
    days : (day,) datetime64[D]
        Consecutive.
    layout : Layout

    Returns
    -------
    values : dict of array (day, cell row, cell column), float32
        NaN where an hour is missing, and over the sea; the extremes of temperature also where
        the files are daily means without them.
    clipped : int
        Precipitation below 0 that became 0.
    """
    shape = (days.size, *layout.cells_shape)
    made = (VARIABLES | SOIL)[source]
    values = {name: np.full(shape, np.nan, dtype="float32") for name in made}
    clipped = 0
    hourly = era5_cells.step_of(files, source) == "hour"
    for rows in era5_cells.slabs(files, source, days.size * (24 if hourly else 1), layout):

        def read(stamps: Days, name: str = source, rows: slice = rows) -> xr.DataArray:
            return era5_cells.read_stamps(files, name, stamps, layout, rows)

        daily = daily_of_hours(source, read, days) if hourly else [read(days)]
        if source == "t2m" and not hourly and has_extremes(files):
            daily += [read(days, name) for name in EXTREMES]
        for name, part in zip(values, daily, strict=False):
            slab, below = house_units(source, part)
            values[name][:, rows] = slab.values
            clipped += below
    return values, clipped


def daily_of_hours(source: str, read: Read, days: Days) -> list[xr.DataArray]:
    """Return daily totals, or mean, least and most, from hours, labelled by their own day.

    Parameters
    ----------
    source : str
        ``t2m`` or one of the soil at 00..23 UTC; ``tp`` or ``e`` since 00 UTC, at 23 UTC and 00 UTC
        of the next day.
    read : callable
        From stamps to their values.
    days : (day,) datetime64[D]
    """
    first, after = days[0].astype("M8[h]"), days[-1].astype("M8[h]") + 24 * _HOUR
    if source in SOIL:
        return [temperature.daily_mean(read(np.arange(first, after)))]
    if source == "t2m":
        hourly = read(np.arange(first, after))
        temperature.check_kelvin(hourly)
        return [temperature.daily_mean(hourly), *temperature.daily_extremes(hourly)]
    closing = days.astype("M8[h]") + 24 * _HOUR
    hourly = read(np.sort(np.concatenate([closing - _HOUR, closing])))
    if source == "tp":
        water.check_running_total(hourly)
    return [water.daily_totals(hourly)]


def house_units(source: str, daily: xr.DataArray) -> tuple[xr.DataArray, int]:
    """Return daily values in mm (evaporation upward), degC or m3 m-3, and how many were clipped."""
    if source == "tp":
        return water.precipitation_mm(daily)
    if source == "e":
        return water.evaporation_mm(daily), 0
    if source == "swvl1":
        water.check_range(daily, *SOIL_WATER, "ERA5-Land has a share of the volume")
        return daily, 0
    return temperature.celsius(daily), 0


def fill_coast(values: NDArray[np.float32]) -> int:
    """Fill the sea from the nearest land cell, in place; return the missing cell-days of land.

    The sea has no value on any day; a land cell that lacks some days keeps them missing.

    Parameters
    ----------
    values : array (day, cell row, cell column)
    """
    lost = np.isnan(values)
    sea = lost.all(axis=0)
    missing = int(lost.sum()) - int(sea.sum()) * len(values)
    numbers = np.arange(sea.size, dtype="float64").reshape(sea.shape)
    numbers[sea] = np.nan
    nearest, filled = fill_from_nearest(numbers, np.ones_like(sea), None)
    rows, cols = np.unravel_index(nearest[filled].astype("int64"), sea.shape)
    values[:, filled] = values[:, rows, cols]
    return missing
