"""Vegetation indices: 16-day composites smoothed on each pixel's own dates.

A composite holds the best observation of 16 days, so its date differs from pixel to pixel by up
to 15 days; smoothing on the file's date would blur spring. Days are counted from 1970-01-01.
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

COMPOSITE_DAYS = 16
HALF_WINDOW_DAYS = 48  # as coded by Han et al. (2023): 7 composites
ORDER = 3
NOISE_GAIN = 4.0  # our choice: noise may at most double, in units of variance

# MOD13 "pixel reliability" -1..3: fill, good, marginal, snow or ice, cloudy. The ranks follow the
# MOD13 user guide (Didan et al. 2015), the weights are ours: 2 and 3 count where nothing else is.
_WEIGHTS = np.array([0.0, 1.0, 0.5, 0.2, 0.1], dtype="float32")


def composite_starts(first: date, last: date) -> NDArray[np.datetime64]:
    """Return the start dates of MODIS 16-day composites that enclose a period.

    Composites start on day 1, 17, ..., 353 of each year, so the last of a year is shorter.

    Parameters
    ----------
    first, last : date
        Both included.

    Returns
    -------
    array (n), datetime64[D]
        From the last start up to ``first`` to the first start from ``last`` on.
    """
    years = np.arange(str(first.year), str(last.year + 2), dtype="datetime64[Y]")
    offsets = np.arange(0, 353, COMPOSITE_DAYS).astype("timedelta64[D]")
    starts = (years.astype("datetime64[D]")[:, np.newaxis] + offsets).ravel()
    begin = np.searchsorted(starts, np.datetime64(first, "D"), side="right") - 1
    end = np.searchsorted(starts, np.datetime64(last, "D"), side="left") + 1
    return starts[begin:end]


def composite_dates(starts: ArrayLike, day_of_year: NDArray[Any]) -> NDArray[np.float32]:
    """Return each pixel's own date from the "composite day of the year".

    Parameters
    ----------
    starts : array (n), datetime64
        Start dates of the composites.
    day_of_year : array (n, ...)
        1..366; one smaller than the start's belongs to the next year. Anything else (-1 is
        fill), or a date past the composite's 16 days, is missing.

    Returns
    -------
    array (n, ...), float32, days since 1970-01-01
        Whole numbers, exact in float32; NaN where missing.
    """
    begins = np.asarray(starts, dtype="datetime64[D]")
    years = begins.astype("datetime64[Y]")
    shape = (-1,) + (1,) * (day_of_year.ndim - 1)
    start, this_year, next_year = (
        _day_numbers(dates).astype("float32").reshape(shape) for dates in (begins, years, years + 1)
    )
    number = day_of_year.astype("float32") - 1
    dates = this_year + number
    dates = np.where(dates < start, next_year + number, dates)
    valid = (number >= 0) & (dates < start + COMPOSITE_DAYS)
    return np.where(valid, dates, np.float32(np.nan))


def is_provisional(at: NDArray[np.datetime64], newest: np.datetime64) -> NDArray[np.bool_]:
    """Return at which dates a composite that is still to come may change the smoothed value.

    There the filter sees less than its later half: it is an end filter, of a lower order.

    Parameters
    ----------
    at : array (n), datetime64[D]
        Dates at which series are smoothed.
    newest : datetime64[D]
        Start of the newest composite that is there.

    Returns
    -------
    array (n), bool
        True where the start of the next composite lies within the smoother's 48 days.
    """
    first: date = newest.astype(object)
    following = composite_starts(first, first + timedelta(days=1))[-1]
    return following <= at + HALF_WINDOW_DAYS


def reliability_weights(reliability: NDArray[Any]) -> NDArray[np.float32]:
    """Return weights of MOD13 pixel reliability.

    Parameters
    ----------
    reliability : array, integers
        0 good, 1 marginal, 2 snow or ice, 3 cloudy, -1 fill.

    Returns
    -------
    array, float32
        1, 0.5, 0.2, 0.1 and 0; any other code is fill.
    """
    known = (reliability >= 0) & (reliability <= 3)
    return _WEIGHTS[np.where(known, reliability, -1).astype("intp") + 1]


def smooth_composites(
    values: NDArray[Any],
    days: NDArray[Any],
    weights: NDArray[Any],
    at: ArrayLike,
    *,
    half_window_days: float = HALF_WINDOW_DAYS,
    order: int = ORDER,
) -> NDArray[Any]:
    """Smooth irregular series: a Savitzky-Golay filter for dates that differ by pixel.

    A weighted least-squares polynomial of the values within the window, evaluated at its centre.
    On regular dates with equal weights it is the Savitzky-Golay filter. The order is the largest
    that is at most ``order``, at most the number of values minus two (at least 0), and at most
    doubles noise: so the fit is lowered, down to the weighted mean, where values are few, fall
    together or lie on one side. No value in the window gives NaN.

    Parameters
    ----------
    values : array (n, ...)
        Composites; NaN is missing.
    days : array (n, ...), days since 1970-01-01
        Own date of each value; NaN is missing.
    weights : array (n, ...)
        What is not positive is missing.
    at : array (m), datetime64 or days since 1970-01-01
        Where to evaluate.
    half_window_days : float, days
        Included at both ends.
    order : int
        0 to 3 are of use.

    Returns
    -------
    array (m, ...)
        In the floating type of ``values``.

    References
    ----------
    Savitzky and Golay (1964), doi:10.1021/ac60214a047
    """
    if not values.shape == days.shape == weights.shape:
        raise ValueError(
            f"values, days and weights have shapes {values.shape}, {days.shape} and "
            f"{weights.shape}, expected the same; give each value its own date and weight"
        )
    pixels = np.ascontiguousarray(values).reshape(len(values), -1)
    # One type for days and weights: each further combination would be compiled anew.
    dates, trust = (
        np.ascontiguousarray(a, dtype="float32").reshape(pixels.shape) for a in (days, weights)
    )
    smooth = np.empty((np.size(at), pixels.shape[1]), dtype=values.dtype)
    _smooth(pixels, dates, trust, _day_numbers(at), float(half_window_days), order, smooth)
    return smooth.reshape(-1, *values.shape[1:])


def _day_numbers(dates: ArrayLike) -> NDArray[np.float64]:
    """Return dates, or numbers of days already, as days since 1970-01-01."""
    array = np.asarray(dates)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[D]").astype("int64")
    return array.astype("float64")


@njit(cache=True, nogil=True)
def _smooth(
    values: NDArray[Any],
    days: NDArray[Any],
    weights: NDArray[Any],
    at: NDArray[np.float64],
    half_window: float,
    order: int,
    smooth: NDArray[Any],
) -> None:
    """Smooth all pixels (columns) of contiguous arrays (n, pixels) into ``smooth``."""
    series = np.empty((3, len(values)))
    near = np.empty((3, len(values)))
    for pixel in range(values.shape[1]):
        kept = _usable(values[:, pixel], days[:, pixel], weights[:, pixel], series)
        for j in range(at.size):
            used = _within(series[:, :kept], at[j], half_window, near)
            smooth[j, pixel] = _value_at_centre(near[:, :used], order)


@njit(cache=True, nogil=True)
def _usable(
    values: NDArray[Any], days: NDArray[Any], weights: NDArray[Any], series: NDArray[np.float64]
) -> int:
    """Gather day, value and weight of what is not missing; return how many."""
    kept = 0
    for i in range(values.size):
        if weights[i] > 0 and not np.isnan(days[i]) and not np.isnan(values[i]):
            series[0, kept] = days[i]
            series[1, kept] = values[i]
            series[2, kept] = weights[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _within(
    series: NDArray[np.float64], centre: float, half_window: float, near: NDArray[np.float64]
) -> int:
    """Gather the window round a day, its days scaled to -1..1; return how many."""
    used = 0
    for i in range(series.shape[1]):
        if abs(series[0, i] - centre) <= half_window:
            near[0, used] = (series[0, i] - centre) / half_window
            near[1, used] = series[1, i]
            near[2, used] = series[2, i]
            used += 1
    return used


@njit(cache=True, nogil=True)
def _value_at_centre(near: NDArray[np.float64], order: int) -> float:
    """Return the polynomial's value at 0, with the order lowered until noise is held."""
    if near.shape[1] == 0:
        return np.nan
    # The weighted mean, degree 0, never gains noise: the loop always returns.
    for degree in range(max(0, min(order, near.shape[1] - 2)), -1, -1):
        value, gain = _fit(near, degree)
        if gain <= NOISE_GAIN:
            return value
    return np.nan


