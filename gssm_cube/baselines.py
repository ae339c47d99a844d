"""What an estimate at a new place must beat: no forest, and no look at the place's own values.

Each takes the training stations and answers for other rows. Stations weigh the same: a long
record is not a better place.
"""

from collections.abc import Sequence
from typing import Any

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


class TrainingStations:
    """What the training stations say of other rows; they may come in parts, and sums are kept.

    Parameters
    ----------
    columns : sequence of str
        Other estimates, to be rescaled.
    """

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self._means: list[pd.Series] = []
        self._total, self._count = np.zeros(YEAR_DAYS), np.zeros(YEAR_DAYS)
        self._lines: dict[str, list[pd.DataFrame]] = {name: [] for name in columns}

    def add(self, days: pd.DataFrame) -> None:
        """Add all training rows of some stations.

        Parameters
        ----------
        days : DataFrame
            ``station``, ``observed`` (m3 m-3), ``time`` and the columns.
        """
        station, observed = days["station"].to_numpy(), days["observed"]
        self._means.append(observed.groupby(station).mean())
        of_year = pd.DatetimeIndex(days["time"]).day_of_year.to_numpy() - 1
        # A station counts on a day of the year by the mean of its years.
        by_day = observed.groupby([station, of_year]).mean()
        number = by_day.index.get_level_values(1)
        self._total += np.bincount(number, by_day, minlength=YEAR_DAYS)
        self._count += np.bincount(number, minlength=YEAR_DAYS)
        for name, lines in self._lines.items():
            known = np.isfinite(days[name].to_numpy("float64"))
            lines.append(_moments(station[known], days[name][known], observed[known]))

    def mean(self) -> float:
        """Return the mean over stations of each station's mean, m3 m-3."""
        return float(pd.concat(self._means).mean())

    def climatology(self, time: ArrayLike) -> NDArray[np.float64]:
        """Return the stations' mean at the day of the year, over 31 days about it.

        Parameters
        ----------
        time : array (row), datetime64
            Days to answer for.

        Returns
        -------
        ndarray (row), m3 m-3
            The mean of all days where no training day is within the window.
        """
        total, count = _around(self._total), _around(self._count)
        mean = np.full(YEAR_DAYS, self.mean())
        np.divide(total, count, out=mean, where=count > 0)
        return mean[pd.DatetimeIndex(np.asarray(time)).day_of_year.to_numpy() - 1]

    def has(self, name: str) -> bool:
        """Whether any training row has another estimate's column."""
        return any(map(len, self._lines[name]))

    def rescaled(self, name: str, target: ArrayLike) -> NDArray[np.float64]:
        """Return another estimate's column, rescaled by one line fitted on the stations.

        For what has the right ups and downs in other units, such as an untrained bucket's filling.

        Parameters
        ----------
        name : str
            The column; where it is NaN at a training row that does not count.
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
        rows, x, y, xx, xy = pd.concat(self._lines[name]).to_numpy().T
        if rows.sum() < 2:
            raise ValueError(
                f"{rows.sum():.0f} training rows have a value to rescale, expected two"
            )
        centre_x, centre_y = x.mean(), y.mean()
        variance = (xx + (x - centre_x) ** 2).sum()
        slope = (xy + (x - centre_x) * (y - centre_y)).sum() / variance if variance > 0 else 0.0
        return centre_y + slope * (np.asarray(target, dtype="float64") - centre_x)


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
