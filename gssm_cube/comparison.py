"""All ways to hold out, side by side, over several seeds; and what more stations would give.

If folds by station, block, region and matched distances agree, the score at new places does not
hang on how it was asked; random rows show how far a score flatters that asks for no new place.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.bootstrap import confidence
from gssm_cube.knndm import MatchedFolds, matched_folds
from gssm_cube.scores import STATION_SCORES, plain, rmse, score_table, station_table
from gssm_cube.splits import (
    Split,
    coarser_groups,
    place_folds,
    place_groups,
    random_folds,
    region_groups,
    split_years,
)
from gssm_cube.trials import Recipe, Samples, baseline_names, out_of_fold

logger = logging.getLogger(__name__)

FOLDS = 5
BLOCK_KM = 25.0
LARGE_BLOCKS_KM = (100.0, 300.0)
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the training stations, for the learning curve
QUANTILES = np.linspace(0, 1, 41)
Points = tuple[ArrayLike, ArrayLike]  # latitudes and longitudes, degrees

_ONE_FOLD = "all stations lie in one group"


def compare_splits(
    known: Samples, recipe: Recipe, *, points: Points | None = None, seeds: Sequence[int]
) -> dict[str, Any]:
    """Score a recipe by every split, with each seed dealing folds and growing forests anew.

    Parameters
    ----------
    known : Samples
    recipe : Recipe
    points : pair of arrays, degrees
        Latitudes and longitudes of prediction points for nearest-neighbour distance matching,
        which is skipped without.
    seeds : sequence of int

    Returns
    -------
    dict
        By split a dict: each score's mean over the seeds (``rmse``, ``r``, ... and the medians
        over stations as ``station_rmse``, ...), ``scatter`` (standard deviation over the seeds,
        None for one seed), ``interval`` (95 % over stations, first seed), ``baseline`` (RMSE),
        ``folds``, ``seeds``, ``n``; or a reason under ``skipped``. ``knndm`` has ``distances``.
    """
    groups = place_groups(known.places["lat"], known.places["lon"], block_km=BLOCK_KM)
    ways = [_ways(known, groups, points, seed) for seed in seeds]
    table: dict[str, Any] = {}
    for name, first in ways[0].items():
        if isinstance(first, str):
            table[name] = {"skipped": first}
            continue
        splits = [found for way in ways if isinstance(found := way[name], Split | MatchedFolds)]
        held = [
            out_of_fold(known, recipe.with_seed(seed), _split_of(split))
            for seed, split in zip(seeds, splits, strict=True)
        ]
        if any(frame.empty for frame in held):
            table[name] = {"skipped": "no fold has rows on both sides"}
            continue
        table[name] = _row(held)
        if isinstance(first, MatchedFolds):
            table[name]["distances"] = _distances(first)
        logger.info("split %s: RMSE %.4f", name, table[name]["rmse"])
    if "random_rows" in table:
        table["random_rows"]["label"] = "comparison only"
    return table


def learning_curve(
    known: Samples, recipe: Recipe, *, shares: Sequence[float] = SHARES, seeds: Sequence[int] = (0,)
) -> list[dict[str, Any]]:
    """Score new stations by forests of ever more training stations.

    Parameters
    ----------
    known : Samples
    recipe : Recipe
    shares : sequence of float
        Of the groups of places outside a fold.
    seeds : sequence of int
        Each deals folds, chooses the groups and grows forests anew.

    Returns
    -------
    list of dict
        For each share the means over the seeds of ``stations`` (number that trained), ``rmse`` and
        ``station_r``, and ``scatter``, the standard deviation of the RMSE over the seeds (None for
        one); empty if the stations cannot be split.
    """
    points = [_curve(known, recipe.with_seed(seed), shares) for seed in seeds]
    curve = []
    for share in shares:
        found = pd.DataFrame([point[share] for point in points if share in point])
        if len(found):
            means = {
                str(name): plain(value) for name, value in found.astype("float64").mean().items()
            }
            curve.append(means | {"scatter": plain(found["rmse"].std())})
    return curve


def _curve(
    known: Samples, recipe: Recipe, shares: Sequence[float]
) -> dict[float, dict[str, float | None]]:
    """Score forests of each share of the training stations, with one seed."""
    groups = place_groups(known.places["lat"], known.places["lon"], block_km=BLOCK_KM)
    folds = place_folds(groups, k=FOLDS, seed=recipe.seed)
    if folds is None:
        return {}
    names, index = np.unique(groups, return_inverse=True)
    rank = np.random.default_rng(recipe.seed).permutation(names.size)[index] / names.size
    curve = {}
    for share in shares:
        split = Split(folds, trained=rank < share)
        held = out_of_fold(known, recipe, split)
        if held.empty:
            continue
        counts = [known.places["station"][train].nunique() for train, _ in split.parts()]
        found = score_table(held)
        curve[share] = {
            "stations": float(np.mean(counts)),
            "rmse": found["rmse"],
            "station_r": found["stations"]["r"],
        }
    return curve


def _ways(
    known: Samples, groups: NDArray[np.int64], points: Points | None, seed: int
) -> dict[str, Split | MatchedFolds | str]:
    """Every split of one seed, or the reason why there is none."""
    lat, lon = known.places["lat"].to_numpy(), known.places["lon"].to_numpy()
    years = split_years(known.places["time"])
    by_station = place_folds(groups, k=FOLDS, seed=seed)
    found: dict[str, Split | MatchedFolds | str] = {
        "random_rows": Split(random_folds(groups.size, k=FOLDS, seed=seed)),
        "new_years": "one calendar year" if years is None else _year_split(years),
        "new_stations": _place_split(groups, seed),
    }
    for km in LARGE_BLOCKS_KM:
        large = coarser_groups(groups, lat, lon, block_km=km)
        found[f"blocks_{km:g}km"] = _place_split(large, seed)
    found["regions"] = _place_split(region_groups(groups, lat, lon), seed)
    if points is None:
        found["knndm"] = "no prediction points are given"
    else:
        found["knndm"] = matched_folds(groups, lat, lon, *points, k=FOLDS, seed=seed) or _ONE_FOLD
    if by_station is None or years is None:
        found["new_stations_and_years"] = _ONE_FOLD if by_station is None else "one calendar year"
    else:
        found["new_stations_and_years"] = Split(by_station, judged=years, trained=~years)
    return found


def _place_split(groups: NDArray[np.int64], seed: int) -> Split | str:
    """Folds of whole groups."""
    folds = place_folds(groups, k=FOLDS, seed=seed)
    return _ONE_FOLD if folds is None else Split(folds)


def _year_split(held: NDArray[np.bool_]) -> Split:
    """Judge the last years by a forest of the others."""
    return Split(held.astype("int64"), judged=held)


def _split_of(found: Split | MatchedFolds) -> Split:
    """Folds as a split."""
    return found if isinstance(found, Split) else Split(found.folds)


def _row(held: list[pd.DataFrame]) -> dict[str, Any]:
    """Mean and scatter of the scores over the seeds."""
    first = station_table(held[0])
    tables = [score_table(held[0], stations=first), *(score_table(frame) for frame in held[1:])]
    flat = pd.DataFrame([
        {name: found[name] for name in STATION_SCORES}
        | {f"station_{name}": found["stations"][name] for name in STATION_SCORES}
        for found in tables
    ]).astype("float64")  # fmt: skip
    baselines = {
        name: plain(np.mean([rmse(frame["observed"], frame[name]) for frame in held]))
        for name in baseline_names(held[0])
    }
    return {
        **{str(name): plain(value) for name, value in flat.mean().items()},
        "scatter": {str(name): plain(value) for name, value in flat.std().items()},
        "interval": confidence(first),
        "baseline": baselines,
        "folds": int(held[0]["fold"].nunique()),
        "seeds": len(held),
        "n": int(tables[0]["n"]),
        "stations": int(tables[0]["stations"]["count"]),
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
