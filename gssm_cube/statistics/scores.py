"""Scores of estimates against observations: each with its count and its source.

A pair counts where both values are there. A score that its pairs cannot give is NaN in the
functions and None in the tables, which go into JSON as they are.
"""

import math
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.statistics.pair_sums import PairSums

Values = TypeVar("Values", pd.Series, pd.DataFrame)

MIN_STATION_DAYS = 100  # a station with fewer days is counted, not scored by itself
SCORES = ("rmse", "ubrmse", "bias", "r")
STATION_SCORES = (*SCORES, "kge", "anomaly_r")
MORE_SCORES = ("spearman_r", "climatology_r")  # that a station's row may have
SUMS = ("n", "x", "y", "xx", "yy", "xy")
ANOMALY_WINDOW, ANOMALY_LEAST = "35D", 15  # days about each, and how many of them must be there


def rmse(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the root mean square error, in the units of the values.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count.
    """
    error = _errors(observed, predicted)
    return float(np.sqrt(np.mean(error**2))) if error.size else math.nan


def ubrmse(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the RMSE with the bias removed (Entekhabi et al. 2010, doi:10.1175/2010JHM1223.1).

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count.
    """
    error = _errors(observed, predicted)
    return float(np.std(error)) if error.size else math.nan


def bias(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean of predicted minus observed: positive is too wet.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count.
    """
    error = _errors(observed, predicted)
    return float(np.mean(error)) if error.size else math.nan


def pearson_r(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return Pearson's correlation; NaN if either side is constant or there is one pair.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count.
    """
    x, y = _pairs(observed, predicted)
    # A constant side must not be judged by its rounding: compare the values themselves.
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))


