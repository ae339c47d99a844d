"""Files of the MODIS land products by day and tile, whatever form they were downloaded in.

Three forms, told by their names: tiles in HDF-EOS2 (``MOD11A1.A2019001.h18v04.061.<stamp>.hdf``,
all layers in one), tiles in GeoTIFF (the same name, ``_LST_Day_1km.tif`` at its end), and cut-outs
of an area in GeoTIFF (``MOD11A1.061_LST_Day_1km_doy2019001_aid0001.tif``, or any name with the
product first, a layer, and a day as ``A2019001``, ``doy2019001``, ``2019_001`` or ``20190101``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from gssm_cube.sources.day_files import DayFiles, Names, walk
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.sinusoidal import HALF_KILOMETRE, KILOMETRE, SinusoidalGrid

LST_LAYERS = ("LST_Day_1km", "QC_Day", "LST_Night_1km", "QC_Night")
VEGETATION_LAYERS = ("NDVI", "EVI", "pixel_reliability", "composite_day_of_the_year")
COLLECTION = "061"
WHOLE = "hdf"  # in place of a layer: a file that holds them all
AREA = ""  # in place of a tile: a cut-out of an area

Tile = dict[str, Path]  # by layer, or one file under WHOLE
Day = dict[str, Tile]  # by tile (h18v04), or one cut-out under AREA
Files = DayFiles  # of Days


@dataclass(frozen=True)
class Product:
    """A product: its layers, its grid, and how its HDF-EOS2 files name grid and fields."""

    layers: tuple[str, ...]
    grid: SinusoidalGrid
    grid_name: str
    prefix: str = ""

    def field(self, layer: str) -> str:
        """Name of a layer's field in HDF-EOS2."""
        return f"{self.prefix} {layer.replace('_', ' ')}" if self.prefix else layer


_LST = Product(LST_LAYERS, KILOMETRE, "MODIS_Grid_Daily_1km_LST")
_COARSE = Product(VEGETATION_LAYERS, KILOMETRE, "MODIS_Grid_16DAY_1km_VI", "1 km 16 days")
_FINE = Product(VEGETATION_LAYERS, HALF_KILOMETRE, "MODIS_Grid_16DAY_500m_VI", "500m 16 days")
# Terra (MOD) and Aqua (MYD) are coded alike. doi:10.5067/MODIS/<product>.061
PRODUCTS = {
    "MOD11A1": _LST,
    "MYD11A1": _LST,
    "MOD13A2": _COARSE,
    "MYD13A2": _COARSE,
    "MOD13A1": _FINE,
    "MYD13A1": _FINE,
}
# Days on which an instrument gave nothing or not all, by NASA's own statements.
OUTAGES = {
    "MOD": (
        # Change to the B side: MCST, Terra MODIS Instrument Performance History.
        (date(2000, 10, 26), date(2000, 10, 30)),
        # Power supply 2: mcst.gsfc.nasa.gov/iot, weekly reports 2001-160 to 2001-181.
        (date(2001, 6, 15), date(2001, 7, 2)),
        # Safe mode: NASA's outage list for Terra.
        (date(2016, 2, 18), date(2016, 2, 28)),
        # Constellation exit: lpdaac.usgs.gov/news, 13 October 2022.
        (date(2022, 10, 10), date(2022, 10, 19)),
    ),
    "MYD": (
        # Recorder: landweb.modaps.eosdis.nasa.gov, case PM_MYD_20229a.
        (date(2020, 8, 16), date(2020, 9, 2)),
        # Safe mode: mcst.gsfc.nasa.gov/news, 2022.
        (date(2022, 3, 31), date(2022, 4, 17)),
    ),
}
_ALSO = {"pixel_reliability": "Rely", "composite_day_of_the_year": "DOY"}  # of MODIStsp
_DAY = re.compile(r"(?:\.A|doy|_)(?P<year>\d{4})_?(?P<day>\d{3})(?:\d{6})?(?=[._])")
_DATE = re.compile(r"(?<!\d)(\d{4})[-_]?(\d{2})[-_]?(\d{2})(?!\d)")
_TILE = re.compile(r"(?<![A-Za-z0-9])h\d{2}v\d{2}(?!\d)")
_COLLECTION = re.compile(r"\.(\d{3})(?=[._])")


@dataclass(frozen=True)
class Name:
    """What a file's name says: day, tile (or AREA), layer (or WHOLE) and form."""

    day: date
    tile: str
    layer: str

    @property
    def form(self) -> str:
        """Form of the file, for people."""
        if self.layer == WHOLE:
            return "HDF-EOS2 tile"
        return "GeoTIFF tile" if self.tile else "GeoTIFF cut-out"


def find_files(folder: Path, product: str, layers: tuple[str, ...], tell: Tell = stop) -> Files:
    """Return the files of a product by day, tile and layer.

    Parameters
    ----------
    folder : Path
        Searched with its sub-folders.
    product : str
        One of ``PRODUCTS``, such as ``"MOD11A1"`` or ``"MYD11A1"``.
    layers : tuple of str
        Layers that every tile of every day must have; HDF-EOS2 files hold all.
    tell : callable
        Takes what is wrong. If it returns, what came first of two files is kept.

    Returns
    -------
    DayFiles
        By date a dict of tile to dict of layer to Path. A cut-out stands under the tile
        ``AREA``, an HDF-EOS2 file under the layer ``WHOLE``.

    Raises
    ------
    FileNotFoundError
        If there is none, or a tile lacks a layer.
    ValueError
        If a day is there in two forms, a tile twice (two productions), a file is of another
        collection, or a name says no day.
    """
    names = Names(folder)
    for path in walk(folder, (f"{product}.", f"{product}_")):
        with told(tell):
            name = parse_name(path, product, layers)
            if name is not None:
                names.add(name.day, (name.tile, name.layer), path)
    found = DayFiles.of(folder, _sound_days(names, product, layers, tell))
    if not found:
        tell(
            FileNotFoundError(
                f"no {product}.{COLLECTION} GeoTIFF (such as AppEEARS delivers) or HDF-EOS2 tile "
                f"in {folder}; download it there"
            )
        )
    return found


