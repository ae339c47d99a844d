"""All splits side by side: which rows they judge, and what they agree on."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest

from gssm_cube.evaluate import evaluate
from gssm_cube.forest import Preset
from gssm_cube.skill.comparison import compare_splits
from gssm_cube.skill.station_rows import rows_of_table
from gssm_cube.skill.trials import Recipe, complete_samples

PRESET = Preset(name="small", features=("wet", "clay"), trees=6, min_samples_leaf=5)
BY_PLACE = ("new_stations", "blocks_100km", "blocks_300km", "regions", "knndm")


def world(stations: int = 20, days: int = 130, seed: int = 1) -> pd.DataFrame:
    """Stations 5 degrees apart over two calendar years; a level of each that nothing tells."""
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(stations), days)
    wet = rng.normal(size=station.size)
    # Soil names the station, as it does on real tables, and says little of its level.
    clay = rng.permutation(np.linspace(5.0, 60.0, stations))
    level = 0.3 + 0.05 * rng.normal(size=stations)
    observed = level[station] + 0.06 * wet
    return pd.DataFrame({
        "station": [f"s{number:02d}" for number in station],
        "station_lat": -40.0 + 5.0 * (station % 5), "station_lon": 5.0 * (station // 5),
        "time": np.tile(pd.date_range("2019-10-01", periods=days), stations),
        "wet": wet, "clay": clay[station], "observed": observed,
        "network": np.where(station % 2, "odd", "even"),
        "bucket_50": 0.5 + 0.1 * wet, "swvl1": observed + 0.1,
    })  # fmt: skip


def points() -> tuple[np.ndarray, np.ndarray]:
    lat, lon = np.meshgrid(np.linspace(-42, -18, 15), np.linspace(-2, 17, 15))
    return lat.ravel(), lon.ravel()


def splits_of(table, trees=6, points=None, seeds=(0,)):
    """All splits of a table by a small forest, without the rest of a full evaluation."""
    names = {"station": "station", "lat": "station_lat", "lon": "station_lon"}
    names |= {"time": "time", "observed": "observed"}
    preset = PRESET.model_copy(update={"trees": trees})
    known = complete_samples(table, PRESET.features, names, least=2)
    recipe = Recipe(preset, list(PRESET.features), 0, 1)
    with TemporaryDirectory() as folder:
        rows = rows_of_table(known, Path(folder))
        return compare_splits(rows, recipe, points=points, seeds=seeds)


@pytest.fixture(scope="module")
def full():
    """Scores of a full evaluation, the steps that it told, and the fits that it made."""
    told, fits, fit = [], [], Recipe.fit
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Recipe, "fit", lambda *given: fits.append(given[0]) or fit(*given))
        found = evaluate(
            world(), PRESET, full=True, points=points(), progress=lambda *step: told.append(step)
        )
    return found.scores, told, len(fits)


@pytest.fixture(scope="module")
def scores(full):
    return full[0]


def test_every_fit_is_a_step_and_all_are_counted_before_the_first(full):
    _, told, fits = full
    # Random rows, new years, 5 folds. Three seeds of six ways with 5 folds, of 3 regions, of new
    # years, and of four shares with 5 folds. The forest set out from, on 5 folds.
    assert fits == 1 + 1 + 5 + 3 * (6 * 5 + 3 + 1 + 4 * 5) + 5
    assert told == [("evaluate", step, fits) for step in range(fits + 1)]


def test_all_splits_stand_side_by_side_and_are_json(scores):
    assert list(scores["splits"]) == [
        *("random_rows", "new_years", "new_stations", "blocks_100km", "blocks_300km"),
        *("regions", "knndm", "new_stations_and_years"),
    ]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    for name in (*BY_PLACE, "random_rows"):
        row = scores["splits"][name]
        assert (row["n"], row["seeds"], row["stations"]) == (2600, 3, 20)
        assert row["scatter"]["rmse"] > 0
        assert row["interval"]["rmse"][0] < row["rmse"] < row["interval"]["rmse"][1]
    assert scores["splits"]["random_rows"]["label"] == "comparison only"


def test_ways_that_hold_out_places_agree_and_random_rows_do_not(scores):
    rmse = {name: scores["splits"][name]["rmse"] for name in (*BY_PLACE, "random_rows")}
    places = [rmse[name] for name in BY_PLACE]
    assert rmse["random_rows"] < 0.7 * min(places)
    assert max(places) < 1.25 * min(places)


def test_new_stations_in_new_years_judge_the_new_years_only(scores):
    row = scores["splits"]["new_stations_and_years"]
    assert row["n"] == 20 * 38  # 1 January to 7 February 2020
    assert row["rmse"] > 1.3 * scores["splits"]["new_years"]["rmse"]


def test_matched_distances_come_as_curves(scores):
    distances = scores["splits"]["knndm"]["distances"]
    for name in ("fold_km", "prediction_km", "station_km"):
        assert len(distances[name]) == 41 and np.diff(distances[name]).min() >= 0
    assert distances["station_km"][0] > 400  # 5 degrees, a little less eastwards


def test_the_learning_curve_ends_with_all_stations(scores):
    curve = scores["learning_curve"]
    assert [point["stations"] for point in curve] == sorted(p["stations"] for p in curve)
    assert curve[-1]["stations"] == 16  # four fifths of 20
    assert curve[0]["stations"] == pytest.approx(4, abs=1)
    assert curve[-1]["rmse"] == scores["splits"]["new_stations"]["rmse"]  # of the same seeds
    assert curve[-1]["scatter"] == scores["splits"]["new_stations"]["scatter"]["rmse"] > 0


def test_without_prediction_points_matched_distances_are_skipped_unless_there_is_a_test_table():
    table = world(8, 40)
    found = splits_of(table, trees=1)
    assert found["knndm"] == {"skipped": "no prediction points are given"}
    other = world(4, 40, seed=2)
    found = evaluate(table, PRESET, full=True, trees=1, test=other).scores["splits"]
    assert "rmse" in found["knndm"]


def test_one_year_and_one_block_are_skipped_with_a_reason():
    crowded = world(4, 30).assign(station_lat=10.0, station_lon=10.0)
    found = splits_of(crowded, trees=1)
    assert found["new_years"] == {"skipped": "one calendar year"}
    for name in ("new_stations", "blocks_100km", "regions", "new_stations_and_years"):
        assert found[name] == {"skipped": "all stations lie in one group"}
    assert "rmse" in found["random_rows"]


def test_shuffled_observations_have_no_skill_in_any_split_by_place():
    table = world()
    shuffled = np.random.default_rng(9).permutation(table["observed"].to_numpy())
    found = splits_of(table.assign(observed=shuffled), points=points())
    for name in (*BY_PLACE, "new_stations_and_years"):
        row = found[name]
        assert abs(row["r"]) < 0.15
        assert row["rmse"] >= row["baseline"]["mean_of_training"]
        assert row["station_r"] is None or abs(row["station_r"]) < 0.15
    assert found["new_stations"]["rmse"] > 0.9 * shuffled.std()


def test_baselines_are_judged_beside_the_forest_at_new_stations(scores):
    baseline = scores["new_stations"]["baseline"]
    assert set(baseline) == {"mean_of_training", "climatology", "bucket_50", "swvl1", "seed_like"}
    assert baseline["swvl1"]["rmse"] == pytest.approx(0.1)  # as it is, too wet by 0.1
    assert baseline["bucket_50"]["stations"]["ubrmse"] < 0.01  # rescaled, it follows each day
    assert baseline["mean_of_training"]["r"] < 0.2
    for name in ("mean_of_training", "climatology"):
        told = baseline[name]["forest_less_baseline"]["rmse"]
        assert told["difference"] < 0 and told["significant"]
        difference = scores["new_stations"]["rmse"] - baseline[name]["rmse"]
        assert told["difference"] == pytest.approx(difference, abs=1e-10)


def test_baselines_stand_beside_new_years_and_stations_apart_tell_nothing_within_a_cell(scores):
    assert scores["new_years"]["baseline"]["swvl1"]["rmse"] == pytest.approx(0.1)
    assert scores["new_years"]["days"] == ["2020-01-01", "2020-02-07"]
    assert list(scores["new_stations"]["resolution"]) == ["skipped"]


def test_scores_are_told_apart_by_network(scores):
    strata = scores["new_stations"]["strata"]
    assert set(strata) == {"network"} and set(strata["network"]) == {"even", "odd"}
    assert sum(found["n"] for found in strata["network"].values()) == 2600
    assert strata["network"]["odd"]["stations"]["count"] == 10


def test_the_interval_is_calibrated_on_all_stations_and_judged_on_those_that_did_not(scores):
    said = scores["new_stations"]["intervals"]
    assert (said["stations"], said["level"]) == (20, 0.9)
    assert said["change_factor"] < said["factor"]  # the level is what is not known
    assert said["elsewhere"]["divisions"] == 100
    assert 0.88 < said["elsewhere"]["coverage"] < 1


def test_too_few_stations_have_no_interval():
    found = evaluate(world(8, 40), PRESET, trees=2)
    assert found.calibration is None
    said = found.scores["new_stations"]["intervals"]
    assert said == {"skipped": "8 stations, 9 are needed for 90%"}


def test_the_index_of_held_out_stations_is_ranked_against_their_errors(scores):
    note = scores["new_stations"]["applicability"]
    assert note["features"] == ["clay"]  # what changes in time does not count
    assert -1 <= note["rank_correlation_with_rmse"] <= 1
    assert note["label"] == "information, not an estimate of error"


def test_a_second_table_is_covered_by_the_interval_of_the_first():
    found = evaluate(world(), PRESET, test=world(seed=7)).scores["test"]
    assert set(found["baseline"]) == {"mean_of_training", "climatology", "bucket_50", "swvl1"}
    assert found["baseline"]["swvl1"]["rmse"] == pytest.approx(0.1)  # as it is, too wet by 0.1
    assert found["baseline"]["bucket_50"]["stations"]["ubrmse"] < 0.01
    assert found["intervals"]["stations"] == 20
    assert 0.7 < found["intervals"]["coverage"] <= 1
    assert found["interval"]["rmse"][0] < found["rmse"] < found["interval"]["rmse"][1]
