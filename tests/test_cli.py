"""The command line: every command on the small world, its exit status and what it says."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gssm_cube.cli import _end, app
from gssm_cube.forest import load_forest
from gssm_cube.insitu.station_tables import read_station_table


def invoke(*words: str | Path, status: int = 0) -> str:
    """Run a command and return what it printed; the status must be as expected."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def run_file(small_run, tmp_path):
    """Settings of a copy of the small run."""
    return small_run.copy(tmp_path / "run")


# ---- a run ------------------------------------------------------------------------------------


def test_a_run_done_before_is_skipped_everywhere(run_file):
    said = invoke("run", run_file)
    for stage in ("stations", "samples", "train", "evaluate", "report"):
        assert f"{stage}: skipped, up to date" in said
    assert "harmonise: 0 tasks done" in said
    assert "predict: 0 blocks done, 4 skipped" in said


@pytest.mark.parametrize(
    ("command", "lost", "said"),
    [
        ("stations", "stations.parquet", "station days of 12 stations"),
        ("samples", "samples/_manifest.json", "samples of 12 stations"),
        (
            "train",
            "forest/forest.json",
            "train: 0.333 x forest (mean of 5 trees) + 0.333 x booster",
        ),
        ("evaluate", "scores.json", "evaluate: new stations: RMSE"),
        ("report", "report.html", "report.html"),
    ],
)
def test_each_stage_is_a_command_that_makes_its_result_again(run_file, command, lost, said):
    path = run_file.parent / lost
    path.unlink()
    output = invoke(command, run_file)
    assert said in output and "skipped" not in output
    assert path.exists()
    assert f"{command}: skipped, up to date" in invoke(command, run_file)


def test_a_search_trains_what_it_chose_and_the_evaluation_judges_that(run_file):
    invoke("train", run_file, "--search")
    forest = load_forest(run_file.parent / "forest")
    search = forest.card["search"]
    assert len(search["rmse"]) == 12 and search["places"] >= search["folds"] == 5
    assert {name: forest.card["preset"][name] for name in search["chosen"]} == search["chosen"]
    invoke("evaluate", run_file)
    card = (run_file.parent / "forest/card.md").read_text()
    assert "Of 12 settings of the forest" in card and "they flatter a little" in card
    assert load_forest(run_file.parent / "forest").digest == forest.digest
    assert "skipped" not in invoke("train", run_file)  # without the search it is another forest
    assert "search" not in load_forest(run_file.parent / "forest").card


def test_the_scores_of_a_run_are_shown_and_written_though_up_to_date(run_file, tmp_path):
    said = invoke("evaluate", run_file, "--json", tmp_path / "said.json")
    assert "skipped, up to date" in said and "judged on" in said and "random rows" in said
    scores = json.loads((tmp_path / "said.json").read_text())
    assert scores == json.loads((run_file.parent / "scores.json").read_text())
    assert f"{scores['new_stations']['rmse']:.3f}" in said.split("judged on")[1]
    assert "  climatology" in said  # beside it
    within = scores["new_stations"]["resolution"]
    told = f"{within.get('stations')} new stations in {within.get('cells')}: r "
    assert (told in said) == ("spatial_r" in within)


def test_harmonise_and_predict_do_what_is_left(run_file):
    folder = run_file.parent
    (folder / "features.zarr.markers/static/r116c370.json").unlink()
    assert "harmonise: 1 tasks done, " in invoke("harmonise", run_file)
    (folder / "ssm.zarr.markers/predict/r116c371_w01.json").unlink()
    assert "predict: 1 blocks done, 3 skipped" in invoke("predict", run_file)


def test_check_finds_a_sound_run_sound_and_names_a_changed_forest(run_file):
    assert "5 trees as they were saved" in invoke("check", run_file)
    forest = run_file.parent / "forest"
    assert "5 trees as they were saved" in invoke("check", forest)
    leaf = np.load(forest / "leaf.npy")
    np.save(forest / "leaf.npy", leaf + 1e-6)
    said = invoke("check", run_file, status=1)
    assert "leaf.npy is not the file that was saved" in said


