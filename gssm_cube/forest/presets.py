"""Presets: named recipes of forests and blends, as values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from gssm_cube.forest.blend import PLACE_TREES
from gssm_cube.variables import names_of


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
    rising : bool
        Whether the estimate may only rise with the features that the preset says.
    """

    trees: int = Field(default=200, gt=0)
    leaves: int = Field(default=15, gt=1)
    learning_rate: float = Field(default=0.08, gt=0)
    min_samples_leaf: int = Field(default=100, gt=0)
    max_features: float = Field(default=0.4, gt=0, le=1)
    max_samples: float = Field(default=0.5, gt=0, le=1)
    ridge: float = Field(default=5.0, ge=0)
    random_splits: bool = True
    rising: bool = True


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
        Of the blend's booster.
    departures : Boosting
        Of the boosted trees that follow the days' departures from the mean of a place.
    unseen_by_booster : tuple of str
        Features that the booster is not shown; the forest and the mean of places see them.
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
    departures: Boosting = Boosting()
    unseen_by_booster: tuple[str, ...] = ()

    @property
    def small_trees(self) -> int:
        """Number of trees that a blend has beside its forest's."""
        booster = (self.weights.booster > 0) * self.boosting.trees
        return booster + (self.weights.place > 0) * (PLACE_TREES + self.departures.trees)


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
_FOREST = Preset(
    name="memory_forest",
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

# Three ways to be wrong at a new place, a third each. The forest is least wrong about the level.
# Boosted trees follow the days better, but learn the stations by their climate when they see it.
# Departures from a place's mean, which have no level, do gain from climate. Forest and booster are
# held to rise with wetness. Departures that were too followed the days worse at 20 of 20 draws of
# unseen stations, and so did smaller trees and random splits (`benchmarks/skill.py`).
_DEPARTURES = Boosting(
    leaves=31, learning_rate=0.06, min_samples_leaf=50, random_splits=False, rising=False
)
_THIRDS = Weights(forest=1 / 3, booster=1 / 3, place=1 / 3)
_MEMORY = _FOREST.model_copy(
    update={
        "name": "memory",
        "weights": _THIRDS,
        "departures": _DEPARTURES,
        "unseen_by_booster": (*names_of("climate"), *names_of("climatology")),
    }
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
    _FOREST,
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
