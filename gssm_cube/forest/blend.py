"""A blend: fitted models of trees over the same features, in a weighted sum.

The weights are fixed by the recipe, not fitted: with some tens of stations a fit of weights would
learn the stations. Three kinds of member are known:

- ``forest``, the mean of a random forest: least wrong about the level of a place;
- ``booster``, boosted trees held to rise with wetness: better about the course over the days;
- ``place``, in two steps: the mean of a place, from what is fixed there (soil, climate), by a
  forest that sees every place once; and the days' departures from the place's own mean, by boosted
  trees. It makes two members, each with the weight of both, for their sum is the estimate.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from gssm_cube.forest.rows import table_values
from gssm_cube.variables import names_of

logger = logging.getLogger(__name__)

FIXED = (*names_of("static"), *names_of("climate"), *names_of("climatology"))
PLACE_TREES = 100  # of some tens of leaves each, for there are as many rows as places
DAYS_A_PLACE = 2  # on average at least, or what is said to be fixed in place is not

Fit = Callable[[pd.DataFrame, NDArray[np.float64]], Any]


@dataclass(frozen=True, eq=False)
class Member:
    """A fitted model of a blend.

    Parameters
    ----------
    name : str
    weight : float
        Of its estimate in the sum.
    model : RandomForestRegressor, ExtraTreesRegressor or LGBMRegressor
    features : tuple of str
        Those that it sees, in its order.
    """

    name: str
    weight: float
    model: Any
    features: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Blend:
    """Fitted members and the features of all of them.

    Parameters
    ----------
    features : tuple of str
    members : tuple of Member
        The first mean of trees among them tells the spread of the whole.
    """

    features: tuple[str, ...]
    members: tuple[Member, ...]

    def predict(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the weighted sum of what the members' own libraries predict.

        Parameters
        ----------
        table : DataFrame
            All features by name, none missing.

        Returns
        -------
        ndarray (row), float64, m3 m-3
        """
        estimate = np.zeros(len(table))
        for member in self.members:
            values = pd.DataFrame(table_values(table, member.features), columns=member.features)
            seen = values if hasattr(member.model, "estimators_") else values.to_numpy()
            estimate += member.weight * member.model.predict(seen)
        return estimate

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the features, as scikit-learn's forests know theirs."""
        return np.array(self.features, dtype=object)

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Shares of the features in what the splits gained, by the members' weights."""
        total = pd.Series(0.0, index=pd.Index(self.features))
        for member in self.members:
            gained = np.asarray(member.model.feature_importances_, "float64")
            share = gained / (gained.sum() or 1.0)
            total[list(member.features)] += member.weight * share
        return np.asarray(total / (total.sum() or 1.0), "float64")


def fixed_features(names: Sequence[str]) -> tuple[str, ...]:
    """Return which of the features do not change with the days at a place."""
    return tuple(name for name in names if name in FIXED)


def place_members(
    table: pd.DataFrame, target: NDArray[np.float64], weight: float, fit_booster: Fit, seed: int
) -> list[Member]:
    """Fit the mean of places and the departures from it.

    A place is a distinct set of the features that are fixed there: stations that share a pixel
    are one place.

    Parameters
    ----------
    table : DataFrame
        Features, float32, no value missing.
    target : ndarray (row), float64, m3 m-3
    weight : float
        Of the two in the blend.
    fit_booster : callable
        Fits the departures, from a table and a target.
    seed : int
        Of the forest of places.

    Returns
    -------
    list of Member
        ``place`` and ``departure``.

    Raises
    ------
    ValueError
        If what is said to be fixed in place changes with the days.
    """
    fixed = list(fixed_features(tuple(map(str, table))))
    number = table.groupby(fixed, sort=False).ngroup().to_numpy()
    days = np.bincount(number)
    if len(table) < DAYS_A_PLACE * days.size:
        raise ValueError(
            f"{len(table)} rows have {days.size} distinct sets of {fixed}, which are fixed in "
            f"place: expected at least {DAYS_A_PLACE} days a place; give features that are fixed, "
            "or choose a preset without a mean of places"
        )
    mean = np.bincount(number, target) / days
    first = np.unique(number, return_index=True)[1]
    # Breiman's third of the features; a leaf of two places, for one place alone is a memory.
    forest = RandomForestRegressor(
        PLACE_TREES, min_samples_leaf=2, max_features=1 / 3, random_state=seed, n_jobs=1
    ).fit(table[fixed].iloc[first], mean)
    departures = fit_booster(table, target - mean[number])
    return [
        Member("place", weight, forest, tuple(fixed)),
        Member("departure", weight, departures, tuple(map(str, table))),
    ]