def test_the_plan_counts_tiles_blocks_and_files(small_world, run_file):
    said = invoke("plan", run_file)
    assert "tiles (with land)" in said and "2 (2)" in said
    assert "370, 2" in said  # days and windows
    files = [path for folder in small_world.folders.values() for path in folder.iterdir()]
    assert f"{len(files)}, " in said


def test_without_a_command_there_is_help():
    assert "harmonise" in invoke("--help")


# ---- tables of one's own ----------------------------------------------------------------------


def test_an_archive_by_itself_becomes_a_table(small_world, tmp_path):
    out = tmp_path / "stations.parquet"
    said = invoke("stations", small_world.archive, "--out", out)
    table = read_station_table(out)
    assert f"{len(table)} station days of 12 stations in {out}" in said.replace("\n", "")
    assert "TERNGRID" in said and "Files: " in said
    stricter = tmp_path / "full.parquet"
    invoke("stations", small_world.archive, "--out", stricter, "--minimum-hours", "24")
    assert 0 < len(read_station_table(stricter)) < len(table)


def test_an_archive_may_be_read_by_local_days(small_world, tmp_path):
    out = tmp_path / "local.parquet"
    invoke("stations", small_world.archive, "--out", out, "--day", "local")
    assert read_station_table(out).attrs == {"day": "local"}
    said = invoke("stations", small_world.archive, "--day", "solar", status=1)
    assert "day is 'solar', expected 'UTC' or 'local'" in said


def test_a_table_of_stations_is_not_written_under_another_name(small_world, tmp_path):
    out = tmp_path / "days.csv"
    said = one_error(invoke("stations", small_world.archive, "--out", out, status=1))
    assert "days.csv ends in '.csv', expected .parquet" in said and not out.exists()


def test_options_of_an_archive_are_refused_beside_a_run(run_file):
    said = invoke("stations", run_file, "--day", "local", status=2)
    assert "these options are for an archive" in said


