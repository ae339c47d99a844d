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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.statistics.quantiles import Masses, least_reaching
from gssm_cube.statistics.scores import MIN_STATION_DAYS
from gssm_cube.statistics.station_parts import Parts, parts_of, station_by_station

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


def calibrate(residuals: Parts, *, level: float = LEVEL, floor: float = FLOOR) -> Calibration:
    """Find the constants from estimates at stations that their forests have not seen.

    Parameters
    ----------
    residuals : DataFrame, or parts of whole stations
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
    counts = [
        (int(days[["observed", "predicted", "spread"]].isna().any(axis=1).sum()), len(days))
        for days in parts_of(residuals)
    ]
    missing, rows = (sum(column) for column in zip(*counts, strict=True))
    if missing:
        raise ValueError(f"{missing} of {rows} residuals are missing; drop these rows")
    everyone = np.ones((1, 1), dtype=bool)
    return _calibrated(_of_stations(residuals), everyone, level, floor)[0]


def least_stations(level: float) -> int:
    """Return how many stations a level needs: K / (K + 1) must reach it."""
    return int(np.ceil(round(level / (1 - level), 9)))


def coverage(residuals: Parts, calibration: Calibration) -> dict[str, Any]:
    """Return how often intervals hold the observation, and how wide they are.

    Parameters
    ----------
    residuals : DataFrame, or parts of whole stations
        As in `calibrate`, of stations that did not calibrate if the coverage is to be believed.
    calibration : Calibration

    Returns
    -------
    dict
        ``coverage``: each station the same weight; ``width``, mean in m3 m-3; the same two for
        the change, ``change_coverage`` and ``change_width``; ``station_coverage``: every twentieth
        quantile over the stations, from the least covered on; ``stations``.
    """
    days = station_by_station(residuals)
    return _told([_covered(rows, calibration) for rows in days], calibration)


def coverage_over_splits(
    residuals: Parts,
    *,
    splits: int = SPLITS,
    level: float = LEVEL,
    floor: float = FLOOR,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the coverage at stations that did not calibrate, for many divisions of the stations.

    Parameters
    ----------
    residuals : DataFrame, or parts of whole stations
        As in `calibrate`; with ``group``, if there is such a column: places that stay on one side,
        such as blocks of 25 km. Each station by itself if not.
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
    names = np.unique(np.concatenate([np.unique(_groups(d)) for d in parts_of(residuals)]))
    chosen = np.array(list(_divisions(names.size, splits, seed)))
    found = _calibrated(_of_stations(residuals, names), chosen, level, floor)
    covered: list[list[_Covered]] = [[] for _ in found]
    for rows, index in _of_stations(residuals, names)():
        for judging, wanted in _patterns(~chosen, index):
            days = rows[judging[index]]
            for division in wanted:
                covered[division].append(_covered(days, found[division]))
    told = (_told(*pair) for pair in zip(covered, found, strict=True))
    return pd.DataFrame(told).drop(columns="station_coverage")


Grouped = Callable[[], Iterator[tuple[pd.DataFrame, NDArray[np.intp]]]]  # and each row's group


def _of_stations(residuals: Parts, names: NDArray[Any] | None = None) -> Grouped:
    """Return what goes through the stations: rows, and the number of each one's group."""

    def stations() -> Iterator[tuple[pd.DataFrame, NDArray[np.intp]]]:
        for days in station_by_station(residuals):
            if names is None:
                yield days, np.zeros(len(days), "intp")
            else:
                yield days, names.searchsorted(_groups(days))

    return stations


def _groups(days: pd.DataFrame) -> NDArray[Any]:
    """Group of each row: its station where there is no other."""
    return days["group" if "group" in days else "station"].to_numpy()


