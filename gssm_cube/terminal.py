"""What all commands share of the terminal: its console, bars, and how errors are told."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from gssm_cube.bars import bars as shown_bars

console = Console()
EXPECTED = (ValueError, FileNotFoundError, PermissionError, RuntimeError, TypeError, ImportError)
Report = Callable[[str, int, int], None]


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
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def bars() -> Iterator[Report]:
    """Show a progress bar for each stage."""
    with shown_bars(console) as progress:
        yield progress


def say(line: str) -> None:
    """Print a line above the bars."""
    console.print(line, highlight=False)
