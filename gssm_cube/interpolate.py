"""From what the cube stores to 1 km and days, in exact integers on packed codes.

Meteorology is stored at 0.1 deg and vegetation every 16 days; both are refined where they are
read. The arithmetic is integer, so a single pixel and a whole block give the same bits.
"""

import numpy as np
from numpy.typing import NDArray

from gssm_cube.variables import FILL


def interpolate_days(
    codes: NDArray[np.int16], starts: NDArray[np.int64], days: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Return daily codes, linear in time between composites.

    Parameters
    ----------
    codes : (composite, ...) int16
    starts : (composite,) int
        Day number of each composite, ascending.
    days : (day,) int
        Within ``starts``; a day outside is missing.

    Returns
    -------
    (day, ...) int16
        ``floor(value + 0.5)``; missing where one of the two composites is.
    """
    before = np.clip(np.searchsorted(starts, days, side="right") - 1, 0, len(starts) - 2)
    length = (starts[before + 1] - starts[before]).astype("int32")
    passed = (days - starts[before]).astype("int32")
    shape = (-1, *(1,) * (codes.ndim - 1))
    length, passed = length.reshape(shape), passed.reshape(shape)
    left, right = codes[before], codes[before + 1]
    total = left * (length - passed) + right * passed
    daily = (2 * total + length) // (2 * length)
    # On a composite's own day the other one has no weight and may be missing.
    missing = ((left == FILL) & (passed < length)) | ((right == FILL) & (passed > 0))
    missing |= (passed < 0) | (passed > length)
    return np.where(missing, FILL, daily).astype("int16")
