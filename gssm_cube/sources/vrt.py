"""The tiles behind a GDAL virtual raster (VRT), and which of them a region needs.

A VRT is a small text; what is read through it are its tiles. Format: GDAL, "VRT -- GDAL Virtual
Format".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.raster import Bounds, cells_within


@dataclass(frozen=True)
class Vrt:
    """A virtual raster: its shape, its grid, its tiles' files and what each fills of it.

    ``grid`` is left edge, cell width, top edge, cell height; ``places`` (tile, 4) are first row,
    last row, first column and last column, as edges.
    """

    shape: tuple[int, int]
    grid: tuple[float, float, float, float]
    files: list[Path]
    places: NDArray[np.float64]


def tiles_within(path: Path, boxes: Iterable[Bounds]) -> list[Path]:
    """Return the files behind a VRT that fill any cell of some boxes, or the next one.

    Parameters
    ----------
    path : Path
    boxes : iterable of tuple
        Left, bottom, right, top in the VRT's own coordinates.

    Raises
    ------
    ValueError
        If the VRT cannot be parsed.
    """
    stat = path.stat()
    vrt = _read_vrt(path, stat.st_size, stat.st_mtime_ns)
    (left, width, top, height), (top_row, bottom_row, first, last) = vrt.grid, vrt.places.T
    wanted = np.zeros(len(vrt.files), dtype=bool)
    for box in boxes:
        rows = cells_within(top, height, box[3], box[1], vrt.shape[0])
        cols = cells_within(left, width, box[0], box[2], vrt.shape[1])
        if rows and cols:
            down = (top_row <= rows.stop) & (bottom_row >= rows.start)
            wanted |= down & (first <= cols.stop) & (last >= cols.start)
    return [vrt.files[number] for number in np.flatnonzero(wanted)]


@lru_cache(maxsize=16)
def _read_vrt(path: Path, size: int, changed: int) -> Vrt:
    """Parse a VRT as it was at a size and time."""
    try:
        root = ElementTree.parse(path).getroot()
        left, width, _, top, _, height = map(float, root.findtext("GeoTransform", "").split(","))
        shape = int(root.attrib["rasterYSize"]), int(root.attrib["rasterXSize"])
        tiles = list(_tiles_of(root, path, shape))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is no VRT that can be read: {error}; download it again"
        ) from error
    places = np.array([place for _, place in tiles], dtype="float64").reshape(-1, 4)
    return Vrt(shape, (left, width, top, height), [file for file, _ in tiles], places)


def _tiles_of(
    root: ElementTree.Element, path: Path, shape: tuple[int, int]
) -> Iterator[tuple[Path, tuple[float, ...]]]:
    """Yield file and place of each tile; those behind addresses are no files and are left out."""
    for source in root.iterfind("VRTRasterBand/*[SourceFilename]"):
        name = source.find("SourceFilename")
        text = (name.text or "") if name is not None else ""
        if name is None or not text or "://" in text or text.startswith("/vsi"):
            continue
        file = path.parent / text if name.get("relativeToVRT") == "1" else Path(text)
        target = source.find("DstRect")
        if target is None:
            yield file, (0, shape[0], 0, shape[1])
            continue
        x, y, wide, high = (float(target.attrib[k]) for k in ("xOff", "yOff", "xSize", "ySize"))
        yield file, (y, y + high, x, x + wide)
