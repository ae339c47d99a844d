"""Ctrl-C at a terminal ends all processes of a run, and the next run does what is left."""

import os
import signal
import subprocess
import sys
import time
from datetime import date

import pytest
from bare_cube import many_blocks, save_small_forest, write_bare_cube

from gssm_cube import blocks
from gssm_cube.predict import predict_product

BLOCKS = 5 * 8
LAYOUT = many_blocks(5, 8, date(2018, 3, 20))
SOURCES = ("era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock", "ismn")
RUN = """\
bounds = [{west}, {south}, {east}, {north}]
first_day = 2018-03-01
last_day = 2018-03-20
tile_size = 48
[cluster]
kind = "local"
workers = 2
[sources]
"""


@pytest.fixture
def run_file(tmp_path):
    """Settings of a run whose cube and forest are there, its product not begun."""
    write_bare_cube(tmp_path / "features.zarr", LAYOUT)
    save_small_forest(tmp_path / "forest")
    west, south, east, north = (round(edge, 6) for edge in LAYOUT.bounds)
    text = RUN.format(west=west, south=south, east=east, north=north)
    path = tmp_path / "run.toml"
    path.write_text(text + "".join(f'{name} = "none"\n' for name in SOURCES))
    return path


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def is_alive(group):
    """Whether any process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def hear_interrupts():
    """Undo what a shell does to commands in the background, these tests among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_all_processes_and_the_next_run_does_only_what_is_left(run_file):
    folder, target = run_file.parent, run_file.parent / "ssm.zarr"
    markers = blocks.marker_folder(target, "predict")
    with (folder / "said").open("wb") as said:
        # A session of its own has a process group of its own, as a command at a terminal has.
        process = subprocess.Popen(
            [sys.executable, "-m", "gssm_cube.cli", "predict", str(run_file)],
            stdout=said, stderr=said, start_new_session=True, preexec_fn=hear_interrupts,
        )  # fmt: skip
        try:
            wait_until(
                lambda: process.poll() is None and len(list(markers.glob("*.json"))) > 2, 120
            )
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(timeout=60) == 130
            wait_until(lambda: not is_alive(process.pid), 10)
        finally:
            if is_alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    text = (folder / "said").read_text()
    assert "Traceback" not in text and "interrupted: what is done stays done" in text, text
    done = [path.stem for path in markers.glob("*.json")]
    assert 2 < len(done) < BLOCKS
    status, skipped = predict_product(folder / "features.zarr", target, folder / "forest", {})
    assert skipped == len(done) and not set(done) & set(status["unit"])
    assert len(status) + skipped == BLOCKS
