"""Triple collocation: errors of three series without calling one of them the truth.

Of three series with errors that do not depend on one another or on the truth, their covariances
give the random error of each (Stoffelen 1998; Gruber et al. 2016, doi:10.1016/j.jag.2015.09.002).
Two products made of the same rain or the same satellite break the assumption; then both look
better than they are.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.statistics.bootstrap import LEAST_STATIONS, LEVEL
from gssm_cube.statistics.scores import MIN_STATION_DAYS

Values = NDArray[np.float64]

MEASURES = ("err_std", "r_truth", "snr_db", "beta")
BLOCK_DAYS = 30  # drawn together: soil remembers for weeks
DRAWS = 200
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def triple_collocation(covariance: ArrayLike) -> dict[str, Values]:
    """Return errors, correlations with the truth and scalings from covariances.

    Parameters
    ----------
    covariance : array (..., 3, 3)
        Of three series.

    Returns
    -------
    dict of ndarray (..., 3)
        ``err_std``, the standard deviation of the random error, scaled to the first series and in
        its units; ``r_truth``, the correlation with the unknown truth, negative for a series that
        runs against the first one; ``snr_db``, the signal over the noise, dB; ``beta``, by what a
        series is multiplied to be scaled to the first. NaN where the covariances contradict the
        assumptions: one or three of them are not positive, or a series varies less than its signal.

    References
    ----------
    McColl et al. (2014), doi:10.1002/2014GL061322 (correlation); Gruber et al. (2016)
    """
    c = np.asarray(covariance, dtype="float64")
    others = ((1, 2), (2, 0), (0, 1))
    variance = np.stack([c[..., i, i] for i in range(3)], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal = np.stack(
            [c[..., i, j] * c[..., i, k] / c[..., j, k] for i, (j, k) in enumerate(others)], axis=-1
        )
        beta = np.stack(
            [np.ones_like(c[..., 0, 0]), c[..., 0, 2] / c[..., 1, 2], c[..., 0, 1] / c[..., 2, 1]],
            axis=-1,
        )
        # All three signals have the sign of the product of the covariances.
        signal = np.where(signal > 0, signal, np.nan)
        # The absolute values are those of Gruber et al. (2020), equation 11.
        noise = np.abs(np.abs(variance / signal) - 1)
        r = np.sqrt(signal / variance)
        return {
            "err_std": np.sqrt(variance - signal) * np.abs(beta),
            "r_truth": np.where(r > 1, np.nan, r * np.sign(beta)),
            "snr_db": -10 * np.log10(noise),
            "beta": np.where(np.isfinite(signal), beta, np.nan),
        }


def bootstrapped(
    values: ArrayLike, *, block_days: int = BLOCK_DAYS, draws: int = DRAWS, seed: int = 0
) -> dict[str, Values]:
    """Return the measures of a triplet at one place with their 95 % intervals.

    Parameters
    ----------
    values : array (day, 3), m3 m-3
        Without gaps, in the order of time.
    block_days : int
        Days that are drawn together; 1 draws single days.
    draws : int
    seed : int

    Returns
    -------
    dict of ndarray (3, 3)
        By measure of `triple_collocation`: series by value, lower end, upper end.
    """
    series = np.asarray(values, dtype="float64")
    drawn = _drawn_covariances(series, block_days, draws, np.random.default_rng(seed))
    return _with_ends(np.cov(series.T), drawn)


def triplet_table(
    values: NDArray[np.floating],
    stations: Sequence[str],
    columns: Sequence[str],
    *,
    min_days: int = MIN_STATION_DAYS,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Return the triple collocation of every three columns at every station.

    Parameters
    ----------
    values : ndarray (column, station, day), m3 m-3
        The stations' own and the products'; a day counts where no column is NaN.
    stations, columns : sequence of str
    min_days : int
        Days that a station needs.
    draws : int
        Of blocks of 30 days with replacement.

    Returns
    -------
    DataFrame
        ``triplet`` (its columns, joined by a bar), ``column``, ``station``, ``measure``,
        ``value``, ``low``, ``high``, ``n`` (days).
    """
    names = np.array(list(combinations(columns, 3))).reshape(-1, 3)
    places = np.array(list(combinations(range(len(columns)), 3))).reshape(-1, 3)
    rows, cols = places[:, :, None], places[:, None, :]
    parts, counts, found = [], [], []
    for place, station in enumerate(stations):
        at = values[:, place].T.astype("float64")
        at = at[np.isfinite(at).all(axis=1)]
        if len(at) >= min_days and len(places):
            drawn = _drawn_covariances(at, BLOCK_DAYS, draws, np.random.default_rng(0))
            measures = _with_ends(np.cov(at.T)[rows, cols], drawn[:, rows, cols])
            parts.append(np.stack([measures[name] for name in MEASURES], axis=1))
            counts.append(len(at))
            found.append(station)
    return _triplet_rows(names, found, counts, parts)


