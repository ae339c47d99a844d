"""One run per store, or several parts of it: who may hold it together with whom."""

import subprocess
import sys

import pytest

from gssm_cube.storage.locks import locked, locked_in_part

PART = """
import sys
from gssm_cube.storage.locks import locked_in_part
with locked_in_part(sys.argv[1], lambda: sys.stdout.write("prepared ")):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def start(store):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", PART, str(store)], **pipes)


@pytest.fixture
def part(tmp_path):
    """Another process that holds ``s.zarr`` in part."""
    process = start(tmp_path / "s.zarr")
    assert process.stdout.readline() == "prepared held\n"
    yield process
    process.kill()
    process.communicate()


def test_parts_hold_a_store_together_and_the_first_alone_prepares_it(part, tmp_path):
    calls = []
    with locked_in_part(tmp_path / "s.zarr", lambda: calls.append(1)):
        other = start(tmp_path / "s.zarr")
        assert other.stdout.readline() == "held\n"
        other.communicate("")
    assert calls == []
    part.kill()
    part.wait()
    with locked_in_part(tmp_path / "s.zarr", lambda: calls.append(1)):
        assert calls == [1]


def test_a_whole_run_is_refused_while_a_part_is_at_work(part, tmp_path):
    match = f"being written by process {part.pid}; wait"
    with pytest.raises(RuntimeError, match=match), locked(tmp_path / "s.zarr"):
        pass


def test_a_part_is_refused_while_a_whole_run_is_at_work(tmp_path):
    with (
        locked(tmp_path / "s.zarr"),
        pytest.raises(RuntimeError, match="being written by process"),
        locked_in_part(tmp_path / "s.zarr", list, wait_seconds=0.1),
    ):
        pass
