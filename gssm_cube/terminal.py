"""What all commands share of the terminal: its console, bars, and how errors are told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
EXPECTED = (ValueError, FileNotFoundError, RuntimeError, TypeError)
Report = Callable[[str, int, int], None]


@contextmanager
def told() -> Iterator[None]:
    """Turn an expected error into one clear message and a non-zero exit."""
    try:
        yield
    except EXPECTED as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextmanager
def bars() -> Iterator[Report]:
    """Show a progress bar for each stage."""
    columns = (
        TextColumn("{task.description:>28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done, total=total)

        yield show


def say(line: str) -> None:
    """Print a line above the bars."""
    console.print(line, highlight=False)
