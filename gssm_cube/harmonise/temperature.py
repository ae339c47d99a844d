"""Daily air temperature, and the filling of gaps in land surface temperature (LST).

A cloud gap is the pixel's climatology for the day plus the day's departure of air temperature
from its own (Shiff et al. 2021, doi:10.1038/s41597-021-00861-7). A climatology is a mean and
three annual harmonics, fitted by normal equations that add over pieces of time, so that many
years pass by once.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from gssm_cube.harmonise.water import check_hourly, check_range, check_same_grid
from gssm_cube.variables import PREDICTORS

HARMONICS = 3  # Shiff et al. (2021)
TERMS = 1 + 2 * HARMONICS
YEAR_DAYS = 365.25

# K; the records are 184 (Vostok) and 330 (Death Valley), of single hours.
COLDEST, HOTTEST = 150.0, 350.0
ZERO_CELSIUS = 273.15  # K

_PIXELS = 8192  # pixels at once: the float64 pieces of a 366-day window stay at 24 MB
_HOUR = np.timedelta64(1, "h")


def daily_mean(hourly: xr.DataArray) -> xr.DataArray:
    """Return means of the 24 hours 00..23 UTC, labelled by their day.

    Parameters
    ----------
    hourly : DataArray (time, ...)
        Instantaneous values; stamps at whole hours, rising.

    Returns
    -------
    DataArray (time, ...), same units
        One value a day, from the first stamp's day to the last's. NaN where an hour is missing
        or NaN. Lazy if the input is.

    Raises
    ------
    ValueError
        If stamps repeat, fall or are not whole hours.
    """
    by_day = _hours_of_days(hourly)
    # The sum of 24 float32 is exact in float64, so the mean is the same in any order of adding.
    means = by_day.mean("hour", skipna=False, keep_attrs=True, dtype="float64")
    return means.astype(hourly.dtype)


def daily_extremes(hourly: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the least and the most of the 24 hours 00..23 UTC, labelled by their day.

    Parameters
    ----------
    hourly : DataArray (time, ...)
        As for ``daily_mean``.

    Returns
    -------
    least, most : DataArray (time, ...), same units
        NaN where an hour is missing or NaN.
    """
    by_day = _hours_of_days(hourly)
    least = by_day.min("hour", skipna=False, keep_attrs=True)
    return least, by_day.max("hour", skipna=False, keep_attrs=True)


def _hours_of_days(hourly: xr.DataArray) -> xr.DataArray:
    """Return hours as (time, hour, ...), whole days; an hour that is not there is NaN."""
    days = check_hourly(hourly)[[0, -1]].astype("datetime64[D]")
    hours = np.arange(days[0].astype("datetime64[h]"), days[1].astype("datetime64[h]") + 24 * _HOUR)
    complete = hourly.reindex(time=hours.astype("datetime64[ns]")).drop_vars("time")
    by_day = complete.coarsen(time=24).construct(time=("time", "hour"))
    return by_day.assign_coords(time=hours[::24].astype("datetime64[ns]"))


def celsius(kelvin: xr.DataArray) -> xr.DataArray:
    """Return temperature in degC.

    Parameters
    ----------
    kelvin : DataArray, K
        NaN stays NaN.

    Raises
    ------
    ValueError
        If a value lies outside 150..350 K: degC under the name of K, or a fill value.
    """
    check_kelvin(kelvin)
    return (kelvin - ZERO_CELSIUS).rename("tair").assign_attrs(units="degC")


def check_kelvin(kelvin: xr.DataArray) -> None:
    """Raise unless all values are air temperatures in K; NaN passes."""
    check_range(kelvin.assign_attrs(units="K"), COLDEST, HOTTEST, "ERA5-Land has kelvin")


def harmonic_terms(days: ArrayLike) -> NDArray[np.float64]:
    """Return a constant and the cosines and sines of one to three cycles a year.

    The phase is 2 pi (day of year - 1) / 365.25, not the time since some epoch: a calendar day
    then has one climatology for ever, whatever the year. The price is a step of at most 0.75
    days in phase at New Year.

    Parameters
    ----------
    days : array (n), datetime64

    Returns
    -------
    array (n, 7), float64
        1, cos, sin of one cycle, then of two and three.
    """
    dates = np.asarray(days, dtype="datetime64[D]")
    day_of_year = (dates - dates.astype("datetime64[Y]")).astype("float64")  # counted from 0
    phase = 2 * np.pi / YEAR_DAYS * day_of_year
    waves = [wave(k * phase) for k in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)]
    return np.stack([np.ones_like(phase), *waves], axis=1)


