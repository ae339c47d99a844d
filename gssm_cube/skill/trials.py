"""One recipe tried on one table of samples: complete rows, fits, estimates of held-out rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.forest.flatten import compile_forest
from gssm_cube.forest.presets import Preset
from gssm_cube.forest.rows import check_columns, table_values
from gssm_cube.forest.train import Forest, check_features, check_finite, fit_forest

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
    seed: int
    n_jobs: int

    def fit(self, table: pd.DataFrame, target: NDArray[np.float64]) -> Forest:
        """Fit on features and observations of complete rows, without a copy of them."""
        return fit_forest(table, target, self.preset, seed=self.seed, n_jobs=self.n_jobs)

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
        If a column is missing or of the wrong type, a complete row holds an infinite value, or
        fewer rows are complete.
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
        raise too_few(int(complete.sum()), len(samples), names, columns, least)
    table = pd.DataFrame(values[complete], columns=pd.Index(names), copy=False)
    places = places[complete].reset_index(drop=True)
    target = places["observed"].to_numpy(dtype="float64")
    check_finite(table, target, columns["observed"])
    table[columns["observed"]] = target
    known = [name for name in (*STRATA, *BASELINE_COLUMNS) if name in samples]
    more = samples.loc[complete, known].reset_index(drop=True)
    return Samples(table, places, more, len(samples), columns["observed"])


def too_few(
    kept: int, read: int, names: Sequence[str], columns: Mapping[str, str], least: int
) -> ValueError:
    """Return the error that says that hardly a row is complete."""
    return ValueError(
        f"{kept} of {read} rows have all of the features {list(names)} and "
        f"{list(columns.values())}, expected at least {least}; leave out what is rarely there"
    )


def predicted(forest: Forest, samples: Samples, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Return places and observations of the chosen rows beside the estimate and its spread."""
    mean, spread = compile_forest(forest).predict_with_spread(samples.table[rows])
    return samples.places[rows].assign(predicted=mean, spread=spread)


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
