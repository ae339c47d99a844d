"""Scores of several products at each station, on days that all of them have.

The terms are those of Gruber et al. (2020, doi:10.1016/j.rse.2020.111806) and QA4SM: because a
station is no truth, what other tables call RMSE is the RMSD here. The table of a product has the
columns of `scores.station_table`, so that `bootstrap` takes it, and two scores more.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from gssm_cube.scores import (
    MIN_STATION_DAYS,
    MORE_SCORES,
    STATION_SCORES,
    SUMS,
    anomalies,
)

Values = NDArray[np.float64]

SCORES = (*STATION_SCORES, *MORE_SCORES)
COLUMNS = (*SCORES, *SUMS, *(f"anomaly_{name}" for name in SUMS))
SMOOTHING_DAYS, SEASON_DAYS = 5, 35  # before and after the mean over years, as QA4SM takes them
LEAST_YEARS = 3  # with a value, for a climatology; fewer follow the single year
DAYS_OF_YEAR = 366  # 29 February is always the 60th


def seasonal_cycle(values: pd.DataFrame) -> pd.DataFrame:
    """Return the climatology of each day of the year.

    Means over 5 days, then over the years, then over 35 days of the year, which has no ends.

    Parameters
    ----------
    values : DataFrame (day) of series, m3 m-3
        Indexed by day, sorted; NaN and days that are not there do not count.

    Returns
    -------
    DataFrame (day of year from 1 to 366), m3 m-3
        As of a leap year: 1 March is always the 61st.
    """
    daily = values.asfreq("D").rolling(SMOOTHING_DAYS, center=True, min_periods=1).mean()
    cycle = daily.groupby(_day_of_year(pd.DatetimeIndex(daily.index))).mean()
    cycle = cycle.reindex(np.arange(1, DAYS_OF_YEAR + 1))
    half = SEASON_DAYS // 2
    closed = pd.concat([cycle.iloc[-half:], cycle, cycle.iloc[:half]], ignore_index=True)
    smooth = closed.rolling(SEASON_DAYS, center=True, min_periods=1).mean()
    return smooth.iloc[half:-half].set_axis(cycle.index)


def climatology_anomalies(values: pd.DataFrame) -> pd.DataFrame:
    """Return deviations from each series' own climatology.

    Parameters
    ----------
    values : DataFrame (day) of series, m3 m-3
        Indexed by day, sorted.

    Returns
    -------
    DataFrame (day), m3 m-3
        All NaN where fewer than three calendar years have a day.
    """
    index = pd.DatetimeIndex(values.index)
    if index.year.nunique() < LEAST_YEARS:
        return values * np.nan
    cycle = seasonal_cycle(values).to_numpy()
    return values - cycle[_day_of_year(index) - 1]


def product_tables(
    values: NDArray[np.floating],
    days: pd.DatetimeIndex,
    stations: Sequence[str],
    products: Sequence[str],
    *,
    min_days: int = MIN_STATION_DAYS,
) -> dict[str, pd.DataFrame]:
    """Score products at all stations.

    Parameters
    ----------
    values : ndarray (column, station, day), m3 m-3
        The first column is the reference, the others are the products in their order. A day of a
        station counts where no column is NaN.
    days : DatetimeIndex (day)
    stations, products : sequence of str
    min_days : int
        Days that a station needs for scores of its own.

    Returns
    -------
    dict of DataFrame (station)
        By product: ``rmse`` (the RMSD), ``ubrmse``, ``bias`` (product minus reference), ``r``,
        ``kge``, ``anomaly_r`` (35 days), ``spearman_r``, ``climatology_r``; and the sums that
        pooled scores are made of. Stations without a common day are left out.
    """
    rows: dict[str, NDArray[np.float64]] = {}
    for number, station in enumerate(stations):
        at = values[:, number]
        both = np.isfinite(at).all(axis=0)
        if both.any():
            frame = pd.DataFrame(at[:, both].T.astype("float64"), index=days[both])
            rows[station] = _station_scores(frame, min_days)
    found = np.stack(list(rows.values())) if rows else np.empty((0, len(products), len(COLUMNS)))
    index = pd.Index(list(rows), name="station", dtype="str")
    return {
        name: pd.DataFrame(found[:, place], index, COLUMNS) for place, name in enumerate(products)
    }


def _station_scores(frame: pd.DataFrame, min_days: int) -> Values:
    """Scores and sums (product, column of the table) of one station's complete days."""
    values = frame.to_numpy()
    about = anomalies(frame).dropna().to_numpy()
    table = np.full((values.shape[1] - 1, len(COLUMNS)), math.nan)
    table[:, len(SCORES) :] = np.hstack([_sums(values), _sums(about)])
    if len(values) >= min_days:
        scored = _moment_scores(values)
        scored["anomaly_r"] = _pearson(about)
        scored["spearman_r"] = _pearson(rankdata(values, axis=0))
        scored["climatology_r"] = _pearson(climatology_anomalies(frame).dropna().to_numpy())
        table[:, : len(SCORES)] = np.column_stack([scored[name] for name in SCORES])
    return table


def _moment_scores(values: Values) -> dict[str, Values]:
    """Scores of each product that follow from means and deviations."""
    reference, products = values[:, :1], values[:, 1:]
    error = products - reference
    r = _pearson(values)
    means = values.mean(axis=0)
    spreads = values.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        kge = 1 - np.sqrt(
            (r - 1) ** 2
            + (spreads[1:] / spreads[0] - 1) ** 2
            + (means[1:] / (means[0] or np.nan) - 1) ** 2
        )
    return {
        "rmse": np.sqrt((error**2).mean(axis=0)),
        "ubrmse": error.std(axis=0),
        "bias": error.mean(axis=0),
        "r": r,
        "kge": kge,
    }


def _pearson(values: Values) -> Values:
    """Pearson's r of each column with the first; NaN where one of the two is constant."""
    if len(values) < 2:
        return np.full(values.shape[1] - 1, math.nan)
    # A constant side must not be judged by its rounding: compare the values themselves.
    constant = np.ptp(values, axis=0) == 0
    off = values - values.mean(axis=0)
    size = np.where(constant, math.nan, np.sqrt((off**2).sum(axis=0)))
    return np.clip(off[:, 0] @ off[:, 1:] / (size[0] * size[1:]), -1, 1)


def _sums(values: Values) -> Values:
    """Return the sums of pairs (product, `SUMS`) of each column with the first."""
    x, y = values[:, 0], values[:, 1:]
    of_x = [np.full(y.shape[1], part) for part in (len(x), x.sum(), x @ x)]
    n, total, square = of_x
    return np.column_stack([n, total, y.sum(axis=0), square, (y * y).sum(axis=0), x @ y])


def _day_of_year(days: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Day of a leap year, from 1."""
    day = days.day_of_year.to_numpy()
    return (day + (~days.is_leap_year & (day > 59))).astype("int64")
