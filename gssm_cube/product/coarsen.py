"""Squares of pixels to cells: means weighted by area, and the flags that most of the land has."""

import numpy as np
from numba import njit

from gssm_cube.variables import FILL


@njit(nogil=True, cache=True)
def coarsen(codes, weights, factor):  # type: ignore[no-untyped-def]
    """Return means of squares of valid codes, each weighted by its row.

    Parameters
    ----------
    codes : (time, lat, lon) int16
    weights : (lat,) float64
    factor : int
        Pixels along the edge of a square.

    Returns
    -------
    (time, lat, lon) int16
        Missing where no pixel of the square is valid.
    """
    days, rows, cols = codes.shape
    means = np.full((days, rows // factor, cols // factor), np.int16(FILL))
    total, weight = np.empty(cols // factor), np.empty(cols // factor)
    for day in range(days):
        for row in range(rows // factor):
            total[:], weight[:] = 0.0, 0.0
            _add_rows(codes[day], weights, row * factor, factor, total, weight)
            _divide(total, weight, means[day, row])
    return means


@njit(nogil=True, cache=True)
def gather_flags(flags, codes, factor):  # type: ignore[no-untyped-def]
    """Return the flags that at least half of the land of each square has.

    Parameters
    ----------
    flags : (time, lat, lon) uint16
    codes : (time, lat, lon) int16
        Soil moisture; land is where there is a value, or a flag says why there is none.
    factor : int
        Pixels along the edge of a square.

    Returns
    -------
    (time, lat, lon) uint16
    """
    days, rows, cols = flags.shape
    found = np.zeros((days, rows // factor, cols // factor), np.uint16)
    count = np.empty(16, np.int64)
    for day in range(days):
        for row in range(rows // factor):
            for col in range(cols // factor):
                top, left = row * factor, col * factor
                square = (slice(top, top + factor), slice(left, left + factor))
                count[:] = 0
                land = _count_flags(flags[day][square], codes[day][square], count)
                found[day, row, col] = _frequent(count, land)
    return found


@njit(nogil=True, cache=True)
def _count_flags(flags, codes, count):  # type: ignore[no-untyped-def]
    """Count each flag in a square; return the pixels of land."""
    land = 0
    for flag, code in zip(flags.flat, codes.flat):  # noqa: B905 (numba knows no strict)
        land += int(flag != 0 or code != FILL)
        if flag != 0:
            for bit in range(16):
                count[bit] += (flag >> bit) & 1
    return land


@njit(nogil=True, cache=True)
def _frequent(count, land):  # type: ignore[no-untyped-def]
    """Join the bits that at least half of the land has."""
    bits = 0
    for bit in range(16):
        if count[bit] > 0 and 2 * count[bit] >= land:
            bits |= 1 << bit
    return bits


@njit(nogil=True, cache=True)
def _divide(total, weight, means):  # type: ignore[no-untyped-def]
    """Fill in the rounded means where there is weight."""
    for col in range(total.size):
        if weight[col] > 0:
            means[col] = np.int16(np.floor(total[col] / weight[col] + 0.5))


@njit(nogil=True, cache=True)
def _add_rows(codes, weights, first, factor, total, weight):  # type: ignore[no-untyped-def]
    """Add the valid codes of the rows of one row of squares."""
    for row in range(first, first + factor):
        for col in range(total.size * factor):
            if codes[row, col] != FILL:
                total[col // factor] += weights[row] * codes[row, col]
                weight[col // factor] += weights[row]
