"""The commands that say where sources come from, fetch their files, and start quickly."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gssm_cube.commands.terminal import Report, bars, console, say, told

if TYPE_CHECKING:
    from gssm_cube.settings import Settings

RunFile = Annotated[Path, typer.Argument(help="Settings of the run (TOML).")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before bytes are fetched.")]
ALL = "all"


def add_fetch_commands(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (sources, fetch, quickstart):
        app.command()(command)


def sources(
    run_file: RunFile,
    json_file: Annotated[Path | None, typer.Option("--json", help="All of it as JSON.")] = None,
) -> None:
    """Tell of each source the account, the licence, what is still to come, and the very request.

    Nobody is asked for this.
    """
    from gssm_cube.costs.routes import run_routes
    from gssm_cube.settings import read_settings

    with told():
        settings = read_settings(run_file)
        if json_file is not None:
            found = [route.to_dict() for route in run_routes(settings)]
            json_file.write_text(json.dumps(found, indent=1))
        _show(settings, f"Sources of the run {run_file}")


def _show(settings: "Settings", title: str) -> None:
    """Print the ways of a run's sources, and what is still to come in all."""
    from gssm_cube.costs.routes import (
        account_lines,
        request_lines,
        route_table,
        run_routes,
        summary,
    )

    routes = run_routes(settings)
    console.print(route_table(routes, title))
    shown = {"First requests:": request_lines(routes), "Accounts:": account_lines(routes)}
    for title, lines in shown.items():
        console.print("\n".join([title, *(f"  {line}" for line in lines)]),
                      highlight=False, soft_wrap=True, markup=False)  # fmt: skip
    say(summary(routes))


def fetch(
    source: Annotated[str, typer.Argument(help="A source as the settings name it, or all.")],
    run_file: RunFile,
    yes: Yes = False,
) -> None:
    """Fetch the files that a source lacks to where the run looks for them; goes on after a cut."""
    from gssm_cube.quickstart import fetch_files, file_sources
    from gssm_cube.settings import read_settings

    with told():
        settings = read_settings(run_file)
        names = list(file_sources(settings)) if source == ALL else [source]
        fetch_files(settings, names, confirm=_agreed if yes else _asked, bars=_late_bars, tell=say)


@contextmanager
def _late_bars() -> Iterator[Report]:
    """Show bars from the first step on, so that a question before it has a line of its own."""
    with ExitStack() as stack:
        shown: list[Report] = []

        def progress(stage: str, done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(bars()))
            shown[0](stage, done, total)

        yield progress


def _agreed(line: str) -> bool:
    """Say what will come, and go on."""
    say(line)
    return True


def _asked(line: str) -> bool:
    """Say what will come, and ask."""
    return typer.confirm(f"{line}; go on?")


def quickstart(
    bbox: Annotated[
        tuple[float, float, float, float], typer.Option(help="West, south, east, north; degrees.")
    ],
    year: Annotated[int, typer.Option(help="The year, from 2001 on.")],
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")] = Path("quickstart"),
    route: Annotated[
        str, typer.Option(help="fetch (files), ee (Earth Engine) or open (open archives).")
    ] = "fetch",
    project: Annotated[str | None, typer.Option(help="Project of Earth Engine.")] = None,
    ismn: Annotated[Path, typer.Option(help="Archive of stations, in the folder.")] = Path(
        "ismn.zip"
    ),
    tile_size: Annotated[int, typer.Option(help="Pixels along a tile; 480 are 4 deg.")] = 480,
    yes: Yes = False,
) -> None:
    """Run one real tile and year: say what will come, download it, and run all stages."""
    from gssm_cube.quickstart import RUN_FILE, Start, prepare, run

    with told():
        settings = prepare(folder.resolve(), Start(bbox, year, route, tile_size, project, ismn))
        _show(settings, f"What {folder / RUN_FILE} takes")
        if not (yes or typer.confirm("Download and run?")):
            say(f"nothing was done; see {folder / RUN_FILE}")
            raise typer.Exit(1)
        with bars() as progress:
            run(settings, progress=progress, tell=say)
    say(f"Report: {settings.table('report.html')}, product: {settings.product}")
