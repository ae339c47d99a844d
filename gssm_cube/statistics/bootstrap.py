"""How sure a score is: confidence intervals over stations, and differences between models.

Days of one station err together, so stations are drawn with replacement, never rows: as many as
there are, each with all its days. Pooled scores come from sums kept for each station, so that a
draw costs a product of matrices and no pass over the days.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.statistics.scores import MORE_SCORES, STATION_SCORES, SUMS, plain

DRAWS = 1000
LEVEL = 0.95
LEAST_STATIONS = 5  # fewer say nothing of how stations differ
MEDIANS = tuple(f"station_{name}" for name in STATION_SCORES)
Draws = dict[str, NDArray[np.float64]]


def confidence(table: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Return 95 % intervals of all scores over the stations.

    Parameters
    ----------
    table : DataFrame (station)
        From `scores.station_table`.
    draws : int
        Resamples of the stations.
    seed : int

    Returns
    -------
    dict
        ``[low, high]`` of the pooled ``rmse``, ``ubrmse``, ``bias``, ``r``, ``anomaly_r``, and of
        the medians over stations, ``station_rmse`` and so on; None where it cannot be said, as of
        a score that fewer than five stations have. Empty for fewer than five stations.
    """
    if len(table) < LEAST_STATIONS:
        return {}
    drawn = _drawn(table, draws, seed).items()
    return {name: _interval(values) if _told(table, name) else None for name, values in drawn}


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Return the scores of the first model less those of the second, with 95 % intervals.

    Both are judged on the same stations, resampled together, so that what all models find hard
    drops out of the difference.

    Parameters
    ----------
    first, second : DataFrame (station)
        From `scores.station_table`, of the same station-days.

    Returns
    -------
    dict
        By score as in `confidence`: ``difference``, ``interval`` and whether the interval
        excludes 0, ``significant``. Empty for fewer than five stations.

    Raises
    ------
    ValueError
        If the two are not of the same stations and days.
    """
    return mean_difference([first], [second], draws=draws, seed=seed)


def mean_difference(
    firsts: Sequence[pd.DataFrame],
    seconds: Sequence[pd.DataFrame],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Do as `paired_difference` for two models that were judged several times.

    The same stations are drawn in every judgement, and differences are means over these.

    Parameters
    ----------
    firsts, seconds : sequence of DataFrame (station)
        A table each for every judgement, such as every deal of the folds.
    """
    for first, second in zip(firsts, seconds, strict=True):
        _check_paired(first, second)
    if len(firsts[0]) < LEAST_STATIONS:
        return {}
    whole = mean_scores(firsts), mean_scores(seconds)
    drawn = [[_drawn(table, draws, seed) for table in tables] for tables in (firsts, seconds)]
    result = {}
    for name in whole[0]:
        first, second = (np.mean([found[name] for found in tables], axis=0) for tables in drawn)
        told = all(_told(table, name) for table in (*firsts, *seconds))
        interval = _interval(first - second) if told else None
        result[name] = {
            "difference": plain(whole[0][name] - whole[1][name]),
            "interval": interval,
            "significant": interval is not None and not interval[0] <= 0 <= interval[1],
        }
    return result


def mean_scores(tables: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Return the scores of a model, named as in `confidence`, as means over its judgements."""
    found = [_weighted(table, np.ones((1, len(table)))) for table in tables]
    return {name: float(np.mean([scores[name][0] for scores in found])) for name in found[0]}


def _check_paired(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Raise unless two tables are of the same stations and days."""
    if not first.index.equals(second.index) or (first["n"] != second["n"]).any():
        raise ValueError(
            f"the models are judged on {len(first)} and {len(second)} stations with unequal days; "
            "score both on the same rows"
        )


def _told(table: pd.DataFrame, name: str) -> bool:
    """Tell whether enough stations have a score: of the draws of one station all are alike."""
    by_station = name.removeprefix("station_")
    if by_station == name:
        return bool(
            (table["anomaly_n" if name == "anomaly_r" else "n"] > 0).sum() >= LEAST_STATIONS
        )
    return bool(table[by_station].notna().sum() >= LEAST_STATIONS)


def _interval(values: NDArray[np.float64]) -> list[float] | None:
    """Middle 95 % of the draws that have the score; None if there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    return np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def _drawn(table: pd.DataFrame, draws: int, seed: int) -> Draws:
    """All scores of each resample of the stations."""
    count = len(table)
    chosen = np.random.default_rng(seed).integers(0, count, (draws, count))
    places = np.arange(draws)[:, None] * count + chosen
    weights = np.bincount(places.ravel(), minlength=draws * count).reshape(draws, count)
    return _weighted(table, weights.astype("float64"))


def _weighted(table: pd.DataFrame, weights: NDArray[np.float64]) -> Draws:
    """All scores with each station taken as often as its weight says, for each row of weights."""
    n, x, y, xx, yy, xy = (weights @ table[name].to_numpy() for name in SUMS)
    with np.errstate(invalid="ignore"):  # published scores of stations have no days
        mean_square, bias = (xx - 2 * xy + yy) / n, (y - x) / n
    pooled = {
        "rmse": np.sqrt(np.maximum(mean_square, 0)),
        "ubrmse": np.sqrt(np.maximum(mean_square - bias**2, 0)),
        "bias": bias,
        "r": _pearson(n, x, y, xx, yy, xy),
        "anomaly_r": _pearson(*(weights @ table[f"anomaly_{name}"].to_numpy() for name in SUMS)),
    }
    medians = {
        f"station_{name}": _weighted_median(table[name].to_numpy(), weights)
        for name in (*STATION_SCORES, *MORE_SCORES)
        if name in table
    }
    return pooled | medians


def _pearson(*sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r from sums over pairs; NaN where they cannot give it."""
    n, x, y, xx, yy, xy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = (xx - x * x / n) * (yy - y * y / n)
        return (xy - x * y / n) / np.sqrt(np.where(variances > 0, variances, np.nan))


def _weighted_median(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Median of values repeated as often as whole weights say, NaN left out, for each row."""
    order = np.flatnonzero(np.isfinite(values))
    order = order[np.argsort(values[order], kind="stable")]
    if not order.size:
        return np.full(len(weights), np.nan)
    ordered, reached = values[order], np.cumsum(weights[:, order], axis=1)
    total = reached[:, -1:]
    # The median is the mean of the two in the middle, or twice the one.
    low = np.minimum((reached < np.floor((total + 1) / 2)).sum(axis=1), order.size - 1)
    high = np.minimum((reached < np.ceil((total + 1) / 2)).sum(axis=1), order.size - 1)
    return np.where(total[:, 0] > 0, (ordered[low] + ordered[high]) / 2, np.nan)
