"""How far a run is, told from its log and markers alone."""

import json
import os
import socket
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from gssm_cube.once import done_once
from gssm_cube.status import describe_seconds, is_alive, run_status, status_table
from gssm_cube.storage.run_log import COLUMNS, RunLog

BEGUN = 1_000_000.0  # seconds since 1970
ALIVE = os.getpid()
DEAD = subprocess.Popen([sys.executable, "-c", ""])
DEAD.wait()


def begin(folder, units, *, stage="predict", part="", pid=ALIVE, at=BEGUN):
    """Write the record of a stage's begin."""
    log = folder / "log"
    log.mkdir(exist_ok=True)
    about = {
        "stage": stage, "part": part, "begun": at, "host": socket.gethostname(), "pid": pid,
        "skipped": 3, "markers": str(folder / "markers"), "units": units,
    }  # fmt: skip
    path = log / f"{int(at)}_{stage}_{part.replace('/', '_')}.json"
    path.write_text(json.dumps(about))
    return path


def mark(folder, unit, at):
    path = folder / "markers" / f"{unit}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    os.utime(path, (at, at))


def note(path, unit, error="", retries=0, at=BEGUN + 50):
    """Write a row of the log."""
    import pandas as pd

    values = {"unit": unit, "ended": at, "seconds": 1.0, "worker": "n:1", "error": error,
              "retries": retries, "pixel_days": 0, "rows": 0, "bytes": 0}  # fmt: skip
    table = pd.DataFrame([values], columns=list(COLUMNS)).astype(COLUMNS)
    table.to_parquet(path.with_suffix(f".{unit}.parquet"))


def test_rate_and_time_to_go_count_pixel_days(tmp_path):
    begin(tmp_path, {"a": 600, "b": 200, "c": 200})
    mark(tmp_path, "a", BEGUN + 30)
    (found,) = run_status(tmp_path, (), now=BEGUN + 60)
    assert (found.state, found.done, found.left, found.skipped) == ("running", 1, 2, 3)
    assert found.rate == pytest.approx(10.0) and found.pixel_days  # 600 in 60 s
    assert found.to_go == pytest.approx(40.0)  # 400 at 10 a second


def test_units_without_pixel_days_count_one_each(tmp_path):
    begin(tmp_path, {"a": 0, "b": 0, "c": 0, "d": 0}, stage="LST blocks")
    for unit in "abc":
        mark(tmp_path, unit, BEGUN + 20)
    (found,) = run_status(tmp_path, (), now=BEGUN + 30)
    assert (found.rate, found.to_go, found.pixel_days) == (pytest.approx(0.1), pytest.approx(10), 0)


def test_a_marker_of_an_earlier_run_is_not_progress(tmp_path):
    begin(tmp_path, {"a": 1, "b": 1})
    mark(tmp_path, "a", BEGUN - 3600)
    (found,) = run_status(tmp_path, (), now=BEGUN + 10)
    assert (found.done, found.left, found.rate, found.to_go) == (0, 2, 0.0, None)


def test_what_the_log_says_is_done_counts_where_its_markers_went_with_the_scratch(tmp_path):
    path = begin(tmp_path, {"a": 0, "b": 0}, stage="ERA5-Land files", pid=DEAD.pid)
    for unit in "ab":
        note(path, unit)
    (found,) = run_status(tmp_path, (), now=BEGUN + 100)
    assert (found.state, found.done, found.left, found.elapsed) == ("done", 2, 0, 50.0)


def test_a_unit_that_failed_is_named_and_not_left(tmp_path):
    path = begin(tmp_path, {"a": 1, "b": 1, "c": 1}, pid=DEAD.pid)
    mark(tmp_path, "a", BEGUN + 10)
    note(path, "b", "OSError: no space left on device", retries=2)
    note(path, "c", "OSError: slow")
    mark(tmp_path, "c", BEGUN + 90)  # done after all, by another client
    (found,) = run_status(tmp_path, (), now=BEGUN + 100)
    assert (found.state, found.done, found.left) == ("done", 2, 0)
    assert found.failed == (("b", "OSError: no space left on device"),)
    assert found.retries == 2


def test_a_process_that_was_killed_is_stopped_and_its_rate_ends_with_it(tmp_path):
    begin(tmp_path, {"a": 100, "b": 100}, pid=DEAD.pid)
    mark(tmp_path, "a", BEGUN + 50)
    (found,) = run_status(tmp_path, (), now=BEGUN + 90_000)
    assert (found.state, found.done, found.left) == ("stopped", 1, 1)
    assert (found.rate, found.elapsed, found.to_go) == (pytest.approx(2.0), 50.0, None)


