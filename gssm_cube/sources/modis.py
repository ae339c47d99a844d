"""MODIS land products, collection 061: surface temperature and vegetation, Terra and Aqua.

MOD11A1 and MYD11A1 (daily, 1 km), MOD13A2 and MYD13A2 (16 days, 1 km), MOD13A1 and MYD13A1 (16
days, 500 m), each as HDF-EOS2 tiles, GeoTIFF tiles or GeoTIFF cut-outs of the sinusoidal grid.
doi:10.5067/MODIS/MOD11A1.061, doi:10.5067/MODIS/MOD13A2.061, doi:10.5067/MODIS/MOD13A1.061.
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.modis_files import (
    LST_LAYERS,
    VEGETATION_LAYERS,
    Day,
    Files,
    find_files,
    in_outage,
    missing_tiles,
    only_tiles,
    vegetation_product,
)
from gssm_cube.sources.modis_tiles import (
    CODINGS,
    check_cutout,
    check_day,
    check_tiles,
    product_of,
    read_cutout,
    read_tile,
    read_tiles,
)
from gssm_cube.sources.sinusoidal import KILOMETRE, Cutout, mosaic
from gssm_cube.sources.vegetation_500m import coarsen

__all__ = [
    "CODINGS",
    "LST_LAYERS",
    "VEGETATION_LAYERS",
    "Day",
    "Files",
    "check_cutout",
    "check_day",
    "check_tiles",
    "find_files",
    "in_outage",
    "missing_tiles",
    "only_tiles",
    "read_cutout",
    "read_lst",
    "read_tile",
    "read_vegetation",
    "usable_lst",
    "vegetation_product",
]


def usable_lst(numbers: NDArray[np.uint16], quality: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where MOD11A1 is kept.

    Digital numbers within 7500-65535, mandatory QA (bits 1-0) 00, or 01 with an LST error
    (bits 7-6) of at most 2 K. Wan (2013), MODIS LST products user's guide, collection 6.
    """
    good = np.zeros(256, dtype=bool)
    mandatory, error = np.arange(256) & 0b11, np.arange(256) >> 6
    good[(mandatory == 0) | ((mandatory == 1) & (error <= 1))] = True
    return (numbers >= 7500) & good.take(quality)


def read_lst(day: Day, overpass: str, rows: range, cols: range) -> Cutout:
    """Read the ``"Day"`` or ``"Night"`` overpass: digital numbers of 0.02 K, 0 where not usable.

    Parameters
    ----------
    day : Day
        The files of a day; a tile that is absent is missing throughout.
    overpass : str
    rows, cols : range
        Of the global 1 km sinusoidal grid.

    Returns
    -------
    Cutout
        uint16, of exactly ``rows`` and ``cols``.

    Raises
    ------
    ValueError
        Naming the file: damaged, of another product, grid or coding, or LST and quality that
        cover different areas.
    """
    layers = (f"LST_{overpass}_1km", f"QC_{overpass}")
    parts = (_usable(*part) for part in read_tiles(day, layers, rows, cols))
    return mosaic(parts, rows, cols, fill=0, dtype="uint16")


def _usable(lst: Cutout, quality: Cutout) -> Cutout:
    """LST of a tile where its quality lets it in."""
    usable = usable_lst(lst.values, quality.values)
    return Cutout(np.where(usable, lst.values, np.uint16(0)), lst.row, lst.col)


def read_vegetation(day: Day, start: date, rows: range, cols: range) -> dict[str, Cutout]:
    """Read a composite: NDVI and EVI (0.0001), reliability and day of the year, at 1 km.

    Files of 500 m are brought to 1 km by area, see ``vegetation_500m.coarsen``.

    Parameters
    ----------
    day : Day
        The files of a composite.
    start : date
        First day of the composite.
    rows, cols : range
        Of the global 1 km sinusoidal grid.

    Returns
    -------
    dict of Cutout
        By ``VEGETATION_LAYERS``, of exactly ``rows`` and ``cols``; -3000, -3000, -1, -1 missing.

    Raises
    ------
    ValueError
        As ``read_lst``.
    """
    fine = 2 if product_of(day).grid != KILOMETRE else 1
    wanted = [range(fine * span.start, fine * span.stop) for span in (rows, cols)]
    tiles = read_tiles(day, VEGETATION_LAYERS, *wanted)
    # Held at 1 km, one tile of 500 m at a time.
    parts = [coarsen(part, start) if fine == 2 else part for part in tiles]
    whole = {}
    for number, layer in enumerate(VEGETATION_LAYERS):
        layers, coding = (part[number] for part in parts), CODINGS[layer]
        whole[layer] = mosaic(layers, rows, cols, fill=coding.fill, dtype=coding.dtype)
    return whole
