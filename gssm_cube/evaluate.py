"""Scores of a recipe on rows, years and stations that its training has not seen.

Every number here is of held-out rows. The random-row score stands beside the others for
comparison with what is usually printed; what a map is worth is the score at new stations.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.forest.compiled import compile_forest
from gssm_cube.forest.rows import check_columns, table_values
from gssm_cube.forest.train import Forest, Preset, check_features, find_preset, train_forest
from gssm_cube.scores import plain, rmse, score_table
from gssm_cube.splits import place_folds, place_groups, split_random_rows, split_years

logger = logging.getLogger(__name__)

FOLDS = 5
BLOCK_KM = 25.0


@dataclass(frozen=True)
class Evaluation:
    """What a recipe is worth on rows that it has not seen.

    Parameters
    ----------
    scores : dict
        ``random_rows``, ``new_years``, ``new_stations``, ``test`` if there is a test table, each
        a `score_table` or a reason under ``skipped``; ``rows`` read, dropped and kept; ``forest``.
        Plain values: JSON takes it as it is.
    predictions : DataFrame
        ``station``, ``lat``, ``lon``, ``time``, ``observed``, ``predicted`` (m3 m-3) and
        ``split``, the key in ``scores``; for ``new_stations`` out of fold.
    importance : Series
        Mean decrease in impurity by feature, largest first, of the random-row forest.
    """

    scores: dict[str, Any]
    predictions: pd.DataFrame
    importance: pd.Series


@dataclass(frozen=True)
class _Samples:
    """Complete rows: what the forest sees, and where and when they were taken."""

    table: pd.DataFrame
    places: pd.DataFrame  # station, lat, lon, time, observed
    read: int


@dataclass(frozen=True)
class _Recipe:
    """How each forest of an evaluation is fitted."""

    preset: Preset
    features: list[str]
    observed: str
    seed: int
    n_jobs: int

    def fit(self, table: pd.DataFrame) -> Forest:
        """Fit on the rows of a table."""
        return train_forest(
            table,
            self.preset,
            features=self.features,
            observed=self.observed,
            seed=self.seed,
            n_jobs=self.n_jobs,
        )


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

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a column is missing or of the wrong type, or fewer than two rows are complete.
    """
    full = find_preset(preset)
    lighter = full if trees is None else _with_trees(full, trees)
    names = list(full.features if features is None else features)
    columns = {"station": station, "lat": lat, "lon": lon, "time": time, "observed": observed}
    recipe = _Recipe(lighter, names, observed, seed, n_jobs)
    known = _complete_samples(samples, names, columns, least=2)
    logger.info("evaluation of %s: %d of %d rows", full.name, len(known.table), known.read)

    random_rows, random_held, forest = _random_rows(known, recipe)
    scores: dict[str, Any] = {"random_rows": random_rows}
    held = {"random_rows": random_held}
    scores["new_years"], held["new_years"] = _new_years(known, recipe)
    scores["new_stations"], held["new_stations"] = _new_stations(known, recipe)
    if test is not None:
        unseen = _complete_samples(test, names, columns, least=1)
        scores["test"], held["test"] = _test_table(known, unseen, recipe)
    scores["rows"] = _row_counts(known)
    scores["forest"] = _forest_note(full, recipe)
    predictions = [frame.assign(split=split) for split, frame in held.items() if len(frame)]
    importance = pd.Series(forest.feature_importances_, index=names, name="importance")
    logger.info("evaluation of %s: done", full.name)
    return Evaluation(
        scores, pd.concat(predictions, ignore_index=True), importance.sort_values(ascending=False)
    )


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


def _complete_samples(
    samples: pd.DataFrame, names: list[str], columns: dict[str, str], *, least: int
) -> _Samples:
    """Check a table and keep the rows where nothing that the evaluation needs is missing."""
    check_features(names, columns["observed"])
    check_columns(samples, [*names, *columns.values()])
    for role in ("observed", "lat", "lon"):
        _check_numeric(samples[columns[role]], role)
    values = table_values(samples, names)
    places = pd.DataFrame({role: samples[name] for role, name in columns.items()})
    places["time"] = _days(places["time"])
    complete = places.notna().all(axis="columns").to_numpy() & ~np.isnan(values).any(axis=1)
    if complete.sum() < least:
        raise ValueError(
            f"{complete.sum()} of {len(samples)} rows have all of the features {names} and "
            f"{list(columns.values())}, expected at least {least}; leave out what is rarely there"
        )
    table = pd.DataFrame(values[complete], columns=pd.Index(names))
    places = places[complete].reset_index(drop=True)
    table[columns["observed"]] = places["observed"].to_numpy(dtype="float64")
    return _Samples(table, places, len(samples))