@njit(cache=True, nogil=True)
def _fit(near: NDArray[np.float64], degree: int) -> tuple[float, float]:
    """Return value at 0 and noise gain (sum of squared filter weights) of one degree."""
    moments = np.zeros(2 * degree + 1)
    for i in range(near.shape[1]):
        power = near[2, i]
        for k in range(moments.size):
            moments[k] += power
            power *= near[0, i]
    solution = np.zeros(degree + 1)
    solution[0] = 1.0
    if not _solve_moments(moments, solution):
        return np.nan, np.inf
    value, gain = 0.0, 0.0
    for i in range(near.shape[1]):
        weight = 0.0
        for k in range(degree, -1, -1):
            weight = weight * near[0, i] + solution[k]
        weight *= near[2, i]
        value += weight * near[1, i]
        gain += weight * weight
    return value, gain


@njit(cache=True, nogil=True)
def _solve_moments(moments: NDArray[np.float64], vector: NDArray[np.float64]) -> bool:
    """Solve the system of moments by elimination, in place; False where it is singular."""
    size = vector.size
    matrix = np.empty((size, size))
    # Scalar loops throughout: array expressions would take numba seconds to compile.
    for row in range(size):
        for col in range(size):
            matrix[row, col] = moments[row + col]
    for k in range(size):
        if matrix[k, k] <= 1e-10 * moments[0]:
            return False
        for row in range(k + 1, size):
            factor = matrix[row, k] / matrix[k, k]
            vector[row] -= factor * vector[k]
            for col in range(k, size):
                matrix[row, col] -= factor * matrix[k, col]
    for k in range(size - 1, -1, -1):
        for col in range(k + 1, size):
            vector[k] -= matrix[k, col] * vector[col]
        vector[k] /= matrix[k, k]
    return True