def test_each_part_has_a_line_and_a_later_run_takes_the_place_of_an_earlier(tmp_path):
    begin(tmp_path, {"a": 1}, part="1/2", at=BEGUN - 500)
    begin(tmp_path, {"b": 1}, part="2/2")
    begin(tmp_path, {"a": 1}, part="1/2", at=BEGUN + 1)
    mark(tmp_path, "a", BEGUN + 10)
    found = run_status(tmp_path, (), now=BEGUN + 20)
    assert [(stage.part, stage.done, stage.left) for stage in found] == [
        ("2/2", 0, 1),
        ("1/2", 1, 0),
    ]


def test_stages_done_in_one_step_are_told_by_their_markers(tmp_path):
    folder = tmp_path / "run.markers" / "stages"
    folder.mkdir(parents=True)
    (folder / "train.json").write_text("{}")
    found = run_status(tmp_path, ("stations", "train"))
    assert [(stage.stage, stage.state) for stage in found] == [
        ("stations", "not begun"), ("train", "done"),
    ]  # fmt: skip


def test_a_stage_of_one_step_is_running_while_its_work_is_done(tmp_path):
    log, output, states = RunLog(tmp_path / "log"), tmp_path / "forest", []

    def state():
        (train,) = run_status(tmp_path, ("train",))
        return train.state, train.done, train.left

    def work():
        states.append(state())
        output.touch()
        return "done"

    def fail():
        raise ValueError("no row is complete")

    for key in ("a", "b"):  # the second time there is a marker of the first, of long ago
        states.append(state())
        done_once(tmp_path, "train", key, [output], work, log=log)
        os.utime(tmp_path / "run.markers" / "stages" / "train.json", (BEGUN, BEGUN))
    with pytest.raises(ValueError, match="no row"):
        done_once(tmp_path, "train", "c", [output], fail, log=log)
    states.append(state())
    not_begun, running, done = ("not begun", 0, 1), ("running", 0, 1), ("done", 1, 0)
    assert states == [not_begun, running, done, running, done]


def test_a_stage_of_one_step_that_was_killed_has_not_begun(tmp_path):
    begin(tmp_path, {"train": 0}, stage="train", pid=DEAD.pid)
    (found,) = run_status(tmp_path, ("train",))
    assert found.state == "not begun"


def test_reading_a_run_changes_nothing(tmp_path):
    with RunLog(tmp_path / "log").stage("predict", {"a": 1}, 0, tmp_path / "markers") as log:
        log.add({"unit": "a", "error": "", "worker": "n:1", "seconds": 1.0})
        log.flush()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        run_status(tmp_path, ("train",))
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_process_of_this_machine_is_looked_up_and_one_elsewhere_is_believed():
    assert is_alive(socket.gethostname(), os.getpid())
    assert not is_alive(socket.gethostname(), DEAD.pid)
    assert is_alive("another-node", DEAD.pid)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0 min 00 s"), (61.4, "1 min 01 s"), (3599.7, "1 h 00 min"),
        (9000, "2 h 30 min"),
    ],
)  # fmt: skip
def test_a_time_to_go_reads_well(seconds, text):
    assert describe_seconds(seconds) == text


def test_the_table_shows_counts_rate_and_time(tmp_path):
    begin(tmp_path, {"a": 60_000_000, "b": 30_000_000})
    mark(tmp_path, "a", BEGUN + 30)
    console = Console(file=StringIO(), width=120)
    console.print(status_table(run_status(tmp_path, (), now=BEGUN + 60)))
    text = console.file.getvalue()
    assert "running" in text and "1 M pixel-days/s" in text and "0 min 30 s" in text


def test_stages_are_told_in_the_order_of_a_run_also_those_that_have_not_begun(tmp_path):
    order = ("stations", "harmonise", "train", "predict", "report")
    nothing = run_status(tmp_path, ("stations", "train", "report"), order=order)
    assert [(stage.stage, stage.state) for stage in nothing] == [
        (name, "not begun") for name in order
    ]
    begin(tmp_path, {"a": 1}, stage="LST blocks")  # a step of harmonise
    begun = run_status(tmp_path, ("stations", "train", "report"), now=BEGUN, order=order)
    assert [stage.stage for stage in begun] == [
        "stations", "LST blocks", "train", "predict", "report",
    ]  # fmt: skip


def test_no_name_of_a_stage_is_cut_on_a_terminal_of_80_columns(tmp_path):
    begin(tmp_path, {"a": 87_800}, stage="air temperature climatology")
    mark(tmp_path, "a", BEGUN + 1)
    console = Console(file=StringIO(), width=80)
    console.print(status_table(run_status(tmp_path, ("stations",), now=BEGUN + 60)))
    text = console.file.getvalue()
    assert "…" not in text
    assert all(word in text for word in ("stations", "not begun", "temperature", "pixel-days/s"))
