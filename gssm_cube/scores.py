"""Scores of estimates against observations: each with its count and its source.

A pair counts where both values are there. A score that its pairs cannot give is NaN in the
functions and None in the tables, which go into JSON as they are.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

MIN_STATION_DAYS = 100  # a station with fewer days is counted, not scored by itself
SCORES = ("rmse", "ubrmse", "bias", "r")


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


def pooled_scores(observed: ArrayLike, predicted: ArrayLike) -> dict[str, Any]:
    """Return ``n``, ``rmse``, ``ubrmse``, ``bias`` and ``r`` of all pairs together.

    Parameters
    ----------
    observed, predicted : array (row), m3 m-3
        Pairs with a NaN do not count, in ``n`` either.
    """
    observed, predicted = _pairs(observed, predicted)
    return {
        "n": int(observed.size),
        "rmse": plain(rmse(observed, predicted)),
        "ubrmse": plain(ubrmse(observed, predicted)),
        "bias": plain(bias(observed, predicted)),
        "r": plain(pearson_r(observed, predicted)),
    }


def score_table(frame: pd.DataFrame, *, min_days: int = MIN_STATION_DAYS) -> dict[str, Any]:
    """Return the pooled scores and the medians over the stations.

    Parameters
    ----------
    frame : DataFrame
        Columns ``station``, ``observed`` and ``predicted`` (m3 m-3), a row per station-day.
    min_days : int
        Pairs that a station needs to be scored by itself.

    Returns
    -------
    dict
        Pooled ``n``, ``rmse``, ``ubrmse``, ``bias``, ``r``, and ``stations``: ``count`` scored,
        ``left_out`` for too few days, and the median of each score over those scored.
    """
    paired = frame.dropna(subset=["observed", "predicted"])
    by_station = [
        pooled_scores(rows["observed"], rows["predicted"])
        for _, rows in paired.groupby("station", observed=True)
        if len(rows) >= min_days
    ]
    left_out = int(frame["station"].nunique()) - len(by_station)
    stations: dict[str, Any] = {"count": len(by_station), "left_out": left_out}
    for name in SCORES:
        values = [scores[name] for scores in by_station if scores[name] is not None]
        stations[name] = plain(np.median(values)) if values else None
    return pooled_scores(frame["observed"], frame["predicted"]) | {"stations": stations}


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
