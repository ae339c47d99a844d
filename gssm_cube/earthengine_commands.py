"""The command that downloads from Earth Engine, and what a plan says of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gssm_cube.terminal import bars, console, say, told

if TYPE_CHECKING:
    from gssm_cube.settings import Settings

RunFile = Annotated[Path, typer.Argument(help="Settings of the run (TOML).")]
MaxRequests = Annotated[
    int | None, typer.Option(help="Stop before anything is asked if more requests are needed.")
]


def add_earthengine_commands(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("download")(download)


def download(run_file: RunFile, max_requests: MaxRequests = None) -> None:
    """Download what a run takes from Earth Engine, or what is left of it."""
    from gssm_cube.downloads import complete
    from gssm_cube.settings import read_settings

    with told(), bars() as progress:
        settings = read_settings(run_file)
        say(complete(settings, progress=progress, max_requests=max_requests, absent_too=True))


def show_requests(settings: "Settings", max_requests: int | None) -> tuple[int, int]:
    """Print what is still to be asked; return the requests and their bytes.

    Raises
    ------
    ValueError
        If there are more than ``max_requests``.
    """
    from gssm_cube.downloads import check_limit, places_of
    from gssm_cube.request_costs import cost_table, costs, naive_cost

    places = places_of(settings)
    if not places.assets:
        return 0, 0
    found = costs(places)
    tiles = len(list(settings.layout.tiles()))
    console.print(cost_table(found, naive_cost(settings.layout, tiles)))
    requests = sum(cost.requests for cost in found)
    check_limit(requests, max_requests)
    return requests, sum(cost.bytes for cost in found)
