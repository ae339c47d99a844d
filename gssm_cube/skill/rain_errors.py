"""Rain as wrong as a reanalysis has it, made of rain that a gauge measured.

Skill on gauged rain flatters a map, which has none. A gauge's series is spoilt in the two ways
in which gridded rain errs: wet days come on another day, and their amounts are off by a factor.
One severity drives both, and is chosen so that the daily correlation to the gauge is as wanted.
"""

import zlib

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

SHIFTS = (-2, -1, 1, 2)  # days by which an event may be displaced
SIGMA = 1.5  # of the logarithm of the factor, at severity 1
RAMP = 0.2  # of severity, over which an event moves bit by bit: no correlation is jumped over
STEPS = 40  # halvings of the severity


def degrade_rain(
    rain: ArrayLike, correlation: float, *, seed: int = 0, tolerance: float = 0.03
) -> NDArray[np.float64]:
    """Return a series of rain whose daily correlation to the given one is as low as wanted.

    At severity s, a share s of the wet days is moved by one or two days, those drawn last in
    part only, and all amounts are multiplied by lognormal factors with the logarithm's deviation
    1.5 s. The total is kept, so that the error is one of days and not of climate. The same draws
    serve all severities.

    Parameters
    ----------
    rain : array (day), mm
        Consecutive days; NaN counts as dry where it is moved from, and stays NaN.
    correlation : float
        Wanted Pearson correlation, such as 0.75, 0.48 or 0.26.
    seed : int
        Same seed and series, same errors.
    tolerance : float
        By which the correlation may be missed.

    Returns
    -------
    ndarray (day), mm

    Raises
    ------
    ValueError
        If the correlation is not between 0 and 1, or cannot be reached, as in a series with
        hardly a wet day.
    """
    if not 0 < correlation <= 1:
        raise ValueError(f"correlation is {correlation}, expected above 0 and up to 1")
    values = np.asarray(rain, dtype="float64")
    known = np.isfinite(values)
    dry = np.where(known, values, 0.0)
    draws = _Draws(np.random.default_rng(seed), dry.size)
    low, high = 0.0, 1 + RAMP
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = _correlation(dry, draws.spoil(dry, middle), known) > correlation
        low, high = (middle, high) if above else (low, middle)
    found = draws.spoil(dry, low)
    reached = _correlation(dry, found, known)
    if not abs(reached - correlation) <= tolerance:
        raise ValueError(
            f"{int((dry > 0).sum())} wet days of {dry.size}: the correlation comes to "
            f"{reached:.2f}, expected {correlation:.2f}; give a longer series"
        )
    return np.where(known, found, np.nan)


def degrade_stations(
    rain: pd.Series,
    station: ArrayLike,
    time: ArrayLike,
    correlation: float,
    *,
    seed: int = 0,
    tolerance: float = 0.03,
) -> pd.Series:
    """Return the rain of a table of station-days, each station's as wrong as wanted.

    Parameters
    ----------
    rain : Series (row), mm
    station, time : array (row)
        Name, and day; rows in any order. Days without a row count as dry and get no rain.
    correlation : float
        As `degrade_rain` takes it, for each station by itself.
    seed : int
        Stations have errors of their own, whatever other stations are in the table.
    tolerance : float
        As `degrade_rain`; where it rains on few days low correlations are out of reach.

    Returns
    -------
    Series (row), mm
        With the index of ``rain``.

    Raises
    ------
    ValueError
        As `degrade_rain`, with the station's name.
    """
    rows = pd.DataFrame(
        {"rain": rain.to_numpy("float64"), "time": pd.to_datetime(np.asarray(time))}
    )
    degraded = np.full(len(rows), np.nan)
    for name, places in rows.groupby(np.asarray(station)).indices.items():
        days = rows.iloc[places].set_index("time")["rain"]
        series = days.reindex(pd.date_range(days.index.min(), days.index.max()))
        own = zlib.crc32(str(name).encode())
        try:
            series[:] = degrade_rain(series, correlation, seed=own + seed, tolerance=tolerance)
        except ValueError as error:
            raise ValueError(f"station {name}: {error}") from error
        degraded[places] = series[days.index]
    return pd.Series(degraded, rain.index, name=rain.name)


class _Draws:
    """Random numbers of one series, used at every severity."""

    def __init__(self, rng: np.random.Generator, days: int) -> None:
        self.moves = rng.random(days)
        day = np.arange(days)
        target = day + rng.choice(SHIFTS, days)
        self.target = np.where((target < 0) | (target >= days), day, target)
        self.factor = rng.normal(size=days)

    def spoil(self, rain: NDArray[np.float64], severity: float) -> NDArray[np.float64]:
        """Move and rescale the wet days; nothing is moved out of the series."""
        share = np.clip((severity - self.moves) / RAMP, 0, 1)
        amount = rain * np.exp(SIGMA * severity * self.factor)
        spoilt = amount * (1 - share)
        np.add.at(spoilt, self.target, amount * share)
        return spoilt * (rain.sum() / spoilt.sum()) if spoilt.any() else spoilt


def _correlation(
    rain: NDArray[np.float64], other: NDArray[np.float64], known: NDArray[np.bool_]
) -> float:
    """Pearson's r of the known days; NaN where one side does not vary."""
    x, y = rain[known], other[known]
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
