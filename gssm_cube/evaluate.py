"""Scores of a recipe on rows, years and stations that its training has not seen.

Every number here is of held-out rows. The random-row score stands beside the others for
comparison with what is usually printed; what a map is worth is the score at new stations.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from gssm_cube.blocks import Progress, as_one, silent
from gssm_cube.forest.presets import Preset, find_preset
from gssm_cube.forest.rows import check_columns
from gssm_cube.intervals import Calibration
from gssm_cube.skill import comparison, judgements
from gssm_cube.skill.applicability import Reference
from gssm_cube.skill.comparison import Points, compare_splits, learning_curve
from gssm_cube.skill.held_out import HeldOut
from gssm_cube.skill.judgements import (
    new_stations,
    new_years,
    random_rows,
    row_counts,
    second_table,
    seed_like,
)
from gssm_cube.skill.predictions import Predictions, write_predictions
from gssm_cube.skill.station_rows import StationRows, rows_of_store, rows_of_table
from gssm_cube.skill.trials import COLUMNS, Recipe, complete_samples

logger = logging.getLogger(__name__)

SEEDS = 3  # of the full comparison


@dataclass(frozen=True)
class Evaluation:
    """What a recipe is worth on rows that it has not seen.

    Parameters
    ----------
    scores : dict
        ``random_rows``, ``new_years``, ``new_stations``, ``test`` if there is a test table, each
        a `score_table` or a reason under ``skipped``; ``rows`` read, dropped and kept; ``forest``.
        ``new_stations`` has more: ``interval`` (95 % over stations), ``baseline``, ``strata``,
        ``intervals`` (calibration and coverage), ``applicability``, ``resolution``
        (`within_cells`); ``new_years`` and ``test`` have ``baseline`` as well, ``test`` also how
        many of its stations are not new: ``stations_in_common`` by name, ``stations_near`` by place
        (in the same block of 25 km). A full evaluation adds ``splits`` and ``learning_curve``.
        Plain values: JSON takes it as it is.
    predictions : DataFrame or None
        ``station``, ``lat``, ``lon``, ``time``, ``observed``, ``predicted`` (m3 m-3) and
        ``split``, the key in ``scores``; for ``new_stations`` out of fold. None if they were
        written to a file.
    importance : Series
        Mean decrease in impurity by feature, largest first, of the random-row forest.
    calibration : Calibration or None
        Constants of the 90 % interval; None if there are too few stations.
    reference : Reference or None
        Of the dissimilarity index; None if no feature is constant in place.
    """

    scores: dict[str, Any]
    predictions: pd.DataFrame | None
    importance: pd.Series
    calibration: Calibration | None = None
    reference: Reference | None = None

    @property
    def interval_dict(self) -> dict[str, Any] | None:
        """The calibration in plain values."""
        return None if self.calibration is None else self.calibration.to_dict()

    @property
    def reference_dict(self) -> dict[str, Any] | None:
        """The reference in plain values."""
        return None if self.reference is None else self.reference.to_dict()


def evaluate(
    samples: pd.DataFrame | Path,
    preset: Preset | str,
    *,
    features: Sequence[str] | None = None,
    observed: str = COLUMNS["observed"],
    station: str = COLUMNS["station"],
    lat: str = COLUMNS["lat"],
    lon: str = COLUMNS["lon"],
    time: str = COLUMNS["time"],
    seed: int = 0,
    trees: int | None = None,
    n_jobs: int = 2,
    test: pd.DataFrame | None = None,
    full: bool = False,
    points: Points | None = None,
    predictions: Path | None = None,
    scratch: Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Score a recipe at random rows, in new years, at new stations and on a test table.

    In memory are the rows that a forest trains on, 4 bytes a feature, with the forest; of all other
    rows those of one station, but for a few bytes each that say who trains. The rest is on disk.

    Parameters
    ----------
    samples : DataFrame or Path
        A row per station-day. Features are used as they are. Or the folder of
        `samples.write_samples`, which is read a tile at a time and has the names of columns below.
    preset : Preset or str
        The recipe.
    features : sequence of str, optional
        Columns in place of the preset's.
    observed : str
        Column of the observed soil moisture, m3 m-3.
    station, lat, lon, time : str
        Columns of the station's name (unique over networks), its place (degrees) and the day.
    seed : int
        Of the splits and the forests.
    trees : int, optional
        Trees of each forest in place of the preset's, to save time; the result says so.
    n_jobs : int
        Threads of a fit; no result depends on it.
    test : DataFrame, optional
        Second table with the same columns, scored by a forest trained on all of the first.
    full : bool
        Also compare all splits over three seeds, and with fewer stations, and the forest that
        the project set out from: some 170 more fits.
    points : pair of arrays, degrees
        Latitudes and longitudes where predictions will be made, for the full comparison; the
        stations of ``test`` if not given.
    predictions : Path, optional
        Parquet file that gets the predictions, a part at a time; else they are returned.
    scratch : Path, optional
        Folder for what is on disk meanwhile, some 300 bytes a row and 4 a feature; the system's if
        not given.
    progress : callable
        Called as ``progress("evaluate", done, total)`` after each fit, and before the first.

    Returns
    -------
    Evaluation

    Raises
    ------
    FileNotFoundError, ValueError
        If a column is missing or of the wrong type, fewer than two rows are complete, or the
        samples on disk are not whole.
    """
    whole = find_preset(preset)
    names = list(whole.features if features is None else features)
    columns = {"station": station, "lat": lat, "lon": lon, "time": time, "observed": observed}
    recipe = Recipe(_with_trees(whole, trees), names, seed, n_jobs)
    with TemporaryDirectory(dir=scratch, prefix="evaluate_") as place, ExitStack() as files:
        known = _laid_down(samples, names, columns, Path(place) / "known", least=2)
        logger.info("evaluation of %s: %d of %d rows", whole.name, len(known), known.read)
        beside = Path(place) / "unseen"
        unseen = None if test is None else _laid_down(test, names, columns, beside, least=1)
        found, held = _judge(
            known, unseen, recipe, files, full=full, points=points, progress=progress
        )
        found.scores.update(rows=row_counts(known), forest=_forest_note(whole, recipe))
        target = predictions or Path(place) / "predictions.parquet"
        write_predictions(target, held)
        told = None if predictions else pd.concat(Predictions(target), ignore_index=True)
    logger.info("evaluation of %s: done", whole.name)
    return replace(found, predictions=told)


