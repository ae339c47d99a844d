"""The command that downloads sources, and what a plan says of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gssm_cube.commands.terminal import bars, console, say, told

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
    """Download what a run takes from Earth Engine and open archives, or what is left of it."""
    from gssm_cube.download.remote_sources import complete
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
    from gssm_cube.costs.request_costs import cost_table, costs, naive_cost, web_table
    from gssm_cube.download.downloads import EARTH_ENGINE, check_limit
    from gssm_cube.download.remote_sources import remote_sources

    requests = size = 0
    for remote in remote_sources(settings):
        found = costs(remote)
        tiles = len(list(settings.layout.tiles()))
        if remote.whom == EARTH_ENGINE:
            console.print(cost_table(found, naive_cost(settings.layout, tiles)))
        else:
            console.print(web_table(found))
        asked = sum(cost.requests for cost in found)
        check_limit(asked, max_requests, remote.whom)
        requests += asked
        size += sum(cost.bytes for cost in found)
    return requests, size
