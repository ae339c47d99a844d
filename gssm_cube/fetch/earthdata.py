"""MODIS and VIIRS tiles of the LP DAAC, found in NASA's catalogue (CMR), by earthaccess.

The catalogue is asked by the names of tiles, not by a box on the ground, which would bring their
neighbours. Of two productions of a tile and day the later is taken.

Needs the extra ``fetch``. earthaccess reads ``EARTHDATA_TOKEN``, or ``EARTHDATA_USERNAME`` and
``EARTHDATA_PASSWORD``, or ``~/.netrc`` (machine urs.earthdata.nasa.gov).
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import netCDF4
import requests

from gssm_cube.download.orders import modis_boxes
from gssm_cube.fetch.needs import NOTHING, Need, Order, order_of
from gssm_cube.fetch.transfer import RemoteFile
from gssm_cube.grid import Layout
from gssm_cube.ingest.inputs import vegetation_starts
from gssm_cube.ingest.sensors import own_start
from gssm_cube.sources import modis, viirs, whole
from gssm_cube.sources.tries import NoAccess, NoAnswer, Watch

logger = logging.getLogger(__name__)

ADVICE = (
    "make an account at https://urs.earthdata.nasa.gov, and put it into ~/.netrc (machine "
    "urs.earthdata.nasa.gov) or into EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or its token into "
    "EARTHDATA_TOKEN; if it is there, look under Applications > Authorized Apps for LP DAAC"
)
SYSTEM: Any = None  # an earthaccess.System, if not NASA's own
_TILE = re.compile(r"h\d\dv\d\d")
_HDF4, _HDF5 = b"\x0e\x03\x13\x01", b"\x89HDF"
Pairs = Mapping[date, frozenset[str]]  # tiles by day


@dataclass(frozen=True)
class Product:
    """A product as the catalogue knows it.

    ``tile_bytes`` is a rough size of a file, of which the catalogue tells better.
    """

    name: str
    version: str
    tile_bytes: float
    sensor: str
    daily: bool

    @property
    def key(self) -> str:
        """Name in the settings."""
        return self.name.lower()

    def days(self, layout: Layout) -> list[date]:
        """Days of which a run wants files: outages of MODIS left out."""
        if not self.daily:
            starts = vegetation_starts(layout).astype(object)
            return [own_start(self.sensor, start) for start in starts]
        days: list[date] = layout.time.astype(object).tolist()
        is_modis = self.sensor != "viirs"
        return [day for day in days if not (is_modis and modis.in_outage(day, self.name))]

    def held(self, folder: Path) -> Pairs:
        """Tiles that are there by day; a cut-out of an area stands as ``modis_files.AREA``."""
        if not folder.is_dir():
            return {}
        if self.sensor == "viirs":
            known = (*viirs.LST_PRODUCTS.values(), viirs.VNP13A2)
            product = next(product for product in known if product.name == self.name)
            return viirs.find_files(folder, product, lambda error: None).parts
        layers = modis.LST_LAYERS if self.daily else modis.VEGETATION_LAYERS
        return modis.find_files(folder, self.name, layers, lambda error: None).parts


# Bytes: MOD11A1 as its record in the catalogue tells; the others are guesses by their layers.
PRODUCTS = {
    product.key: product
    for product in (
        Product("MOD11A1", "061", 2e6, "terra", True),
        Product("MYD11A1", "061", 2e6, "aqua", True),
        Product("MOD13A2", "061", 6e6, "terra", False),
        Product("MYD13A2", "061", 6e6, "aqua", False),
        Product("VNP21A1D", "002", 4e6, "viirs", True),
        Product("VNP21A1N", "002", 4e6, "viirs", True),
        Product("VNP13A2", "002", 6e6, "viirs", False),
    )
}


def need(product: Product, layout: Layout, folder: Path) -> Need:
    """Return what lacks of a product; tiles at sea count, of which the catalogue has none."""
    pairs = lacking(product, layout, folder)
    files = sum(map(len, pairs.values()))
    if not files:
        return NOTHING
    tile, days = next(iter(by_tile(pairs).items()))
    shown = ", ".join(f"{key}={value!r}" for key, value in query(product, tile, days).items())
    return Need(files, files * product.tile_bytes, f"{product.tile_bytes / 1e6:.0f} MB a file",
                f"earthaccess.search_data({shown})")  # fmt: skip


def lacking(product: Product, layout: Layout, folder: Path) -> Pairs:
    """Return the tiles that are not there by day; a day with a cut-out lacks none."""
    held, wanted = product.held(folder), frozenset(modis_boxes(layout))
    pairs = {day: wanted - held.get(day, frozenset()) for day in product.days(layout)}
    whole_days = {day for day, tiles in held.items() if not all(map(_TILE.fullmatch, tiles))}
    return {day: tiles for day, tiles in pairs.items() if tiles and day not in whole_days}


def by_tile(pairs: Pairs) -> dict[str, list[date]]:
    """Turn tiles by day into days by tile."""
    found: dict[str, list[date]] = {}
    for day, tiles in pairs.items():
        for tile in sorted(tiles):
            found.setdefault(tile, []).append(day)
    return dict(sorted(found.items()))


def query(product: Product, tile: str, days: Sequence[date]) -> dict[str, Any]:
    """Return what the catalogue is asked of a tile: all from the first day to the last."""
    return {
        "short_name": product.name,
        "version": product.version,
        "granule_name": f"{product.name}.A*.{tile}.{product.version}.*",
        "temporal": (f"{min(days)}", f"{max(days) + timedelta(1)}"),
    }


@dataclass(frozen=True)
class Granule:
    """A file in the catalogue, with its bytes as told there, rounded."""

    url: str
    bytes: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(urlsplit(self.url).path).name

    def day_in(self, product: Product, tile: str) -> date | None:
        """Day of a file of that product and tile; None of another one."""
        start = rf"{product.name}\.A(\d{{4}})(\d{{3}})\.{tile}\.{product.version}\.\d+"
        match = re.fullmatch(rf"{start}\.(?:hdf|h5)", self.name)
        return date(int(match[1]), 1, 1) + timedelta(int(match[2]) - 1) if match else None


def orders(product: Product, layout: Layout, folder: Path, watch: Watch) -> Iterator[Order]:
    """Yield an order a file that is lacking and that the catalogue has."""
    catalog = connect()
    absent: set[date] = set()
    seen: set[date] = set()
    for tile, days in by_tile(lacking(product, layout, folder)).items():
        found = newest(catalog.granules(query(product, tile, days)), product, tile)
        wanted = [day for day in days if day in found]
        seen |= set(wanted)
        absent |= set(days) - set(wanted)
        for day in wanted:
            granule = found[day]
            remote = RemoteFile(granule.url, catalog.session, advice=ADVICE)
            target = folder / f"{day:%Y}" / granule.name
            yield order_of(remote, target, granule.bytes or int(product.tile_bytes), check_hdf)
    if absent - seen:
        logger.warning(
            "the LP DAAC has no %s of this region on %d days: %s .. %s", product.name,
            len(absent - seen), min(absent - seen), max(absent - seen),
        )  # fmt: skip


def newest(granules: Sequence[Granule], product: Product, tile: str) -> dict[date, Granule]:
    """Return the latest production of each day: names end in its time."""
    found: dict[date, Granule] = {}
    for granule in sorted(granules, key=lambda granule: granule.name):
        day = granule.day_in(product, tile)
        if day is not None:
            found[day] = granule
    return found


def check_hdf(path: Path) -> None:
    """Raise unless a file is a whole HDF4 or HDF5."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == _HDF4:
        whole.check_hdf4(path)
    elif magic == _HDF5:
        netCDF4.Dataset(path).close()  # the library compares the size
    else:
        raise ValueError(f"{path} begins with {magic!r}, expected an HDF file; try again")


