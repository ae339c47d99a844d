"""All ways to hold out, side by side, over several seeds; and what more stations would give.

If folds by station, block, region and matched distances agree, the score at new places does not
hang on how it was asked; random rows show how far a score flatters that asks for no new place.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.skill.held_out import (
    FOLDS,
    baseline_names,
    fold_count,
    held_years,
    out_of_fold,
    place_split,
)
from gssm_cube.skill.knndm import MatchedFolds, matched_folds
from gssm_cube.skill.station_rows import StationRows
from gssm_cube.skill.trials import Recipe
from gssm_cube.splits import (
    Split,
    blocks_of,
    coarser_groups,
    place_folds,
    random_folds,
    region_groups,
)
from gssm_cube.statistics.bootstrap import confidence
from gssm_cube.statistics.pair_sums import PairSums
from gssm_cube.statistics.scores import STATION_SCORES, Scoring, plain

logger = logging.getLogger(__name__)

WAYS = (
    "random_rows", "new_years", "new_stations", "blocks_100km", "blocks_300km", "regions", "knndm",
    "new_stations_and_years",
)  # fmt: skip
BY_ROW = {"random_rows", "new_years", "new_stations_and_years"}  # the others hold out whole sites
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the training stations, for the learning curve
QUANTILES = np.linspace(0, 1, 41)
Points = tuple[ArrayLike, ArrayLike]  # latitudes and longitudes, degrees

_ONE_FOLD = "all stations lie in one group"


def count_fits(known: StationRows, *, points: Points | None = None, seeds: Sequence[int]) -> int:
    """Count the forests of `compare_splits` and `learning_curve` together, before any is fitted.

    Parameters
    ----------
    known, points, seeds
        As `compare_splits` takes them.
    """
    groups, fits = blocks_of(known.sites), 0
    for name in set(WAYS) - BY_ROW - ({"knndm"} if points is None else set()):
        fits += len(seeds) * fold_count(_together(name, known, groups))
    for seed in seeds:
        ways = (_way(name, known, groups, points, seed) for name in BY_ROW)
        fits += sum(way.count for way in ways if isinstance(way, Split))
        dealt, rank = _ranked(groups, seed)
        if dealt is not None:
            fits += sum(Split(dealt, trained=rank < share).count for share in SHARES)
    return fits


def compare_splits(
    known: StationRows,
    recipe: Recipe,
    *,
    points: Points | None = None,
    seeds: Sequence[int],
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a recipe by every split, with each seed dealing folds and growing forests anew.

    Parameters
    ----------
    known : StationRows
    recipe : Recipe
    points : pair of arrays, degrees
        Latitudes and longitudes of prediction points for nearest-neighbour distance matching,
        which is skipped without.
    seeds : sequence of int
    progress : callable
        Told of the folds of one split after another.

    Returns
    -------
    dict
        By split a dict: each score's mean over the seeds (``rmse``, ``r``, ... and the medians
        over stations as ``station_rmse``, ...), ``scatter`` (standard deviation over the seeds,
        None for one seed), ``interval`` (95 % over stations, first seed), ``baseline`` (RMSE),
        ``folds``, ``seeds``, ``n``; or a reason under ``skipped``. ``knndm`` has ``distances``.
    """
    groups = blocks_of(known.sites)
    table: dict[str, Any] = {}
    for name in WAYS:
        first = _way(name, known, groups, points, seeds[0])
        if isinstance(first, str):
            table[name] = {"skipped": first}
            continue
        found = []
        for seed in seeds:
            way = first if seed == seeds[0] else _way(name, known, groups, points, seed)
            if not isinstance(way, str):
                split = _split_of(way, known)
                found.append(_judged(known, recipe.with_seed(seed), split, progress))
        if any(one is None for one in found):
            table[name] = {"skipped": "no fold has rows on both sides"}
            continue
        table[name] = _row([one for one in found if one is not None])
        if isinstance(first, MatchedFolds):
            table[name]["distances"] = _distances(first)
        logger.info("split %s: RMSE %.4f", name, table[name]["rmse"])
    table["random_rows"]["label"] = "comparison only"
    return table


