"""Statistics of each day of the year: a window of counts that slides over a pixel's days.

Codes of soil moisture are few (1,024), so a window is a count of each, from which a day is taken
out and into which one is put in: exact percentiles without sorting.
"""

from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from gssm_cube.variables import FILL, SSM, Packing

PERCENTILES = (0, 2, 5, 10, 20, 30, 50, 70, 80, 90, 95, 98, 100)
YEAR_DAYS = 366
REACH = 15  # days to either side
MINIMUM = 31  # values without which a day of the year is not described
PACKING = Packing(0.0001)
LAYERS = ("ssm_mean", "ssm_sd", "ssm_percentile")
BINS, BIN = 32, 32  # codes are counted in bins of bins: 0 to 1,023


def day_of_leap_year(time: Any) -> NDArray[np.int64]:
    """Return the number of each day in a leap year, 1 to 366; 60 is 29 February."""
    days = pd.DatetimeIndex(time)
    number = days.day_of_year.to_numpy()
    return (number + (~days.is_leap_year & (number >= 60))).astype("int64")


def describe_days(
    codes: NDArray[np.int16], days: NDArray[np.int64]
) -> dict[str, NDArray[np.int16]]:
    """Describe the values of each day of the year and of 15 days to either side.

    Parameters
    ----------
    codes : (time, lat, lon) int16
        Packed soil moisture.
    days : (time,)
        Day of a leap year, 1 to 366.

    Returns
    -------
    dict of ndarray, int16
        ``ssm_mean`` and ``ssm_sd`` (dayofyear, lat, lon), ``ssm_percentile`` (percentile,
        dayofyear, lat, lon), packed in steps of 0.0001 m3 m-3. Percentiles are linear between the
        ordered values, as numpy's; the standard deviation is that of all values.

    Raises
    ------
    ValueError
        If a code is not of the product.
    """
    valid = codes[codes != FILL]
    if valid.size and not (valid.min() >= 0 and valid.max() < BINS * BIN):
        raise ValueError(
            f"codes reach from {valid.min()} to {valid.max()}, expected 0 to {BINS * BIN - 1}: the "
            "product is damaged"
        )
    order = np.argsort(days, kind="stable")
    starts = np.searchsorted(days[order], np.arange(1, YEAR_DAYS + 2))
    pixels = np.ascontiguousarray(codes[order].reshape(len(days), -1).T)
    shape = (YEAR_DAYS, *codes.shape[1:])
    found = _describe_pixels(pixels, starts, np.array(PERCENTILES, dtype="float64"))
    packed = [PACKING.encode(values * SSM.packing.scale) for values in found]
    mean, spread = (values.T.reshape(shape) for values in packed[:2])
    quantiles = np.moveaxis(packed[2], 0, -1).reshape(len(PERCENTILES), *shape)
    return dict(zip(LAYERS, (mean, spread, quantiles), strict=True))


@njit(nogil=True, cache=True)
def _describe_pixels(codes, starts, percentiles):  # type: ignore[no-untyped-def]
    """Describe (pixel, value) codes ordered by day of the year; a window of counts slides."""
    pixels = codes.shape[0]
    mean = np.full((pixels, YEAR_DAYS), np.nan)
    spread = np.full((pixels, YEAR_DAYS), np.nan)
    quantiles = np.full((pixels, percentiles.size, YEAR_DAYS), np.nan)
    counts, coarse = np.zeros(BINS * BIN, np.int64), np.zeros(BINS, np.int64)
    sums = np.zeros(3, np.int64)  # values, their sum, the sum of their squares
    for pixel in range(pixels):
        counts[:], coarse[:], sums[:] = 0, 0, 0
        for day in range(-REACH, REACH):
            _count(codes[pixel], starts, day, 1, counts, coarse, sums)
        for day in range(YEAR_DAYS):
            _count(codes[pixel], starts, day + REACH, 1, counts, coarse, sums)
            if sums[0] >= MINIMUM:
                mean[pixel, day], spread[pixel, day] = _moments(sums)
                _fill_quantiles(quantiles[pixel, :, day], percentiles, sums[0], counts, coarse)
            _count(codes[pixel], starts, day - REACH, -1, counts, coarse, sums)
    return mean, spread, quantiles


@njit(nogil=True, cache=True)
def _moments(sums):  # type: ignore[no-untyped-def]
    """Mean and standard deviation, in whole numbers up to the root: never of less than zero."""
    n = sums[0]
    return sums[1] / n, np.sqrt(n * sums[2] - sums[1] * sums[1]) / n


@njit(nogil=True, cache=True)
def _fill_quantiles(quantiles, percentiles, n, counts, coarse):  # type: ignore[no-untyped-def]
    """Fill in the percentiles of ``n`` counted values."""
    for level in range(percentiles.size):
        quantiles[level] = _ordered((n - 1) * percentiles[level] / 100, counts, coarse)


@njit(nogil=True, cache=True)
def _count(codes, starts, day, step, counts, coarse, sums):  # type: ignore[no-untyped-def]
    """Add (step 1) or take away (-1) the values of a day; days go round the year."""
    day %= YEAR_DAYS
    for place in range(starts[day], starts[day + 1]):
        code = np.int64(codes[place])
        if code != FILL:
            counts[code] += step
            coarse[code // BIN] += step
            sums[0] += step
            sums[1] += step * code
            sums[2] += step * code * code


@njit(nogil=True, cache=True)
def _ordered(rank, counts, coarse):  # type: ignore[no-untyped-def]
    """Return the value of a rank (0 is the least), linear between two."""
    below, part = np.int64(np.floor(rank)), rank - np.floor(rank)
    seen, block = np.int64(0), 0
    while seen + coarse[block] <= below:
        seen += coarse[block]
        block += 1
    code = block * BIN
    while seen + counts[code] <= below:
        seen += counts[code]
        code += 1
    if part == 0.0 or seen + counts[code] > below + 1:
        return float(code)
    following = code + 1
    while counts[following] == 0:
        following += 1
    return code + part * (following - code)


def rank_values(
    values: NDArray[Any], quantiles: NDArray[Any], levels: NDArray[Any]
) -> NDArray[Any]:
    """Return the percentile of each value among its rising quantiles, (..., percentile)."""
    shape = np.broadcast_shapes(values.shape, quantiles.shape[:-1])
    flat = np.broadcast_to(values, shape).astype("float32").reshape(-1)
    rows = np.broadcast_to(quantiles, (*shape, levels.size)).astype("float32")
    return _rank_rows(flat, rows.reshape(-1, levels.size), levels).reshape(shape)


@njit(nogil=True, cache=True)
def _rank_rows(values, quantiles, levels):  # type: ignore[no-untyped-def]
    """Rank values, one a row of rising quantiles."""
    ranks = np.full(values.size, np.nan, dtype=np.float32)
    last = levels.size - 1
    for row in range(values.size):
        value, known = values[row], quantiles[row]
        if np.isnan(value) or np.isnan(known[0]):
            continue
        above = np.searchsorted(known, value, side="left")
        equal = np.searchsorted(known, value, side="right") - 1
        if above > last:
            ranks[row] = levels[last]
        elif above <= equal:
            ranks[row] = (levels[above] + levels[equal]) / 2
        elif above == 0:
            ranks[row] = levels[0]
        else:
            part = (value - known[above - 1]) / (known[above] - known[above - 1])
            ranks[row] = levels[above - 1] + part * (levels[above] - levels[above - 1])
    return ranks
