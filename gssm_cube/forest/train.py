"""Presets and fitting: from a table of samples to a scikit-learn forest, or a blend.

scikit-learn and LightGBM train and stay the oracles; `flatten` turns their trees into flat arrays.
"""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, model_validator
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest.blend import Blend, Member, fixed_features, place_members
from gssm_cube.forest.rows import check_columns, table_values
from gssm_cube.variables import names_of

logger = logging.getLogger(__name__)

Forest: TypeAlias = RandomForestRegressor | ExtraTreesRegressor | Blend
KINDS = MappingProxyType(
    {"random": RandomForestRegressor, "extremely_randomised": ExtraTreesRegressor}
)


class Boosting(BaseModel, frozen=True, extra="forbid"):
    """How trees are boosted; the fields are LightGBM's in our words.

    The values are those of the project's trials at new stations: small trees of large leaves,
    splits at random places, many of them.

    Parameters
    ----------
    trees : int
        Number of trees.
    leaves : int
        Of a tree, at most.
    learning_rate : float
        Share of each tree in the sum.
    min_samples_leaf : int
        Smallest number of samples in a leaf.
    max_features : float
        Share of the features tried at a split.
    max_samples : float
        Share of the rows drawn for each tree, without replacement.
    ridge : float
        Added to the sum of weights in a leaf: shrinks its value.
    random_splits : bool
        Whether the threshold of each feature tried is drawn at random.
    """

    trees: int = Field(default=400, gt=0)
    leaves: int = Field(default=15, gt=1)
    learning_rate: float = Field(default=0.04, gt=0)
    min_samples_leaf: int = Field(default=100, gt=0)
    max_features: float = Field(default=0.4, gt=0, le=1)
    max_samples: float = Field(default=0.5, gt=0, le=1)
    ridge: float = Field(default=5.0, ge=0)
    random_splits: bool = True


class Weights(BaseModel, frozen=True, extra="forbid"):
    """How much each member counts in the estimate; see `blend` for what they are."""

    forest: float = Field(default=1.0, ge=0)
    booster: float = Field(default=0.0, ge=0)
    place: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _must_sum_to_one(self) -> "Weights":
        total = self.forest + self.booster + self.place
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights sum to {total:g}, expected 1: the estimate is a mean")
        return self


class Preset(BaseModel, frozen=True, extra="forbid"):
    """A named recipe of a forest; the fields are scikit-learn's in our words.

    Parameters
    ----------
    name : str
        How a run names it.
    features : tuple of str
        Columns of the samples, by name.
    trees : int
        Number of trees.
    kind : "random" or "extremely_randomised"
        Whether a split is the best of all places on a feature, or of one drawn at random per
        feature (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1).
    min_samples_leaf : int
        Smallest number of samples in a leaf.
    max_features : "sqrt" or float
        Features tried at a split; a number is a share of all.
    bootstrap : bool
        Whether each tree sees rows drawn with replacement.
    max_samples : float, optional
        Share of the rows drawn for each tree; all if None.
    increasing : tuple of str
        Features with which the estimate may only rise, all else equal.
    weights : Weights
        Of the forest that the other fields say, and of what is blended with it.
    boosting : Boosting
        Of the blend's boosted trees.
    """

    name: str
    features: tuple[str, ...] = Field(min_length=1)
    trees: int = Field(gt=0)
    kind: Literal["random", "extremely_randomised"] = "random"
    min_samples_leaf: int = Field(default=1, gt=0)
    max_features: Literal["sqrt"] | Annotated[float, Field(gt=0, le=1)] = 1.0
    bootstrap: bool = True
    max_samples: float | None = Field(default=None, gt=0, le=1)
    increasing: tuple[str, ...] = ()
    weights: Weights = Weights()
    boosting: Boosting = Boosting()


_GSSM1KM = (
    "apei", "evaporation", "tair", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt",
    "porosity", "omc", "ti", "elevation", "wtd", "dtb", "lat", "lon",
)  # fmt: skip

_WETNESS = (
    "precipitation", "surplus_11d", "surplus_50d", "wetness_slow", "wetness_fast", "bucket_20",
    "bucket_50", "bucket_150", "rain_3d", "rain_30d",
)  # fmt: skip
# What any station with a rain gauge, thermometers and a soil map can give. 100 trees are
# significantly better than 20 at new stations; leaves of 5 cost no skill there and leave a sixth
# of the nodes (USCRN 2020). A third of the features is Breiman's choice for regression.
_MEMORY = Preset(
    name="memory",
    features=(
        *("precipitation", "pet", "tair", "lst", "lst_diff", "swe", "surplus_11d", "surplus_50d"),
        *("wetness_slow", "wetness_fast", "bucket_20", "bucket_50", "bucket_150", "rain_3d"),
        *("rain_30d", "tair_7d", "tair_30d"),
        *("clay", "sand", "silt", "porosity", "omc", "elevation"),
        *names_of("climate"),
        *names_of("climatology"),
    ),
    trees=100,
    kind="extremely_randomised",
    min_samples_leaf=5,
    max_features=0.33,
    bootstrap=False,
    increasing=_WETNESS,
)