def learning_curve(
    known: StationRows,
    recipe: Recipe,
    *,
    shares: Sequence[float] = SHARES,
    seeds: Sequence[int] = (0,),
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Score new stations by forests of ever more training stations.

    Parameters
    ----------
    known : StationRows
    recipe : Recipe
    shares : sequence of float
        Of the groups of places outside a fold.
    seeds : sequence of int
        Each deals folds, chooses the groups and grows forests anew.
    progress : callable
        Told of the folds of one share after another.

    Returns
    -------
    list of dict
        For each share the means over the seeds of ``stations`` (number that trained), ``rmse`` and
        ``station_r``, and ``scatter``, the standard deviation of the RMSE over the seeds (None for
        one); empty if the stations cannot be split.
    """
    points = [_curve(known, recipe.with_seed(seed), shares, progress) for seed in seeds]
    curve = []
    for share in shares:
        found = pd.DataFrame([point[share] for point in points if share in point])
        if len(found):
            means = {
                str(name): plain(value) for name, value in found.astype("float64").mean().items()
            }
            curve.append(means | {"scatter": plain(found["rmse"].std())})
    return curve


def _ranked(
    groups: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.float64]]:
    """Deal sites to folds, if there are two groups, and rank their groups at random from 0 to 1."""
    names, index = np.unique(groups, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(names.size)[index] / names.size
    return place_folds(groups, k=FOLDS, seed=seed), rank


def _curve(
    known: StationRows, recipe: Recipe, shares: Sequence[float], progress: Progress
) -> dict[float, dict[str, float | None]]:
    """Score forests of each share of the training stations, with one seed."""
    dealt, rank = _ranked(blocks_of(known.sites), recipe.seed)
    if dealt is None:
        return {}
    folds = known.spread(_narrow(dealt))
    curve = {}
    for share in shares:
        split = Split(folds, trained=known.spread(rank < share))
        found = _judged(known, recipe, split, progress)
        if found is None:
            continue
        sites = Split(dealt, trained=rank < share).parts()
        counts = [known.sites["station"][train].nunique() for train, _ in sites]
        curve[share] = {
            "stations": float(np.mean(counts)),
            "rmse": found.scores["rmse"],
            "station_r": found.scores["stations"]["r"],
        }
    return curve


def _way(
    name: str, known: StationRows, groups: NDArray[np.int64], points: Points | None, seed: int
) -> Split | MatchedFolds | str:
    """Return one of the splits, or the reason why there is none; what is by place is by site."""
    if name == "random_rows":
        return Split(random_folds(len(known), k=FOLDS, seed=seed))
    if name == "knndm":
        if points is None:
            return "no prediction points are given"
        lat, lon = known.sites["lat"], known.sites["lon"]
        return matched_folds(groups, lat, lon, *points, k=FOLDS, seed=seed) or _ONE_FOLD
    if name == "new_years":
        held = held_years(known)
        return "one calendar year" if held is None else Split(_narrow(held), judged=held)
    by_place = place_split(known, _together(name, known, groups), seed)
    if name not in BY_ROW or by_place is None:
        return by_place or _ONE_FOLD
    held = held_years(known)
    if held is None:
        return "one calendar year"
    return Split(by_place.folds, judged=held, trained=~held)


def _together(name: str, known: StationRows, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the group of each site that one of the splits keeps whole."""
    lat, lon = known.sites["lat"].to_numpy(), known.sites["lon"].to_numpy()
    if name.startswith("blocks_"):
        km = float(name.removeprefix("blocks_").removesuffix("km"))
        return coarser_groups(groups, lat, lon, block_km=km)
    return region_groups(groups, lat, lon) if name == "regions" else groups


def _split_of(found: Split | MatchedFolds, known: StationRows) -> Split:
    """Folds as a split of the rows."""
    return found if isinstance(found, Split) else Split(known.spread(_narrow(found.folds)))


def _narrow(folds: NDArray[Any]) -> NDArray[np.int8]:
    """Folds in a byte each: there are as many of them as rows."""
    return folds.astype("int8")


class _Judged(NamedTuple):
    """What is kept of one judgement."""

    scores: dict[str, Any]
    stations: pd.DataFrame
    baselines: dict[str, float]  # RMSE
    folds: int


def _judged(known: StationRows, recipe: Recipe, split: Split, progress: Progress) -> _Judged | None:
    """Score a recipe by one split; None if no fold has rows on both sides."""
    folds: set[int] = set()
    scoring = Scoring()
    with out_of_fold(known, recipe, split, progress=progress) as held:
        names = baseline_names(held.baselines)
        sums = {name: PairSums() for name in names}
        for days in held:
            scoring.add(days)
            folds |= set(days["fold"])
            for name in names:
                sums[name] += PairSums.of(days["observed"], days[name])
    if not folds:
        return None
    baselines = {name: found.rmse for name, found in sums.items()}
    return _Judged(scoring.scores(), scoring.stations, baselines, len(folds))


def _row(found: Sequence[_Judged]) -> dict[str, Any]:
    """Mean and scatter of the scores over the seeds."""
    flat = pd.DataFrame([
        {name: scores[name] for name in STATION_SCORES}
        | {f"station_{name}": scores["stations"][name] for name in STATION_SCORES}
        for scores in (one.scores for one in found)
    ]).astype("float64")  # fmt: skip
    first = found[0]
    return {
        **{str(name): plain(value) for name, value in flat.mean().items()},
        "scatter": {str(name): plain(value) for name, value in flat.std().items()},
        "interval": confidence(first.stations),
        "baseline": {
            name: plain(np.mean([one.baselines[name] for one in found])) for name in first.baselines
        },
        "folds": first.folds,
        "seeds": len(found),
        "n": int(first.scores["n"]),
        "stations": int(first.scores["stations"]["count"]),
    }


def _distances(found: MatchedFolds) -> dict[str, Any]:
    """Distributions of the distances as quantiles, for a plot."""
    kinds = {
        "fold_km": found.fold_km,
        "prediction_km": found.prediction_km,
        "station_km": found.station_km,
    }
    return {
        "clusters": found.clusters,
        "wasserstein_km": found.wasserstein_km,
        **{
            name: np.quantile(values, QUANTILES).round(2).tolist() for name, values in kinds.items()
        },
    }
