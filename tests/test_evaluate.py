"""Evaluation: what is scored, and that it has never been seen."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm_cube.evaluate import evaluate, read_samples
from gssm_cube.forest import Preset
from gssm_cube.statistics.scores import pooled_scores

PRESET = Preset(name="small", features=("wet", "warm"), trees=8)
MEMORISE = Preset(name="memory", features=("number",), trees=1, bootstrap=False)
COLUMNS = ["station", "lat", "lon", "time", "observed", "predicted", "split"]

KIT = "tables/uscrn_daily_2020_kit.parquet"
KIT_COLUMNS = {
    "observed": "soil_moisture_5_daily",
    "station": "wban",
    "lat": "latitude",
    "lon": "longitude",
    "time": "lst_date",
}
KIT_FEATURES = [
    *("t_daily_max", "t_daily_min", "t_daily_mean", "t_daily_avg", "p_daily_calc"),
    *("solarad_daily", "sur_temp_daily_max", "sur_temp_daily_min", "sur_temp_daily_avg"),
    *("rh_daily_max", "rh_daily_min", "rh_daily_avg"),
    *("derived_pet_hargreaves_mm", "derived_api_k091_mm", "clay_pct", "sand_pct", "silt_pct"),
    *("saturation_m3m3", "organic_carbon_pct", "elevation_m", "longitude", "latitude"),
]


def station_days(count: int = 12, days: int = 120, first: str = "2019-11-01") -> pd.DataFrame:
    """Stations 2 degrees apart; moisture follows `wet`, at a level of the station's own."""
    rng = np.random.default_rng(4)
    station = np.repeat(np.arange(count), days)
    table = pd.DataFrame(rng.normal(size=(station.size, 2)), columns=["wet", "warm"])
    level = rng.normal(0.3, 0.05, count)[station]
    return table.assign(
        observed=level + 0.05 * table["wet"],
        station=[f"s{number:02d}" for number in station],
        station_lat=-10.0 + 2 * station,
        station_lon=20.0,
        time=np.tile(pd.date_range(first, periods=days), count),
        number=np.arange(station.size, dtype="float64"),
    )


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    return station_days()


@pytest.fixture(scope="module")
def evaluation(samples):
    return evaluate(samples, PRESET, test=station_days(3, 110, "2021-01-01"))


def test_scores_have_their_keys_and_are_json(evaluation):
    assert list(evaluation.scores) == [
        *("random_rows", "new_years", "new_stations", "test", "rows", "forest"),
    ]
    text = json.dumps(evaluation.scores, allow_nan=False)
    assert json.loads(text) == evaluation.scores
    for split in ("random_rows", "new_years", "new_stations", "test"):
        assert {"n", "rmse", "ubrmse", "bias", "r", "stations"} <= set(evaluation.scores[split])
    assert evaluation.scores["random_rows"]["label"] == "comparison only"


def test_every_score_is_that_of_its_predictions(evaluation):
    assert list(evaluation.predictions.columns) == COLUMNS
    for split, rows in evaluation.predictions.groupby("split"):
        expected = pooled_scores(rows["observed"], rows["predicted"])
        found = evaluation.scores[split]
        assert {name: found[name] for name in expected} == expected


def test_each_split_holds_the_rows_that_it_should(evaluation, samples):
    by_split = {split: rows for split, rows in evaluation.predictions.groupby("split")}
    assert len(by_split["random_rows"]) == len(samples) / 4
    assert by_split["new_years"]["time"].min() == pd.Timestamp("2020-01-01")
    assert evaluation.scores["new_years"]["years"] == [2020]
    new = by_split["new_stations"]
    assert len(new) == len(samples) and not new.duplicated(["station", "time"]).any()
    assert len(by_split["test"]) == 330


def test_stations_are_counted_and_scored_from_100_days_on(evaluation):
    found = evaluation.scores["new_stations"]["stations"]
    assert (found["count"], found["left_out"]) == (12, 0)
    assert evaluation.scores["random_rows"]["stations"]["left_out"] == 12