def _patterns(
    chosen: NDArray[np.bool_], index: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Yield the ways in which divisions choose among a station's groups, and which do so.

    A station mostly lies in one group; one that has moved may lie in two.
    """
    own = np.unique(index)
    ways, which = np.unique(chosen[:, own], axis=0, return_inverse=True)
    for number, way in enumerate(ways):
        if way.any():
            whole = np.zeros(chosen.shape[1], dtype=bool)
            whole[own] = way
            yield whole, np.flatnonzero(which.ravel() == number)


def _calibrated(
    stations: Grouped, chosen: NDArray[np.bool_], level: float, floor: float
) -> list[Calibration]:
    """Calibrate by the groups that each division (row) chooses."""
    divisions = len(chosen)
    counts = np.zeros(2 * divisions)

    def masses() -> Iterator[Masses]:
        for rows, index in stations():
            for way, wanted in _patterns(chosen, index):
                score, change = _residuals(rows[way[index]], floor)
                yield Masses(score, 1 / score.size, wanted)
                if score.size >= MIN_STATION_DAYS:
                    yield Masses(change, 1 / score.size, wanted + divisions)

    for found in masses():
        counts[found.wanted] += 1
    # Each of K stations has the mass 1 / (K + 1). Sums of equal masses may miss the level by their
    # rounding.
    factors = least_reaching(masses, (level - 1e-9) * (counts + 1))
    if np.isnan(factors[:divisions]).any():
        few = int(counts[:divisions][np.isnan(factors[:divisions])][0])
        raise ValueError(
            f"{few} stations cannot calibrate an interval of {level:.0%}, expected at least "
            f"{least_stations(level)}"
        )
    known = [None if np.isnan(factor) else float(factor) for factor in factors]
    return [
        Calibration(level, float(factors[number]), known[divisions + number],
                    int(counts[number]), floor)
        for number in range(divisions)
    ]  # fmt: skip


def _residuals(days: pd.DataFrame, floor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residuals of one station in units of the believed spread: of the value, of the change."""
    error = (days["observed"] - days["predicted"]).to_numpy("float64")
    scale = _scale(days["spread"], floor)
    change = error - error.mean()
    return np.abs(error) / scale, np.abs(change) / scale


def _scale(spread: ArrayLike, floor: float) -> NDArray[np.float64]:
    """Spread that is believed."""
    return np.hypot(np.asarray(spread, dtype="float64"), floor)


class _Covered(NamedTuple):
    """Share of a station's days inside its intervals, and their mean width; of the change too."""

    inside: float
    width: float
    change_inside: float
    change_width: float


def _covered(days: pd.DataFrame, calibration: Calibration) -> _Covered:
    """Judge the intervals of one station; the change is NaN where it is not calibrated."""
    lower, upper = calibration.bounds(days["predicted"], days["spread"])
    observed = days["observed"].to_numpy("float64")
    inside, width = ((observed >= lower) & (observed <= upper)).mean(), (upper - lower).mean()
    if calibration.change_factor is None:
        return _Covered(inside, width, np.nan, np.nan)
    change = _residuals(days, calibration.floor)[1] <= calibration.change_factor
    half = calibration.change_half_width(days["spread"])
    held = change.mean() if change.size >= MIN_STATION_DAYS else np.nan
    return _Covered(inside, width, held, 2 * half.mean())


def _told(covered: Sequence[_Covered], calibration: Calibration) -> dict[str, Any]:
    """Put the stations together, each with the same weight."""
    inside, width, change, change_width = np.array(covered, dtype="float64").reshape(-1, 4).T
    found = {
        "coverage": float(inside.mean()),
        "width": float(width.mean()),
        "station_coverage": np.quantile(inside, np.linspace(0, 1, 21)).tolist(),
        "stations": inside.size,
    }
    if calibration.change_factor is None:
        return found
    known = change[np.isfinite(change)]
    return found | {
        "change_coverage": float(known.mean()) if known.size else None,
        "change_width": float(change_width.mean()),
    }


def _divisions(count: int, splits: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Yield which groups calibrate, for each division of so many."""
    rng = np.random.default_rng(seed)
    for _ in range(splits):
        chosen = np.zeros(count, dtype=bool)
        chosen[rng.permutation(count)[: round(CALIBRATED_SHARE * count)]] = True
        yield chosen
