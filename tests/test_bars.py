"""Progress bars: a stage is a line with counts and, once something was done, its rate."""

from io import StringIO

from rich.console import Console
from rich.progress import Progress

from gssm_cube.commands.bars import RateColumn, bars


def test_each_stage_has_a_line_with_its_counts():
    console = Console(file=StringIO(), width=140, force_terminal=False)
    with bars(console) as progress:
        for stage, done in (("predict", 1), ("predict", 3), ("predict, million pixel-days", 24)):
            progress(stage, done, 30)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[:1] for line in lines] == [["predict"], ["predict,"]]
    assert "3/30" in lines[0] and "24/30" in lines[1]


def test_a_rate_is_shown_once_there_is_one():
    clock = iter(range(0, 1000, 2))  # two seconds between any two looks
    progress = Progress(get_time=lambda: float(next(clock)), auto_refresh=False)
    number = progress.add_task("predict", total=100)
    task = progress.tasks[number]
    assert RateColumn().render(task).plain == ""
    for _ in range(3):
        progress.advance(number, 10)
    assert RateColumn().render(task).plain == "5/s"  # ten each two seconds
