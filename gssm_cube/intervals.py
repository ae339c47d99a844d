"""Intervals that cover at places without a station: conformal, calibrated on whole stations.

The forest's own spread says where it is unsure, not how far it errs. So residuals of stations
that its training has not seen set the width: the half-width is ``factor`` times
``sqrt(spread**2 + floor**2)``, the factor such that the level is met over stations. Stations, not
days, are exchangeable, so each of K stations has the mass 1 / (K + 1), shared by its days, and the
station to come has the last (Lee, Barber and Willett 2023, arXiv:2306.06342; Dunn, Wasserman and
Ramdas 2018, arXiv:1809.07441). It holds for places like the stations; nothing is claimed elsewhere.

The residuals are those of the folds by place (cross-conformal), not of a part set aside: every
station calibrates, no forest is fitted for it alone, and none of them has seen the station.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.scores import MIN_STATION_DAYS

LEVEL = 0.9
FLOOR = 0.05  # m3 m-3: where all trees agree, the forest still errs; untuned
SPLITS = 100
CALIBRATED_SHARE = 0.8  # of the stations, where the others judge: as many as five folds train on


@dataclass(frozen=True)
class Calibration:
    """The constants that turn an estimate and its spread into an interval.

    Parameters
    ----------
    level : float
        Share of days to cover at a new station.
    factor : float
        Of ``sqrt(spread**2 + floor**2)``: half-width about the estimate.
    change_factor : float or None
        The same for the change from a place's own mean over time, which is known better: most of
        the error is the level of the place. None if too few stations have days enough for a mean.
    stations : int
        That calibrated ``factor``.
    floor : float, m3 m-3
        Least spread that is believed.
    """

    level: float
    factor: float
    change_factor: float | None
    stations: int
    floor: float = FLOOR

    def half_width(self, spread: ArrayLike) -> NDArray[np.float64]:
        """Return half of the interval's width, m3 m-3, from the standard deviation of the trees."""
        return self.factor * _scale(spread, self.floor)

    def change_half_width(self, spread: ArrayLike) -> NDArray[np.float64]:
        """Return the half-width for the change from the place's own mean, m3 m-3.

        Raises
        ------
        ValueError
            If it is not calibrated.
        """
        if self.change_factor is None:
            raise ValueError(
                "the change from a place's mean is not calibrated: too few stations have "
                f"{MIN_STATION_DAYS} days"
            )
        return self.change_factor * _scale(spread, self.floor)

    def bounds(
        self, predicted: ArrayLike, spread: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and the upper bound, m3 m-3; there is no water below 0."""
        centre, half = np.asarray(predicted, dtype="float64"), self.half_width(spread)
        return np.maximum(centre - half, 0), centre + half

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a model card or the attributes of a store."""
        return asdict(self)


def calibrate(
    residuals: pd.DataFrame, *, level: float = LEVEL, floor: float = FLOOR
) -> Calibration:
    """Find the constants from estimates at stations that their forests have not seen.

    Parameters
    ----------
    residuals : DataFrame
        ``station``, ``observed``, ``predicted``, ``spread`` (of the trees), in m3 m-3; a row per
        station-day.
    level : float
        Share of days to cover.
    floor : float, m3 m-3
        Least spread that is believed.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If something is missing, or there are too few stations for the level: nine for 0.9.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected between 0 and 1")
    if missing := int(residuals[["observed", "predicted", "spread"]].isna().any(axis=1).sum()):
        raise ValueError(f"{missing} of {len(residuals)} residuals are missing; drop these rows")
    table = _Residuals.of(residuals, floor)
    factor = _factor(table.score, table.station, level)
    if factor is None:
        raise ValueError(
            f"{table.count} stations cannot calibrate an interval of {level:.0%}, expected at "
            f"least {least_stations(level)}"
        )
    change = _factor(table.change[table.long], table.station[table.long], level)
    return Calibration(level, factor, change, table.count, floor)


def least_stations(level: float) -> int:
    """Return how many stations a level needs: K / (K + 1) must reach it."""
    return int(np.ceil(round(level / (1 - level), 9)))


def coverage(residuals: pd.DataFrame, calibration: Calibration) -> dict[str, Any]:
    """Return how often intervals hold the observation, and how wide they are.

    Parameters
    ----------
    residuals : DataFrame
        As in `calibrate`, of stations that did not calibrate if the coverage is to be believed.
    calibration : Calibration

    Returns
    -------
    dict
        ``coverage``: each station the same weight; ``width``, mean in m3 m-3; the same two for
        the change, ``change_coverage`` and ``change_width``; ``station_coverage``: every twentieth
        quantile over the stations, from the least covered on; ``stations``.
    """
    inside, width = _inside(residuals, calibration)
    by_station = pd.Series(inside).groupby(residuals["station"].to_numpy()).mean()
    points = np.quantile(by_station, np.linspace(0, 1, 21))
    found = {
        "coverage": float(by_station.mean()),
        "width": float(_station_mean(width, residuals)),
        "station_coverage": points.tolist(),
        "stations": len(by_station),
    }
    if calibration.change_factor is None:
        return found
    table = _Residuals.of(residuals, calibration.floor)
    held = pd.Series(table.change[table.long] <= calibration.change_factor)
    by_station = held.groupby(table.station[table.long]).mean()
    half = calibration.change_half_width(residuals["spread"])
    return found | {
        "change_coverage": float(by_station.mean()) if len(by_station) else None,
        "change_width": float(_station_mean(2 * half, residuals)),
    }


def coverage_over_splits(
    residuals: pd.DataFrame,
    *,
    groups: ArrayLike | None = None,
    splits: int = SPLITS,
    level: float = LEVEL,
    floor: float = FLOOR,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the coverage at stations that did not calibrate, for many divisions of the stations.

    Parameters
    ----------
    residuals : DataFrame
        As in `calibrate`.
    groups : array (row), optional
        Places that stay on one side, such as blocks of 25 km; each station by itself if not given.
    splits : int
        Divisions; 80 % of the groups calibrate, the others judge.
    level, floor : float
        As in `calibrate`.
    seed : int

    Returns
    -------
    DataFrame (split)
        The columns of `coverage` but ``station_coverage``.

    Raises
    ------
    ValueError
        If 80 % of the groups are too few for the level.
    """
    labels = residuals["station"] if groups is None else groups
    rows = []
    for mask in _divisions(np.asarray(labels), splits, seed):
        calibration = calibrate(residuals[mask], level=level, floor=floor)
        found = coverage(residuals[~mask], calibration)
        rows.append({name: value for name, value in found.items() if name != "station_coverage"})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Residuals:
    """Residuals in units of the believed spread, of the value and of the change."""

    station: NDArray[np.int64]
    score: NDArray[np.float64]
    change: NDArray[np.float64]
    long: NDArray[np.bool_]  # rows of stations with days enough for a mean of their own
    count: int

    @classmethod
    def of(cls, residuals: pd.DataFrame, floor: float) -> "_Residuals":
        """Compute both from a table."""
        _, station = np.unique(residuals["station"].to_numpy(), return_inverse=True)
        error = (residuals["observed"] - residuals["predicted"]).to_numpy("float64")
        scale = _scale(residuals["spread"], floor)
        days = np.bincount(station)
        change = error - (np.bincount(station, error) / days)[station]
        return cls(
            station.astype("int64"),
            np.abs(error) / scale,
            np.abs(change) / scale,
            (days >= MIN_STATION_DAYS)[station],
            days.size,
        )


def _scale(spread: ArrayLike, floor: float) -> NDArray[np.float64]:
    """Spread that is believed."""
    return np.hypot(np.asarray(spread, dtype="float64"), floor)


def _factor(score: NDArray[np.float64], station: NDArray[np.int64], level: float) -> float | None:
    """Quantile of the scores, stations weighing the same and one more beyond them all."""
    if not score.size:
        return None
    _, station = np.unique(station, return_inverse=True)
    days = np.bincount(station)
    mass = 1 / days[station] / (days.size + 1)
    order = np.argsort(score, kind="stable")
    # Sums of equal masses may miss the level by their rounding.
    at = np.searchsorted(np.cumsum(mass[order]), level - 1e-9)
    return float(score[order[at]]) if at < score.size else None


def _inside(
    residuals: pd.DataFrame, calibration: Calibration
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether each observation is in its interval, and the interval's width."""
    lower, upper = calibration.bounds(residuals["predicted"], residuals["spread"])
    observed = residuals["observed"].to_numpy("float64")
    return (observed >= lower) & (observed <= upper), upper - lower


def _station_mean(values: NDArray[np.float64], residuals: pd.DataFrame) -> float:
    """Mean over stations of each station's mean."""
    return float(pd.Series(values).groupby(residuals["station"].to_numpy()).mean().mean())


def _divisions(labels: NDArray[Any], splits: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Rows that calibrate, for each division of the labels."""
    names, index = np.unique(labels, return_inverse=True)
    rng = np.random.default_rng(seed)
    count = round(CALIBRATED_SHARE * names.size)
    for _ in range(splits):
        chosen = np.zeros(names.size, dtype=bool)
        chosen[rng.permutation(names.size)[:count]] = True
        yield chosen[index]
