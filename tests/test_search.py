"""The search for a forest's settings: dask-ml on folds of whole places."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold

from gssm_cube.forest import PRESETS, Preset
from gssm_cube.forest.train import new_forest
from gssm_cube.skill.search import search_forest
from gssm_cube.skill.trials import COLUMNS, Samples, complete_samples
from gssm_cube.splits import place_groups

FEATURES = ("wet", "soil")
BASE = Preset(name="base", features=FEATURES, trees=8, kind="extremely_randomised", bootstrap=False)
GRID = {"min_samples_leaf": (1, 40), "max_features": (0.5, 1.0)}


def known_of(stations: int, days: int = 30) -> Samples:
    """Stations whose soil tells nothing of their level, a degree apart."""
    rng = np.random.default_rng(4)
    station = np.repeat(np.arange(stations), days)
    table = pd.DataFrame({
        "station": [f"s{number}" for number in station],
        "station_lat": 40.0 + station, "station_lon": -100.0,
        "time": np.tile(pd.date_range("2020-01-01", periods=days), stations),
        "wet": rng.normal(size=station.size), "soil": rng.normal(size=stations)[station],
    })  # fmt: skip
    level = rng.normal(0, 0.05, stations)[station]
    noise = rng.normal(0, 0.03, station.size)
    table["observed"] = 0.25 + level + 0.03 * table["wet"] + noise
    return complete_samples(table, FEATURES, COLUMNS, least=2)


def test_the_search_finds_what_scikit_learns_own_finds_at_places_held_out():
    known = known_of(10)
    found, said = search_forest(known, BASE, grid=GRID)
    groups = place_groups(known.places["lat"], known.places["lon"])
    theirs = GridSearchCV(
        new_forest(BASE, FEATURES, 0), {name: list(values) for name, values in GRID.items()},
        scoring="neg_root_mean_squared_error", cv=GroupKFold(5),
    )  # fmt: skip
    theirs.fit(known.table[list(FEATURES)], known.table["observed"], groups=groups)
    assert said["chosen"] == theirs.best_params_
    assert said["rmse"][0]["rmse"] == pytest.approx(-theirs.best_score_, abs=1e-12)
    assert [row["rmse"] for row in said["rmse"]] == sorted(row["rmse"] for row in said["rmse"])
    assert (said["places"], said["folds"], len(said["rmse"])) == (10, 5, 4)
    assert found == Preset.model_validate(BASE.model_dump() | said["chosen"])


def test_what_remembers_a_station_is_not_chosen():
    # Soil is the station's number in disguise: small leaves learn levels that are of no use.
    found, _ = search_forest(known_of(10), BASE, grid={"min_samples_leaf": (1, 40)})
    assert found.min_samples_leaf == 40


def test_members_beside_the_forest_stay_as_they_are():
    blend = BASE.model_copy(update={"weights": PRESETS["memory"].weights})
    found, _ = search_forest(known_of(6), blend, grid={"min_samples_leaf": (40,)})
    assert (found.weights, found.boosting) == (blend.weights, blend.boosting)


def test_stations_of_few_places_are_refused():
    with pytest.raises(ValueError, match=r"lie in 4 blocks of 25 km, a search needs 5"):
        search_forest(known_of(4), BASE, grid=GRID)
