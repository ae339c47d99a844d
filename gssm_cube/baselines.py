"""What an estimate at a new place must beat: no forest, and no look at the place's own values.

Each takes the training stations and answers for other rows. Stations weigh the same: a long
record is not a better place.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Of all columns of estimates that stand beside a forest's, in the order in which they are shown.
TITLES = {
    "mean_of_training": "mean of the training stations",
    "climatology": "climatology of the training stations",
    "bucket_50": "untrained bucket, rescaled",
    "swvl1": "ERA5-Land soil moisture",
    "seed_like": "forest of the gssm1km kind",
}
YEAR_DAYS = 366  # a leap year's; 29 February exists in some years only, its window in all
HALF_WINDOW_DAYS = 15  # the mean of a day of the year takes 31 days, for single days are noise


def training_mean(train: pd.DataFrame) -> float:
    """Return the mean over stations of each station's mean, m3 m-3.

    Parameters
    ----------
    train : DataFrame
        ``station``, ``observed`` (m3 m-3).
    """
    return float(train.groupby("station", observed=True)["observed"].mean().mean())


def climatology(train: pd.DataFrame, time: ArrayLike) -> NDArray[np.float64]:
    """Return the training stations' mean at the day of the year, over 31 days about it.

    Parameters
    ----------
    train : DataFrame
        ``station``, ``time`` (day), ``observed`` (m3 m-3).
    time : array (row), datetime64
        Days to answer for.

    Returns
    -------
    ndarray (row), m3 m-3
        The mean of all days where no training day is within the window. A station counts on a
        day of the year by the mean of its years.
    """
    day = pd.DatetimeIndex(train["time"]).day_of_year.to_numpy() - 1
    by_day = train["observed"].groupby([train["station"].to_numpy(), day]).mean()
    days = by_day.index.get_level_values(1)
    total = _around(np.bincount(days, by_day, minlength=YEAR_DAYS))
    count = _around(np.bincount(days, minlength=YEAR_DAYS))
    mean = np.full(YEAR_DAYS, training_mean(train))
    np.divide(total, count, out=mean, where=count > 0)
    return mean[pd.DatetimeIndex(np.asarray(time)).day_of_year.to_numpy() - 1]


def rescaled(train: pd.DataFrame, column: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return another estimate's column, rescaled by one line fitted on the training stations.

    For what has the right ups and downs in other units, such as an untrained bucket's filling.

    Parameters
    ----------
    train : DataFrame
        ``station``, ``observed`` (m3 m-3).
    column : array (training row)
        The estimate at the training rows; NaN does not count.
    target : array (row)
        The same estimate at the rows to answer for.

    Returns
    -------
    ndarray (row), m3 m-3
        NaN where the estimate is missing.

    Raises
    ------
    ValueError
        If fewer than two training rows have a value.
    """
    x = np.asarray(column, dtype="float64")
    known = np.isfinite(x)
    if known.sum() < 2:
        raise ValueError(f"{known.sum()} training rows have a value to rescale, expected two")
    y = train["observed"].to_numpy("float64")[known]
    days = train["station"][known].groupby(train["station"][known].to_numpy()).transform("size")
    weight = 1 / days.to_numpy()
    centre_x, centre_y = np.average(x[known], weights=weight), np.average(y, weights=weight)
    off = x[known] - centre_x
    variance = weight @ off**2
    slope = (weight * off) @ (y - centre_y) / variance if variance > 0 else 0.0
    return centre_y + slope * (np.asarray(target, dtype="float64") - centre_x)


def _around(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the window about each day of the year; December is beside January."""
    shifts = range(-HALF_WINDOW_DAYS, HALF_WINDOW_DAYS + 1)
    return np.sum([np.roll(values, shift) for shift in shifts], axis=0)