_PRESETS = (
    # Han et al. (2023), doi:10.1038/s41597-023-02011-7, as their Earth Engine script runs it: bag
    # fraction 0.5 (here: drawn with replacement), square root of the features at a split.
    Preset(name="gssm1km", features=_GSSM1KM, trees=20, max_features="sqrt", max_samples=0.5),
    # Zhang et al. (2021), doi:10.3390/rs13234893; what the paper's summary leaves open is
    # scikit-learn's default.
    Preset(
        name="zhang2021",
        features=("api", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt", "lat", "lon"),
        trees=100,
    ),
    # At stations that no forest has seen, memory and splits at random places win
    # (`benchmarks/skill.py`); latitude and longitude let a forest memorise the stations and add
    # nothing once the climate is there. More water in the weeks before never means drier soil.
    _MEMORY,
    # The same with what a cube knows at 1 km and a station table does not: vegetation, terrain,
    # groundwater.
    _MEMORY.model_copy(
        update={
            "name": "default",
            "features": (
                *_MEMORY.features,
                *("apei", "evaporation", "ndvi", "evi", "ti", "wtd", "dtb"),
            ),
        }
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _PRESETS})


def find_preset(preset: Preset | str) -> Preset:
    """Return a preset by its name; a preset is passed through."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is not known, expected one of {sorted(PRESETS)}")
    return PRESETS[preset]


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
    ModuleNotFoundError
        If the preset blends boosted trees and LightGBM is not installed.
    """
    preset = find_preset(preset)
    names = list(preset.features if features is None else features)
    table, target = _complete_rows(samples, names, observed)
    if preset.weights == Weights():
        return _fit_forest(table, target, preset, seed, n_jobs)
    return _fit_blend(table, target, preset, seed, n_jobs)


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
    table: pd.DataFrame, target: np.ndarray, preset: Preset, seed: int, n_jobs: int
) -> Blend:
    """Fit every member of a blend; their order is that of their sum."""
    names = tuple(map(str, table))
    weights = usable_weights(preset, names)
    if set(weights) < {name for name, weight in preset.weights if weight}:
        logger.info("training: no feature is fixed in place, weights are %s", weights)

    def fit_booster(features: pd.DataFrame, values: np.ndarray) -> Any:
        return _fit_booster(features, values, preset, seed)

    members = []
    if "forest" in weights:
        forest = _fit_forest(table, target, preset, seed, n_jobs)
        members.append(Member("forest", weights["forest"], forest, names))
    if "booster" in weights:
        booster = fit_booster(table, target)
        members.append(Member("booster", weights["booster"], booster, names))
    if "place" in weights:
        members += place_members(table, target, weights["place"], fit_booster, seed)
    return Blend(names, tuple(members))


def _fit_booster(table: pd.DataFrame, target: np.ndarray, preset: Preset, seed: int) -> Any:
    """Fit boosted trees; the same on every machine with the same version of LightGBM."""
    try:
        from lightgbm import LGBMRegressor
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"preset {preset.name!r} blends boosted trees, for which LightGBM is missing; install "
            "gssm-cube[boost], or choose another preset such as 'memory'"
        ) from error
    how = preset.boosting
    booster = LGBMRegressor(
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
        monotone_constraints=[int(name in preset.increasing) for name in table],
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
    forest = KINDS[preset.kind](
        n_estimators=preset.trees,
        min_samples_leaf=preset.min_samples_leaf,
        max_features=preset.max_features,
        bootstrap=preset.bootstrap,
        max_samples=preset.max_samples,
        monotonic_cst=[int(name in preset.increasing) for name in table],
        random_state=seed,
        n_jobs=n_jobs,
    )
    return forest.fit(table, target).set_params(n_jobs=1)


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
    table = pd.DataFrame(table_values(samples, names), columns=pd.Index(names))
    target = samples[observed].to_numpy(dtype="float64", na_value=np.nan)
    _check_finite(table.assign(**{observed: target}))
    complete = table.notna().all(axis="columns").to_numpy() & ~np.isnan(target)
    logger.info("training: kept %d of %d rows", complete.sum(), len(samples))
    if not complete.any():
        raise ValueError(_no_row_left(table, target, observed))
    return table[complete], target[complete]


def check_features(names: Sequence[str], observed: str) -> None:
    """Raise unless there are features, each named once, and the target is not one of them."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"features are {list(names)}, expected one or more, each named once")
    if observed in names:
        raise ValueError(f"{observed!r} is the observed column, so it cannot be a feature too")


def _check_finite(table: pd.DataFrame) -> None:
    """Raise if a column holds an infinite value: float32 ends at 3.4e38."""
    infinite = np.isinf(table.to_numpy()).sum(axis=0)
    if infinite.any():
        found = {str(name): int(n) for name, n in zip(table, infinite, strict=True) if n}
        raise ValueError(f"infinite values (rows by column: {found}), expected numbers or NaN")


def _no_row_left(table: pd.DataFrame, target: np.ndarray, observed: str) -> str:
    """Say which columns are missing most."""
    missing = table.isna().sum()
    missing[observed] = np.isnan(target).sum()
    worst = missing.sort_values(ascending=False).head(3).to_dict()
    return (
        f"no row of {len(table)} has all of {list(table)} and {observed!r}; "
        f"most are missing in {worst}: leave such a feature out"
    )