# ---- the catalogue, through NASA's library ----------------------------------------------------


class Catalog:
    """What is asked of NASA: its catalogue, and files with the user's account.

    Parameters
    ----------
    account : earthaccess.Auth
        Logged in.
    """

    def __init__(self, account: Any) -> None:
        self._account = account
        self.session: requests.Session = account.get_session()

    def granules(self, asked: Mapping[str, Any]) -> list[Granule]:
        """Return the files that the catalogue has."""
        from earthaccess import DataGranules

        try:
            found = DataGranules(self._account).parameters(**asked).get_all()
        except (RuntimeError, requests.RequestException) as error:
            raise NoAnswer(
                f"NASA's catalogue does not answer ({error}); start again later"
            ) from error
        return [
            Granule(url, int(granule["size"] * 2**20))
            for granule in found
            for url in granule.data_links(access="external")
            if url.endswith((".hdf", ".h5"))
        ]


def connect() -> Catalog:
    """Log in by the environment, or else by ``~/.netrc``.

    Raises
    ------
    NoAccess
        If there are no credentials, or they are refused.
    ValueError
        If earthaccess is not installed.
    """
    try:
        import earthaccess
        from earthaccess.exceptions import LoginAttemptFailure, LoginStrategyUnavailable
    except ImportError as error:
        raise ValueError("fetching MODIS needs the package's extra, gssm-cube[fetch]") from error
    account = earthaccess.Auth()
    for strategy in ("environment", "netrc"):
        try:
            account.login(strategy, system=SYSTEM or earthaccess.PROD)
        except LoginStrategyUnavailable:
            continue
        except LoginAttemptFailure:  # whose text is the server's page
            raise NoAccess(f"NASA refuses the {strategy}'s name and password: {ADVICE}") from None
        except requests.RequestException as error:
            raise NoAnswer(f"NASA's login does not answer ({error}); start again later") from error
        return Catalog(account)
    raise NoAccess(f"no credentials for NASA's Earthdata: {ADVICE}")


def check_access() -> None:
    """Raise NoAccess unless NASA lets the user in; a token alone is tried with the first file."""
    connect()
