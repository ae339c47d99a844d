"""What all commands share of the terminal: its console, bars, and how errors are told."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gssm_cube.commands.bars import bars as shown_bars

console = Console()
# OSError too: a full disk, a folder of somebody else, a file that is a folder.
EXPECTED = (ValueError, OSError, RuntimeError, TypeError, ImportError)
Report = Callable[[str, int, int], None]
_DAY = ["%Y-%m-%d"]
FirstDay = Annotated[
    datetime | None, typer.Option(formats=_DAY, help="UTC; else the first of all.")
]
LastDay = Annotated[datetime | None, typer.Option(formats=_DAY, help="Included; else the last.")]


@contextmanager
def told() -> Iterator[None]:
    """Turn an expected error, or Ctrl-C, into one clear message and a non-zero exit."""
    try:
        yield
    except KeyboardInterrupt as stop:
        say(
            "[bold red]interrupted:[/] what is done stays done, the same command goes on from there"
        )
        raise typer.Exit(128 + signal.SIGINT) from stop
    except EXPECTED as error:
        console.print(
            f"[bold red]error:[/] {escape(_sentence(error))}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(1) from error


def _sentence(error: Exception) -> str:
    """Return what an error says, and what to do where the system only gives a number."""
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename} may not be read or written by you; give a place of yours"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def write_text(path: Path, text: str) -> None:
    """Write a file that an option asks for; say so if it cannot be written."""
    with told():
        path.write_text(text)


@contextmanager
def bars() -> Iterator[Report]:
    """Show a progress bar for each stage."""
    with shown_bars(console) as progress:
        yield progress


def say(line: str) -> None:
    """Print a line above the bars."""
    console.print(line, highlight=False)
