"""Quantiles of more values than are held at a time, exact to the bit.

The values are gone through several times. Each time the mass up to some values between the least
and the greatest that are still possible is added up, which leaves one interval between two of them.
Float64 values from 0 on are ordered as their bits are, read as whole numbers, so that eight times
suffice.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WAYS = 256  # into which an interval is cut each time


class Masses(NamedTuple):
    """Some values that weigh the same, and the quantiles that they count for.

    ``values`` (row), at least 0 and finite; ``weight`` of each; ``wanted``: numbers of quantiles.
    """

    values: NDArray[np.float64]
    weight: float
    wanted: NDArray[np.int64]


def least_reaching(
    masses: Callable[[], Iterator[Masses]], level: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return for each quantile the least value up to which the mass reaches its level.

    Parameters
    ----------
    masses : callable
        Goes through all values, the same each time.
    level : ndarray (quantile)
        Mass to reach, more than 0.

    Returns
    -------
    ndarray (quantile), float64
        NaN where all values together do not reach it.
    """
    low, high = np.full(level.size, -1), np.full(level.size, -1)  # as bits: below, and enough
    total = np.zeros(level.size)
    for found in masses():
        total[found.wanted] += found.weight * found.values.size
        high[found.wanted] = np.maximum(high[found.wanted], _bits(found.values.max()))
    while (high - low > 1).any():
        step = -(-(high - low) // WAYS)
        tried = np.minimum(low[:, None] + step[:, None] * np.arange(1, WAYS), high[:, None])
        reached = _mass_up_to(masses, tried) >= level[:, None]
        reached |= tried == high[:, None]
        first = np.where(reached.any(axis=1), reached.argmax(axis=1), WAYS - 1)
        ends = np.column_stack([low, tried, high])
        low, high = (np.take_along_axis(ends, first[:, None] + k, 1)[:, 0] for k in (0, 1))
    return np.where(total >= level, np.maximum(high, 0).view("float64"), np.nan)


def _mass_up_to(
    masses: Callable[[], Iterator[Masses]], tried: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Add up the mass up to each of the values tried (quantile, way)."""
    mass = np.zeros(tried.shape)
    limits = np.maximum(tried, 0).view("float64")
    for found in masses():
        ordered = np.sort(found.values)
        upto = np.searchsorted(ordered, limits[found.wanted], side="right")
        mass[found.wanted] += found.weight * upto
    return mass


def _bits(value: float) -> int:
    """Return a float64 as a whole number."""
    return int(np.float64(value).view("int64"))
