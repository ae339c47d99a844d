"""Breaks in a product's time: steps on days of change, and how long it remembers."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.bootstrap import LEAST_STATIONS, LEVEL
from gssm_cube.validate.matching import Matched

LIMIT = 0.002  # m3 m-3: a mean step that no user would see among a product's errors
HALF_DAYS, LEAST_DAYS = 365, 30  # before and after a change; what a station must have of each
BLOCK = 128  # stations at once
LAGS = (1, 3, 10, 30)  # days


def change_rows(
    matched: Matched, changes: Mapping[str, date], *, draws: int, seed: int
) -> pd.DataFrame:
    """Tell whether products stepped away from the stations on days of change.

    At each station the mean of product minus observation over the year after the change less that
    over the year before; then the mean over the stations. The stations are the neighbours that no
    sensor of a product changes.

    Parameters
    ----------
    matched : Matched
    changes : mapping of date
        Named days, the first with the new sensor or meteorology.
    draws, seed : int
        Of the bootstrap over stations.

    Returns
    -------
    DataFrame
        ``kind`` ("change"), ``name``, ``product``, ``step`` (m3 m-3), ``low``, ``high`` (95 % over
        stations), ``n`` (stations), ``limit``, ``passed`` (the step is below the limit, or not
        told apart from 0).
    """
    rows = []
    for name, day in changes.items():
        for number, product in enumerate(matched.products, start=1):
            steps = _steps(matched.values[number] - matched.values[0], matched.days, day)
            step, low, high = _mean_interval(steps, draws, seed)
            told_apart = np.isfinite(low) and not low <= 0 <= high
            passed = bool(abs(step) < LIMIT or not told_apart) if np.isfinite(step) else None
            rows.append(("change", f"{name}, {day}", product, step, low, high, steps.size, LIMIT,
                         passed))  # fmt: skip
    columns = ["kind", "name", "product", "step", "low", "high", "n", "limit", "passed"]
    return pd.DataFrame(rows, columns=columns)


def autocorrelation_rows(matched: Matched, *, min_days: int) -> pd.DataFrame:
    """Return how stations and products remember: the correlation with so many days before.

    Parameters
    ----------
    matched : Matched
    min_days : int
        Pairs of days that a station needs.

    Returns
    -------
    DataFrame
        ``column`` (the stations' own first), ``lag`` (days), ``r`` (median over stations),
        ``stations``.
    """
    rows: list[tuple[Any, ...]] = []
    for number, column in enumerate(matched.columns):
        series = matched.values[number]
        for lag in (lag for lag in LAGS if lag < series.shape[1]):
            blocks = (series[start : start + BLOCK] for start in range(0, len(series), BLOCK))
            found = np.concatenate(
                [_row_correlation(block[:, :-lag], block[:, lag:], min_days) for block in blocks]
            )
            known = found[np.isfinite(found)]
            middle = float(np.median(known)) if known.size else np.nan
            rows.append((column, lag, middle, known.size))
    return pd.DataFrame(rows, columns=["column", "lag", "r", "stations"])


def _steps(error: NDArray[np.float32], days: pd.DatetimeIndex, change: date) -> NDArray[np.float64]:
    """Step of each station (station) that has days enough on both sides."""
    at = int((pd.Timestamp(change) - days[0]).days)
    if not 0 < at < len(days):
        return np.empty(0)
    sides = error[:, max(at - HALF_DAYS, 0) : at], error[:, at : at + HALF_DAYS]
    counts = [np.isfinite(side).sum(axis=1) for side in sides]
    enough = (counts[0] >= LEAST_DAYS) & (counts[1] >= LEAST_DAYS)
    before, after = (np.nanmean(side[enough].astype("float64"), axis=1) for side in sides)
    return after - before


def _mean_interval(
    values: NDArray[np.float64], draws: int, seed: int
) -> tuple[float, float, float]:
    """Mean and its 95 % interval over stations; NaN where there are too few."""
    if not values.size:
        return np.nan, np.nan, np.nan
    if values.size < LEAST_STATIONS:
        return float(values.mean()), np.nan, np.nan
    chosen = np.random.default_rng(seed).integers(0, values.size, (draws, values.size))
    low, high = np.quantile(values[chosen].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values.mean()), float(low), float(high)


def _row_correlation(
    x: NDArray[np.float32], y: NDArray[np.float32], least: int
) -> NDArray[np.float64]:
    """Pearson's r of each row's pairs; NaN for fewer than ``least``, or a constant row."""
    both = np.isfinite(x) & np.isfinite(y)
    n = both.sum(axis=1)
    a, b = (np.where(both, side.astype("float64"), 0.0) for side in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.where(both, a - (a.sum(axis=1) / n)[:, None], 0.0)
        b = np.where(both, b - (b.sum(axis=1) / n)[:, None], 0.0)
        r = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.where(n >= least, r, np.nan)