def kge(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the Kling-Gupta efficiency (Gupta et al. 2009, doi:10.1016/j.jhydrol.2009.08.003).

    1 less the distance of r, the ratio of standard deviations and the ratio of means from 1; NaN
    where r is, or if the mean observation is 0.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count.
    """
    x, y = _pairs(observed, predicted)
    r = pearson_r(x, y)
    if math.isnan(r) or x.mean() == 0:
        return math.nan
    return float(1 - math.hypot(r - 1, y.std() / x.std() - 1, y.mean() / x.mean() - 1))


def anomalies(values: Values) -> Values:
    """Return a station's deviation from its mean over the 35 days about each day.

    Parameters
    ----------
    values : Series (day) or DataFrame of such columns, m3 m-3
        Indexed by day, sorted; NaN and days that are not there do not count.

    Returns
    -------
    The same (day), m3 m-3
        NaN where fewer than 15 of the 35 days have a value.
    """
    window = values.rolling(ANOMALY_WINDOW, center=True, min_periods=ANOMALY_LEAST)
    return values - window.mean()


def pooled_scores(observed: ArrayLike, predicted: ArrayLike) -> dict[str, Any]:
    """Return ``n``, ``rmse``, ``ubrmse``, ``bias`` and ``r`` of all pairs together.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count, in ``n`` either.
    """
    return _pooled(PairSums.of(observed, predicted))


def score_table(frame: pd.DataFrame, *, min_days: int = MIN_STATION_DAYS) -> dict[str, Any]:
    """Return the pooled scores and the medians over the stations.

    Parameters
    ----------
    frame : DataFrame
        Columns ``station``, ``observed`` and ``predicted`` (m3 m-3), a row per station-day, and
        ``time`` for scores of anomalies.
    min_days : int
        Pairs that a station needs to be scored by itself.

    Returns
    -------
    dict
        Pooled ``n``, ``rmse``, ``ubrmse``, ``bias``, ``r``, ``kge``, ``anomaly_r`` (about each
        station's mean of 35 days), and ``stations``: ``count`` scored, ``left_out`` for too few
        days, and the median of each score over those scored.
    """
    scoring = Scoring(min_days=min_days)
    scoring.add(frame)
    return scoring.scores()


class Scoring:
    """The scores of `score_table`, of rows that come in parts; only sums and scores are kept."""

    def __init__(self, *, min_days: int = MIN_STATION_DAYS) -> None:
        self._min_days, self.count = min_days, 0  # stations, with or without a pair
        self._tables: list[pd.DataFrame] = []
        self._sums = PairSums()

    def add(self, days: pd.DataFrame, table: pd.DataFrame | None = None) -> None:
        """Score all rows of some stations, whose `station_table` may be known already."""
        made = station_table(days, min_days=self._min_days) if table is None else table
        self._tables.append(made)
        self.count += days["station"].nunique()
        self._sums += PairSums.of(days["observed"], days["predicted"])

    @property
    def stations(self) -> pd.DataFrame:
        """The `station_table` of all."""
        return pd.concat(self._tables).sort_index()

    def scores(self) -> dict[str, Any]:
        """Return what `score_table` returns of all rows."""
        table = self.stations
        scored = int((table["n"] >= self._min_days).sum())
        medians = {name: plain(table[name].median()) for name in STATION_SCORES}
        pooled = _pooled(self._sums) | {"kge": plain(self._sums.kge)}
        pooled["anomaly_r"] = plain(pearson_of_sums(table, "anomaly_"))
        counts = {"count": scored, "left_out": self.count - scored}
        return pooled | {"stations": counts | medians}


def station_table(frame: pd.DataFrame, *, min_days: int = MIN_STATION_DAYS) -> pd.DataFrame:
    """Return the scores of each station, and the sums of which any pooled score is made.

    Parameters
    ----------
    frame : DataFrame
        ``station``, ``observed``, ``predicted`` (m3 m-3), a row per station-day; ``time``, where
        it is there, gives the anomalies.
    min_days : int
        Pairs that a station needs for scores of its own.

    Returns
    -------
    DataFrame (station)
        `STATION_SCORES`, NaN where there are too few pairs; ``n``; sums over the pairs ``x``
        (observed), ``y`` (predicted), ``xx``, ``yy``, ``xy``; the same of the anomalies, as
        ``anomaly_n`` and so on. Stations without a pair are left out.
    """
    paired = frame.dropna(subset=["observed", "predicted"])
    rows = {
        name: _station_row(days, min_days)
        for name, days in paired.groupby("station", observed=True)
    }
    columns = [*STATION_SCORES, *SUMS, *(f"anomaly_{name}" for name in SUMS)]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype="float64")
    return table.rename_axis("station")


def pearson_of_sums(sums: pd.DataFrame, prefix: str = "") -> float:
    """Return Pearson's r of all pairs of all stations, from a `station_table`."""
    n, x, y, xx, yy, xy = (float(sums[prefix + name].sum()) for name in SUMS)
    if n < 2:
        return math.nan
    variances = (xx - x * x / n) * (yy - y * y / n)
    return (xy - x * y / n) / math.sqrt(variances) if variances > 0 else math.nan


def _pooled(sums: PairSums) -> dict[str, Any]:
    """Scores of all pairs together."""
    scores = {name: plain(getattr(sums, name)) for name in SCORES}
    return {"n": sums.n, **scores}


def _station_row(days: pd.DataFrame, min_days: int) -> list[float]:
    """Scores and sums of one station, in the order of the table's columns."""
    x, y = days["observed"].to_numpy("float64"), days["predicted"].to_numpy("float64")
    departures = _departures(days) if "time" in days else (np.empty(0), np.empty(0))
    scores = [math.nan] * len(STATION_SCORES)
    if len(days) >= min_days:
        plain_scores = (score(x, y) for score in (rmse, ubrmse, bias, pearson_r, kge))
        scores = [*plain_scores, pearson_r(*departures)]
    return [*scores, *_sums(x, y), *_sums(*departures)]


def _departures(days: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Anomalies of both sides on the days that have them."""
    by_day = days.set_index("time")[["observed", "predicted"]].astype("float64").sort_index()
    both = anomalies(by_day).dropna()
    return both["observed"].to_numpy(), both["predicted"].to_numpy()


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    """Return the sums of pairs in the order of `SUMS`."""
    return [x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y]


def plain(value: float | np.floating[Any]) -> float | None:
    """Return a number as JSON knows it: None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def _pairs(
    observed: ArrayLike, predicted: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides as float64 where both are there."""
    x, y = np.asarray(observed, dtype="float64"), np.asarray(predicted, dtype="float64")
    if x.shape != y.shape:
        raise ValueError(f"observed has shape {x.shape}, predicted {y.shape}; they must be equal")
    both = ~(np.isnan(x) | np.isnan(y))
    return x[both], y[both]


def _errors(observed: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Predicted minus observed, where both are there."""
    x, y = _pairs(observed, predicted)
    return y - x
