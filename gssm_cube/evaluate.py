"""Scores of a recipe on rows, years and stations that its training has not seen.

Every number here is of held-out rows. The random-row score stands beside the others for
comparison with what is usually printed; what a map is worth is the score at new stations.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm_cube.applicability import Reference, reference_of
from gssm_cube.bootstrap import confidence
from gssm_cube.comparison import BLOCK_KM, FOLDS, Points, compare_splits, learning_curve
from gssm_cube.findings import (
    applicability_note,
    baseline_scores,
    calibrated,
    strata_scores,
    versus,
)
from gssm_cube.forest.presets import Preset, find_preset
from gssm_cube.forest.rows import check_columns
from gssm_cube.forest.train import Forest
from gssm_cube.intervals import Calibration, coverage
from gssm_cube.resolution import within_cells
from gssm_cube.scores import score_table, station_table
from gssm_cube.splits import Split, place_folds, place_groups, split_random_rows, split_years
from gssm_cube.trials import (
    PLACES,
    STRATA,
    Recipe,
    Samples,
    complete_samples,
    judged,
    out_of_fold,
    predicted,
)

logger = logging.getLogger(__name__)

SEEDS = 3  # of the full comparison
SEED_LIKE = "gssm1km"  # the recipe that the project set out from, as a baseline


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
    predictions : DataFrame
        ``station``, ``lat``, ``lon``, ``time``, ``observed``, ``predicted`` (m3 m-3) and
        ``split``, the key in ``scores``; for ``new_stations`` out of fold.
    importance : Series
        Mean decrease in impurity by feature, largest first, of the random-row forest.
    calibration : Calibration or None
        Constants of the 90 % interval; None if there are too few stations.
    reference : Reference or None
        Of the dissimilarity index; None if no feature is constant in place.
    """

    scores: dict[str, Any]
    predictions: pd.DataFrame
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
    samples: pd.DataFrame,
    preset: Preset | str,
    *,
    features: Sequence[str] | None = None,
    observed: str = "observed",
    station: str = "station",
    lat: str = "station_lat",
    lon: str = "station_lon",
    time: str = "time",
    seed: int = 0,
    trees: int | None = None,
    n_jobs: int = 2,
    test: pd.DataFrame | None = None,
    full: bool = False,
    points: Points | None = None,
) -> Evaluation:
    """Score a recipe at random rows, in new years, at new stations and on a test table.

    Parameters
    ----------
    samples : DataFrame
        A row per station-day. Features are used as they are.
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

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a column is missing or of the wrong type, or fewer than two rows are complete.
    """
    whole = find_preset(preset)
    lighter = whole if trees is None else _with_trees(whole, trees)
    names = list(whole.features if features is None else features)
    columns = {"station": station, "lat": lat, "lon": lon, "time": time, "observed": observed}
    recipe = Recipe(lighter, names, observed, seed, n_jobs)
    known = complete_samples(samples, names, columns, least=2)
    logger.info("evaluation of %s: %d of %d rows", whole.name, len(known.table), known.read)

    scores, held, found = _usual(known, recipe)
    if test is not None:
        unseen = complete_samples(test, names, columns, least=1)
        scores["test"], held["test"] = _test_table(known, unseen, recipe, found.calibration)
        points = points or (unseen.places["lat"], unseen.places["lon"])
    if full:
        scores |= _full(known, recipe, points)
        _add_seed_like(scores["new_stations"], held["new_stations"], known, recipe)
    scores |= {"rows": _row_counts(known), "forest": _forest_note(whole, recipe)}
    logger.info("evaluation of %s: done", whole.name)
    return replace(found, scores=scores, predictions=_joined(held))


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


def _random_rows(known: Samples, recipe: Recipe) -> tuple[dict[str, Any], pd.DataFrame, Forest]:
    """Score a quarter of the rows, whatever their station: for comparison only."""
    rows = split_random_rows(len(known.table), seed=recipe.seed)
    forest = recipe.fit(known.table[~rows])
    held = predicted(forest, known, rows)
    return {"label": "comparison only"} | score_table(held), held, forest