def _laid_down(
    samples: pd.DataFrame | Path,
    names: Sequence[str],
    columns: Mapping[str, str],
    folder: Path,
    *,
    least: int,
) -> StationRows:
    """Write the complete rows of a table or of samples on disk station by station."""
    if isinstance(samples, Path):
        return rows_of_store(samples, names, folder, least=least)
    return rows_of_table(complete_samples(samples, names, columns, least=least), folder)


def _points(unseen: StationRows | None) -> Points | None:
    """Places of a second table, if there is one, each as often as it has rows."""
    if unseen is None:
        return None
    rows = unseen.sites["rows"]
    return np.repeat(unseen.sites["lat"], rows), np.repeat(unseen.sites["lon"], rows)


def read_samples(path: str | Path, *, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of samples from Parquet or CSV.

    Parameters
    ----------
    path : path
        Ends in ``.parquet`` or ``.csv``.
    columns : sequence of str
        Columns that must be there; all columns are read.

    Returns
    -------
    DataFrame

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its kind is not known, it cannot be read, has no rows or lacks columns.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path} ends in {path.suffix!r}, expected .csv or .parquet")
    if not path.exists():
        raise FileNotFoundError(f"no table of samples at {path}")
    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pandas and pyarrow raise kinds of these
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    if table.empty:
        raise ValueError(f"{path} has no rows, expected one per station-day")
    try:
        check_columns(table, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return table


def _judge(
    known: StationRows,
    unseen: StationRows | None,
    recipe: Recipe,
    files: ExitStack,
    *,
    full: bool,
    points: Points | None,
    progress: Progress,
) -> tuple[Evaluation, dict[str, HeldOut]]:
    """Judge in all ways that are wanted; every fit is a step, and all are counted before."""
    seeds = range(recipe.seed, recipe.seed + SEEDS)
    places = points or _points(unseen) if full else None
    by_row, folds = judgements.count_fits(known)
    total = by_row + folds + (unseen is not None)
    if full:
        total += folds + comparison.count_fits(known, points=places, seeds=seeds)
    progress("evaluate", 0, total)
    steps = as_one(progress, "evaluate", total)
    found, held = _usual(known, unseen, recipe, files, steps)
    if full:
        _compare(found.scores, held, known, recipe, places, seeds, steps)
    return found, held


def _usual(
    known: StationRows,
    unseen: StationRows | None,
    recipe: Recipe,
    files: ExitStack,
    progress: Progress,
) -> tuple[Evaluation, dict[str, HeldOut]]:
    """Judge by random rows, new years, new stations and a second table, if there is one."""
    random, held_rows, importance = random_rows(known, recipe, progress=progress)
    years, held_years = new_years(known, recipe, progress=progress)
    stations, held_stations, calibration, reference = new_stations(
        known, recipe, importance, progress=progress
    )
    scores = {"random_rows": random, "new_years": years, "new_stations": stations}
    held = {"random_rows": held_rows, "new_years": held_years, "new_stations": held_stations}
    if unseen is not None:
        scores["test"], held["test"] = second_table(
            known, unseen, recipe, calibration, progress=progress
        )
    there = {name: files.enter_context(found) for name, found in held.items() if found is not None}
    ranked = importance.sort_values(ascending=False)
    return Evaluation(scores, None, ranked, calibration, reference), there


def _compare(
    scores: dict[str, Any],
    held: Mapping[str, HeldOut],
    known: StationRows,
    recipe: Recipe,
    points: Points | None,
    seeds: Sequence[int],
    progress: Progress,
) -> None:
    """Compare all splits, forests of fewer stations, and the forest set out from."""
    scores["splits"] = compare_splits(known, recipe, points=points, seeds=seeds, progress=progress)
    scores["learning_curve"] = learning_curve(known, recipe, seeds=seeds, progress=progress)
    if "new_stations" in held:
        like = seed_like(held["new_stations"], known, recipe, progress=progress)
        scores["new_stations"]["baseline"]["seed_like"] = like


def _with_trees(preset: Preset, trees: int | None) -> Preset:
    """Return a preset with another number of trees if one is given, checked as its fields are."""
    if trees is None:
        return preset
    return Preset.model_validate(preset.model_dump() | {"trees": trees})


def _forest_note(full: Preset, recipe: Recipe) -> dict[str, Any]:
    """Say what was fitted, and whether it is lighter than the preset."""
    trees = recipe.preset.trees
    note = {
        "preset": full.name,
        "trees": trees,
        "preset_trees": full.trees,
        "features": recipe.features,
        "seed": recipe.seed,
    }
    if trees != full.trees:
        note["note"] = f"{trees} trees in place of the preset's {full.trees}, to save time"
    return note