@pytest.fixture
def tables(tmp_path):
    """Two small tables under names of their own: y follows wet, 12 places and 40 days."""
    rows = [
        {"site": f"s{k}", "y": 0.1 + 0.001 * ((7 * d + 3 * k) % 50), "wet": (7 * d + 3 * k) % 50,
         "dry": (d * k) % 9, "north": 40 + 0.7 * k, "east": 10.0 + 0.5 * k,
         "day": pd.Timestamp("2018-12-12") + pd.Timedelta(days=d)}
        for k in range(12) for d in range(40)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    names = tmp_path / "train.parquet", tmp_path / "test.csv"
    table[table["site"] != "s5"].to_parquet(names[0])
    table[table["site"] == "s5"].to_csv(names[1], index=False)
    return names


COLUMNS = [
    *("--observed", "y", "--station", "site", "--lat", "north", "--lon", "east", "--time", "day"),
    *("--features", "wet, dry"),
]


def test_a_recipe_is_scored_on_a_table_of_one_s_own(tables, tmp_path):
    scores_file = tmp_path / "scores.json"
    said = invoke(
        "evaluate", "--samples", tables[0], "--test", tables[1], "--json", scores_file, *COLUMNS
    )
    for title in ("new stations", "new years", "test", "random rows (comparison)"):
        assert title in said
    scores = json.loads(scores_file.read_text())
    assert {"random_rows", "new_years", "new_stations", "test", "rows", "forest"} <= set(scores)
    assert scores["test"]["n"] == 40
    assert {"rmse", "ubrmse", "bias", "r"} <= set(scores["test"])
    assert scores["test"]["rmse"] < 0.01 < 0.0144  # y spreads evenly over 0.05


def test_a_preset_s_features_must_be_in_the_table(tables):
    said = invoke("evaluate", "--samples", tables[0], *COLUMNS[:-2], status=1)
    assert said.startswith("error:") and "apei" in said


def test_evaluate_without_anything_tells_its_use():
    assert "--samples" in invoke("evaluate", status=2)


def test_a_run_and_a_table_are_not_judged_at_once(run_file, tables):
    assert "give either a run's TOML file or a table" in invoke(
        "evaluate", run_file, "--samples", tables[0], status=2
    )


def test_rows_that_lack_something_are_counted_beside_the_scores(tables):
    table = pd.read_parquet(tables[0])
    table.loc[table.index[:7], "wet"] = np.nan
    table.to_parquet(tables[0])
    said = invoke("evaluate", "--samples", tables[0], *COLUMNS)
    assert "7 of 440 rows are left out: they lack what was observed or a feature" in said


# ---- what goes wrong --------------------------------------------------------------------------


def one_error(said: str) -> str:
    """The one message; no traceback."""
    assert said.count("error:") == 1 and "Traceback" not in said
    return said


@pytest.mark.parametrize("command", ["run", "plan", "harmonise", "predict"])
def test_an_unknown_key_ends_with_one_message_and_status_one(small_world, tmp_path, command):
    path = small_world.write_settings(tmp_path, more="colour = 3")
    said = one_error(invoke(command, path, status=1))
    assert "  colour: unknown key" in said
    assert len(said.strip().splitlines()) == 2  # the file, then a line for the one key
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.toml"]


def test_impossible_values_are_named_with_their_path(small_world, tmp_path):
    path = small_world.write_settings(tmp_path)
    path.write_text(path.read_text().replace("trees = 5", "trees = 0"))
    assert "training.trees: " in one_error(invoke("run", path, status=1))


@pytest.mark.parametrize("place", ["none/scores.json", "."])
def test_scores_are_shown_also_where_their_file_cannot_be_written(tables, tmp_path, place):
    said = invoke(
        "evaluate", "--samples", tables[0], *COLUMNS, "--json", tmp_path / place, status=1
    )
    assert "new stations" in said and f"error: {tmp_path / place}: " in said


def test_a_place_of_somebody_else_is_told_in_a_sentence(monkeypatch, small_world, tmp_path):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gssm_cube.settings.read_settings", refuse)
    said = one_error(invoke("run", tmp_path / "run.toml", status=1))
    assert f"{tmp_path / 'run.toml'} may not be read or written by you; give a place" in said


def test_missing_files_end_with_one_message(tmp_path, small_world):
    assert "no settings file" in one_error(invoke("run", tmp_path / "none.toml", status=1))
    said = one_error(invoke("stations", tmp_path / "none.zip", status=1))
    assert "no ISMN archive at" in said
    path = small_world.write_settings(tmp_path)
    path.write_text(path.read_text().replace("raw/bedrock", "raw/none"))
    for command in ("plan", "run", "harmonise"):
        assert "no depth to bedrock at" in one_error(invoke(command, path, status=1))


def test_stages_out_of_order_name_the_one_before(small_world, tmp_path):
    path = small_world.write_settings(tmp_path)
    for command, before in (("samples", "stations"), ("train", "samples"), ("predict", "train")):
        said = one_error(invoke(command, path, status=1))
        assert f"run `gssm {before}` first" in said


def test_a_failed_block_ends_with_its_name_and_status_one(run_file):
    shard = run_file.parent / "features.zarr/daily/lst/c/0/0/1"
    shard.write_bytes(shard.read_bytes()[:-100])
    (run_file.parent / "ssm.zarr.markers/predict/r116c371_w00.json").unlink()
    said = one_error(invoke("predict", run_file, status=1))
    assert "predict: 1 of its units failed" in said and "r116c371_w00: " in said


def test_memory_is_made_of_noaa_s_columns_without_a_word(tmp_path):
    """Two tables of weather under NOAA's names, of other stations each."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(8):
        days = pd.date_range("2020-01-01", periods=120)
        rain = np.where(rng.random(120) < 0.2 + 0.05 * k, rng.gamma(0.6, 12, 120), 0)
        mean, swing = 12 + 8 * np.sin(np.arange(120) / 20), rng.gamma(4, 2, 120)
        rows.append(
            pd.DataFrame(
                {
                    "wban": f"{k:05d}", "lst_date": days, "latitude": 35.0 + k, "longitude": -100.0,
                    "p_daily_calc": rain, "t_daily_mean": mean, "t_daily_min": mean - swing,
                    "t_daily_max": mean + swing, "sur_temp_daily_avg": mean,
                    "sur_temp_daily_min": mean - swing, "sur_temp_daily_max": mean + swing,
                    "clay_pct": 20.0, "sand_pct": 40.0, "silt_pct": 40.0, "saturation_m3m3": 0.45,
                    "organic_carbon_pct": 1.0, "elevation_m": 100.0 * k,
                    "soil_moisture_5_daily": 0.1 + 0.02 * np.convolve(rain, 0.8 ** np.arange(20),
                                                                      "same") ** 0.5,
                }
            )
        )  # fmt: skip
    table = pd.concat(rows)
    paths = [tmp_path / "known.parquet", tmp_path / "unseen.parquet"]
    table[table["wban"] < "00006"].to_parquet(paths[0])
    table[table["wban"] >= "00006"].rename(columns={"p_daily_calc": "P"}).to_parquet(paths[1])
    arguments = ["evaluate", "--preset", "memory", "--samples", paths[0], "--json"]
    invoke(*arguments, tmp_path / "alone.json")
    scores = json.loads((tmp_path / "alone.json").read_text())
    assert scores["rows"]["kept"] == 720 and scores["forest"]["preset"] == "memory"
    said = invoke(*arguments, tmp_path / "both.json", "--test", paths[1], status=1)
    assert "no column for ['rain']" in said
    table[table["wban"] >= "00006"].to_parquet(paths[1])
    named = "rain=p_daily_calc,tmin=t_daily_min,tmax=t_daily_max,tair=t_daily_mean"
    invoke(*arguments, tmp_path / "both.json", "--test", paths[1], "--columns", named)
    test = json.loads((tmp_path / "both.json").read_text())["test"]
    assert test["n"] == 240 and test["stations_in_common"] == 0
    assert json.loads((tmp_path / "both.json").read_text())["rows"] == scores["rows"]


# ---- in parts, by itself, from another shell --------------------------------------------------


def test_a_run_is_predicted_in_parts_and_told_by_status(run_file):
    for path in run_file.parent.glob("ssm.zarr*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "predict: 2 blocks done, 0 skipped" in invoke("predict", run_file, "--part", "1/2")
    assert "predict: 2 blocks done, 0 skipped" in invoke("predict", run_file, "--part", "2/2")
    said = invoke("status", run_file)
    for name in ("predict 1/2", "predict 2/2", "stations", "train", "LST blocks"):
        assert re.search(rf"{name} +done", said), said
    assert "predict: 0 blocks done, 4 skipped" in invoke("predict", run_file)


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(run_file, part):
    said = invoke("predict", run_file, f"--part={part}", status=1)
    assert f"part is {part!r}, expected i/n with i from 1 to n" in said


def test_a_detached_command_goes_on_by_itself_and_names_its_process_and_log(run_file):
    said = invoke("predict", run_file, "--detach")
    number = int(re.search(r"process (\d+) goes on by itself", said)[1])
    os.waitpid(number, 0)  # it is our child: only its session is its own
    log = run_file.parent / "predict.log"
    assert str(log) in said and f"gssm status {run_file}" in said
    assert "predict: 0 blocks done, 4 skipped" in log.read_text()


def test_a_polite_kill_leaves_by_way_of_all_that_must_be_closed():
    with pytest.raises(SystemExit) as left:
        _end(signal.SIGTERM, None)
    assert left.value.code == 128 + 15
