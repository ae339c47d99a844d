"""Items of a STAC collection: from an API's pages, or from a static catalog's files.

STAC 1.0 (github.com/radiantearth/stac-spec) and OGC API - Features, part 1. A collection that links
its ``items`` is asked for a box and days; one that links each ``item`` is read through.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from gssm_cube.sources.modis_files import COLLECTION
from gssm_cube.sources.raster import Bounds
from gssm_cube.sources.tries import Refused, read_anew
from gssm_cube.sources.web import Web

PAGE = 250  # items: what the Planetary Computer gives at a time without a question
# Such as MOD11A1.A2019001.h18v04.061.2020335011822, the name of a MODIS file without its end.
_MODIS = re.compile(
    r"(?P<product>M[OY]D\d\dA\d)\.A(?P<year>\d{4})(?P<day>\d{3})\.(?P<tile>h\d\dv\d\d)"
    rf"\.{COLLECTION}\.(?P<made>\d+)"
)


Days = tuple[date, date]  # first and last


@dataclass(frozen=True)
class Granule:
    """A MODIS tile of a day, as an item has it: addresses by the names of its assets."""

    product: str
    day: date
    tile: str
    made: str  # when it was produced, as the name says
    assets: dict[str, str]

    def address_of(self, layer: str) -> str:
        """Return the address of a layer, whose asset may have the resolution before its name.

        Raises
        ------
        Refused
            If there is no such asset.
        """
        for name, address in self.assets.items():
            if name == layer or name.endswith(f"_{layer}"):
                return address
        raise Refused(
            f"{self.product} of {self.day}, tile {self.tile}, has no asset {layer}, only "
            f"{sorted(self.assets)}; give a collection of {self.product}"
        )


def granules(
    web: Web, collection: str, bounds: Bounds, days: Days, product: str
) -> dict[tuple[str, date], Granule]:
    """Return the tiles of a product that a collection has, by tile and day.

    Of two productions of a tile the later one counts.

    Parameters
    ----------
    web : Web
    collection : str
        Address of the collection.
    bounds : tuple, degrees
        West, south, east, north.
    days : tuple of date
        First and last.
    product : str
        Such as ``"MOD11A1"``; others of the collection, such as Aqua's, are passed over.
    """
    found: dict[tuple[str, date], Granule] = {}
    for item in items(web, collection, bounds, days, product):
        granule = granule_of(item)
        if granule is None or granule.product != product:
            continue
        if not days[0] <= granule.day <= days[1]:
            continue
        key = granule.tile, granule.day
        if key not in found or found[key].made < granule.made:
            found[key] = granule
    return found


def granule_of(item: dict[str, Any]) -> Granule | None:
    """Return what an item holds; None where it is no MODIS tile of the collection that is read."""
    match = _MODIS.search(str(item.get("id", "")))
    if match is None:
        return None
    day = date(int(match["year"]), 1, 1) + timedelta(days=int(match["day"]) - 1)
    assets = {name: str(asset["href"]) for name, asset in item.get("assets", {}).items()}
    return Granule(match["product"], day, match["tile"], match["made"], assets)


def items(
    web: Web, collection: str, bounds: Bounds, days: Days | None = None, prefix: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield the items of a collection; of a static one those whose files' names hold a prefix.

    Addresses of assets are made whole.
    """
    about = _document(web, collection)
    links = {link.get("rel"): link for link in about.get("links", [])}
    if "items" in links:
        address = urljoin(collection, links["items"]["href"])
        yield from _pages(web, address, bounds, days)
        return
    for link in about.get("links", []):
        if link.get("rel") == "item" and prefix in link["href"]:
            address = urljoin(collection, link["href"])
            yield _with_addresses(_document(web, address), address)
        elif link.get("rel") == "child":
            yield from items(web, urljoin(collection, link["href"]), bounds, days, prefix)


def _pages(web: Web, address: str, bounds: Bounds, days: Days | None) -> Iterator[dict[str, Any]]:
    """Yield the items of an API, page after page."""
    question = {
        "bbox": ",".join(f"{edge:.6g}" for edge in bounds),
        "limit": str(PAGE),
    }
    if days:
        question["datetime"] = f"{days[0]}T00:00:00Z/{days[1]}T23:59:59Z"
    following: str | None = f"{address}?{urlencode(question)}"
    seen = set()
    while following is not None:
        seen.add(following)
        page = _document(web, following)
        for item in page.get("features", []):
            yield _with_addresses(item, address)
        links = (link["href"] for link in page.get("links", []) if link.get("rel") == "next")
        following = next((urljoin(address, href) for href in links), None)
        if following in seen or not page.get("features"):
            return


def _document(web: Web, address: str) -> dict[str, Any]:
    """Return a JSON document."""

    def ask() -> dict[str, Any]:
        content = web.get(address).content
        with read_anew(ValueError):
            found = json.loads(content)
        if not isinstance(found, dict):
            raise Refused(f"{address} is no STAC document; mend the address")
        return found

    return web.persist(address, ask)


def _with_addresses(item: dict[str, Any], address: str) -> dict[str, Any]:
    """Return an item whose assets' addresses are whole.

    Raises
    ------
    Refused
        If one leads elsewhere than to the web: a file of this machine, say.
    """
    assets = {}
    for name, asset in item.get("assets", {}).items():
        whole = urljoin(address, asset["href"])
        if urlsplit(whole).scheme not in ("http", "https"):
            whole = ""  # object stores have assets that nobody here asks for
        if whole:
            assets[name] = asset | {"href": whole}
    return item | {"assets": assets}
