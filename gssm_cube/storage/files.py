"""Files and folders that appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # how names end of what is not whole; zarr's own end so as well


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield where to write a file, or a new folder, that takes its place in one step.

    Readers see all of it or what was there before, whoever else writes it at the same time. An
    error removes it; a kill leaves it, under a name that nobody takes again.

    Parameters
    ----------
    path : Path
        Its folder is made if it is missing; a folder can only take the place of nothing.
    """
    partial = partial_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Return a name beside a file's for what is not whole: new to all processes and machines."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
