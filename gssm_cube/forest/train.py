"""Fitting: from a table of samples to a scikit-learn forest, or a blend.

scikit-learn and LightGBM train and stay the oracles; `flatten` turns their trees into flat arrays.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest.blend import Blend, Member, fixed_features, place_members
from gssm_cube.forest.presets import Boosting, Preset, Weights, find_preset
from gssm_cube.forest.rows import check_columns, table_values

logger = logging.getLogger(__name__)

Forest: TypeAlias = RandomForestRegressor | ExtraTreesRegressor | Blend
Told = Callable[[int, int], None]  # members fitted, and of how many
KINDS = MappingProxyType(
    {"random": RandomForestRegressor, "extremely_randomised": ExtraTreesRegressor}
)


def unheard(done: int, total: int) -> None:
    """Tell no one how many members of a forest are fitted: the default."""


def train_forest(
    samples: pd.DataFrame,
    preset: Preset | str,
    *,
    features: Sequence[str] | None = None,
    observed: str = "observed",
    seed: int = 0,
    n_jobs: int = 2,
) -> Forest:
    """Fit a forest on samples, by feature name, in float32.

    Parameters
    ----------
    samples : DataFrame
        One row per station-day, in the units of the features' table.
    preset : Preset or str
        The recipe.
    features : sequence of str, optional
        Columns to use in place of the preset's, as they are.
    observed : str
        Column of the observed soil moisture, m3 m-3.
    seed : int
        Same seed, same forest, whatever ``n_jobs`` is.
    n_jobs : int
        Threads of the fit.

    Returns
    -------
    RandomForestRegressor, ExtraTreesRegressor or Blend
        Knows its features by name; set to predict with one job, whose sums are reproducible.

    Raises
    ------
    ValueError
        If a column is missing or not numeric, a value infinite, or no row complete.
    RuntimeError
        If the preset blends boosted trees and LightGBM cannot be loaded.
    """
    preset = find_preset(preset)
    names = list(preset.features if features is None else features)
    table, target = _complete_rows(samples, names, observed)
    return fit_forest(table, target, preset, seed=seed, n_jobs=n_jobs)


def fit_forest(
    table: pd.DataFrame,
    target: np.ndarray,
    preset: Preset,
    *,
    seed: int = 0,
    n_jobs: int = 2,
    told: Told = unheard,
) -> Forest:
    """Fit a forest on rows that are complete, without a copy of them.

    Parameters
    ----------
    table : DataFrame
        The features and nothing else, float32; no value missing or infinite, see `check_finite`.
    target : ndarray (row), float64, m3 m-3
    preset, seed, n_jobs
        As for `train_forest`, whose errors of the recipe it raises.
    told : callable
        Called as ``told(done, total)`` before the first member of a blend is fitted and after
        each; a forest by itself is one.
    """
    if preset.weights != Weights():
        return _fit_blend(table, target, preset, seed, n_jobs, told)
    told(0, 1)
    forest = _fit_forest(table, target, preset, seed, n_jobs)
    told(1, 1)
    return forest


def usable_weights(preset: Preset, names: Sequence[str]) -> dict[str, float]:
    """Return the weights of a blend's members that can be fitted on these features.

    Without a feature that is fixed in place there is no mean of places to learn; the others then
    share its weight in proportion.

    Raises
    ------
    ValueError
        If no member is left.
    """
    weights = {name: weight for name, weight in preset.weights.model_dump().items() if weight}
    if not fixed_features(names):
        weights.pop("place", None)
    if not weights:
        raise ValueError(
            f"preset {preset.name!r} needs a feature that is fixed in place, the features are "
            f"{list(names)}"
        )
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _fit_blend(
    table: pd.DataFrame, target: np.ndarray, preset: Preset, seed: int, n_jobs: int, told: Told
) -> Blend:
    """Fit every member of a blend; their order is that of their sum."""
    names = tuple(map(str, table))
    weights = usable_weights(preset, names)
    if set(weights) < {name for name, weight in preset.weights if weight}:
        logger.info("training: no feature is fixed in place, weights are %s", weights)

    def fit_booster(features: pd.DataFrame, values: np.ndarray, how: Boosting) -> Any:
        return _fit_booster(features, values, how, preset, seed)

    members: list[Member] = []
    total = len(weights)  # place and departures, which go together, are one
    told(0, total)
    if "forest" in weights:
        forest = _fit_forest(table, target, preset, seed, n_jobs)
        members.append(Member("forest", weights["forest"], forest, names))
        told(len(members), total)
    if "booster" in weights:
        seen = tuple(name for name in names if name not in preset.unseen_by_booster) or names
        booster = fit_booster(table[list(seen)], target, preset.boosting)
        members.append(Member("booster", weights["booster"], booster, seen))
        told(len(members), total)
    if "place" in weights:
        fit_departures = partial(fit_booster, how=preset.departures)
        members += place_members(table, target, weights["place"], fit_departures, seed)
        told(total, total)
    return Blend(names, tuple(members))


def check_trainable(preset: Preset) -> None:
    """Raise unless what fits the preset's members can be loaded, before hours are spent.

    Raises
    ------
    RuntimeError
        If the preset blends boosted trees and LightGBM cannot be loaded.
    """
    if preset.weights.booster or preset.weights.place:
        _booster_class(preset)


def _booster_class(preset: Preset) -> Any:
    """Return LightGBM's regressor."""
    try:  # here, for it needs a library of the system that a forest by itself does not
        from lightgbm import LGBMRegressor
    except (ImportError, OSError) as error:
        raise RuntimeError(
            f"preset {preset.name!r} blends boosted trees, but LightGBM cannot be loaded "
            f"({error}); install it and the system's libgomp (Debian: libgomp1), or choose a "
            "preset without, such as 'memory_forest'"
        ) from error
    return LGBMRegressor


