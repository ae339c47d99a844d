"""VIIRS 1 km land products of Suomi NPP, collection 002: HDF-EOS5 tiles or AppEEARS GeoTIFFs.

They lie on the same sinusoidal grid as MODIS and carry on where Terra ends. VNP21A1D and VNP21A1N
hold daily LST by the TES algorithm, at about 13:30 and 01:30 local time (Terra: 10:30 and 22:30),
so they need ``harmonise.bridge`` before they stand beside MOD11A1. VNP13A2 holds 16-day
vegetation indices, a new one every 8 days: those that start on day 1, 17, ... match MOD13A2.
Needs h5py, the extra ``viirs``, for the tiles.

Sources: VNP21A1D/N and VNP13A2 file specifications (LAADS); Hulley et al., VNP21 user guide and
doi:10.5067/VIIRS/VNP21A1D.002, doi:10.5067/VIIRS/VNP21A1N.002; Didan and Barreto, VNP13 user
guide and ATBD v2.1.2, doi:10.5067/VIIRS/VNP13A2.002.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources import modis
from gssm_cube.sources.day_files import DayFiles, Names, walk
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.hdfeos5 import Layer, Product, check_tile, read_tile
from gssm_cube.sources.sinusoidal import KILOMETRE, Cutout, mosaic

COLLECTION = "002"
VEGETATION_FILL = -3000  # that of MOD13A2, whose numbers read_vegetation returns

# VNP13 pixel reliability 0..11 by MOD13's ranks (0 good, 1 marginal, 2 snow or ice, 3 cloudy).
# Excellent, good | acceptable, marginal, pass | questionable, poor, shadow | snow | cloud; 10
# (estimated) and 11 (long-term average) were not observed: fill.
_RANKS = np.array([0, 0, 1, 1, 1, 3, 3, 3, 2, 3, -1, -1], dtype="int16")

Files = DayFiles  # of dicts by tile, or by layer of a cut-out


_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32")
# MOD13 files state the divisor, 10000, where others state the factor: the numbers are the same.
_INDEX_SCALES = (1e-4, 1e4)
LST = Layer("LST_1KM", ("uint16",), (0.02,), ("K", "Kelvin"), 0)
QUALITY = Layer("QC", ("uint16",))
LST_PRODUCTS = {
    overpass: Product(name, "VIIRS_Grid_Daily_1km_LST21", (LST, QUALITY))
    for overpass, name in {"Day": "VNP21A1D", "Night": "VNP21A1N"}.items()
}
VEGETATION = {
    "ndvi": Layer("1 km 16 days NDVI", ("int16",), _INDEX_SCALES, fill=-15000),
    "evi": Layer("1 km 16 days EVI", ("int16",), _INDEX_SCALES, fill=-15000),
    "reliability": Layer("1 km 16 days pixel reliability", _INTEGERS),
    "day": Layer("1 km 16 days composite day of the year", _INTEGERS),
}
VNP13A2 = Product("VNP13A2", "VIIRS_Grid_16Day_VI_1km", tuple(VEGETATION.values()))


# ---- files ------------------------------------------------------------------------------------


def find_files(folder: Path, product: Product, tell: Tell = stop) -> Files:
    """Return the files of a product by day, and by tile (HDF-EOS5) or layer (GeoTIFF).

    Parameters
    ----------
    folder : Path
        Searched with its sub-folders for ``<product>.A<year><day>.h<hh>v<vv>.002.*.h5``, or for
        ``<product>.002_<layer>_doy<year><day>_*.tif``.
    product : Product
    tell : callable
        Takes what is wrong. If it returns, what came first of two files is kept.

    Raises
    ------
    FileNotFoundError
        If there is none, or a day of GeoTIFFs lacks a layer.
    ValueError
        If a tile or layer of a day is there twice, or both kinds of files are there.
    """
    name, day = product.name, r"(?P<year>\d{4})(?P<day>\d{3})"
    pattern = rf"{name}\.A{day}\.(?P<part>h\d\dv\d\d)\.{COLLECTION}\..*\.h5"
    tiles = _by_day(folder, pattern, name, tell)
    layers = "|".join(re.escape(layer.geotiff) for layer in product.layers)
    pattern = rf"{name}\.{COLLECTION}_(?P<part>{layers})_doy{day}_.*\.tif"
    rasters = _by_day(folder, pattern, name, tell)
    if tiles and rasters:
        tell(ValueError(f"{folder} holds {name} as .h5 and as .tif, expected one; part them"))
    if not tiles and not rasters:
        text = f"no {name}.{COLLECTION} tile (.h5) or AppEEARS GeoTIFF (.tif) in {folder}"
        tell(FileNotFoundError(f"{text}; download it there"))
    for when, held in rasters.parts.items():
        if missing := {layer.geotiff for layer in product.layers} - held:
            text = f"{name} of {when} in {folder} lacks {sorted(missing)}"
            tell(FileNotFoundError(f"{text}; download the layers"))
    return tiles or rasters


def _by_day(folder: Path, pattern: str, name: str, tell: Tell) -> Files:
    """Files whose names match, by day and part, in order of days."""
    names = Names(folder)
    for path in walk(folder, (f"{name}.",)):
        if match := re.fullmatch(pattern, path.name):
            when = date(int(match["year"]), 1, 1) + timedelta(days=int(match["day"]) - 1)
            names.add(when, (match["part"],), path)
    return DayFiles.of(folder, _sound_days(names, name, tell))


def _sound_days(names: Names, name: str, tell: Tell) -> Iterator[tuple[date, dict[str, Path]]]:
    """Yield each day with one file for each part; tell of others."""
    for when, files in names.by_day():
        day: dict[str, Path] = {}
        for path, (part,) in files:
            other = day.setdefault(part, path)
            if other != path:
                text = f"{name} of {when} is there twice: {other} and {path}"
                tell(ValueError(f"{text}; leave one of them"))
        yield when, day


def check_files(files: dict[str, Path], product: Product, tell: Tell = stop) -> None:
    """Raise, or tell, what is wrong with the files of a day, by their headers."""
    layers = {layer.geotiff: layer for layer in product.layers}
    for part, path in files.items():
        with told(tell):
            if part in layers:
                _check_type(path, modis.check_cutout(path), layers[part])
            else:
                check_tile(path, product)


# ---- a day ------------------------------------------------------------------------------------


def read_layer(
    files: dict[str, Path], product: Product, layer: Layer, rows: range, cols: range, fill: int
) -> Cutout:
    """Read a layer of a day over global ``rows`` and ``cols``; ``fill`` where no file reaches.

    Memory is that of the window and one tile's part of it.

    Raises
    ------
    ValueError
        As ``read_tile``; for GeoTIFFs, if one is off the grid or of another type.
    """
    if layer.geotiff in files:
        parts = iter([_read_raster(files[layer.geotiff], layer, rows, cols)])
        return mosaic(parts, rows, cols, fill=fill, dtype=_common_type(layer))
    wanted = sorted(KILOMETRE.tiles(rows, cols) & files.keys())
    read = (read_tile(files[name], product, layer, rows, cols) for name in wanted)
    found = (_as_type(part, layer) for part in read if part is not None)
    return mosaic(found, rows, cols, fill=fill, dtype=_common_type(layer))


def _read_raster(path: Path, layer: Layer, rows: range, cols: range) -> Cutout:
    """Read an AppEEARS cut-out, whose scale its name and type stand for."""
    part = modis.read_cutout(path, rows, cols)
    _check_type(path, part.values.dtype.name, layer)
    return _as_type(part, layer)


def _check_type(path: Path, found: str, layer: Layer) -> None:
    """Raise unless an AppEEARS cut-out holds numbers of the layer's type."""
    if found not in layer.types:
        raise ValueError(
            f"{path} is {found}, expected {' or '.join(layer.types)} as stored in the product; "
            "order native numbers, without scaling"
        )


