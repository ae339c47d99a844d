"""What the figures of stations need of a station table, gathered a part at a time.

A world of stations has tens of millions of days: they are counted as they go by, and only the
stations that share a pixel are read again, a pixel at a time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.grid import Grid
from gssm_cube.insitu.station_tables import read_days_of, read_station_parts

LEAST_DAYS = 30  # days in common that make a pair worth a point
STEP = 0.001  # m3 m-3: what counts tell apart, of soil moisture and of spreads
STEPS = 1000
COLUMNS = ("network", "station", "lat", "lon", "time", "observed", "spread")


@dataclass(frozen=True)
class StationSummary:
    """What a station table holds.

    ``places``, one row a station (its index) in the table's order: ``network``, ``lat``, ``lon``
    (deg), ``days``. ``months``: days with a value of each station (row) in every month (column)
    from first to last. ``observed`` and ``spread``: station-days by steps of 0.001 m3 m-3 from 0
    to 1. ``pairs`` of stations in one pixel, as `compare_pairs` gives them.
    """

    places: pd.DataFrame
    months: pd.DataFrame
    observed: NDArray[np.int64]
    spread: NDArray[np.int64]
    pairs: pd.DataFrame

    @property
    def days(self) -> int:
        """Station-days in all."""
        return int(self.places["days"].sum())

    @property
    def median(self) -> float:
        """Median of the observed soil moisture, m3 m-3, to half a step."""
        middle = [(self.days - 1) // 2, self.days // 2]  # one or two days
        steps = np.searchsorted(np.cumsum(self.observed), middle, side="right")
        return float((steps.mean() + 0.5) * STEP)


def summarise_table(path: str | Path) -> StationSummary:
    """Summarise a station table on disk; see `summarise_parts`."""
    return summarise_parts(read_station_parts(path, columns=COLUMNS), partial(read_days_of, path))


def station_list(path: str | Path) -> pd.DataFrame:
    """Return ``station``, ``network``, ``lat``, ``lon`` (deg) and ``days`` of a table on disk."""
    parts = read_station_parts(path, columns=["network", "station", "lat", "lon", "time"])
    return pd.concat(map(_places, parts)).sort_index().reset_index()


def summarise_parts(
    parts: Iterable[pd.DataFrame],
    days_of: Callable[[Sequence[str]], pd.DataFrame],
    *,
    least_days: int = LEAST_DAYS,
) -> StationSummary:
    """Go once through the parts of a station table, and again to stations that share a pixel.

    Parameters
    ----------
    parts : iterable of DataFrame
        Station-days: `COLUMNS`; no station lies in two parts.
    days_of : callable
        Gives ``station``, ``time`` and ``observed`` of the stations named.
    least_days : int
        Days in common that a pair needs.

    Returns
    -------
    StationSummary
    """
    places, months = [], []
    observed, spread = (np.zeros(STEPS, "int64") for _ in range(2))
    for part in parts:
        places.append(_places(part))
        month = part["time"].dt.to_period("M")
        months.append(part.groupby(["station", month], sort=False).size())
        observed += _steps(part["observed"])
        spread += _steps(part["spread"])
    known = pd.concat(places)
    return StationSummary(
        known, _by_month(pd.concat(months)), observed, spread,
        compare_pairs(known, days_of, least_days),
    )  # fmt: skip


def compare_pairs(
    places: pd.DataFrame, days_of: Callable[[Sequence[str]], pd.DataFrame], least_days: int
) -> pd.DataFrame:
    """Compare the stations that share a pixel of the 1 km grid, pair by pair.

    Parameters
    ----------
    places : DataFrame (station)
        ``lat``, ``lon`` (deg).
    days_of : callable
        As for `summarise_parts`.
    least_days : int
        Days in common that a pair needs.

    Returns
    -------
    DataFrame
        ``first``, ``second``, ``days``, ``r`` (NaN where one is constant) and ``rmsd`` (m3 m-3).
    """
    grid = Grid()
    pixel = grid.row_of(places["lat"]) * grid.cols + grid.col_of(places["lon"])
    rows: list[tuple] = []
    for _, group in pd.Series(places.index, dtype="str").groupby(np.asarray(pixel)):
        if len(group) > 1:
            days = days_of(group.tolist()).set_index("time")
            by_station = {str(name): g["observed"] for name, g in days.groupby("station")}
            rows += _compare(by_station, least_days)
    return pd.DataFrame(rows, columns=["first", "second", "days", "r", "rmsd"])


def _compare(by_station: dict[str, pd.Series], least_days: int) -> list[tuple]:
    """Compare each of some stations with each that comes after it."""
    rows, names = [], sorted(by_station)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            both = [by_station[name] for name in (first, second)]
            a, b = (side for _, side in pd.concat(both, axis=1, join="inner").dropna().items())
            if len(a) >= least_days:
                rmsd = float(np.sqrt(((a - b) ** 2).mean()))
                rows.append((first, second, len(a), a.corr(b), rmsd))
    return rows


def _places(part: pd.DataFrame) -> pd.DataFrame:
    """Return network, coordinates and days of a part's stations, in its order."""
    return part.groupby("station", sort=False).agg(
        network=("network", "first"),
        lat=("lat", "first"),
        lon=("lon", "first"),
        days=("lat", "size"),
    )


def _by_month(days: pd.Series) -> pd.DataFrame:
    """Spread the days by station and month to a column for every month, 0 where there is none."""
    wide = days.unstack(fill_value=0, sort=False)
    months = pd.period_range(wide.columns.min(), wide.columns.max(), freq="M")
    return wide.reindex(columns=months, fill_value=0)


def _steps(values: pd.Series) -> NDArray[np.int64]:
    """Count values by steps of 0.001; those that are missing do not count."""
    # A value on a step's edge, as 0.2 is, belongs to the step above it whatever its last bit.
    steps = np.floor(values.dropna().to_numpy("float64") / STEP + 1e-6).astype("int64")
    return np.bincount(np.clip(steps, 0, STEPS - 1), minlength=STEPS)
