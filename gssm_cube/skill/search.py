"""Settings of a forest chosen by a grid at stations that it has not seen.

`dask_ml.model_selection.GridSearchCV` spreads the fits over the Dask cluster that is active, or
over threads of this process. Folds are whole blocks of places, so that no setting is liked for
remembering a station.
"""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
from sklearn.model_selection import GroupKFold

from gssm_cube.forest.presets import Preset
from gssm_cube.forest.train import new_forest
from gssm_cube.skill.trials import Samples
from gssm_cube.splits import BLOCK_KM, blocks_of

logger = logging.getLogger(__name__)

GRID: Mapping[str, Sequence[float]] = MappingProxyType(
    {"min_samples_leaf": (1, 3, 5, 10), "max_features": (0.2, 0.33, 0.6)}
)
FOLDS = 5


def search_forest(
    known: Samples,
    preset: Preset,
    *,
    grid: Mapping[str, Sequence[float]] = GRID,
    seed: int = 0,
) -> tuple[Preset, dict[str, Any]]:
    """Choose the settings of a preset's forest by the RMSE at places held out.

    The other members of a blend stay as they are.

    Parameters
    ----------
    known : Samples
        From `trials.complete_samples`.
    preset : Preset
        What is not in the grid is taken from it.
    grid : mapping
        Values to try of fields of the preset, all combinations.
    seed : int
        Of the forests.

    Returns
    -------
    preset : Preset
        With the best combination.
    said : dict
        Plain values for the model card: ``grid``, ``folds``, ``places``, ``chosen`` and
        ``rmse``, a row a combination with its mean over the folds and its standard deviation, in
        m3 m-3, the best first.

    Raises
    ------
    ValueError
        If there are fewer places than folds.
    """
    from dask_ml.model_selection import GridSearchCV  # takes seconds to import

    groups = blocks_of(known.places)
    places = pd.unique(pd.Series(groups)).size
    if places < FOLDS:
        raise ValueError(
            f"the stations lie in {places} blocks of {BLOCK_KM:g} km, a search needs {FOLDS}; "
            "train without a search"
        )
    features = known.table.drop(columns=known.observed)
    search = GridSearchCV(
        new_forest(preset, list(map(str, features)), seed),
        {name: list(values) for name, values in grid.items()},
        scoring="neg_root_mean_squared_error",
        cv=GroupKFold(FOLDS),
        iid=False,
        refit=False,
    )
    search.fit(features, known.table[known.observed].to_numpy(), groups=groups)
    rows = _ranked(search.cv_results_, list(grid))
    chosen = {name: rows[0][name] for name in grid}
    logger.info("search: %s, RMSE %.4f at new places", chosen, rows[0]["rmse"])
    found = Preset.model_validate(preset.model_dump() | chosen)
    return found, {
        "grid": {name: list(values) for name, values in grid.items()},
        "folds": FOLDS,
        "places": int(places),
        "chosen": chosen,
        "rmse": rows,
    }


def _ranked(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a combination, the least RMSE first."""
    columns = (results[name] for name in ("params", "mean_test_score", "std_test_score"))
    rows = [
        {name: tried[name] for name in names} | {"rmse": -float(mean), "std": float(spread)}
        for tried, mean, spread in zip(*columns, strict=True)
    ]
    return sorted(rows, key=lambda row: row["rmse"])