def normal_equations(
    terms: NDArray[np.float64], values: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two sides of each pixel's least-squares fit; they add over pieces of time.

    Parameters
    ----------
    terms : array (n, 7)
        From ``harmonic_terms``.
    values : array (n, ...)
        Clear-sky observations; NaN is skipped.

    Returns
    -------
    lhs : array (7, 7, ...), float64
        ``lhs[0, 0]`` is the number of days.
    rhs : array (7, ...), float64
    """
    size = terms.shape[1]
    upper = np.triu_indices(size)
    products = (terms[:, upper[0]] * terms[:, upper[1]]).T
    pixels = values.reshape(len(values), -1)
    lhs = np.empty((size, size, pixels.shape[1]))
    rhs = np.empty((size, pixels.shape[1]))
    for start in range(0, pixels.shape[1], _PIXELS):
        part = slice(start, start + _PIXELS)
        piece = pixels[:, part].astype("float64")
        valid = ~np.isnan(piece)
        lhs[upper[0], upper[1], part] = products @ valid.astype("float64")
        rhs[:, part] = terms.T @ np.where(valid, piece, 0.0)
    lower = np.tril_indices(size, -1)
    lhs[lower] = lhs[lower[::-1]]
    return lhs.reshape(size, size, *values.shape[1:]), rhs.reshape(size, *values.shape[1:])


def solve_harmonics(
    lhs: NDArray[np.float64],
    rhs: NDArray[np.float64],
    minimum_days: int = 30,
    *,
    smallest_eigenvalue: float = 1e-3,
) -> NDArray[np.float32]:
    """Return the coefficients of each pixel's harmonics.

    Parameters
    ----------
    lhs, rhs : array (7, 7, ...) and (7, ...)
        From ``normal_equations``, summed over time.
    minimum_days : int
        Pixels with fewer observations get NaN.
    smallest_eigenvalue : float
        Of ``lhs`` divided by its largest. Days spread over the year give 0.5; days that leave
        a season out drive it to 0, and the curve runs wild there.

    Returns
    -------
    array (7, ...), float32
        NaN where days are too few or the system is singular by that measure.
    """
    size = len(rhs)
    matrices = np.moveaxis(lhs.reshape(size, size, -1), -1, 0)
    targets = rhs.reshape(size, -1).T
    coefficients = np.full(targets.shape, np.nan, dtype="float32")
    for start in range(0, len(targets), _PIXELS):
        part = slice(start, start + _PIXELS)
        enough = np.flatnonzero(matrices[part, 0, 0] >= minimum_days) + start
        roots, vectors = np.linalg.eigh(matrices[enough])
        sound = roots[:, 0] > smallest_eigenvalue * roots[:, -1]
        enough, roots, vectors = enough[sound], roots[sound], vectors[sound]
        projected = np.einsum("pij,pi->pj", vectors, targets[enough]) / roots
        coefficients[enough] = np.einsum("pij,pj->pi", vectors, projected)
    return coefficients.T.reshape(rhs.shape)


def climatology(terms: NDArray[np.float64], coefficients: NDArray[Any]) -> NDArray[np.float32]:
    """Return the fitted curve of each pixel.

    Parameters
    ----------
    terms : array (n, 7)
        From ``harmonic_terms``.
    coefficients : array (7, ...)
        From ``solve_harmonics``.

    Returns
    -------
    array (n, ...), float32
        In the units of the fitted values.
    """
    flat = coefficients.reshape(len(coefficients), -1).astype("float32")
    curve = terms.astype("float32") @ flat
    return curve.reshape(len(terms), *coefficients.shape[1:])


def estimate_lst(
    climatology: NDArray[Any], tair: NDArray[Any], tair_climatology: NDArray[Any]
) -> NDArray[Any]:
    """Return climatology plus the departure of air temperature from its own.

    Weak where there is little seasonality.

    Parameters
    ----------
    climatology : array (n, ...), K or degC
        Of LST of one overpass.
    tair, tair_climatology : array (n, ...), K or degC
        Daily air temperature and its climatology, in the same units.

    Returns
    -------
    array (n, ...)
        In the units of ``climatology``; NaN where a term is.

    References
    ----------
    Shiff et al. (2021), doi:10.1038/s41597-021-00861-7
    """
    estimate = climatology + tair
    estimate -= tair_climatology
    return estimate


def fill_lst_gaps(
    observed: NDArray[Any], estimate: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Fill gaps with an estimate; keep what was observed.

    Parameters
    ----------
    observed, estimate : array (n, ...), K or degC
        LST of one overpass and what ``estimate_lst`` says of it, in the same units.

    Returns
    -------
    filled : array (n, ...)
        In the units of ``observed``; NaN where a gap lacks the estimate.
    is_filled : array (n, ...), bool
    """
    filled = estimate.copy()
    gaps = np.isnan(observed)
    np.copyto(filled, observed, where=~gaps)
    return filled, gaps & ~np.isnan(filled)


def lst_mean(day: xr.DataArray, night: xr.DataArray) -> xr.DataArray:
    """Return the mean of day and night land surface temperature.

    Parameters
    ----------
    day, night : DataArray (time, lat, lon), K or degC
        Gap-filled; NaN stays NaN.

    Returns
    -------
    DataArray (time, lat, lon), units of the inputs
        Named ``lst``. Lazy if the inputs are; same chunks.

    Raises
    ------
    ValueError
        If the two differ in units or grid.

    References
    ----------
    Han et al. (2023), doi:10.1038/s41597-023-02011-7
    """
    units = _check_alike(day, night)
    mean = ((day + night) / 2).rename("lst")
    return mean.assign_attrs(PREDICTORS["lst"].attrs | {"units": units})


def lst_difference(day: xr.DataArray, night: xr.DataArray) -> xr.DataArray:
    """Return day minus night land surface temperature.

    Wet soil warms and cools less, so the swing shrinks as soil wets.

    Parameters
    ----------
    day, night : DataArray (time, lat, lon), K or degC
        Gap-filled; NaN stays NaN.

    Returns
    -------
    DataArray (time, lat, lon), K
        Named ``lst_diff``. Lazy if the inputs are; same chunks.

    Raises
    ------
    ValueError
        If the two differ in units or grid.

    References
    ----------
    Han et al. (2023), doi:10.1038/s41597-023-02011-7
    """
    _check_alike(day, night)
    return (day - night).rename("lst_diff").assign_attrs(PREDICTORS["lst_diff"].attrs)


def _check_alike(day: xr.DataArray, night: xr.DataArray) -> str:
    """Return the units of day and night; raise unless units and grid are the same."""
    units, other = (array.attrs.get("units", "missing") for array in (day, night))
    if units != other or units not in ("K", "degC"):
        raise ValueError(
            f"units of day and night are {units!r} and {other!r}, expected K or degC for both; "
            "convert one of them"
        )
    check_same_grid(day, night)
    return units
