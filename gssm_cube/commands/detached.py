"""A command as a process of its own, which outlives the terminal."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def start_detached(command: Sequence[str], log: Path) -> int:
    """Start ``gssm`` with these words in a session of its own and return its process number.

    Parameters
    ----------
    command : sequence of str
        Such as ``["predict", "run.toml"]``.
    log : Path
        Gets all that it says, after what is there.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gssm_cube.cli", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return process.pid


def parse_part(text: str) -> tuple[int, int]:
    """Return the numbers of a part such as 2/8.

    Raises
    ------
    ValueError
        If it is none.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"part is {text!r}, expected i/n with i from 1 to n, such as 2/8")
    return int(number), int(count)
