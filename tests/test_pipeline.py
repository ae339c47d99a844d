"""All stages on the small world: what they leave, in what order, and what is done again."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gssm_cube import open_product, pipeline
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.forest import load_forest
from gssm_cube.run_facts import flag_counts
from gssm_cube.sampling.sample_store import open_samples
from gssm_cube.settings import read_settings
from gssm_cube.variables import PREDICTORS


def names(lines):
    return [line.split(":")[0] for line in lines]


def test_every_stage_says_what_it_did(small_run):
    assert names(small_run.lines) == list(pipeline.STAGES)
    said = dict(line.split(": ", 1) for line in small_run.lines)
    assert said["harmonise"].startswith("0 tasks done")  # the cube was there before
    assert said["stations"].endswith("station days of 12 stations")
    assert said["train"].startswith(
        "0.333 x forest (mean of 5 trees) + 0.333 x booster (sum of 200"
    )
    done, flags = said["predict"].split("; pixel-days: ")
    assert done == "4 blocks done, 0 skipped"
    assert flags.endswith(" clipped") and ", 0 predictor missing, " in flags


def test_the_product_is_finite_where_the_truth_is_but_for_frozen_ground_and_follows_it(
    small_world, small_run
):
    truth = xr.open_zarr(small_world.folder / "truth.zarr", chunks=None, consolidated=False)["ssm"]
    product = open_product(small_run.folder / "ssm.zarr").load()
    ssm, frozen = product["ssm"], product["quality"].values & PRODUCT_FLAGS["frozen"] > 0
    xr.align(ssm, truth, join="exact")
    land = np.isfinite(truth.values) & ~frozen
    assert frozen.sum() == flag_counts(read_settings(small_run.settings))["frozen"] > 0
    np.testing.assert_array_equal(np.isfinite(ssm.values), land)
    assert 0 < ssm.values[land].min() and ssm.values[land].max() < 1
    # Five trees on twelve stations; a constant or shuffled product has r = 0.
    assert np.corrcoef(ssm.values[land], truth.values[land])[0, 1] > 0.5


def test_provenance_is_in_the_product(small_run):
    attrs = open_product(small_run.folder / "ssm.zarr").attrs
    forest = load_forest(small_run.folder / "forest")
    assert attrs["forest_digest"] == forest.digest
    assert json.loads(attrs["settings"])["first_day"] == "2018-03-01"
    assert str(small_run.folder) not in json.dumps(dict(attrs))  # no machine's paths
    scores = json.loads((small_run.folder / "scores.json").read_text())
    assert json.loads(attrs["scores"]) == scores == forest.card["scores"]
    assert {"new_stations", "new_years", "random_rows"} <= set(scores)


def test_samples_hold_all_predictors_and_the_forest_was_trained_on_all_of_them(small_run):
    samples = open_samples(small_run.folder / "samples")
    assert set(PREDICTORS) <= set(samples.columns)
    card = load_forest(small_run.folder / "forest").card
    assert card["rows"] + card["rows_dropped"] == len(samples)
    assert card["stations"] == samples["station"].nunique() == 12
    assert (card["rows_dropped"], card["day"]) == (0, "UTC")


def test_a_second_run_does_nothing(small_run, tmp_path):
    settings = read_settings(small_run.copy(tmp_path / "again"))
    told = []
    lines = pipeline.run(settings, progress=lambda *state: told.append(state))
    for line in lines:
        assert ": 0 " in line or "skipped, up to date" in line, line
    assert len(lines) == 7
    assert {stage for stage, _, _ in told} <= {"train", "evaluate", "report"}


def test_only_what_depends_on_a_lost_or_changed_thing_is_done_again(small_run, tmp_path):
    path = small_run.copy(tmp_path / "changed")
    shutil.rmtree(path.parent / "samples")
    settings = read_settings(path)
    assert "samples of 12" in pipeline.samples(settings)
    assert "skipped" in pipeline.train(settings)  # the samples are the same
    path.write_text(path.read_text().replace("trees = 5", "trees = 4"))
    settings = read_settings(path)
    assert "skipped" in pipeline.samples(settings)
    assert "forest (mean of 4 trees)" in pipeline.train(settings)
    assert "new stations: RMSE" in pipeline.evaluate(settings)
    assert pipeline.predict_all(settings).startswith("predict: 4 blocks done, 0 skipped; ")
    attrs = open_product(settings.product).attrs
    assert attrs["forest_digest"] == load_forest(settings.forest).digest
    assert "report.html" in pipeline.report(settings)


@pytest.mark.parametrize("table", ["importance.csv", "predictions.parquet", "stations.parquet"])
def test_a_report_is_made_again_if_a_table_that_it_shows_has_changed(small_run, tmp_path, table):
    settings = read_settings(small_run.copy(tmp_path / "run"))
    assert "skipped, up to date" in pipeline.report(settings)
    with settings.table(table).open("ab") as file:  # the page is not written for this test
        file.write(b" ")
    made = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "_write_page", lambda settings, page: made.append(page) or "")
        pipeline.report(settings)
        assert made == [settings.table("report.html")]
        assert "skipped, up to date" in pipeline.report(settings)


@pytest.mark.parametrize(
    ("stage", "missing", "first"),
    [
        ("samples", "stations.parquet", "stations"),
        ("samples", "features.zarr", "harmonise"),
        ("train", "samples", "samples"),
        ("evaluate", "samples", "samples"),
        ("evaluate", "forest/forest.json", "train"),
        ("predict", "forest/forest.json", "train"),
        ("predict", "features.zarr", "harmonise"),
        ("report", "scores.json", "evaluate"),
        ("report", "ssm.zarr", "predict"),
    ],
)
def test_a_stage_names_the_one_that_must_come_before(small_run, tmp_path, stage, missing, first):
    path = small_run.copy(tmp_path / "run")
    (path.parent / missing).rename(path.parent / "aside")
    with pytest.raises(FileNotFoundError, match=rf"no .*{missing}.*: run `gssm {first}` first"):
        pipeline.STAGES[stage](read_settings(path))


def test_a_product_of_another_layout_is_refused_and_kept(small_run, small_world, tmp_path):
    path = small_run.copy(tmp_path / "run")
    store = path.parent / "ssm.zarr" / "zarr.json"
    store.write_text(store.read_text().replace("2019-03-05", "2019-03-06"))
    with pytest.raises(ValueError, match="spans .*2019-03-06.* the cube spans .*2019-03-05"):
        pipeline.predict_all(read_settings(path))


def test_settings_of_another_period_do_not_predict_from_the_cube(small_run, tmp_path):
    path = small_run.copy(tmp_path / "run")
    text = path.read_text()
    assert "first_day = 2018-03-01" in text
    path.write_text(text.replace("first_day = 2018-03-01", "first_day = 2018-03-02"))
    with pytest.raises(ValueError, match="settings ask for .*2018-03-02 to .*give another folder"):
        pipeline.predict_all(read_settings(path))


def test_stations_outside_the_bounds_stop_the_run_before_the_cube(small_world, tmp_path):
    path = small_world.write_settings(tmp_path)
    text = path.read_text().replace("bounds = [-32.0,", "bounds = [-31.6,")
    path.write_text(text)
    with pytest.raises(ValueError, match="stations lie outside the cube"):
        pipeline.run(read_settings(path))
    assert not (tmp_path / "features.zarr").exists()


def test_a_period_without_a_station_day_stops_the_run_before_the_cube(small_world, tmp_path):
    path = small_world.write_settings(tmp_path)
    # The archive ends with the world; of the period after it no day is left.
    settings = read_settings(path)
    early = settings.model_copy(update={"first_day": pd.Timestamp("2018-02-26").date()})
    early = early.model_copy(update={"last_day": pd.Timestamp("2018-02-27").date()})
    with pytest.raises(ValueError, match="no station day lies within 2018-02-26 .. 2018-02-27"):
        pipeline.stations(early)
    assert not (tmp_path / "stations.parquet").exists()


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("raw/ismn/", "raw/nothing/", FileNotFoundError, "no ISMN archive at"),
        ("raw/wtd", "raw/nothing", FileNotFoundError, "no water table depth NetCDF"),
        ("trees = 5", 'trees = 5\npreset = "best"', ValueError, "preset 'best' is not known"),
    ],
)
def test_bad_input_is_refused_before_any_stage(small_world, tmp_path, old, new, error, message):
    path = small_world.write_settings(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(error, match=message):
        pipeline.run(read_settings(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.toml"]


def test_a_run_whose_model_cannot_be_fitted_stops_before_anything_is_read(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "lightgbm", None)  # as if it could not be imported
    settings = read_settings(small_run.copy(tmp_path / "run"))
    with pytest.raises(RuntimeError, match=r"LightGBM cannot be loaded .* 'memory_forest'"):
        pipeline.check(settings)
