"""Sources of a run that lie elsewhere: downloaded before they are read, and then files."""

from typing import Any

from gssm_cube import blocks, downloads
from gssm_cube.blocks import Progress
from gssm_cube.downloads import Places
from gssm_cube.orders import folder_of
from gssm_cube.settings import Settings
from gssm_cube.web_downloads import complete_from_web, web_places_of


def remote_places(settings: Settings) -> list[Places]:
    """Return what a run takes from Earth Engine and from open archives, whatever it takes."""
    return [
        places
        for places in (downloads.places_of(settings), web_places_of(settings))
        if places.assets
    ]


def local_sources(settings: Settings) -> dict[str, Any]:
    """Return the place of each gridded source: of remote ones the folder of their files."""
    folders = {
        source: folder_of(places.folder, source, asset, places.layout)
        for places in remote_places(settings)
        for source, asset in places.assets.items()
    }
    return settings.sources.gridded | folders


def complete(
    settings: Settings,
    *,
    progress: Progress = blocks.silent,
    max_requests: int | None = None,
    absent_too: bool = False,
) -> str:
    """Download what a run still lacks; return a line for each that was asked.

    Nobody is asked where nothing is lacking; ``absent_too`` asks again for days that were absent
    before. ``max_requests`` holds for Earth Engine and for the open archives each.
    """
    lines = []
    if settings.sources.assets or not settings.sources.addresses:
        lines.append(
            downloads.complete(
                settings, progress=progress, max_requests=max_requests, absent_too=absent_too
            )
        )
    if settings.sources.addresses:
        lines.append(
            complete_from_web(
                settings, progress=progress, max_requests=max_requests, absent_too=absent_too
            )
        )
    return "\n".join(lines)
