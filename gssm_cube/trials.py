"""One recipe tried on one table of samples: complete rows, fits, estimates of held-out rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.baselines import TITLES, climatology, rescaled, training_mean
from gssm_cube.forest.flatten import compile_forest
from gssm_cube.forest.presets import Preset
from gssm_cube.forest.rows import check_columns, table_values
from gssm_cube.forest.train import Forest, check_features, train_forest
from gssm_cube.splits import Split

STRATA = ("network", "koeppen", "land_cover")  # columns by which scores are told apart, if there
# Columns that are estimates without a forest, if there: of soil moisture in its own units, or of
# something that rises and falls with it.
BASELINE_COLUMNS: Mapping[str, Literal["plain", "rescaled"]] = MappingProxyType(
    {"swvl1": "plain", "bucket_50": "rescaled"}
)
PLACES = ["station", "lat", "lon", "time", "observed"]
# Columns of the project's own tables of samples.
COLUMNS: Mapping[str, str] = MappingProxyType({
    "station": "station", "lat": "station_lat", "lon": "station_lon", "time": "time",
    "observed": "observed",
})  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Complete rows: what the forest sees, where and when they were taken, and what else is known.

    Parameters
    ----------
    table : DataFrame
        Features and the observed column.
    places : DataFrame
        ``station``, ``lat``, ``lon``, ``time``, ``observed``.
    more : DataFrame
        Strata and columns of baselines, where the table had them.
    read : int
        Rows before the incomplete were dropped.
    observed : str
        Name of the observed column in ``table``.
    """

    table: pd.DataFrame
    places: pd.DataFrame
    more: pd.DataFrame
    read: int
    observed: str = "observed"


@dataclass(frozen=True)
class Recipe:
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

    def with_seed(self, seed: int) -> "Recipe":
        """Return the same with another seed."""
        return replace(self, seed=seed)


def complete_samples(
    samples: pd.DataFrame, names: Sequence[str], columns: Mapping[str, str], *, least: int
) -> Samples:
    """Check a table and keep the rows where nothing that the evaluation needs is missing.

    Parameters
    ----------
    samples : DataFrame
        A row per station-day.
    names : sequence of str
        Features.
    columns : mapping
        Column of each of ``station``, ``lat``, ``lon``, ``time``, ``observed``.
    least : int
        Rows that must be left.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong type, or fewer rows are complete.
    """
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
            f"{complete.sum()} of {len(samples)} rows have all of the features {list(names)} and "
            f"{list(columns.values())}, expected at least {least}; leave out what is rarely there"
        )
    table = pd.DataFrame(values[complete], columns=pd.Index(names))
    places = places[complete].reset_index(drop=True)
    table[columns["observed"]] = places["observed"].to_numpy(dtype="float64")
    known = [name for name in (*STRATA, *BASELINE_COLUMNS) if name in samples]
    more = samples.loc[complete, known].reset_index(drop=True)
    return Samples(table, places, more, len(samples), columns["observed"])


def predicted(forest: Forest, samples: Samples, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Return places and observations of the chosen rows beside the estimate and its spread."""
    mean, spread = compile_forest(forest).predict_with_spread(samples.table[rows])
    return samples.places[rows].assign(predicted=mean, spread=spread)


def judged(
    known: Samples,
    recipe: Recipe,
    train: NDArray[np.bool_],
    unseen: Samples,
    test: NDArray[np.bool_],
) -> pd.DataFrame:
    """Estimate rows by a forest, and by baselines, of other rows of the same or another table.

    Returns
    -------
    DataFrame
        As `predicted`, with a column a baseline.
    """
    held = predicted(recipe.fit(known.table[train]), unseen, test)
    return held.assign(**_baselines(known, train, unseen, test))


def out_of_fold(known: Samples, recipe: Recipe, split: Split) -> pd.DataFrame:
    """Estimate every judged row by a forest, and by baselines, that have not seen its fold.

    Returns
    -------
    DataFrame
        As `judged`, with ``fold``, sorted as the samples are.
    """
    parts = [
        judged(known, recipe, train, known, test).assign(fold=split.folds[test])
        for train, test in split.parts()
    ]
    return pd.concat(parts).sort_index() if parts else pd.DataFrame()


def baseline_names(held: pd.DataFrame) -> list[str]:
    """Return which columns of `out_of_fold` are baselines."""
    return [name for name in TITLES if name in held]


def _baselines(
    known: Samples, train: NDArray[np.bool_], unseen: Samples, test: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return what needs no forest, at the rows to judge."""
    places = known.places[train]
    found: dict[str, Any] = {
        "mean_of_training": training_mean(places),
        "climatology": climatology(places, unseen.places["time"][test]),
    }
    for name, kind in BASELINE_COLUMNS.items():
        if name not in known.more or name not in unseen.more:
            continue
        column = known.more[name].to_numpy("float64")[train]
        values = unseen.more[name].to_numpy("float64")[test]
        as_it_is = kind == "plain" or not np.isfinite(column).any()
        found[name] = values if as_it_is else rescaled(places, column, values)
    return found


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
