"""Daily water fluxes from ERA5-Land, and the antecedent precipitation evaporation index.

ERA5-Land accumulates from 00 UTC, so the total of a day is stamped 00 UTC of the next. Its
evaporation is negative; here evaporation is upward positive throughout.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.variables import PREDICTORS

DECAY = 0.91  # per day: Zhang et al. (2021), doi:10.3390/rs13234893
WINDOW_DAYS = 34  # as coded by Han et al. (2023): 0.91**34 = 0.04

# Packing in 16 bits rounds by half a step: at most 0.015 mm where totals span 2 m, twice that in
# GRIB, whose steps are powers of two, and twice that again in a difference. A total below -1 mm is
# no packing noise.
LEAST_RAIN_MM = -1.0
FALL_MM = 0.1  # within a day, a total since 00 UTC falls by less than this
MOST_RAIN_MM = 2000.0  # the wettest day on record had 1825 mm (WMO: Foc-Foc, 1966)
MOST_EVAPORATION_MM = 100.0  # either way; 1 mm takes 28 W m-2 all day, the sun gives 350

_HOUR = np.timedelta64(1, "h")
_DAY = np.timedelta64(1, "D")


def daily_totals(accumulated: xr.DataArray) -> xr.DataArray:
    """Return the totals of UTC days from hourly accumulations since 00 UTC.

    The total of day d is the value stamped 00 UTC of d + 1. Ready daily aggregates hold their
    own day's total already and must not pass through here.

    Parameters
    ----------
    accumulated : DataArray (time, ...)
        ERA5-Land hourly accumulations; stamps at whole hours, rising.

    Returns
    -------
    DataArray (time, ...), same units
        One value a day, from the day of the first stamp to that of the last (00 UTC belongs to
        the day before). NaN where the 00 UTC stamp is missing. Lazy if the input is.

    Raises
    ------
    ValueError
        If stamps repeat, fall or are not whole hours.
    """
    time = check_hourly(accumulated)
    closing = time == time.astype("datetime64[D]")
    totals = accumulated.isel(time=closing)
    totals = totals.assign_coords(time=(time[closing] - _DAY).astype("datetime64[ns]"))
    owners = (time[[0, -1]] - _HOUR).astype("datetime64[D]")
    days = np.arange(owners[0], owners[1] + _DAY).astype("datetime64[ns]")
    return totals.reindex(time=days)


def check_running_total(accumulated: xr.DataArray) -> None:
    """Raise unless accumulations grow from 23 UTC to the 00 UTC that closes the day.

    Some archives serve the amount of each hour under the same name; its 00 UTC value is not the
    day's total.

    Parameters
    ----------
    accumulated : DataArray (time, ...), m
        Precipitation at 23 and 00 UTC, hours that may be NaN between them.
    """
    hours = check_hourly(accumulated)
    closing = np.flatnonzero(hours == hours.astype("datetime64[D]"))
    closing = closing[closing > 0]
    closing = closing[hours[closing - 1] == hours[closing] - _HOUR]
    fall = (accumulated.values[closing - 1] - accumulated.values[closing]) * 1000.0
    if np.fmax.reduce(fall, axis=None, initial=0.0) > FALL_MM:
        raise ValueError(
            f"{accumulated.name} falls by {np.nanmax(fall):.3g} mm within the last hour of a day, "
            "expected totals since 00 UTC: these are amounts an hour; use ERA5-Land as CDS "
            "delivers it, not a de-accumulated copy"
        )


def precipitation_mm(totals: xr.DataArray) -> tuple[xr.DataArray, int]:
    """Return daily precipitation in mm, and how many values below 0 became 0.

    Parameters
    ----------
    totals : DataArray (time, ...), m
        Daily totals as ERA5-Land has them; NaN stays NaN.

    Raises
    ------
    ValueError
        If a total is below -1 mm or above 2000 mm.
    """
    rain = (totals * 1000.0).rename("precipitation").assign_attrs(units="mm")
    check_range(rain, LEAST_RAIN_MM, MOST_RAIN_MM, "packing noise is below 0.1 mm")
    return clip_precipitation(rain), int((rain < 0).sum())


def evaporation_mm(totals: xr.DataArray) -> xr.DataArray:
    """Return daily evaporation in mm, upward positive; dew stays negative.

    Parameters
    ----------
    totals : DataArray (time, ...), m
        Daily totals as ERA5-Land has them, negative when water leaves the ground.

    Raises
    ------
    ValueError
        If a total is beyond 100 mm either way.
    """
    upward = (totals * -1000.0).rename("evaporation").assign_attrs(units="mm")
    check_range(upward, -MOST_EVAPORATION_MM, MOST_EVAPORATION_MM, "ERA5-Land has metres")
    return upward


def check_range(array: xr.DataArray, least: float, most: float, hint: str) -> None:
    """Raise if a value lies outside; NaN does not."""
    lowest = np.fmin.reduce(array.values, axis=None, initial=np.inf)
    highest = np.fmax.reduce(array.values, axis=None, initial=-np.inf)
    if lowest < least or highest > most:
        units = array.attrs.get("units", "")
        raise ValueError(
            f"{array.name} spans {lowest:.4g} to {highest:.4g} {units}, expected {least:g} "
            f"to {most:g} ({hint}): the units in the file are not those of the values; "
            "check where the file comes from"
        )


def clip_precipitation(precipitation: xr.DataArray) -> xr.DataArray:
    """Return precipitation with the negative noise of packed, differenced totals set to 0.

    Parameters
    ----------
    precipitation : DataArray, any units
        NaN stays NaN. Evaporation is never clipped: dew is real.
    """
    return precipitation.clip(min=0.0, keep_attrs=True)


def apei(
    precipitation: xr.DataArray,
    evaporation: xr.DataArray,
    *,
    decay: float = DECAY,
    window_days: int = WINDOW_DAYS,
) -> xr.DataArray:
    """Return the antecedent precipitation evaporation index.

    The sum of ``decay**i * (P - E)`` over the days t - i, i = 0..33: an exact window, so a day
    has the same bits whatever else is computed with it.

    Parameters
    ----------
    precipitation : DataArray (time, ...), mm
        Daily totals on consecutive days; see ``clip_precipitation``.
    evaporation : DataArray (time, ...), mm
        Daily totals, upward positive (the opposite of ERA5-Land's sign).
    decay : float
        Share of the index that is left after a day.
    window_days : int

    Returns
    -------
    DataArray (time, ...), mm
        Named ``apei``. NaN on the first ``window_days - 1`` days and wherever a day of the
        window is NaN. Lazy if the inputs are (time in one chunk); same chunks.

    Raises
    ------
    ValueError
        If units are not mm, the two grids differ or days are missing from the axis.

    References
    ----------
    Han et al. (2023), doi:10.1038/s41597-023-02011-7
    """
    check_units(precipitation, "mm")
    check_units(evaporation, "mm")
    check_same_grid(precipitation, evaporation)
    check_daily(precipitation)
    surplus = precipitation - evaporation
    index = xr.apply_ufunc(
        _decayed_sum,
        surplus,
        input_core_dims=[["time"]],
        output_core_dims=[["time"]],
        kwargs={"decay": decay, "window_days": window_days},
        dask="parallelized",
        output_dtypes=[surplus.dtype],
    )
    return index.transpose(*surplus.dims).rename("apei").assign_attrs(PREDICTORS["apei"].attrs)


def check_units(array: xr.DataArray, expected: str) -> None:
    """Raise unless an array says that it is in the expected units."""
    found = array.attrs.get("units", "missing")
    if found != expected:
        raise ValueError(
            f"{array.name}: units are {found!r}, expected {expected!r}; "
            "convert in harmonise before writing the cube"
        )


def check_same_grid(first: xr.DataArray, second: xr.DataArray) -> None:
    """Raise unless two arrays have the same dims and coordinates."""
    if first.dims != second.dims:
        raise ValueError(
            f"{first.name} has dims {first.dims}, {second.name} has {second.dims}, expected "
            "the same; transpose one of them"
        )
    try:
        xr.align(first, second, join="exact", copy=False)
    except ValueError as error:
        raise ValueError(
            f"{first.name} and {second.name} lie on different grids or days, expected the "
            f"same; regrid or select first ({error})"
        ) from error


def check_daily(array: xr.DataArray) -> None:
    """Raise unless the time axis has consecutive days."""
    days = array["time"].values.astype("datetime64[D]")
    breaks = np.flatnonzero(np.diff(days) != _DAY)
    if breaks.size:
        raise ValueError(
            f"{array.name}: {days[breaks[0] + 1]} follows {days[breaks[0]]}, expected "
            "consecutive days; reindex to a daily axis so that missing days are NaN"
        )


def check_hourly(array: xr.DataArray) -> NDArray[np.datetime64]:
    """Return the stamps in hours; raise unless they are whole hours, rising."""
    stamps = array["time"].values
    hours = stamps.astype("datetime64[h]")
    wrong = np.flatnonzero(stamps != hours)
    wrong = wrong if wrong.size else np.flatnonzero(np.diff(hours) <= np.timedelta64(0, "h")) + 1
    if wrong.size or not hours.size:
        found = stamps[wrong[0]] if wrong.size else "no stamp"
        raise ValueError(
            f"{array.name}: found {found} at place {wrong[:1]} of the time axis, expected "
            "whole hours that rise; sort it and drop what is there twice"
        )
    return hours


def _decayed_sum(
    surplus: NDArray[np.floating], decay: float, window_days: int
) -> NDArray[np.floating]:
    """Sum ``decay**lag * surplus`` over the window along the last axis."""
    days = np.moveaxis(surplus, -1, 0)
    total = np.full(days.shape, np.nan)
    whole = total[window_days - 1 :]
    whole[:] = 0.0
    # Horner's rule, oldest day first: no power of decay and no array per lag.
    for lag in reversed(range(window_days if whole.size else 0)):
        whole *= decay
        whole += days[window_days - 1 - lag : days.shape[0] - lag]
    return np.moveaxis(total, 0, -1).astype(surplus.dtype)
