"""Breaks in a product's time: steps on days of change, and how long it remembers."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from gssm_cube.statistics.bootstrap import LEAST_STATIONS, LEVEL
from gssm_cube.validate.matching import Matched
from gssm_cube.validate.steps import LIMIT, outcome_of

YEAR, LEAST_PAIRS = 365, 30  # days between the days of a pair; pairs that a station must have
SEEN_AT = 1.96 + 0.84  # standard errors: a step that 80 % of tests at 95 % see
LEAST_CONTROLS = 3  # other years, for what years differ by
COLUMNS = ["kind", "against", "name", "product", "step", "usual", "low", "high", "detectable", "n",
           "limit", "outcome"]  # fmt: skip
BLOCK = 128  # stations at once
LAGS = (1, 3, 10, 30)  # days


def change_rows(
    matched: Matched, changes: Mapping[str, date], *, draws: int, seed: int
) -> pd.DataFrame:
    """Tell whether products stepped away from the stations on days of change.

    At each station the product less the observation on the days of the year after the change, less
    the same 365 days before, so that a bias that comes with the season drops out; then the mean
    over the stations, which are the neighbours that no sensor of a product changes. All stations
    share what one year differs by from the next: where there are other years without a change,
    their steps on the same day of the year widen the interval.

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
        ``kind`` ("change"), ``against`` ("stations"), ``name``, ``product``, ``step`` (m3 m-3),
        ``usual`` (spread of the steps of other years; NaN for fewer than three), ``low``, ``high``
        (95 %), ``detectable`` (what 80 % of such tests would see), ``n`` (stations), ``limit``,
        ``outcome``: "pass" if the interval lies within the limit, "fail" if it lies beyond, "cannot
        tell"; missing where no station has days enough.
    """
    rows = []
    for name, day in changes.items():
        for number, product in enumerate(matched.products, start=1):
            error = matched.values[number] - matched.values[0]
            found = _year_step(error, matched.days, day, changes.values(), draws, seed)
            rows.append(("change", "stations", f"{name}, {day}", product, *found))
    return pd.DataFrame(rows, columns=COLUMNS)


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


def _year_step(
    error: NDArray[np.float32],
    days: pd.DatetimeIndex,
    day: date,
    changes: Iterable[date],
    draws: int,
    seed: int,
) -> tuple[Any, ...]:
    """Step on a day, what years differ by, interval, detectable step, stations and outcome."""
    at = int((pd.Timestamp(day) - days[0]).days)
    steps = _steps(error, at)
    step, low, high = _mean_interval(steps, draws, seed)
    others = [int((pd.Timestamp(other) - days[0]).days) for other in changes]
    controls = [
        float(found.mean())
        for shifted in range(at % YEAR, len(days), YEAR)
        if min(abs(shifted - other) for other in others) >= 2 * YEAR
        and (found := _steps(error, shifted)).size
    ]
    usual = np.nan
    error_of_mean = (high - low) / (2 * 1.96)
    if len(controls) >= LEAST_CONTROLS and np.isfinite(low):
        usual, count = float(np.std(controls, ddof=1)), len(controls)
        of_years = usual * np.sqrt(1 + 1 / count)
        half = student.ppf((1 + LEVEL) / 2, count - 1) * of_years
        low, high = min(low, step - half), max(high, step + half)
        error_of_mean = max(error_of_mean, of_years)
    outcome = outcome_of(low, high) if steps.size else None
    return step, usual, low, high, SEEN_AT * error_of_mean, steps.size, LIMIT, outcome


def _steps(error: NDArray[np.float32], at: int) -> NDArray[np.float64]:
    """Step (station) from the year before a day to the year after, of enough pairs of days."""
    count = error.shape[1]
    after = np.arange(max(at, YEAR), min(at + YEAR, count)) if 0 < at < count else np.arange(0)
    pairs = error[:, after].astype("float64") - error[:, after - YEAR]
    enough = np.isfinite(pairs).sum(axis=1) >= LEAST_PAIRS
    return np.nanmean(pairs[enough], axis=1)


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
