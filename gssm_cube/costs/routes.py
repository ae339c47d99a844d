"""By which way each source of a run comes: the account, the licence, the bytes, the very request.

Nobody is asked: counts follow from names and settings, sizes are estimates where only a server
knows better. Licences and citations stand in ``citations``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from gssm_cube.costs.request_costs import costs
from gssm_cube.download.remote_sources import remote_sources
from gssm_cube.download.web_downloads import WHOM
from gssm_cube.fetch.run import NO_ACCOUNT, providers_of
from gssm_cube.plan import size
from gssm_cube.release.citations import SOURCES, cited_as
from gssm_cube.settings import Settings

FILES, ENGINE, WEB, BY_HAND = "files", "Earth Engine", "open archive", "by hand"
ISMN = "https://ismn.earth/en/dataviewer/"
ENGINE_ACCOUNT = "Google Cloud project registered for Earth Engine"


@dataclass(frozen=True)
class Route:
    """How a source comes to a run, and what of it is still to come.

    ``files`` and ``bytes`` are None where only the server can tell; ``requests`` counts those to
    Earth Engine and open archives.
    """

    source: str
    place: str
    route: str
    account: str
    licence: str
    files: int | None
    requests: int | None
    bytes: float | None
    basis: str
    request: str
    advice: str = ""  # how to get the account

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON-like values."""
        return asdict(self)


def run_routes(settings: Settings) -> list[Route]:
    """Return the way of each source of a run, the stations' last."""
    return [*_gridded(settings), _stations(settings)]


def _gridded(settings: Settings) -> Iterator[Route]:
    """Yield the ways of the sources of the feature cube."""
    asked = {
        cost.source: (cost, remote) for remote in remote_sources(settings) for cost in costs(remote)
    }
    for source, place in settings.sources.gridded.items():
        licence = licence_of(cited_as(source, place))
        if source not in asked:
            assert isinstance(place, Path)
            yield _of_files(source, place, settings, licence)
            continue
        cost, remote = asked[source]
        asset = remote.assets[source]
        if remote.whom == WHOM:
            account, advice = archive_account(source)
            yield Route(
                source, str(place), WEB, account, licence, None, cost.requests, cost.bytes,
                "at most, uncompressed", f"GET {asset} (gssm download)", advice,
            )  # fmt: skip
        else:
            yield Route(
                source, str(place), ENGINE, ENGINE_ACCOUNT, licence, None, cost.requests,
                cost.bytes, "as the answers come, uncompressed",
                f'ee.data.computePixels on "{asset}" (gssm download)',
                "see docs/earth_engine.md for the three ways in",
            )  # fmt: skip


def archive_account(source: str) -> tuple[str, str]:
    """Return the account that the usual open archive of a source asks for, and how to get it."""
    if source == "era5_land":
        return "Earth Data Hub token", "free at earthdatahub.destine.eu; see docs/routes.md"
    return NO_ACCOUNT, ""


def _of_files(source: str, folder: Path, settings: Settings, licence: str) -> Route:
    """Return the way of a source that lies in a folder, and what is lacking there."""
    provider = providers_of(soil=settings.era5_land.soil)[source]
    need = provider.need(settings.layout, folder)
    return Route(source, str(folder), FILES, provider.account, licence, need.files, None,
                 need.bytes, need.basis, need.request, provider.advice)  # fmt: skip


def _stations(settings: Settings) -> Route:
    """Return the way of the stations, of which no program may fetch the archive."""
    archive = settings.sources.ismn
    there = archive.exists()
    return Route(
        "ismn", str(archive), BY_HAND, "ISMN, free for science", licence_of("ismn"),
        0 if there else 1, None, 0.0 if there else None,
        "all is there" if there else "depends on networks and days that you choose",
        "" if there else f"{ISMN}: choose the region and days, 0-5 cm, CEOP or header+values",
    )  # fmt: skip


def licence_of(source: str) -> str:
    """Return the licences of a source, each once, by the name under which it is cited."""
    return "; ".join(dict.fromkeys(cited.licence for cited in SOURCES[source]))


def route_table(routes: list[Route], title: str) -> Table:
    """Return a row a source."""
    table = Table("source", "way", title=title, box=box.SIMPLE)
    for name in ("account", "licence", "still to come"):
        table.add_column(name, overflow="fold")
    for route in routes:
        account = "no account" if route.account == NO_ACCOUNT else route.account
        row = (route.source, route.route, account, route.licence, coming(route))
        table.add_row(*map(escape, row))
    return table


def request_lines(routes: list[Route]) -> list[str]:
    """Return the first request of each source of which something is to come."""
    return [f"{route.source}: {route.request}" for route in routes if route.request]


def account_lines(routes: list[Route]) -> list[str]:
    """Return each account that is needed for what is to come, and how to get it."""
    wanted = {route.account: route.advice for route in routes if route.request and route.advice}
    return [f"{account}: {advice}" for account, advice in wanted.items()]


def coming(route: Route) -> str:
    """Return in words what is still to come of a source."""
    if route.files == 0 or route.requests == 0:
        return "nothing"
    count = f"{route.requests:,} requests" if route.requests else ""
    if route.files:
        count = f"{route.files:,} file{'s' * (route.files > 1)}"
    amount = f"about {size(route.bytes)}" if route.bytes else ""
    return ", ".join(filter(None, (count, amount))) + f" ({route.basis})"


def summary(routes: list[Route]) -> str:
    """Return in a line what is still to come of all sources."""
    files = sum(route.files or 0 for route in routes if route.route == FILES)
    requests = sum(route.requests or 0 for route in routes)
    known = sum(route.bytes or 0.0 for route in routes)
    unknown = [route.source for route in routes if route.bytes is None and route.files]
    more = f", and what the servers tell of {', '.join(unknown)}" if unknown else ""
    return f"still to come: {files:,} files, {requests:,} requests, about {size(known)}{more}"
