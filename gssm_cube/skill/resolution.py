"""What an estimate knows below the 0.1 degree cell of its meteorology: its effective resolution.

Where several stations stand in one cell, all of them have the same weather of ERA5-Land, so what
tells them apart must come from predictors at 1 km. On each day the mean over the cell's stations is
taken off, from observations and estimates alike; what is left is compared. It has two parts: a
pattern, how far each place lies from its cell on the whole, which soil and terrain may know, and
its changes, which only what is seen every few days at 1 km can know.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.statistics.pair_sums import PairSums
from gssm_cube.statistics.scores import pearson_r, plain
from gssm_cube.statistics.station_parts import Parts, parts_of

CELL_DEGREES = 0.1  # of ERA5-Land, whose cells are centred on multiples of it
LEAST_STATIONS = 2  # of a cell on a day
LEAST_DAYS = 20  # of a station whose gain is told
LEVELS = (0.025, 0.975)
ROUNDING = 1e-9  # distances from perfect below this are no distances


def cell_of(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.int64]:
    """Return the number of the 0.1 degree cell that holds each place.

    Parameters
    ----------
    lat, lon : array (row), degrees

    Returns
    -------
    ndarray (row), int64
    """
    around = round(360 / CELL_DEGREES)
    row = np.floor(np.asarray(lat, "float64") / CELL_DEGREES + 0.5).astype("int64")
    col = np.floor(np.asarray(lon, "float64") / CELL_DEGREES + 0.5).astype("int64") % around
    return row * around + col


def departures(held: pd.DataFrame, least_stations: int = LEAST_STATIONS) -> pd.DataFrame:
    """Return how far each station lies from its cell's mean, day by day.

    Parameters
    ----------
    held : DataFrame
        ``station``, ``lat``, ``lon`` (degrees), ``time``, ``observed``, ``predicted`` (m3 m-3).
    least_stations : int
        Days on which fewer stations of a cell have a value are left out.

    Returns
    -------
    DataFrame
        The rows that are left, with ``cell``, ``coarse`` (the cell's mean of the estimates, which
        is all that an estimate at 0.1 degrees says), and ``observed_off``, ``predicted_off``.
    """
    rows = held.dropna(subset=["observed", "predicted"])
    rows = rows.assign(cell=cell_of(rows["lat"], rows["lon"]))
    together = rows.groupby(["cell", "time"])
    rows = rows[together["station"].transform("nunique") >= least_stations]
    means = rows.groupby(["cell", "time"])[["observed", "predicted"]].transform("mean")
    off = rows[["observed", "predicted"]] - means
    return rows.assign(
        coarse=means["predicted"], observed_off=off["observed"], predicted_off=off["predicted"]
    )


def downscaling_gain(observed: ArrayLike, coarse: ArrayLike, fine: ArrayLike) -> float:
    """Return the gain of a fine estimate over a coarse one of the same place, from -1 to 1.

    G_DOWN, the mean of three gains: in efficiency (how near the slope of the fitted line is to 1),
    precision (the correlation to 1) and accuracy (the mean bias to 0). Each is the coarse one's
    distance less the fine one's, over their sum. 0 is no gain, above it the fine one is better.
    The slope is that of the line by which the estimate follows the observation, r sd(y) / sd(x).

    The three parts are those that the abstract of the paper names; their form and equal weights
    are as other code that computes G_EFFI, G_PREC, G_ACCU and G_DOWN has them, for the equations
    themselves were not at hand.

    Parameters
    ----------
    observed, coarse, fine : array (day), m3 m-3

    Returns
    -------
    float
        NaN where one of the three does not vary.

    References
    ----------
    Merlin et al. (2015), doi:10.3390/rs70403783 (G_DOWN)
    """
    x = np.asarray(observed, "float64")
    gains = []
    distances = [_distances(x, np.asarray(y, "float64")) for y in (coarse, fine)]
    for low, high in zip(*distances, strict=True):
        total = low + high
        gains.append((low - high) / total if not total < ROUNDING else 0.0)  # NaN stays
    return float(np.mean(gains))


def _distances(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Tell how far slope and correlation are from 1, and the bias from 0."""
    r = pearson_r(x, y)
    slope = r * y.std() / x.std() if np.isfinite(r) else np.nan
    return abs(1 - slope), abs(1 - r), abs(float(np.mean(y - x)))


