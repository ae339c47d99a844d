"""Sources of a run that lie elsewhere: downloaded before they are read, and then files."""

from collections.abc import Callable
from typing import Any

from gssm_cube import blocks
from gssm_cube.blocks import Progress
from gssm_cube.download import downloads
from gssm_cube.download.downloads import RemoteSources
from gssm_cube.download.orders import folder_of
from gssm_cube.download.web_downloads import archive_sources, complete_from_web
from gssm_cube.settings import Settings


def remote_sources(settings: Settings) -> list[RemoteSources]:
    """Return what a run takes from Earth Engine and from open archives, whatever it takes."""
    return [
        remote
        for remote in (downloads.engine_sources(settings), archive_sources(settings))
        if remote.assets
    ]


def local_sources(settings: Settings) -> dict[str, Any]:
    """Return the place of each gridded source: of remote ones the folder of their files."""
    folders = {
        source: folder_of(remote.folder, source, asset, remote.layout)
        for remote in remote_sources(settings)
        for source, asset in remote.assets.items()
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
    ways: list[Callable[..., str]] = []
    if settings.sources.assets:
        ways.append(downloads.complete)
    if settings.sources.addresses:
        ways.append(complete_from_web)
    if not ways:
        return "download: all sources are folders; gssm fetch gets what comes as files"
    return "\n".join(
        way(settings, progress=progress, max_requests=max_requests, absent_too=absent_too)
        for way in ways
    )