def _check_numeric(column: pd.Series, role: str) -> None:
    """Raise unless a column holds numbers."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ValueError(
            f"column {column.name!r} ({role}) has type {column.dtype}, expected numbers"
        )


def _days(time: pd.Series) -> pd.Series:
    """Parse times; numbers are refused, for pandas would take them as nanoseconds."""
    if pd.api.types.is_numeric_dtype(time.dtype):
        raise ValueError(f"the time column has type {time.dtype}, expected dates")
    try:
        return pd.to_datetime(time)
    except ValueError as error:
        raise ValueError(f"the time column cannot be read as dates: {error}") from error


def _random_rows(known: _Samples, recipe: _Recipe) -> tuple[dict[str, Any], pd.DataFrame, Forest]:
    """Score a quarter of the rows, whatever their station: for comparison only."""
    rows = split_random_rows(len(known.table), seed=recipe.seed)
    forest = recipe.fit(known.table[~rows])
    held = _predicted(forest, known, rows)
    return {"label": "comparison only"} | score_table(held), held, forest


def _new_years(known: _Samples, recipe: _Recipe) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score the last quarter of the calendar years."""
    rows = split_years(known.places["time"])
    if rows is None:
        return {"skipped": "one calendar year"}, pd.DataFrame()
    held = _predicted(recipe.fit(known.table[~rows]), known, rows)
    years = sorted(held["time"].dt.year.unique().tolist())
    return score_table(held) | {"years": years}, held


def _new_stations(known: _Samples, recipe: _Recipe) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score every row by a forest that has seen no station of its place."""
    stations = known.places["station"].nunique()
    if stations < 2:
        return {"skipped": f"{stations} station, two are needed"}, pd.DataFrame()
    groups = place_groups(known.places["lat"], known.places["lon"], block_km=BLOCK_KM)
    folds = place_folds(groups, k=FOLDS, seed=recipe.seed)
    if folds is None:
        return {"skipped": f"all stations lie in one block of {BLOCK_KM:g} km"}, pd.DataFrame()
    parts = [_one_fold(known, recipe, folds == fold) for fold in np.unique(folds)]
    held = pd.concat(parts).sort_index()
    baseline = {"mean_of_training": {"rmse": plain(rmse(held["observed"], held["mean"]))}}
    held = held.drop(columns="mean")
    about = {"folds": len(parts), "places": int(np.unique(groups).size), "baseline": baseline}
    return score_table(held) | about, held


def _one_fold(known: _Samples, recipe: _Recipe, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Predict the rows of one fold, beside the mean of the other folds' stations."""
    held = _predicted(recipe.fit(known.table[~rows]), known, rows)
    # Every station weighs the same: a long record is not a better place.
    mean = known.places[~rows].groupby("station", observed=True)["observed"].mean().mean()
    return held.assign(mean=mean)


def _test_table(
    known: _Samples, unseen: _Samples, recipe: _Recipe
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a second table by a forest that was trained on all of the first."""
    every = np.ones(len(unseen.table), dtype=bool)
    held = _predicted(recipe.fit(known.table), unseen, every)
    common = set(known.places["station"]) & set(unseen.places["station"])
    if common:
        logger.warning("test: %d stations are in the training table too", len(common))
    about = {"stations_in_common": len(common), "rows": _row_counts(unseen)}
    return score_table(held) | about, held


def _predicted(forest: Forest, samples: _Samples, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Places and observations of the chosen rows beside the forest's estimate."""
    predicted = compile_forest(forest).predict(samples.table[rows])
    return samples.places[rows].assign(predicted=predicted)


def _with_trees(preset: Preset, trees: int) -> Preset:
    """Return a preset with another number of trees, checked as all its fields are."""
    return Preset.model_validate(preset.model_dump() | {"trees": trees})


def _row_counts(samples: _Samples) -> dict[str, int]:
    """Rows read, dropped for something missing, and kept."""
    kept = len(samples.table)
    return {"read": samples.read, "dropped": samples.read - kept, "kept": kept}


def _forest_note(full: Preset, recipe: _Recipe) -> dict[str, Any]:
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