def _new_years(known: Samples, recipe: Recipe) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score the last quarter of the years."""
    rows = split_years(known.places["time"])
    if rows is None:
        return {"skipped": "one calendar year"}, pd.DataFrame()
    held = judged(known, recipe, ~rows, known, rows)
    years = sorted(held["time"].dt.year.unique().tolist())
    ends = held["time"].agg(["min", "max"]).dt.strftime("%Y-%m-%d").tolist()
    return score_table(held) | {
        "years": years,
        "days": ends,
        "baseline": baseline_scores(held),
    }, held


def _usual(
    known: Samples, recipe: Recipe
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], Evaluation]:
    """Judge by random rows, new years and new stations; the evaluation has no scores yet."""
    scores: dict[str, Any] = {}
    held: dict[str, pd.DataFrame] = {}
    scores["random_rows"], held["random_rows"], forest = _random_rows(known, recipe)
    importance = pd.Series(forest.feature_importances_, recipe.features, name="importance")
    scores["new_years"], held["new_years"] = _new_years(known, recipe)
    scores["new_stations"], held["new_stations"], calibration, reference = _new_stations(
        known, recipe, importance
    )
    ranked = importance.sort_values(ascending=False)
    return scores, held, Evaluation({}, pd.DataFrame(), ranked, calibration, reference)


def _new_stations(
    known: Samples, recipe: Recipe, importance: pd.Series
) -> tuple[dict[str, Any], pd.DataFrame, Calibration | None, Reference | None]:
    """Score every row by a forest that has seen no station of its place."""
    stations = known.places["station"].nunique()
    if stations < 2:
        reason = f"{stations} station, two are needed"
        return {"skipped": reason}, pd.DataFrame(), None, None
    groups = place_groups(known.places["lat"], known.places["lon"], block_km=BLOCK_KM)
    folds = place_folds(groups, k=FOLDS, seed=recipe.seed)
    if folds is None:
        reason = f"all stations lie in one block of {BLOCK_KM:g} km"
        return {"skipped": reason}, pd.DataFrame(), None, None
    held = out_of_fold(known, recipe, Split(folds))
    calibration, said = calibrated(held, groups)
    reference = reference_of(known.table.assign(station=known.places["station"]), importance)
    table = station_table(held)
    score = score_table(held, stations=table) | {
        "folds": int(held["fold"].nunique()),
        "places": int(np.unique(groups).size),
        "interval": confidence(table),
        "baseline": baseline_scores(held),
        "strata": strata_scores(held.join(known.more.filter(STRATA))),
        "intervals": said,
        "applicability": applicability_note(held, reference),
        "resolution": within_cells(held),
    }
    return score, held, calibration, reference


def _full(known: Samples, recipe: Recipe, points: Points | None) -> dict[str, Any]:
    """Compare all splits, and forests of fewer stations."""
    seeds = range(recipe.seed, recipe.seed + SEEDS)
    splits = compare_splits(known, recipe, points=points, seeds=seeds)
    return {"splits": splits, "learning_curve": learning_curve(known, recipe, seeds=seeds)}


def _add_seed_like(
    score: dict[str, Any], held: pd.DataFrame, known: Samples, recipe: Recipe
) -> None:
    """Judge the forest that the project set out from on the same folds, as one more baseline.

    It gets the predictors of its own that the recipe has, or all of the recipe's where APEI is not
    among them, and the position.
    """
    if held.empty:
        return
    preset = find_preset(SEED_LIKE)
    own = [name for name in recipe.features if name in preset.features]
    if "apei" not in own:  # its memory of rain: without it the rest is no seed-like forest
        own = recipe.features
    position = known.places[["lat", "lon"]].to_numpy("float32")
    table = known.table.assign(lat=position[:, 0], lon=position[:, 1])
    names = list(dict.fromkeys([*own, "lat", "lon"]))
    folds = Split(held["fold"].to_numpy())
    like = replace(recipe, preset=preset, features=names)
    found = out_of_fold(replace(known, table=table), like, folds)
    score["baseline"]["seed_like"] = versus(held, found["predicted"])


def _joined(held: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All predictions in one table, with the split that each belongs to."""
    frames = [
        frame[[*PLACES, "predicted"]].assign(split=split)
        for split, frame in held.items()
        if len(frame)
    ]
    return pd.concat(frames, ignore_index=True)


def _test_table(
    known: Samples, unseen: Samples, recipe: Recipe, calibration: Calibration | None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a second table by a forest that was trained on all of the first."""
    train, test = (np.ones(len(samples.table), dtype=bool) for samples in (known, unseen))
    held = judged(known, recipe, train, unseen, test)
    common = set(known.places["station"]) & set(unseen.places["station"])
    if common:
        logger.warning("test: %d stations are in the training table too", len(common))
    table = station_table(held)
    about: dict[str, Any] = {
        "stations_in_common": len(common),
        "stations_near": _stations_near(known, unseen),
        "rows": _row_counts(unseen),
        "interval": confidence(table),
        "baseline": baseline_scores(held),
    }
    if calibration is not None:
        about["intervals"] = coverage(held, calibration)
    return score_table(held, stations=table) | about, held


def _stations_near(known: Samples, unseen: Samples) -> int:
    """Count the stations of a second table whose block of 25 km holds a station of the first.

    Under another name, or next door, a station is hardly unseen.
    """
    blocks, others = (
        place_groups(samples.places["lat"], samples.places["lon"], block_km=BLOCK_KM)
        for samples in (known, unseen)
    )
    near = int(unseen.places["station"][np.isin(others, blocks)].nunique())
    if near:
        logger.warning("test: %d stations are within a block of the training stations", near)
    return near


def _with_trees(preset: Preset, trees: int) -> Preset:
    """Return a preset with another number of trees, checked as all its fields are."""
    return Preset.model_validate(preset.model_dump() | {"trees": trees})


def _row_counts(samples: Samples) -> dict[str, int]:
    """Rows read, dropped for something missing, and kept."""
    kept = len(samples.table)
    return {"read": samples.read, "dropped": samples.read - kept, "kept": kept}


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