def vegetation_product(folder: Path, coarse: str) -> str:
    """Return the product of vegetation that a folder holds.

    Parameters
    ----------
    folder : Path
    coarse : str
        ``"MOD13A2"`` or ``"MYD13A2"``, at 1 km.

    Returns
    -------
    str
        That product, or the one of 500 m where the folder has only that.
    """
    fine = coarse.replace("A2", "A1")
    held = (any(walk(folder, (f"{name}.", f"{name}_"))) for name in (coarse, fine))
    return fine if list(held) == [False, True] else coarse


def _sound_days(
    names: Names, product: str, layers: tuple[str, ...], tell: Tell
) -> Iterator[tuple[date, Day]]:
    """Yield each day with one file for each tile and layer; tell what is twice or lacking."""
    for when, files in names.by_day():
        day: Day = {}
        for path, (tile, layer) in files:
            with told(tell):
                _add(day, Name(when, tile, layer), path, product)
        for tile, held in day.items():
            missing = set(layers) - set(held)
            if missing and WHOLE not in held:
                place = f", tile {tile}," if tile else ""
                text = f"{product} of {when}{place} in {names.folder} lacks {sorted(missing)}"
                tell(FileNotFoundError(f"{text}; download the layers"))
        yield when, day


def parse_name(path: Path, product: str, layers: tuple[str, ...]) -> Name | None:
    """Return what a file's name says; None where it is no file of these layers."""
    stem, suffix = path.name.removeprefix(product), path.suffix.lower()
    if suffix not in (".hdf", ".tif", ".tiff"):
        return None
    layer = WHOLE if suffix == ".hdf" else _layer_of(stem, layers)
    if layer is None:
        return None
    collection = _COLLECTION.search(stem)
    if collection and collection[1] != COLLECTION:
        raise ValueError(
            f"{path} is of collection {collection[1]}, expected {COLLECTION}; older collections "
            "are withdrawn: remove it and download the new one"
        )
    day, tile = _day_of(stem), _TILE.search(stem)
    if day is None or (layer == WHOLE and tile is None):
        raise ValueError(
            f"{path}: its name says no day, or no tile, expected such as {product}.A2019001."
            f"h18v04.{COLLECTION}.<stamp>.hdf or {product}_{layers[0]}_2019_001.tif; rename it"
        )
    return Name(day, tile[0] if tile else AREA, layer)


def _layer_of(stem: str, layers: tuple[str, ...]) -> str | None:
    """Layer that a name says, as a word of its own."""
    for layer in layers:
        words = "|".join(filter(None, (layer, _ALSO.get(layer))))
        if re.search(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", stem):
            return layer
    return None


def _day_of(stem: str) -> date | None:
    """Day that a name says, by day of the year or by month."""
    match = _DAY.search(stem)
    if match:
        day = date(int(match["year"]), 1, 1) + timedelta(days=int(match["day"]) - 1)
        return day if day.year == int(match["year"]) else None
    match = _DATE.search(stem)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def _add(day: Day, name: Name, path: Path, product: str) -> None:
    """Add a file to its day, unless the day has it already or has another form."""
    # All that a day has is of one form, so one file tells.
    for tile, files in islice(day.items(), 1):
        other = next(iter(files.values()))
        form = Name(name.day, tile, next(iter(files))).form
        if form != name.form:
            raise ValueError(
                f"{product} of {name.day} is there in two forms: {form} {other} and {name.form} "
                f"{path}; leave one"
            )
    other = day.setdefault(name.tile, {}).setdefault(name.layer, path)
    if other != path:
        place, advice = ("", "leave one area")
        if name.tile:
            place, advice = f", tile {name.tile},", "leave the production that you trust"
        raise ValueError(
            f"{product} of {name.day}{place} is there twice: {other} and {path}; {advice}"
        )


def in_outage(day: date, product: str = "MOD11A1") -> bool:
    """Whether the product's instrument is known to have given nothing on a day."""
    return any(first <= day <= last for first, last in OUTAGES[product[:3]])


def missing_tiles(files: Files) -> dict[date, list[str]]:
    """Return, by day, the tiles that are absent although other days have them.

    Ocean has no tiles, so only the files themselves tell which to expect. A day that is a cut-out
    lacks none; a day without any file is not here (see ``inputs.check_complete``).
    """
    known = frozenset().union(*set(files.parts.values())) - {AREA}
    gaps = {day: sorted(known - held) for day, held in files.parts.items() if AREA not in held}
    return {day: tiles for day, tiles in gaps.items() if tiles}


def only_tiles(files: Files, wanted: set[str]) -> Files:
    """Return the files of the wanted tiles, and all cut-outs; days left with none are dropped.

    So that a download of tiles elsewhere neither counts as absent nor renews a cube.
    """
    return files.only_parts(wanted | {AREA})


def first_tile(day: Mapping[str, Tile]) -> Tile:
    """Return the files of a day's first tile; none where the day is empty."""
    return next(iter(day.values()), {})
