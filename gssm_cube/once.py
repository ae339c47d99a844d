"""What keeps a stage from being done twice: keys of what its outputs stem from."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gssm_cube import blocks
from gssm_cube.storage import locations
from gssm_cube.storage.locations import Location
from gssm_cube.storage.run_log import NO_LOG, RunLog


def done_once(
    folder: Path,
    stage: str,
    key: str,
    outputs: Sequence[Path],
    work: Callable[[], str],
    *,
    log: RunLog = NO_LOG,
) -> str:
    """Run a stage unless its outputs stem from the same key; then note the key.

    Parameters
    ----------
    folder : Path
        Of the run; keys are kept in it.
    stage : str
    key : str
        Hash of all that the outputs depend on.
    outputs : sequence of Path
    work : callable
        Does the stage and returns what to say of it.
    log : RunLog
        Where it is noted that the stage runs.

    Returns
    -------
    str
        What was done, or that nothing had to be.
    """
    run = folder / "run"
    marker = blocks.read_marker(run, "stages", stage)
    if marker and marker["key"] == key and all(path.exists() for path in outputs):
        return f"{stage}: skipped, up to date ({marker['line']})"
    folder.mkdir(parents=True, exist_ok=True)
    with log.while_it_runs(stage, blocks.marker_folder(run, "stages")):
        line = work()
        blocks.write_marker(run, "stages", stage, key, line=line)
    return f"{stage}: {line}"


def key_of(folder: Path, stage: str) -> str:
    """Return the key under which an earlier stage was done; nothing if it was not."""
    marker = blocks.read_marker(folder / "run", "stages", stage)
    return str(marker["key"]) if marker else ""


def check_there(path: Location, stage: str) -> None:
    """Raise unless an earlier stage's output is there."""
    if locations.size(path) is None:
        raise FileNotFoundError(f"no {path}: run `gssm {stage}` first")


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that is gone afterwards; what a killed run left in it goes first."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def content_hash(path: Path) -> str:
    """Return a hash of a file's bytes; nothing if it is not there."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(path: Path) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of an archive's file or of all files in its folder."""
    if not path.exists():
        raise FileNotFoundError(f"no ISMN archive at {path}: give its zip or folder")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
