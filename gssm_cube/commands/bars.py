"""A progress bar for each stage of a run, with its throughput and an honest time to go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

SPEED_SECONDS = 3600.0  # a block may take minutes: rates are those of the last hour


class RateColumn(ProgressColumn):
    """Throughput: blocks, or million pixel-days, a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before there is one."""
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


@contextmanager
def bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a progress that shows a bar for each stage."""
    columns = (
        TextColumn("{task.description:>28}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=console, speed_estimate_period=SPEED_SECONDS)
    tasks: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if not tasks:  # not before: an end without a bar would leave an empty line
            shown.start()
        if stage not in tasks:
            tasks[stage] = shown.add_task(stage, total=total)
        shown.update(tasks[stage], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            shown.stop()