def within_cells(
    held: Parts, *, members: pd.Index | None = None, draws: int = 500, seed: int = 0
) -> dict[str, Any]:
    """Judge an estimate below 0.1 degrees, where stations share a cell.

    Parameters
    ----------
    held : DataFrame, or parts of whole cells
        As `departures` takes it, at stations that the estimate has not seen. A part has all rows
        of its stations, and all stations of its cells.
    members : Index, optional
        Judge only these stations, still by their departure from the mean of all in their cell: an
        irrigated field is told from the rainfed ones about it.
    draws : int
        Of the stations with replacement, for the intervals.
    seed : int

    Returns
    -------
    dict
        ``cells``, ``stations``, ``n`` (station-days); ``spatial_r``, of departures from the cell's
        mean, ``pattern_r``, of each station's mean departure, and ``change_r``, of what is left
        (with ``interval``, 95 % over stations); ``pattern_sd`` and ``change_sd`` observed, m3 m-3;
        ``rmse`` and ``coarse_rmse`` of the same rows; ``gain``, the median over stations of
        `downscaling_gain`, with ``gain_stations``; ``pattern``, pairs of observed and predicted
        mean departures. Or a reason under ``skipped``.
    """
    parts = [found for part in parts_of(held) if (found := _judged(departures(part), members))]
    stations = sum(len(found.pattern) for found in parts)
    if stations < 3:
        return {"skipped": "fewer than three stations share a cell of 0.1 degrees with another"}
    pattern = pd.concat([found.pattern for found in parts]).sort_index()
    tables = {
        "spatial_r": pd.concat([found.spatial for found in parts]).sort_index(),
        "pattern_r": _sums(pattern.index.to_series(), *(pattern[name] for name in pattern)),
        "change_r": pd.concat([found.changing for found in parts]).sort_index(),
    }
    fine, coarse, change = (
        sum((found.pairs[kind] for found in parts), PairSums()) for kind in range(3)
    )
    known = [gain for found in parts for gain in found.gains if np.isfinite(gain)]
    return {
        "cells": sum(found.cells for found in parts),
        "stations": stations,
        "n": fine.n,
        **{name: plain(float(_r(sums.sum().to_numpy()))) for name, sums in tables.items()},
        "interval": {name: _interval(sums, draws, seed) for name, sums in tables.items()},
        "pattern_sd": plain(pattern["observed_off"].std(ddof=0)),
        "change_sd": plain(change.deviations[0]),
        "rmse": fine.rmse,
        "coarse_rmse": coarse.rmse,
        "gain": plain(np.median(known)) if known else None,
        "gain_stations": len(known),
        "pattern": pattern.round(4).to_numpy().tolist(),
    }


class _Judged(NamedTuple):
    """What is kept of the rows of some cells: sums by station, and of all pairs."""

    cells: int
    pattern: pd.DataFrame
    spatial: pd.DataFrame
    changing: pd.DataFrame
    gains: list[float]
    pairs: tuple[PairSums, PairSums, PairSums]  # with the estimate, its cell's mean, of changes


def _judged(rows: pd.DataFrame, members: pd.Index | None) -> _Judged | None:
    """Judge departures, of some members alone; None if there are none."""
    if members is not None:
        rows = rows[rows["station"].isin(members)]
    if rows.empty:
        return None
    off = ["observed_off", "predicted_off"]
    by_station = rows.groupby("station", observed=True)
    changes = rows[off] - by_station[off].transform("mean")
    gains = [
        downscaling_gain(days["observed"], days["coarse"], days["predicted"])
        for _, days in by_station
        if len(days) >= LEAST_DAYS
    ]
    pairs = (
        PairSums.of(rows["observed"], rows["predicted"]),
        PairSums.of(rows["observed"], rows["coarse"]),
        PairSums.of(changes["observed_off"], changes["predicted_off"]),
    )
    spatial, changing = (
        _sums(rows["station"], *(part[name] for name in off)) for part in (rows, changes)
    )
    cells, pattern = int(rows["cell"].nunique()), by_station[off].mean()
    return _Judged(cells, pattern, spatial, changing, gains, pairs)


def _sums(station: pd.Series, x: pd.Series, y: pd.Series) -> pd.DataFrame:
    """Return what a correlation is made of, by station."""
    parts = {"n": x * 0 + 1, "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}
    return pd.DataFrame(parts).groupby(station.to_numpy()).sum()


def _r(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation from sums (..., 6); NaN where one side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, "float64"), -1, 0)
    varied = xx - x**2 / n, yy - y**2 / n
    known = np.minimum(*varied) > 1e-12 * n  # departures are near 0: sums round far below this
    scale = np.sqrt(np.where(known, varied[0] * varied[1], 1.0))
    return np.where(known, (xy - x * y / n) / scale, np.nan)


def _interval(sums: pd.DataFrame, draws: int, seed: int) -> list[float] | None:
    """Return the ends of 95 % of the correlations of stations drawn with replacement."""
    rng, count = np.random.default_rng(seed), len(sums)
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    drawn = _r(times @ sums.to_numpy())
    found = drawn[np.isfinite(drawn)]
    return np.quantile(found, LEVELS).tolist() if found.size >= draws / 2 else None
