"""What an estimate at a new place must beat: no forest, and no look at the place's own values.

Each takes the training stations and answers for other rows. Stations weigh the same: a long
record is not a better place.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Of all columns of estimates that stand beside a forest's, in the order in which they are shown.
TITLES = {
    "mean_of_training": "mean of the training stations",
    "climatology": "climatology of the training stations",
    "bucket_50": "untrained bucket, rescaled",
    "swvl1": "ERA5-Land soil moisture",
    "seed_like": "forest of the gssm1km kind",
}
YEAR_DAYS = 366  # a leap year's; 29 February exists in some years only, its window in all
HALF_WINDOW_DAYS = 15  # the mean of a day of the year takes 31 days, for single days are noise


class Line(NamedTuple):
    """A line through ``centre`` (x, y), and the training rows that it was fitted on."""

    centre: tuple[float, float]
    slope: float
    rows: int


@dataclass(frozen=True)
class TrainingStations:
    """What the training stations say of other rows.

    Parameters
    ----------
    mean : float, m3 m-3
        Over stations, of each station's mean.
    cycle : ndarray (day of the year), m3 m-3
        Mean of the stations over 31 days about each; the mean of all where none has such a day.
    lines : mapping
        By the name of another estimate the line that rescales it.
    """

    mean: float
    cycle: NDArray[np.float64]
    lines: Mapping[str, Line]

    @classmethod
    def of(cls, parts: Iterable[pd.DataFrame], columns: Sequence[str] = ()) -> "TrainingStations":
        """Gather what training rows say; they come in parts, of which only sums are kept.

        Parameters
        ----------
        parts : iterable of DataFrame
            ``station``, ``observed`` (m3 m-3), ``time`` and the columns; each with all training
            rows of its stations.
        columns : sequence of str
            Other estimates, to be rescaled; where one is NaN a row does not count.
        """
        means, total, count = [], np.zeros(YEAR_DAYS), np.zeros(YEAR_DAYS)
        moments: dict[str, list[pd.DataFrame]] = {name: [] for name in columns}
        for days in parts:
            station, observed = days["station"].to_numpy(), days["observed"]
            means.append(observed.groupby(station).mean())
            of_year = pd.DatetimeIndex(days["time"]).day_of_year.to_numpy() - 1
            # A station counts on a day of the year by the mean of its years.
            by_day = observed.groupby([station, of_year]).mean()
            number = by_day.index.get_level_values(1)
            total += np.bincount(number, by_day, minlength=YEAR_DAYS)
            count += np.bincount(number, minlength=YEAR_DAYS)
            for name, found in moments.items():
                known = np.isfinite(days[name].to_numpy("float64"))
                found.append(_moments(station[known], days[name][known], observed[known]))
        mean = float(pd.concat(means).mean())
        cycle = np.full(YEAR_DAYS, mean)
        total, count = _around(total), _around(count)
        np.divide(total, count, out=cycle, where=count > 0)
        return cls(mean, cycle, {name: _line(pd.concat(found)) for name, found in moments.items()})

    def climatology(self, time: ArrayLike) -> NDArray[np.float64]:
        """Return the stations' mean at the day of the year, over 31 days about it.

        Parameters
        ----------
        time : array (row), datetime64
            Days to answer for.

        Returns
        -------
        ndarray (row), m3 m-3
        """
        return self.cycle[pd.DatetimeIndex(np.asarray(time)).day_of_year.to_numpy() - 1]

    def rescaled(self, name: str, target: ArrayLike) -> NDArray[np.float64]:
        """Return another estimate's column, rescaled by one line fitted on the stations.

        For what has the right ups and downs in other units, such as an untrained bucket's filling.

        Parameters
        ----------
        name : str
            Of the column.
        target : array (row)
            The same estimate at the rows to answer for.

        Returns
        -------
        ndarray (row), m3 m-3
            NaN where the estimate is missing.

        Raises
        ------
        ValueError
            If fewer than two training rows have a value.
        """
        centre, slope, rows = self.lines[name]
        if rows < 2:
            raise ValueError(f"{rows} training rows have a value to rescale, expected two")
        return centre[1] + slope * (np.asarray(target, dtype="float64") - centre[0])


def _line(moments: pd.DataFrame) -> Line:
    """Fit a line by least squares in which stations weigh the same."""
    rows, x, y, xx, xy = moments.to_numpy().T
    if not rows.sum():
        return Line((np.nan, np.nan), np.nan, 0)
    centre = float(x.mean()), float(y.mean())
    variance = (xx + (x - centre[0]) ** 2).sum()
    covariance = (xy + (x - centre[0]) * (y - centre[1])).sum()
    return Line(centre, covariance / variance if variance > 0 else 0.0, int(rows.sum()))


def _moments(station: NDArray[Any], x: pd.Series, y: pd.Series) -> pd.DataFrame:
    """Rows, both means, variance of the first and covariance, of each station."""
    table = pd.DataFrame({"x": x.astype("float64"), "y": y.astype("float64")})
    means = table.groupby(station).mean()
    off = table - table.groupby(station).transform("mean")
    squares = pd.DataFrame({"xx": off["x"] ** 2, "xy": off["x"] * off["y"]})
    rows = table.groupby(station).size().rename("rows")
    return pd.concat([rows, means, squares.groupby(station).mean()], axis="columns")


def _around(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the window about each day of the year; December is beside January."""
    shifts = range(-HALF_WINDOW_DAYS, HALF_WINDOW_DAYS + 1)
    return np.sum([np.roll(values, shift) for shift in shifts], axis=0)
