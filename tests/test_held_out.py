"""Held-out rows on disk: the scores of rows in memory, and memory that does not follow the rows."""

import math
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm_cube.evaluate import evaluate
from gssm_cube.forest import Preset
from gssm_cube.intervals import calibrate, coverage, coverage_over_splits
from gssm_cube.plots import figures
from gssm_cube.skill import station_rows
from gssm_cube.skill.findings import baseline_scores, calibrated, strata_scores
from gssm_cube.skill.held_out import HeldOut, judged, out_of_fold
from gssm_cube.skill.judgements import scored
from gssm_cube.skill.predictions import Predictions, write_predictions
from gssm_cube.skill.resolution import within_cells
from gssm_cube.skill.station_rows import StationRows, rows_of_table
from gssm_cube.skill.trials import COLUMNS, Recipe, complete_samples
from gssm_cube.splits import Split, place_folds, place_groups
from gssm_cube.statistics.scores import Scoring, score_table, station_table

PRESET = Preset(name="small", features=("wet", "clay"), trees=3, min_samples_leaf=5)
RECIPE = Recipe(PRESET, list(PRESET.features), 0, 1)


def world(stations: int = 12, days: int = 110, seed: int = 2) -> pd.DataFrame:
    """Stations of which three and three share a cell; some lack an estimate of others."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(stations), days)
    wet = rng.normal(size=number.size)
    observed = 0.25 + 0.05 * rng.normal(size=stations)[number] + 0.05 * wet
    return pd.DataFrame({
        "station": [f"s{index:03d}" for index in number], "wet": wet,
        "station_lat": -60.0 + 0.01 * (number % 3), "station_lon": 1.0 * (number // 3),
        "time": np.tile(pd.date_range("2019-10-01", periods=days), stations),
        "clay": rng.uniform(5, 60, stations)[number], "observed": observed,
        "network": np.where(number % 2, "odd", "even"),
        "bucket_50": 0.5 + 0.1 * wet, "swvl1": np.where(number == 4, np.nan, observed + 0.1),
    })  # fmt: skip


def laid_down(table: pd.DataFrame, folder: Path) -> StationRows:
    return rows_of_table(complete_samples(table, PRESET.features, COLUMNS, least=2), folder)


def differences(first, second) -> list[float]:
    """Differences of all numbers of two results, which are the same otherwise."""
    if isinstance(first, Mapping):
        assert list(first) == list(second)
        first, second = list(first.values()), list(second.values())
    if isinstance(first, list):
        assert len(first) == len(second)
        return [d for pair in zip(first, second, strict=True) for d in differences(*pair)]
    if isinstance(first, float) and isinstance(second, float):
        return [0.0 if math.isnan(first) and math.isnan(second) else abs(first - second)]
    assert first == second
    return []


def test_scores_of_small_parts_are_those_of_one(monkeypatch):
    # Most are the same to the bit; sums over stations are rounded by their order.
    monkeypatch.setattr(station_rows, "PART_ROWS", 10_000)
    whole = evaluate(world(), PRESET, test=world(5, seed=8))
    monkeypatch.setattr(station_rows, "PART_ROWS", 250)
    parts = evaluate(world(), PRESET, test=world(5, seed=8))
    found = differences(whole.scores, parts.scores)
    assert len(found) > 300 and max(found) < 1e-12
    assert "skipped" not in whole.scores["new_stations"]["resolution"]
    pd.testing.assert_frame_equal(whole.predictions, parts.predictions)
    assert whole.calibration == parts.calibration
    assert whole.reference_dict == parts.reference_dict


@pytest.fixture
def held(tmp_path, monkeypatch) -> HeldOut:
    """Estimates out of fold, in parts of two stations."""
    monkeypatch.setattr(station_rows, "PART_ROWS", 220)
    rows = laid_down(world(), tmp_path)
    groups = place_groups(rows.sites["lat"], rows.sites["lon"])
    folds = rows.spread(place_folds(groups, k=3, seed=1))
    with out_of_fold(rows, RECIPE, Split(folds)) as found:
        yield found
    assert not list(tmp_path.glob("held_*"))


def test_what_is_found_part_by_part_is_what_the_whole_table_gives(held):
    whole = pd.concat(held)
    assert len(whole) == 1320 and whole["fold"].nunique() == 3
    np.testing.assert_array_equal(whole["fold"], held.folds())
    scoring = Scoring()
    for days in held:
        scoring.add(days)
    assert scoring.scores() == score_table(whole)
    pd.testing.assert_frame_equal(scoring.stations, station_table(whole))
    grouped = whole.assign(group=place_groups(whole["lat"], whole["lon"]))
    calibration = calibrate(held)
    assert calibration == calibrate(whole)
    assert max(differences(coverage(held, calibration), coverage(whole, calibration))) < 1e-15
    pd.testing.assert_frame_equal(
        coverage_over_splits([grouped[:440], grouped[440:]]), coverage_over_splits(grouped)
    )
    assert max(differences(within_cells(held.cells()), within_cells(whole))) < 1e-12
    strata = strata_scores(held)["network"]
    assert strata["odd"]["rmse"] == score_table(whole[whole["network"] == "odd"])["rmse"]
    swvl1 = baseline_scores(held, scoring.stations)["swvl1"]
    known = whole.dropna(subset="swvl1")
    assert swvl1["n"] == len(known) == 1210
    own, other = (score_table(known)["rmse"], swvl1["rmse"])
    assert swvl1["forest_less_baseline"]["rmse"]["difference"] == pytest.approx(own - other)


def test_a_quantile_that_is_found_in_passes_is_the_one_that_sorting_finds(held):
    whole = pd.concat(held)
    score = (whole["observed"] - whole["predicted"]).abs() / np.hypot(whole["spread"], 0.05)
    # Twelve stations of 110 days: each day weighs 1 / (110 * 13).
    assert calibrate(held).factor == np.sort(score)[math.ceil(0.9 * 110 * 13) - 1]


def peak_of(work) -> int:
    """Bytes that Python and NumPy take at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def judge_all(rows: StationRows, few: int, folder: Path) -> None:
    """All that an evaluation and its report do with rows that are not trained on."""
    train = np.arange(len(rows)) < few
    with judged(rows, RECIPE, train, np.ones(len(rows), bool)) as held:
        baseline_scores(held, scored(held).stations)
        strata_scores(held)
        calibrated(held)
        within_cells(held.cells())
        write_predictions(folder / "predictions.parquet", {"new_stations": held})
    figures.density(Predictions(folder / "predictions.parquet").of_split("new_stations"))


def test_memory_follows_the_rows_that_train_and_not_those_that_are_judged(tmp_path, monkeypatch):
    # As many stations, and as many rows in a part: what is more are the days.
    monkeypatch.setattr(station_rows, "PART_ROWS", 1500)
    few, many = (laid_down(world(12, days), tmp_path / str(days)) for days in (100, 700))
    judge_all(few, 1000, tmp_path)  # takes what is made once
    peaks = [peak_of(lambda rows=rows: judge_all(rows, 1000, tmp_path)) for rows in (few, many)]
    more, columns = len(many) - len(few), 12  # of held-out rows, 8 bytes each
    assert more == 7200
    assert peaks[1] - peaks[0] < more * columns * 8 / 4
