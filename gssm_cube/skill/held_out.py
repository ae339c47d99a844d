"""Estimates of rows that their forest has not seen, beside baselines: made and kept on disk.

A forest is fitted, judges its rows part by part, and is gone before the next is fitted. So what is
held at a time is a matrix to train on and its forest, or some stations.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gssm_cube.blocks import Progress, silent
from gssm_cube.forest.compiled import CompiledForest
from gssm_cube.forest.flatten import compile_forest
from gssm_cube.skill.baselines import TITLES, TrainingStations
from gssm_cube.skill.resolution import cell_of
from gssm_cube.skill.station_rows import StationRows
from gssm_cube.skill.trials import BASELINE_COLUMNS, Recipe
from gssm_cube.splits import Split, place_folds, split_years

FOLDS = 5
ESTIMATES = ("predicted", "spread")


class HeldOut:
    """Estimates of held-out rows, part by part; as often as it is gone through.

    A part is a DataFrame of whole stations: `StationRows.about` of their held-out rows,
    ``predicted``, ``spread``, ``fold`` and a column a baseline. The file is deleted when the
    context is left.

    Parameters
    ----------
    rows : StationRows
        The rows that are judged.
    baselines : sequence of str
        Names of the baselines.
    """

    def __init__(self, rows: StationRows, baselines: Sequence[str] = ()) -> None:
        self.rows, self.baselines = rows, list(baselines)
        self._names = [*ESTIMATES, *self.baselines]
        self._width = 1 + len(self._names)  # first the fold, from 1; 0 where no fold has judged
        opened, path = mkstemp(dir=rows.folder, prefix="held_", suffix=".f64")
        self._path = Path(path)
        os.truncate(opened, 8 * self._width * len(rows))
        os.close(opened)

    def __enter__(self) -> "HeldOut":
        return self

    def __exit__(self, *error: object) -> None:
        self._path.unlink(missing_ok=True)

    def put(
        self, number: int, judged: NDArray[np.bool_], fold: int, found: Mapping[str, Any]
    ) -> None:
        """Keep the estimates of some rows of a part, by the name of the column."""
        values = self._read(number)
        values[judged, 0] = fold + 1
        for place, name in enumerate(self._names, start=1):
            values[judged, place] = found[name]
        with self._path.open("r+b") as file:
            file.seek(8 * self._width * self.rows.before(number))
            values.tofile(file)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for number in self.rows.numbers:
            days = self.part(number)
            if len(days):
                yield days

    def part(self, number: int) -> pd.DataFrame:
        """Return the held-out rows of a part."""
        values = self._read(number)
        judged = values[:, 0] > 0
        days = self.rows.about(number)[judged]
        columns = dict(zip(self._names, values[judged, 1:].T, strict=True))
        return days.assign(**columns, fold=(values[judged, 0] - 1).astype("int64"))

    def folds(self) -> NDArray[np.int8]:
        """Return the fold of each row, of which all were judged."""
        found = np.empty(len(self.rows), dtype="int8")
        for number in self.rows.numbers:
            found[self.rows.rows_of(number)] = self._read(number)[:, 0] - 1
        return found

    def cells(self) -> Iterator[pd.DataFrame]:
        """Yield the rows of stations that share a cell of 0.1 degrees, cell by cell.

        Cells that have a station in common, which has moved, come together.
        """
        sites = self.rows.sites
        together = _connected(sites["station"], cell_of(sites["lat"], sites["lon"]))
        parts = {name: number for number in self.rows.numbers for name in self.rows.names(number)}
        for _, stations in sites["station"].groupby(together):
            if stations.nunique() > 1:
                chosen = sorted({parts[name] for name in stations})
                found = [days[days["station"].isin(stations)] for days in map(self.part, chosen)]
                yield pd.concat(found)

    def _read(self, number: int) -> NDArray[np.float64]:
        """Read what is kept of a part (row, column)."""
        rows = self.rows.rows_of(number).size
        start = 8 * self._width * self.rows.before(number)
        found = np.fromfile(self._path, "float64", rows * self._width, offset=start)
        return found.reshape(rows, self._width)


def judged(
    rows: StationRows,
    recipe: Recipe,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    unseen: StationRows | None = None,
) -> HeldOut:
    """Estimate rows by a forest, and by baselines, of other rows of the same or another table.

    Parameters
    ----------
    rows : StationRows
    recipe : Recipe
    train : ndarray (row), bool
        Rows to train on.
    test : ndarray (row), bool
        Rows to judge, of ``unseen`` if that is given.
    unseen : StationRows, optional
        Another table.
    """
    others = rows if unseen is None else unseen
    held = HeldOut(others, _baselines(rows, others))
    judge(held, _fitted(rows, recipe, train), test, beside=training_stations(rows, train))
    return held


def out_of_fold(
    rows: StationRows, recipe: Recipe, split: Split, *, progress: Progress = silent
) -> HeldOut:
    """Estimate every judged row by a forest, and by baselines, that have not seen its fold."""
    held, total = HeldOut(rows, _baselines(rows, rows)), split.count
    for done, (train, test) in enumerate(split.parts(), start=1):
        fold, beside = int(split.folds[np.argmax(test)]), training_stations(rows, train)
        # No name for the forest: it would live until the next one is fitted.
        judge(held, _fitted(rows, recipe, train), test, fold, beside)
        progress("folds", done, total)
    return held


def _fitted(rows: StationRows, recipe: Recipe, train: NDArray[np.bool_]) -> CompiledForest:
    """Fit and compile a forest; what it was fitted on and scikit-learn's own are gone after."""
    return compile_forest(recipe.fit(*rows.training(train, recipe.features)))