def test_a_forest_that_memorises_noise_scores_as_noise_in_every_split():
    noise = np.random.default_rng(5).normal(0.3, 0.1, 1440)
    table = station_days().assign(observed=noise)
    # Rows of a station stand together, so neighbours tell nothing; seen rows would give 0.
    scores = evaluate(table, MEMORISE).scores
    for split in ("random_rows", "new_years", "new_stations"):
        assert scores[split]["rmse"] > 0.12  # sqrt(2) * 0.1 is expected


def test_the_level_of_a_station_is_known_to_random_rows_and_not_at_new_stations(samples):
    # `number` names the station, as latitude and longitude do on real tables.
    scores = evaluate(samples, PRESET, features=["wet", "number"]).scores
    assert scores["random_rows"]["rmse"] < 0.6 * scores["new_stations"]["rmse"]


def test_the_baseline_is_the_mean_of_the_other_stations():
    # Two stations, so two folds: each is predicted by the mean of the other.
    table = station_days(2, 100).assign(observed=[0.1] * 100 + [0.4] * 100)
    baseline = evaluate(table, PRESET).scores["new_stations"]["baseline"]
    assert baseline["mean_of_training"]["rmse"] == pytest.approx(0.3, abs=1e-12)


def test_the_baseline_weighs_stations_and_not_rows():
    table = station_days(3, 100).assign(observed=[0.1] * 100 + [0.3] * 100 + [0.7] * 100)
    thin = table.drop(index=range(100, 190))  # ten days of the second station
    baseline = evaluate(thin, PRESET).scores["new_stations"]["baseline"]
    squares = 100 * 0.4**2 + 10 * 0.1**2 + 100 * 0.5**2  # against 0.5, 0.4 and 0.2
    assert baseline["mean_of_training"]["rmse"] == pytest.approx(np.sqrt(squares / 210))


def test_stations_of_one_pixel_are_held_out_together(samples):
    twins = samples.assign(station=samples["station"] + "b", number=-1.0)
    both = pd.concat([samples, twins], ignore_index=True)
    scores = evaluate(both, PRESET, features=["wet"]).scores["new_stations"]
    assert (scores["places"], scores["stations"]["count"]) == (12, 24)


def test_the_same_seed_gives_the_same_result_with_one_thread_and_two(samples):
    one, two = (evaluate(samples, PRESET, seed=3, trees=2, n_jobs=jobs) for jobs in (1, 2))
    assert one.scores == two.scores
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert (
        evaluate(samples, PRESET, seed=4, trees=2).scores["random_rows"]
        != one.scores["random_rows"]
    )


def test_importance_is_named_sorted_and_sums_to_one(evaluation):
    assert evaluation.importance.index.tolist() == ["wet", "warm"]
    assert evaluation.importance.sum() == pytest.approx(1)


def test_rows_with_something_missing_are_counted(samples):
    holed = samples.copy()
    holed.loc[0:9, "wet"] = np.nan
    holed.loc[5:14, "observed"] = np.nan
    holed.loc[20:24, "station_lat"] = np.nan
    found = evaluate(holed, PRESET, trees=1).scores
    assert found["rows"] == {"read": 1440, "dropped": 20, "kept": 1420}
    assert found["new_stations"]["n"] == 1420


def test_a_lighter_forest_is_noted(samples, evaluation):
    note = evaluate(samples, PRESET, trees=2).scores["forest"]
    assert (note["trees"], note["preset_trees"]) == (2, 8)
    assert note["note"] == "2 trees in place of the preset's 8, to save time"
    assert "note" not in evaluation.scores["forest"]


def test_one_year_and_one_station_are_skipped_with_a_reason():
    scores = evaluate(station_days(1, 20, "2020-01-01"), PRESET).scores
    assert scores["new_years"] == {"skipped": "one calendar year"}
    assert scores["new_stations"] == {"skipped": "1 station, two are needed"}
    assert scores["random_rows"]["n"] == 5