def _triplet_rows(
    names: NDArray[np.str_], stations: list[str], counts: list[int], parts: list[Values]
) -> pd.DataFrame:
    """Put the measures of stations (triplet, measure, series, value and ends) into rows."""
    shape = len(stations), len(names), len(MEASURES), 3
    station, triplet, measure, series = (index.ravel() for index in np.indices(shape))
    values = np.stack(parts).reshape(-1, 3) if parts else np.empty((0, 3))
    joined = np.array(["|".join(row) for row in names], dtype="object")
    return pd.DataFrame({
        "triplet": joined[triplet], "column": names.astype("object")[triplet, series],
        "station": np.array(stations, dtype="object")[station],
        "measure": np.array(MEASURES, dtype="object")[measure],
        "value": values[:, 0], "low": values[:, 1], "high": values[:, 2],
        "n": np.array(counts, dtype="int64")[station],
    })  # fmt: skip


def median_triplets(table: pd.DataFrame, *, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return medians over stations of a `triplet_table`, with 95 % intervals over stations.

    Parameters
    ----------
    table : DataFrame
    draws : int
        Of the stations with replacement.
    seed : int

    Returns
    -------
    DataFrame
        ``triplet``, ``column``, ``measure``, ``value``, ``low``, ``high``, ``stations``; no ends
        for fewer than five stations.
    """
    rows = []
    for key, part in table.groupby(["triplet", "column", "measure"], sort=False):
        known = part["value"].to_numpy()
        known = known[np.isfinite(known)]  # without any noise the ratio to it is infinite
        low = high = np.nan
        if len(known) >= LEAST_STATIONS:
            chosen = np.random.default_rng(seed).integers(0, len(known), (draws, len(known)))
            low, high = np.quantile(np.median(known[chosen], axis=1), ENDS)
        middle = np.median(known) if len(known) else np.nan
        rows.append((*key, middle, low, high, len(known)))
    names = ["triplet", "column", "measure", "value", "low", "high", "stations"]
    return pd.DataFrame(rows, columns=names)


def _with_ends(whole: Values, drawn: Values) -> dict[str, Values]:
    """Measures of triplets (..., series, 3): value, lower end, upper end."""
    point, spread = triple_collocation(whole), triple_collocation(drawn)
    return {name: np.stack([point[name], *_quantiles(spread[name])], axis=-1) for name in MEASURES}


def _drawn_covariances(
    values: Values, block_days: int, draws: int, rng: np.random.Generator
) -> Values:
    """Covariances (draw, column, column) of blocks of days drawn with replacement."""
    count, width = values.shape
    blocks = -(-count // block_days)
    padded = np.zeros((blocks * block_days, width))
    padded[:count] = values - values.mean(axis=0)  # sums of squares round less about 0
    padded = padded.reshape(blocks, block_days, width)
    days = np.full(blocks, float(block_days))
    days[-1] -= blocks * block_days - count
    times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws)
    n = (times @ days)[:, None, None]
    means = (times @ padded.sum(axis=1))[:, :, None] / n
    squares = times @ (padded.transpose(0, 2, 1) @ padded).reshape(blocks, -1)
    unbiased = n / np.maximum(n - 1, 1)
    return (squares.reshape(draws, width, width) / n - means * means.transpose(0, 2, 1)) * unbiased


def _quantiles(drawn: Values) -> tuple[Values, Values]:
    """Return the ends of the draws along the first axis; NaN where fewer than half gave a value."""
    ordered = np.sort(drawn, axis=0)  # NaN go last
    known = np.isfinite(drawn).sum(axis=0)
    last = np.maximum(known - 1, 0)
    ends = []
    for end in ENDS:
        place = end * last
        below = np.floor(place).astype("int64")
        low, high = (
            np.take_along_axis(ordered, index[None], axis=0)[0]
            for index in (below, np.minimum(below + 1, last))
        )
        found = low + (place - below) * (high - low)
        ends.append(np.where(known >= len(drawn) / 2, found, np.nan))
    return ends[0], ends[1]
