"""Scores of several products at each station, on days that all of them have.

The terms are those of Gruber et al. (2020, doi:10.1016/j.rse.2020.111806) and QA4SM: because a
station is no truth, what other tables call RMSE is the RMSD here. The table of a product has the
columns of `scores.station_table`, so that `bootstrap` takes it, and two scores more.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from gssm_cube.statistics.scores import (
    MIN_STATION_DAYS,
    MORE_SCORES,
    STATION_SCORES,
    SUMS,
    anomalies,
)

Values = NDArray[np.float64]
Group = TypeVar("Group", bound=Hashable)
Tables = dict[str, pd.DataFrame]  # (station), by product

SCORES = (*STATION_SCORES, *MORE_SCORES)
COLUMNS = (*SCORES, *SUMS, *(f"anomaly_{name}" for name in SUMS))
SMOOTHING_DAYS, SEASON_DAYS = 5, 35  # before and after the mean over years, as QA4SM takes them
LEAST_YEARS = 3  # with a value, for a climatology; fewer follow the single year
DAYS_OF_YEAR = 366  # 29 February is always the 60th


def seasonal_cycle(values: Values, days: pd.DatetimeIndex) -> Values:
    """Return the climatology of each day of the year.

    Means over 5 days, then over the years, then over 35 days of the year, which has no ends.

    Parameters
    ----------
    values : ndarray (day, column), m3 m-3
        Without gaps; days that are not there do not count.
    days : DatetimeIndex (day)
        Sorted.

    Returns
    -------
    ndarray (366, column), m3 m-3
        As of a leap year: 1 March is always the 61st.
    """
    position = (days - days[0]).days.to_numpy()
    every = np.arange(position[-1] + 1)
    daily = _moving_means(values, position, every, SMOOTHING_DAYS // 2)
    number = _day_of_year(pd.date_range(days[0], periods=every.size)) - 1
    known = np.isfinite(daily[:, 0])
    count = np.bincount(number[known], minlength=DAYS_OF_YEAR)
    total = np.stack(
        [np.bincount(number[known], column, DAYS_OF_YEAR) for column in daily[known].T], axis=1
    )
    some = np.flatnonzero(count)
    cycle = total[some] / count[some, None]
    around = np.concatenate([some - DAYS_OF_YEAR, some, some + DAYS_OF_YEAR])
    return _moving_means(np.tile(cycle, (3, 1)), around, np.arange(DAYS_OF_YEAR), SEASON_DAYS // 2)


def climatology_anomalies(values: Values, days: pd.DatetimeIndex) -> Values:
    """Return deviations from each series' own climatology.

    Parameters
    ----------
    values : ndarray (day, column), m3 m-3
        Without gaps.
    days : DatetimeIndex (day)
        Sorted.

    Returns
    -------
    ndarray (day, column), m3 m-3
        All NaN where fewer than three calendar years have a day.
    """
    if days.year.nunique() < LEAST_YEARS:
        return np.full(values.shape, math.nan)
    return values - seasonal_cycle(values, days)[_day_of_year(days) - 1]


def product_tables(
    values: NDArray[np.floating],
    days: pd.DatetimeIndex,
    stations: Sequence[str],
    products: Sequence[str],
    *,
    min_days: int = MIN_STATION_DAYS,
) -> Tables:
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
    whole = {"all": np.ones((1, len(days)), dtype="bool")}
    return grouped_tables(values, days, stations, products, whole, min_days=min_days)["all"]


def grouped_tables(
    values: NDArray[np.floating],
    days: pd.DatetimeIndex,
    stations: Sequence[str],
    products: Sequence[str],
    groups: Mapping[Group, NDArray[np.bool_]],
    *,
    min_days: int = MIN_STATION_DAYS,
) -> dict[Group, Tables]:
    """Do as `product_tables` for several groups of station-days.

    Anomalies are those of the whole series: a season has none of its own.

    Parameters
    ----------
    groups : mapping of ndarray (station or 1, day), bool

    Returns
    -------
    dict of dict of DataFrame (station)
        By group and product.
    """
    rows: dict[Group, dict[str, Values]] = {group: {} for group in groups}
    for number, station in enumerate(stations):
        at = values[:, number]
        both = np.isfinite(at).all(axis=0)
        if not both.any():
            continue
        series = _Series.of(at[:, both].T.astype("float64"), days[both])
        for group, mask in groups.items():
            chosen = (mask[number] if len(mask) > 1 else mask[0])[both]
            if chosen.any():
                rows[group][station] = _station_scores(series.on(chosen), min_days)
    return {group: _tables(found, products) for group, found in rows.items()}


def published_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return per-station scores that others worked out as a table of a product.

    Medians over stations, their intervals and differences follow from it as from our own; pooled
    scores do not, for the days are not known.

    Parameters
    ----------
    scores : DataFrame (station)
        Some of ``rmse``, ``ubrmse``, ``bias`` (m3 m-3), ``r``, ``kge``, ``anomaly_r``,
        ``spearman_r``, ``climatology_r``, on the same days for every product that is compared.

    Returns
    -------
    DataFrame (station)
        As of `product_tables`; the sums are 0.

    Raises
    ------
    ValueError
        If there is a column that is no score.
    """
    if unknown := [name for name in scores if name not in SCORES]:
        raise ValueError(f"columns {unknown} are no scores, expected some of {list(SCORES)}")
    table = scores.reindex(columns=COLUMNS).rename_axis("station")
    return table.fillna(dict.fromkeys(COLUMNS[len(SCORES) :], 0.0))