def test_the_steps_told_are_the_fits_of_what_is_not_skipped():
    told = []
    evaluate(
        station_days(1, 20, "2020-01-01"), PRESET, trees=1, test=station_days(2, 10),
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    # Random rows and the second table: there is one year, and one station.
    assert told == [("evaluate", step, 2) for step in range(3)]


def test_stations_of_one_block_are_skipped_with_a_reason():
    crowded = station_days(3, 20).assign(station_lat=10.0)
    scores = evaluate(crowded, PRESET).scores
    assert scores["new_stations"] == {"skipped": "all stations lie in one block of 25 km"}


def test_stations_in_both_tables_are_counted_and_warned_of(samples, caplog):
    with caplog.at_level(logging.WARNING):
        scores = evaluate(samples, PRESET, trees=1, test=samples[:240]).scores
    assert scores["test"]["stations_in_common"] == 2
    assert scores["test"]["stations_near"] == 2
    assert "2 stations are in the training table too" in caplog.text


def test_a_users_own_names_of_columns_are_used(samples, evaluation):
    own = {"station": "id", "station_lat": "lat", "station_lon": "lon", "observed": "sm"}
    renamed = samples.rename(columns=own | {"time": "day"})
    found = evaluate(
        renamed, PRESET, observed="sm", station="id", lat="lat", lon="lon", time="day"
    ).scores
    assert found["new_stations"] == evaluation.scores["new_stations"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="warm"), r"lacks the columns \['warm'\]"),
        (lambda t: t.drop(columns="station_lat"), r"lacks the columns \['station_lat'\]"),
        (lambda t: t.assign(observed="wet"), r"column 'observed' \(observed\) has type"),
        (lambda t: t.assign(wet="wet"), "feature 'wet' has type"),
        (lambda t: t.assign(time=20200101), "time column has type int64, expected dates"),
        (lambda t: t.assign(time="some day"), "time column cannot be read as dates"),
        (lambda t: t.assign(warm=np.nan), "0 of 1440 rows have all of the features"),
        (lambda t: t.assign(station_lat=99.0), "off the globe"),
    ],
)
def test_a_wrong_table_is_refused_in_one_sentence(samples, change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(change(samples), PRESET, trees=1)


def test_samples_come_back_from_parquet_and_csv(samples, tmp_path):
    few = samples[:20]
    few.to_parquet(tmp_path / "s.parquet")
    few.to_csv(tmp_path / "s.csv", index=False)
    parquet = read_samples(tmp_path / "s.parquet", columns=["wet", "station"])
    pd.testing.assert_frame_equal(parquet, few)
    np.testing.assert_array_equal(read_samples(tmp_path / "s.csv")["wet"], few["wet"])


def test_a_table_that_cannot_serve_is_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "head.csv").write_text("wet,warm\n")
    (tmp_path / "one.csv").write_text("wet,warm\n1,2\n")
    for name, message in {
        "bad.parquet": "cannot be read as parquet",
        "empty.csv": "cannot be read as csv",
        "head.csv": "has no rows",
        "table.xlsx": "ends in '.xlsx', expected .csv or .parquet",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_samples(tmp_path / name)
    with pytest.raises(ValueError, match=r"one.csv: .*lacks the columns \['sm'\], it has \['wet'"):
        read_samples(tmp_path / "one.csv", columns=["wet", "sm"])
    with pytest.raises(FileNotFoundError, match="no table of samples at .*none.csv"):
        read_samples(tmp_path / "none.csv")


@pytest.mark.real_data
@pytest.mark.parametrize("preset, trees", [("default", 20), ("gssm1km", None)])
def test_real_stations_reach_the_published_random_row_skill_and_lose_it_at_new_places(
    real_data: Path, preset, trees
):
    needed = [*KIT_FEATURES, *KIT_COLUMNS.values()]
    table = read_samples(real_data / KIT, columns=needed)
    result = evaluate(table, preset, features=KIT_FEATURES, trees=trees, **KIT_COLUMNS)
    random, new = result.scores["random_rows"], result.scores["new_stations"]
    assert random["rmse"] <= 0.045
    assert random["r"] >= 0.93
    assert new["n"] == result.scores["rows"]["kept"] > 20_000
    assert 1.5 * random["rmse"] < new["rmse"] < new["baseline"]["mean_of_training"]["rmse"]
