"""What each way to hold out says of a recipe: the parts of an evaluation."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gssm_cube.blocks import Progress, silent
from gssm_cube.forest.flatten import compile_forest
from gssm_cube.forest.presets import find_preset
from gssm_cube.intervals import Calibration, coverage
from gssm_cube.skill.applicability import Reference, reference_of
from gssm_cube.skill.findings import (
    applicability_note,
    baseline_scores,
    calibrated,
    strata_scores,
    versus,
)
from gssm_cube.skill.held_out import (
    HeldOut,
    fold_count,
    held_years,
    judge,
    judged,
    out_of_fold,
    place_split,
)
from gssm_cube.skill.resolution import within_cells
from gssm_cube.skill.station_rows import StationRows
from gssm_cube.skill.trials import Recipe
from gssm_cube.splits import BLOCK_KM, Split, blocks_of, split_random_rows, split_years
from gssm_cube.statistics.bootstrap import confidence
from gssm_cube.statistics.scores import Scoring

logger = logging.getLogger(__name__)

SEED_LIKE = "gssm1km"  # the recipe that the project set out from, as a baseline


def count_fits(known: StationRows) -> tuple[int, int]:
    """Count the forests of random rows and new years, and those of new stations."""
    by_row = 1 if held_years(known) is None else 2
    return by_row, 0 if len(known.stations) < 2 else fold_count(blocks_of(known.sites))


def random_rows(
    known: StationRows, recipe: Recipe, *, progress: Progress = silent
) -> tuple[dict[str, Any], HeldOut, pd.Series]:
    """Score a quarter of the rows, whatever their station: for comparison only."""
    rows = split_random_rows(len(known), seed=recipe.seed)
    forest = recipe.fit(*known.training(~rows, recipe.features))
    importance = pd.Series(forest.feature_importances_, recipe.features, name="importance")
    held, compiled = HeldOut(known), compile_forest(forest)
    del forest  # five times as large as the compiled one
    judge(held, compiled, rows)
    progress("random rows", 1, 1)
    return {"label": "comparison only"} | scored(held).scores(), held, importance


def new_years(
    known: StationRows, recipe: Recipe, *, progress: Progress = silent
) -> tuple[dict[str, Any], HeldOut | None]:
    """Score the last quarter of the years."""
    rows = held_years(known)
    if rows is None:
        return {"skipped": "one calendar year"}, None
    held = judged(known, recipe, ~rows, rows)
    progress("new years", 1, 1)
    days = known.days[split_years(known.days)]
    scoring = scored(held)
    return scoring.scores() | {
        "years": np.unique(pd.DatetimeIndex(days).year).tolist(),
        "days": [str(days[0]), str(days[-1])],
        "baseline": baseline_scores(held, scoring.stations),
    }, held


def new_stations(
    known: StationRows, recipe: Recipe, importance: pd.Series, *, progress: Progress = silent
) -> tuple[dict[str, Any], HeldOut | None, Calibration | None, Reference | None]:
    """Score every row by a forest that has seen no station of its place."""
    if len(known.stations) < 2:
        return {"skipped": f"{len(known.stations)} station, two are needed"}, None, None, None
    groups = blocks_of(known.sites)
    split = place_split(known, groups, recipe.seed)
    if split is None:
        reason = f"all stations lie in one block of {BLOCK_KM:g} km"
        return {"skipped": reason}, None, None, None
    held = out_of_fold(known, recipe, split, progress=progress)
    calibration, said = calibrated(_Grouped(held))
    reference = reference_of(known.parts(recipe.features), importance)
    scoring = scored(held)
    table = scoring.stations
    score = scoring.scores() | {
        "folds": int(np.unique(split.folds).size),
        "places": int(np.unique(groups).size),
        "interval": confidence(table),
        "baseline": baseline_scores(held, table),
        "strata": strata_scores(held),
        "intervals": said,
        "applicability": applicability_note(held, reference),
        "resolution": within_cells(held.cells()),
    }
    return score, held, calibration, reference


def seed_like(
    held: HeldOut, known: StationRows, recipe: Recipe, *, progress: Progress = silent
) -> dict[str, Any]:
    """Judge the forest that the project set out from on the folds of new stations, as a baseline.

    It gets the predictors of its own that the recipe has, or all of the recipe's where APEI is not
    among them, and the position.
    """
    preset = find_preset(SEED_LIKE)
    own = [name for name in recipe.features if name in preset.features]
    if "apei" not in own:  # its memory of rain: without it the rest is no seed-like forest
        own = recipe.features
    names = list(dict.fromkeys([*own, "lat", "lon"]))
    like = replace(recipe, preset=preset, features=names)
    split = Split(held.folds())
    with out_of_fold(known.with_position(), like, split, progress=progress) as found:
        both = (
            days.assign(seed_like=other["predicted"])
            for days, other in zip(held, found, strict=True)
        )
        return versus(both, "seed_like", scored(held).stations)


def second_table(
    known: StationRows,
    unseen: StationRows,
    recipe: Recipe,
    calibration: Calibration | None,
    *,
    progress: Progress = silent,
) -> tuple[dict[str, Any], HeldOut]:
    """Score a second table by a forest that was trained on all of the first."""
    train, test = (np.ones(len(rows), dtype=bool) for rows in (known, unseen))
    held = judged(known, recipe, train, test, unseen)
    progress("test", 1, 1)
    common = set(known.stations["station"]) & set(unseen.stations["station"])
    if common:
        logger.warning("test: %d stations are in the training table too", len(common))
    scoring = scored(held)
    about: dict[str, Any] = {
        "stations_in_common": len(common),
        "stations_near": _stations_near(known, unseen),
        "rows": row_counts(unseen),
        "interval": confidence(scoring.stations),
        "baseline": baseline_scores(held, scoring.stations),
    }
    if calibration is not None:
        about["intervals"] = coverage(held, calibration)
    return scoring.scores() | about, held


def row_counts(rows: StationRows) -> dict[str, int]:
    """Rows read, dropped for something missing, and kept."""
    return {"read": rows.read, "dropped": rows.read - len(rows), "kept": len(rows)}


def scored(held: HeldOut) -> Scoring:
    """Score held-out rows."""
    scoring = Scoring()
    for days in held:
        scoring.add(days)
    return scoring


@dataclass(frozen=True)
class _Grouped:
    """Held-out rows with the block of each in ``group``."""

    held: HeldOut

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for days in self.held:
            yield days.assign(group=blocks_of(days))


def _stations_near(known: StationRows, unseen: StationRows) -> int:
    """Count the stations of a second table whose block of 25 km holds a station of the first.

    Under another name, or next door, a station is hardly unseen.
    """
    blocks, others = (blocks_of(rows.sites) for rows in (known, unseen))
    near = int(unseen.sites["station"][np.isin(others, blocks)].nunique())
    if near:
        logger.warning("test: %d stations are within a block of the training stations", near)
    return near
