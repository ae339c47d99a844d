"""Which days at the end of a record are held out as new years."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

HELD_FRACTION = 0.25  # Han et al. (2023), doi:10.1038/s41597-023-02011-7
YEAR = np.timedelta64(365, "D")  # at least


def first_held_day(time: ArrayLike) -> np.datetime64 | None:
    """Return the first of the days that a test on new years holds out.

    Years are counted back from the last day, so that all that are held out are whole: of a record
    from March 2018 to February 2021 the last twelve months. The last quarter of those that have
    days is held out, rounded up to whole years. Where less than a year would be left before them,
    years are calendar years, and the last may be a part of one.

    Parameters
    ----------
    time : array (row), datetime64
        Days with data, in any order.

    Returns
    -------
    datetime64[D] or None
        None if all days lie in one calendar year.
    """
    days = pd.DatetimeIndex(np.unique(np.asarray(time).astype("M8[D]")))
    end = days[-1] + pd.Timedelta(days=1)
    before = (days.month < end.month) | ((days.month == end.month) & (days.day < end.day))
    counted = np.where(before, days.year - 1, days.year)
    held = _last_quarter(counted)
    first = days[counted == held][0].to_datetime64().astype("M8[D]")
    if first - days[0].to_datetime64().astype("M8[D]") >= YEAR:
        return first
    if days.year.nunique() < 2:
        return None
    return days[days.year == _last_quarter(days.year)][0].to_datetime64().astype("M8[D]")


def _last_quarter(year: ArrayLike) -> int:
    """Return the first year of the last quarter of those that occur."""
    years = np.unique(np.asarray(year))
    return int(years[-int(np.ceil(years.size * HELD_FRACTION))])
