"""The log of a run: rows are appended whole, by several clients, and read while they come."""

import json

import pandas as pd
import pytest

from gssm_cube.storage import run_log
from gssm_cube.storage.run_log import NO_LOG, RunLog, read_rows, read_stage


def row(unit, **facts):
    return {"unit": unit, "seconds": 1.5, "worker": "node:7", "error": "", "retries": 0, **facts}


def begins(folder):
    return sorted(folder.glob("*.json"))


def test_a_stage_leaves_one_file_of_rows_with_what_was_done(tmp_path):
    folder = tmp_path / "log"
    with RunLog(folder).stage("LST blocks", {"a": 300, "b": 70}, 5, tmp_path / "m") as log:
        log.add(row("a", valid=7, bytes=40))
        log.add(row("b", error="OSError: disk", seconds=0.0, retries=2))
    (begin,) = begins(folder)
    about = json.loads(begin.read_text())
    assert (about["stage"], about["part"], about["skipped"]) == ("LST blocks", "", 5)
    assert about["units"] == {"a": 300, "b": 70}
    (file,) = folder.glob("*.parquet")
    table = pd.read_parquet(file)
    assert list(table.columns) == list(run_log.COLUMNS)
    assert table["unit"].tolist() == ["a", "b"] and table["seconds"].tolist() == [1.5, 0.0]
    assert table["pixel_days"].tolist() == [300, 70] and table["rows"].tolist() == [7, 0]
    assert table["bytes"].tolist() == [40, 0] and table["retries"].tolist() == [0, 2]
    assert table["error"].tolist() == ["", "OSError: disk"]
    assert table["worker"].tolist() == ["node:7", "node:7"]


def test_rows_are_there_for_a_reader_before_the_stage_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "FLUSH_ROWS", 2)
    with RunLog(tmp_path).stage("predict", {"a": 1, "b": 1, "c": 1}, 0, tmp_path) as log:
        for unit in ("a", "b", "c"):
            log.add(row(unit))
        assert read_rows(begins(tmp_path)[0])["unit"].tolist() == ["a", "b"]
    assert read_rows(begins(tmp_path)[0])["unit"].tolist() == ["a", "b", "c"]


def test_rows_come_in_after_some_seconds_too(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "FLUSH_SECONDS", -1.0)
    with RunLog(tmp_path).stage("predict", {"a": 1}, 0, tmp_path) as log:
        log.add(row("a"))
        assert read_rows(begins(tmp_path)[0])["unit"].tolist() == ["a"]


def test_rows_survive_an_error_and_parts_that_were_left_are_not_counted_twice(tmp_path):
    with (
        pytest.raises(KeyError),
        RunLog(tmp_path).stage("predict", {"a": 1, "b": 1}, 0, tmp_path) as log,
    ):
        log.add(row("a"))
        log.flush()
        kept = next(tmp_path.glob("*.00000.parquet")).read_bytes()
        log.add(row("b"))
        raise KeyError("in the run")
    (begin,) = begins(tmp_path)
    begin.with_suffix(".00000.parquet").write_bytes(kept)  # as if killed before its removal
    assert read_rows(begin)["unit"].tolist() == ["a", "b"]


def test_two_clients_write_files_of_their_own(tmp_path):
    with (
        RunLog(tmp_path, "1/2").stage("predict", {"a": 1}, 0, tmp_path) as one,
        RunLog(tmp_path, "2/2").stage("predict", {"b": 1}, 0, tmp_path) as two,
    ):
        one.add(row("a"))
        two.add(row("b"))
    assert [read_rows(begin)["unit"].tolist() for begin in begins(tmp_path)] == [["a"], ["b"]]
    assert read_stage(tmp_path, "predict")["unit"].tolist() == ["a", "b"]
    assert read_stage(tmp_path, "harmonise").empty


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with NO_LOG.stage("predict", {"a": 1}, 0, tmp_path) as log:
        log.add(row("a"))
    assert list(tmp_path.iterdir()) == []


def test_a_stage_without_rows_reads_as_an_empty_table(tmp_path):
    with RunLog(tmp_path).stage("predict", {}, 4, tmp_path):
        pass
    table = read_rows(begins(tmp_path)[0])
    assert table.empty and list(table.columns) == list(run_log.COLUMNS)
