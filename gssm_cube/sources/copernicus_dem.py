"""Copernicus DEM GLO-90 on the cells of MERIT Hydro (doi:10.5270/ESA-c5d3d65, product handbook).

Tiles of 1 degree, named by their south-west corners, of 3 arcsec from north to south; eastward as
well up to 50 degrees of latitude, and 1.5 to 10 times wider beyond. Centres lie on multiples of 3
arcsec, as MERIT Hydro's do, so that no height is moved but eastward beyond 50 degrees. The sea is
0 m, far out it has no tiles. Unlike MERIT Hydro's these are heights of the surface, trees included.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.ee_requests import Band, Box, PixelGrid, common
from gssm_cube.sources.web_tiff import WebTiffs

ASSET = "data"  # of an item of the Planetary Computer
HEIGHT = Band("data", "float32", -9999.0)
_NAME = re.compile(r"_COG_30_(?P<ns>[NS])(?P<lat>\d\d)_00_(?P<ew>[EW])(?P<lon>\d{3})_00")
Tiles = dict[tuple[int, int], str]  # addresses by south and west edge, degrees


def tiles_of(items: Iterable[Mapping[str, Any]]) -> Tiles:
    """Return the addresses of tiles by their corners; items of GLO-30 or others are passed over."""
    found: Tiles = {}
    for item in items:
        name = _NAME.search(str(item.get("id", "")))
        if name is not None and ASSET in item["assets"]:
            south = int(name["lat"]) * (-1 if name["ns"] == "S" else 1)
            west = int(name["lon"]) * (-1 if name["ew"] == "W" else 1)
            found[south, west] = item["assets"][ASSET]["href"]
    return found


def corners_of(grid: PixelGrid, box: Box) -> list[tuple[int, int]]:
    """Return south and west edges of the tiles that hold the centres of a box's cells."""
    left, top = grid.corner_of(box)
    height, width = grid.cell[1] * len(box[0]), grid.cell[0] * len(box[1])
    half = grid.cell[1] / 2
    # The northernmost row of a tile has its centre on the parallel: it is named by that below.
    south = range(int(np.ceil(top - height + half - 1e-9)) - 1, int(np.ceil(top - half - 1e-9)))
    west = range(int(np.floor(left + half + 1e-9)), int(np.floor(left + width - half + 1e-9)) + 1)
    return [(lat, lon) for lat in south for lon in west]


def read_heights(tiffs: WebTiffs, tiles: Tiles, grid: PixelGrid, box: Box) -> NDArray[np.float32]:
    """Read heights (row, col), m, on a box of MERIT Hydro's cells; NaN at sea."""
    heights = np.full((len(box[0]), len(box[1])), np.nan, dtype="float32")
    for corner in corners_of(grid, box):
        if corner in tiles:
            _lay(heights, tiffs, tiles[corner], grid, box)
    return np.where((heights == 0) | (heights == HEIGHT.fill), np.float32("nan"), heights)


def _lay(
    heights: NDArray[np.float32], tiffs: WebTiffs, address: str, grid: PixelGrid, box: Box
) -> None:
    """Lay one tile: rows as they are, of columns those that hold the cells' centres."""
    header = tiffs.header(address)
    own, (down, across) = header.grid, header.shape
    first = round((grid.corner[1] - own.corner[1]) / grid.cell[1])
    rows = common(range(first, first + down), box[0])
    centres = grid.corner[0] + grid.cell[0] * (np.arange(box[1].start, box[1].stop) + 0.5)
    cols = np.floor((centres - own.corner[0]) / own.cell[0] + 1e-6).astype("int64")
    inside = np.flatnonzero((cols >= 0) & (cols < across))
    if not rows or not inside.size:
        return
    held = cols[inside]
    part = range(rows.start - first, rows.stop - first), range(int(held[0]), int(held[-1]) + 1)
    values = tiffs.read(address, own, part, HEIGHT)[:, held - held[0]]
    place = slice(rows.start - box[0].start, rows.stop - box[0].start)
    heights[place, inside[0] : inside[-1] + 1] = values