def _common_type(layer: Layer) -> str:
    """Type in which a layer is returned: its own, or one that holds all it may have."""
    return layer.types[0] if len(layer.types) == 1 else "int32"


def _as_type(part: Any, layer: Layer) -> Cutout:
    """Cut-out in the type in which the layer is returned."""
    return Cutout(part.values.astype(_common_type(layer)), part.row, part.col)


def usable_lst(numbers: NDArray[np.uint16], quality: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return where VNP21A1 is kept.

    Digital numbers within 7500-65535; mandatory QA (bits 1-0) 00, or 01 with an LST accuracy
    (bits 15-14) of 2 K or better: here 00 is worse than 2 K and 11 better than 1 K, the other
    way round than MOD11A1. Data quality (bits 3-2) missing (01) or poorly calibrated (11), and
    cloud (bits 5-4) thin cirrus (01) or cloudy (11), are never kept.

    Parameters
    ----------
    numbers : array, uint16, 0.02 K
    quality : array, uint16
        "QC" of the same file.

    References
    ----------
    "QA Legend" of QC in the VNP21A1D file specification; VNP21 user guide.
    """
    mandatory, data, cloud, accuracy = ((quality >> shift) & 0b11 for shift in (0, 2, 4, 14))
    good = (mandatory == 0) | ((mandatory == 1) & (accuracy >= 1))
    return (numbers >= 7500) & good & (data % 2 == 0) & (cloud % 2 == 0)


def read_lst(files: dict[str, Path], overpass: str, rows: range, cols: range) -> Cutout:
    """Read LST of the ``"Day"`` or ``"Night"`` overpass: numbers of 0.02 K, 0 where not usable."""
    product = LST_PRODUCTS[overpass]
    numbers = read_layer(files, product, LST, rows, cols, 0)
    quality = read_layer(files, product, QUALITY, rows, cols, 0xFFFF)
    usable = usable_lst(numbers.values, quality.values)
    return Cutout(np.where(usable, numbers.values, 0).astype("uint16"), rows.start, cols.start)


def read_vegetation(files: dict[str, Path], name: str, rows: range, cols: range) -> Cutout:
    """Read a layer of VNP13A2 in the numbers of MOD13A2.

    Parameters
    ----------
    files : dict
        A composite of ``find_files``.
    name : str
        ``"ndvi"`` or ``"evi"`` (0.0001; -3000 outside -10000..10000: VIIRS fills with -15000,
        water with -13000), ``"reliability"`` (0 good, 1 marginal, 2 snow or ice, 3 cloudy, -1
        fill) or ``"day"`` of the year (1..366, -1 fill).
    rows, cols : range
        Global sinusoidal.

    Returns
    -------
    Cutout, int16
    """
    values = read_layer(files, VNP13A2, VEGETATION[name], rows, cols, -15000).values
    if name == "reliability":
        known = (values >= 0) & (values < len(_RANKS))
        numbers = np.where(known, _RANKS[np.where(known, values, 0)], -1)
    elif name == "day":
        numbers = np.where((values >= 1) & (values <= 366), values, -1)
    else:
        numbers = np.where(np.abs(values.astype("int32")) <= 10000, values, VEGETATION_FILL)
    return Cutout(numbers.astype("int16"), rows.start, cols.start)
