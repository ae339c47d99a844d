"""Files that appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and move it there when it is whole; make its folder.

    Parameters
    ----------
    path : Path
    write : callable
        Given the place beside it, where an earlier attempt may have left something.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    partial.replace(path)
