"""MOD13A1 and MYD13A1 at 500 m brought to the 1 km grid, by area.

A 1 km pixel of the sinusoidal grid is exactly 2 x 2 pixels of 500 m, and our rows are its rows: the
centre of our pixel lies on the edge between two rows of 500 m, so that to take "the" one that holds
it would be a toss, 328 m off, and would throw three observations away. The mean of the four has the
1 km pixel's centre, is exact on a linear field, and is laid where MOD13A2 is laid. Only the
sub-pixels of the best reliability count: a cloudy one must not travel under a good one's rank. The
date is the mean of theirs. A mean of NDVI is not quite the NDVI of mean reflectances.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.sinusoidal import Cutout

_FILLS = (-3000, -3000, -1, -1)
_NO_RANK = 99
COMPOSITE_DAYS = 16


def coarsen(parts: Sequence[Cutout], start: date) -> list[Cutout]:
    """Return the area mean of 2 x 2 sub-pixels: NDVI, EVI, reliability, day of the year.

    Parameters
    ----------
    parts : sequence of 4 Cutout
        NDVI and EVI (0.0001, valid -2000..10000), reliability (0..3), composite day of the year,
        on the 500 m grid. Edges between 1 km pixels count what is there.
    start : date
        First day of the composite.

    Returns
    -------
    list of 4 Cutout
        On the 1 km grid, in the same types. Missing is -3000, -3000, -1, -1: where no sub-pixel
        has a reliability of 0..3 and a valid NDVI and EVI.

    References
    ----------
    Didan et al. (2015), MODIS Vegetation Index User's Guide, collection 6, section 2
    """
    ndvi, evi, rank, day = (_quarters(part, fill) for part, fill in zip(parts, _FILLS, strict=True))
    valid = [(index >= -2000) & (index <= 10000) for index in (ndvi, evi)]
    usable = valid[0] & valid[1] & (rank >= 0) & (rank <= 3)
    ranks = np.where(usable, rank, _NO_RANK)
    best = ranks.min(axis=0)
    kept = usable & (ranks == best)
    row, col = parts[0].row // 2, parts[0].col // 2
    values = (
        _mean(ndvi, kept, -3000),
        _mean(evi, kept, -3000),
        np.where(best == _NO_RANK, -1, best),
        _mean_day(day, kept, start),
    )
    types = (part.values.dtype for part in parts)
    return [
        Cutout(layer.astype(dtype), row, col) for layer, dtype in zip(values, types, strict=True)
    ]


def _quarters(part: Cutout, fill: int) -> NDArray[Any]:
    """Return the four sub-pixels of each 1 km pixel (4, row, col); ``fill`` beyond the edges."""
    height, width = part.values.shape
    top, left = part.row % 2, part.col % 2
    around = ((top, (top + height) % 2), (left, (left + width) % 2))
    values = np.pad(part.values, around, constant_values=fill)
    return np.stack([values[i::2, j::2] for i in (0, 1) for j in (0, 1)])


def _mean(values: NDArray[Any], kept: NDArray[np.bool_], fill: int) -> NDArray[np.int32]:
    """Mean over the kept sub-pixels, halves rounded up; ``fill`` where there is none."""
    count = kept.sum(axis=0, dtype="int32")
    total = np.where(kept, values, 0).sum(axis=0, dtype="int32")
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, fill)


def _mean_day(day: NDArray[np.int16], kept: NDArray[np.bool_], start: date) -> NDArray[np.int32]:
    """Mean day of the year of the kept sub-pixels, past the year's end as well; -1 missing."""
    first = start.timetuple().tm_yday
    length = date(start.year, 12, 31).timetuple().tm_yday
    after = (day.astype("int32") - first) % length
    known = kept & (day >= 1) & (day <= length) & (after < COMPOSITE_DAYS)
    mean = _mean(after, known, -1)
    return np.where(mean < 0, -1, (first + mean - 1) % length + 1)