def _fit_booster(
    table: pd.DataFrame, target: np.ndarray, how: Boosting, preset: Preset, seed: int
) -> Any:
    """Fit boosted trees; the same on every machine with the same version of LightGBM."""
    rising = preset.increasing if how.rising else ()
    booster = _booster_class(preset)(
        n_estimators=how.trees,
        num_leaves=how.leaves,
        learning_rate=how.learning_rate,
        min_child_samples=how.min_samples_leaf,
        subsample=how.max_samples,
        subsample_freq=1,
        reg_lambda=how.ridge,
        random_state=seed,
        n_jobs=1,
        importance_type="gain",
        feature_fraction_bynode=how.max_features,
        extra_trees=how.random_splits,
        monotone_constraints=[int(name in rising) for name in table],
        monotone_constraints_method="intermediate",
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    # An array, for LightGBM would change names with blanks; the member knows what its columns are.
    return booster.fit(table.to_numpy(), target)


def _fit_forest(
    table: pd.DataFrame, target: np.ndarray, preset: Preset, seed: int, n_jobs: int
) -> RandomForestRegressor | ExtraTreesRegressor:
    """Fit the mean of trees that a preset says."""
    forest = new_forest(preset, list(map(str, table)), seed, n_jobs)
    return forest.fit(table, target).set_params(n_jobs=1)


def new_forest(
    preset: Preset, names: Sequence[str], seed: int, n_jobs: int = 1
) -> RandomForestRegressor | ExtraTreesRegressor:
    """Return the forest of a preset before it is fitted on features of these names."""
    return KINDS[preset.kind](
        n_estimators=preset.trees,
        min_samples_leaf=preset.min_samples_leaf,
        max_features=preset.max_features,
        bootstrap=preset.bootstrap,
        max_samples=preset.max_samples,
        monotonic_cst=[int(name in preset.increasing) for name in names],
        random_state=seed,
        n_jobs=n_jobs,
    )


def _complete_rows(
    samples: pd.DataFrame, names: list[str], observed: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Features as float32 and the target of the rows where none of them is missing."""
    check_features(names, observed)
    check_columns(samples, [*names, observed])
    if not pd.api.types.is_numeric_dtype(samples[observed].dtype):
        raise ValueError(
            f"the observed column {observed!r} has type {samples[observed].dtype}, "
            "expected numbers in m3 m-3"
        )
    table = pd.DataFrame(table_values(samples, names), columns=pd.Index(names), copy=False)
    target = samples[observed].to_numpy(dtype="float64", na_value=np.nan)
    check_finite(table, target, observed)
    complete = ~np.isnan(target)
    for name in names:
        complete &= table[name].notna().to_numpy()
    logger.info("training: kept %d of %d rows", complete.sum(), len(samples))
    if not complete.any():
        raise ValueError(_no_row_left(table, target, observed))
    return (table, target) if complete.all() else (table[complete], target[complete])


def check_features(names: Sequence[str], observed: str) -> None:
    """Raise unless there are features, each named once, and the target is not one of them."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"features are {list(names)}, expected one or more, each named once")
    if observed in names:
        raise ValueError(f"{observed!r} is the observed column, so it cannot be a feature too")


def check_finite(table: pd.DataFrame, target: np.ndarray, observed: str) -> None:
    """Raise if a column holds an infinite value: float32 ends at 3.4e38."""
    columns = {**{str(name): table[name].to_numpy() for name in table}, observed: target}
    found = {name: int(np.isinf(values).sum()) for name, values in columns.items()}
    infinite = {name: count for name, count in found.items() if count}
    if infinite:
        raise ValueError(f"infinite values (rows by column: {infinite}), expected numbers or NaN")


def _no_row_left(table: pd.DataFrame, target: np.ndarray, observed: str) -> str:
    """Say which columns are missing most."""
    missing = table.isna().sum()
    missing[observed] = np.isnan(target).sum()
    worst = missing.sort_values(ascending=False).head(3).to_dict()
    return (
        f"no row of {len(table)} has all of {list(table)} and {observed!r}; "
        f"most are missing in {worst}: leave such a feature out"
    )