def judge(
    held: HeldOut,
    forest: CompiledForest,
    test: NDArray[np.bool_],
    fold: int = 0,
    beside: TrainingStations | None = None,
) -> None:
    """Estimate the rows to judge, part by part, and the baselines if they are wanted."""
    for number in held.rows.numbers:
        chosen = test[held.rows.rows_of(number)]
        if not chosen.any():
            continue
        table = held.rows.values(number, forest.features)[chosen]
        found = dict(zip(ESTIMATES, forest.predict_with_spread(table), strict=True))
        if beside is not None:
            found |= _beside(beside, held.rows.about(number)[chosen], held.baselines)
        held.put(number, chosen, fold, found)


def training_stations(rows: StationRows, train: NDArray[np.bool_]) -> TrainingStations:
    """Gather what the training rows say without a forest."""
    chosen = ((number, train[rows.rows_of(number)]) for number in rows.numbers)
    parts = (rows.about(number)[wanted] for number, wanted in chosen if wanted.any())
    return TrainingStations.of(parts, [name for name in BASELINE_COLUMNS if name in rows.columns])


def place_split(rows: StationRows, groups: NDArray[np.int64], seed: int) -> Split | None:
    """Return folds of whole groups of sites; None if there are fewer than two groups."""
    folds = place_folds(groups, k=FOLDS, seed=seed)
    return None if folds is None else Split(rows.spread(folds.astype("int8")))


def fold_count(groups: NDArray[np.int64]) -> int:
    """Count the folds of `place_split`, and so its fits; 0 if there is no such split."""
    found = np.unique(groups).size
    return min(FOLDS, found) if found > 1 else 0


def held_years(rows: StationRows) -> NDArray[np.bool_] | None:
    """Tell of each row whether its year is held out; None if there is only one calendar year."""
    held = split_years(rows.days)
    return None if held is None else rows.since(rows.days[held][0])


def baseline_names(held: Iterable[str]) -> list[str]:
    """Return which columns of held-out rows are baselines, in the order in which they are shown."""
    return [name for name in TITLES if name in held]


def _baselines(rows: StationRows, unseen: StationRows) -> list[str]:
    """Baselines of which both tables have what they need."""
    both = [name for name in BASELINE_COLUMNS if name in rows.columns and name in unseen.columns]
    return ["mean_of_training", "climatology", *both]


def _beside(stations: TrainingStations, days: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return what needs no forest, at the rows to judge."""
    found: dict[str, Any] = {
        "mean_of_training": stations.mean,
        "climatology": stations.climatology(days["time"]),
    }
    for name in names[len(found) :]:
        values = days[name].to_numpy("float64")
        as_it_is = BASELINE_COLUMNS[name] == "plain" or not stations.lines[name].rows
        found[name] = values if as_it_is else stations.rescaled(name, values)
    return found


def _connected(station: pd.Series, cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the set of stations and cells to which each pair belongs."""
    first, second = pd.factorize(station)[0], pd.factorize(cell)[0]
    size = int(first.max()) + 1 + int(second.max()) + 1
    links = coo_array((np.ones(first.size), (first, second + first.max() + 1)), (size, size))
    return connected_components(links, directed=False)[1][first]
