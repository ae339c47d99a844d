"""Maps that are files on web servers: SoilGrids, MERIT Hydro, water table, depth to bedrock.

Addresses as public programs used them in 2026; of ``BEDROCK`` the folder is known with other files
of the same series, the name by its series: that address is not verified.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import requests

from gssm_cube.download.orders import (
    SOIL_TILE_BYTES,
    list_of_tiles,
    listed_tiles,
    padded_bounds,
    usual_tiles,
)
from gssm_cube.fetch import tars, transfer
from gssm_cube.fetch.needs import NOTHING, Need, Order, order_of
from gssm_cube.fetch.transfer import NoRanges, RemoteFile
from gssm_cube.grid import Layout
from gssm_cube.ingest import keys
from gssm_cube.sources import bedrock, groundwater, merit_hydro, soilgrids, whole
from gssm_cube.sources.raster import Bounds, open_raster
from gssm_cube.sources.tries import NoAccess, NotThere, Watch
from gssm_cube.web_settings import SOILGRIDS

logger = logging.getLogger(__name__)

BEDROCK = "https://files.isric.org/soilgrids/former/2017-03-10/aggregated/1km"
WATER_TABLE = "http://thredds-gfnl.usc.es/thredds/fileServer/GLOBALWTDFTP/annualmeans"
MERIT_HYDRO = "http://hydro.iis.u-tokyo.ac.jp/~yamadai/MERIT_Hydro/distribute/v1.0"
MERIT_ADVICE = (
    "register at http://hydro.iis.u-tokyo.ac.jp/~yamadai/MERIT_Hydro/, and put the name and "
    "password that you are sent into MERIT_HYDRO_USERNAME and MERIT_HYDRO_PASSWORD, or into "
    "~/.netrc (machine hydro.iis.u-tokyo.ac.jp)"
)
# Continents of the water table: EURASIA as its file's axes have it, the others wider than their
# land, so that one too many may come but none too few.
CONTINENTS: dict[str, Bounds] = {
    "AFRICA": (-30, -40, 65, 40),
    "EURASIA": (-14, 0, 180, 83),
    "NAMERICA": (-180, 0, -10, 84),
    "OCEANIA": (90, -60, 180, 20),
    "SAMERICA": (-100, -60, -30, 20),
}
PACKAGE_DEGREES = 30
SAMPLED = 32  # files whose sizes are asked for, if there are more of a kind


# ---- SoilGrids --------------------------------------------------------------------------------


def soil_need(layout: Layout, folder: Path) -> Need:
    """Return what lacks of SoilGrids: lists of tiles (VRT), and tiles as far as a list is here."""
    files, size = 0, 0.0
    for name in soilgrids.LAYERS:
        if _soil_is_whole(folder, name):
            continue
        vrt = list_of_tiles(folder, name)
        if vrt.exists():
            count = len(_absent_tiles(vrt, layout))
        else:
            count = 1 + len(usual_tiles(layout))  # the list, and those
        files, size = files + count, size + count * SOIL_TILE_BYTES
    if not files:
        return NOTHING
    first = soilgrids.LAYERS[0]
    return Need(files, size, "405 kB a tile, which comes compressed; and 5 lists of tiles",
                f"GET {SOILGRIDS}/{first}/{list_of_tiles(folder, first).name}")  # fmt: skip


def _soil_is_whole(folder: Path, name: str) -> bool:
    """Whether a layer is there as one file."""
    places = (folder, folder / name)
    return any((place / f"{name}_0-5cm_mean.tif").is_file() for place in places)


def _absent_tiles(vrt: Path, layout: Layout) -> list[Path]:
    """Return the tiles that are not there of those that a layout looks at."""
    return [path for path in listed_tiles(vrt, layout) if not path.exists()]


def soil_orders(layout: Layout, folder: Path, watch: Watch) -> Iterator[Order]:
    """Yield an order a tile; the lists that tell which are fetched at once if they are lacking."""
    session = requests.Session()
    for name in soilgrids.LAYERS:
        if _soil_is_whole(folder, name):
            continue
        vrt = list_of_tiles(folder, name)
        if not vrt.exists():
            remote = RemoteFile(f"{SOILGRIDS}/{name}/{vrt.name}", session)
            transfer.download(remote, vrt, check_list, watch)
        absent = _absent_tiles(vrt, layout)
        urls = [f"{SOILGRIDS}/{name}/{path.relative_to(vrt.parent)}" for path in absent]
        sizes = sizes_of([RemoteFile(url, session) for url in urls], watch)
        for url, path, size in zip(urls, absent, sizes, strict=True):
            yield order_of(RemoteFile(url, session), path, size, check_raster)


def check_list(path: Path) -> None:
    """Raise unless a list of tiles is a whole document."""
    try:
        ElementTree.parse(path)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no VRT ({error}); try again") from error


def sizes_of(files: Sequence[RemoteFile], watch: Watch) -> list[int]:
    """Return the bytes of files; of many the mean of some, spread evenly over them.

    What is not there counts 0 and is told when it is to be fetched.
    """
    step = max(1, len(files) // SAMPLED)
    asked: dict[int, int] = {}
    for number in range(0, len(files), step):
        with suppress(NotThere):
            asked[number] = transfer.size_of(files[number], watch) or 0
    mean = sum(asked.values()) // max(1, len(asked))
    return [asked.get(number, mean) for number in range(len(files))]


def check_raster(path: Path) -> None:
    """Raise unless a file is a whole raster that GDAL opens."""
    whole.check_directory(path)
    with open_raster(path) as source:
        whole.check_geotiff(source, path)


# ---- MERIT Hydro ------------------------------------------------------------------------------

MERIT_BYTES = {"elv": 4, "upa": 4, "dir": 1}  # of a cell, before they are compressed


def merit_need(layout: Layout, folder: Path) -> Need:
    """Return what lacks of MERIT Hydro: tiles of 5 degrees, those at sea as well."""
    pairs = merit_lacking(layout, folder)
    if not pairs:
        return NOTHING
    cells = (merit_hydro.TILE_DEGREES * merit_hydro.CELLS_PER_DEGREE) ** 2
    size = float(cells * sum(MERIT_BYTES[layer] for _, layer in pairs))
    tile, layer = pairs[0]
    url = f"{MERIT_HYDRO}/{layer}_{package_of(tile)}.tar"
    return Need(len(pairs), size, "as if uncompressed; members of packages, by Range", f"GET {url}")


def merit_lacking(layout: Layout, folder: Path) -> list[tuple[str, str]]:
    """Return tile and layer of what is not there, neither loose nor in a package."""
    boxes = (padded_bounds(layout, tile) for tile in layout.tiles())
    wanted = sorted({name for box in boxes for name in keys.merit_tiles(box)})
    held = merit_hydro.find_files(folder, lambda error: None) if folder.is_dir() else {}
    return [
        (name, layer)
        for name in wanted
        for layer in merit_hydro.LAYERS
        if layer not in held.get(name, {}) and not sea_note(folder, name).exists()
    ]


def sea_note(folder: Path, tile: str) -> Path:
    """Where it is noted that the provider has no such tile: there is no land."""
    return folder / f"{tile}.sea"


def package_of(tile: str) -> str:
    """Name of the package that holds a tile, by its south-west corner, such as ``n30w120``."""
    west, south, _, _ = merit_hydro.tile_bounds(tile)
    size = PACKAGE_DEGREES
    return merit_hydro.tile_name(int(south // size * size), int(west // size * size))


def merit_session() -> requests.Session:
    """Return a session with the account of the environment; else requests looks in ~/.netrc."""
    session = requests.Session()
    names = ("MERIT_HYDRO_USERNAME", "MERIT_HYDRO_PASSWORD")
    user, password = (os.environ.get(name, "") for name in names)
    if user and password:
        session.auth = (user, password)
    return session


def check_merit_access() -> None:
    """Raise NoAccess unless there is an account for the packages."""
    url = f"{MERIT_HYDRO}/elv_n30e000.tar"
    if not merit_session().auth and not requests.utils.get_netrc_auth(url):
        raise NoAccess(f"no account for MERIT Hydro: {MERIT_ADVICE}")
    with suppress(NotThere):  # we were let in
        transfer.size_of(RemoteFile(url, merit_session(), advice=MERIT_ADVICE), Watch())


def merit_orders(layout: Layout, folder: Path, watch: Watch) -> Iterator[Order]:
    """Yield an order a tile and layer, out of the middle of its package."""
    session = merit_session()
    packages: dict[tuple[str, str], set[str]] = {}
    for tile, layer in merit_lacking(layout, folder):
        packages.setdefault((package_of(tile), layer), set()).add(tile)
    for (package, layer), tiles in packages.items():
        archive = RemoteFile(f"{MERIT_HYDRO}/{layer}_{package}.tar", session, advice=MERIT_ADVICE)
        yield from _package_orders(archive, layer, tiles, folder, watch)


def _package_orders(
    archive: RemoteFile, layer: str, tiles: set[str], folder: Path, watch: Watch
) -> Iterator[Order]:
    """Yield orders of members; of the whole package where its server gives no parts of files."""
    names = {f"{tile}_{layer}.tif": tile for tile in tiles}
    try:
        found = {PurePosixPath(entry.name).name: entry for entry in tars.entries(archive, watch)}
    except NotThere:
        found = {}
    except NoRanges:
        target = folder / archive.url.rsplit("/", 1)[1]
        size = transfer.size_of(archive, watch)
        yield order_of(archive, target, size, merit_hydro.list_members)
        return
    for name, tile in sorted(names.items()):
        if name not in found:
            folder.mkdir(parents=True, exist_ok=True)
            sea_note(folder, tile).write_text(f"{archive.url} has no {name}: no land\n")
            continue
        entry = found[name]
        remote = RemoteFile(archive.url, archive.session, entry.start, entry.bytes, MERIT_ADVICE)
        yield order_of(remote, folder / name, entry.bytes, check_raster)


# ---- water table and bedrock ------------------------------------------------------------------


def water_need(layout: Layout, folder: Path) -> Need:
    """Return what lacks of the water table: files of continents."""
    names = water_lacking(layout, folder)
    if not names:
        return NOTHING
    return Need(len(names), None, "the server tells; NAMERICA has 66 MB",
                f"GET {WATER_TABLE}/{names[0]}")  # fmt: skip


def water_lacking(layout: Layout, folder: Path) -> list[str]:
    """Return the files of continents near a layout that are not there.

    None if a file of another name reaches the layout: a map of the user's own.
    """
    there = {path.name: path for path in folder.glob("*.nc")}
    names = [
        f"{name}_WTD_annualmean.nc"
        for name, box in CONTINENTS.items()
        if keys.overlap(box, layout.bounds)
    ]
    own = [path for name, path in there.items() if not name.endswith("_WTD_annualmean.nc")]
    if any(keys.overlap(groundwater.extent(path), layout.bounds) for path in own):
        return []
    return [name for name in names if name not in there]


def water_orders(layout: Layout, folder: Path, watch: Watch) -> Iterator[Order]:
    """Yield an order a continent."""
    session = requests.Session()
    for name in water_lacking(layout, folder):
        remote = RemoteFile(f"{WATER_TABLE}/{name}", session)
        yield order_of(remote, folder / name, transfer.size_of(remote, watch), check_water)


def check_water(path: Path) -> None:
    """Raise unless a file is a whole map of the water table."""
    groundwater.check_files([path])


def bedrock_need(layout: Layout, folder: Path) -> Need:
    """Return whether the map of the depth to bedrock lacks."""
    if list(folder.rglob(bedrock.FILE_NAME)):
        return NOTHING
    return Need(1, None, "the server tells", f"GET {BEDROCK}/{bedrock.FILE_NAME}")


def bedrock_orders(layout: Layout, folder: Path, watch: Watch) -> Iterator[Order]:
    """Yield the order of the one map, of the globe."""
    if bedrock_need(layout, folder).files:
        remote = RemoteFile(f"{BEDROCK}/{bedrock.FILE_NAME}", requests.Session())
        target = folder / bedrock.FILE_NAME
        yield order_of(remote, target, transfer.size_of(remote, watch), check_raster)