class _Series(NamedTuple):
    """A station's complete days (day, column): values, and anomalies of both kinds."""

    values: Values
    moving: Values
    seasonal: Values

    @classmethod
    def of(cls, values: Values, days: pd.DatetimeIndex) -> "_Series":
        """Work out the anomalies."""
        moving = anomalies(pd.DataFrame(values, days)).to_numpy()
        return cls(values, moving, climatology_anomalies(values, days))

    def on(self, chosen: NDArray[np.bool_]) -> "_Series":
        """Return some of the days."""
        return self if chosen.all() else _Series(*(_rows(part, chosen) for part in self))


def _tables(rows: Mapping[str, Values], products: Sequence[str]) -> Tables:
    """Put the scores of stations (product, column of the table) into a table a product."""
    found = np.stack(list(rows.values())) if rows else np.empty((0, len(products), len(COLUMNS)))
    index = pd.Index(list(rows), name="station", dtype="str")
    return {
        name: pd.DataFrame(found[:, place], index, COLUMNS) for place, name in enumerate(products)
    }


def _station_scores(series: _Series, min_days: int) -> Values:
    """Scores and sums (product, column of the table) of one station."""
    values = series.values
    moving, seasonal = (
        _rows(part, np.isfinite(part[:, 0])) for part in (series.moving, series.seasonal)
    )
    table = np.full((values.shape[1] - 1, len(COLUMNS)), math.nan)
    table[:, len(SCORES) :] = np.hstack([_sums(values), _sums(moving)])
    if len(values) >= min_days:
        scored = _moment_scores(values)
        scored["anomaly_r"], scored["climatology_r"] = _pearson(moving), _pearson(seasonal)
        scored["spearman_r"] = _pearson(rankdata(values.T, axis=1).T)
        table[:, : len(SCORES)] = np.column_stack([scored[name] for name in SCORES])
    return table


def _rows(values: Values, chosen: NDArray[np.bool_]) -> Values:
    """Return some rows, each column in one piece of memory: sums along it are twice as fast."""
    return np.compress(chosen, values.T, axis=1).T


def _moving_means(
    values: Values, position: NDArray[np.int64], at: NDArray[np.int64], half: int
) -> Values:
    """Means (at, column) of the values at most so many days away; NaN where there are none."""
    total = np.vstack([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    low = np.searchsorted(position, at - half)
    high = np.searchsorted(position, at + half, side="right")
    count = (high - low)[:, None]
    means = (total[high] - total[low]) / np.maximum(count, 1)
    return np.where(count > 0, means, math.nan)


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
    constant = (values == values[0]).all(axis=0)
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
