"""The map of a day, from the coarsest layer that is fine enough for what is in view."""

from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.grid import CHUNK_PIXELS, Layout
from gssm_cube.product.overviews import LAYERS, factors, group_name
from gssm_cube.product.store import check_product
from gssm_cube.storage.locations import Location
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.view.layers import QUALITY, STYLES, classify

Box = tuple[float, float, float, float]  # west, south, east, north; degrees
MOST_CELLS = 1_000_000  # that are sent to the page
MOST_CHUNKS = 144  # of 366 days that a day's map inflates: 4.8 x 4.8 deg at 1 km, 0.2 s


@dataclass(frozen=True)
class Level:
    """The arrays of one resolution."""

    pixels: int  # along the edge of a cell
    arrays: dict[str, zarr.Array]


@dataclass(frozen=True)
class DayMap:
    """A day of one layer in a box of whole cells.

    Parameters
    ----------
    codes : (lat, lon) int16 or uint16
        As they are stored, north first.
    values : (lat, lon) float32
        As they are shown: m3 m-3, or the number of a class of quality; NaN over sea.
    bounds : (west, south, east, north), degrees
        Edges of the cells.
    level : int
        Pixels along the edge of a cell.
    step : int
        One cell of so many is there, each way.
    degrees : float
        Edge of a cell.
    """

    codes: NDArray[Any]
    values: NDArray[np.float32]
    bounds: Box
    level: int
    step: int
    degrees: float


class Atlas:
    """The maps of a product, opened once.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no product, or one too large for maps at 1 km that has no overviews.
    """

    def __init__(self, store: Location) -> None:
        check_product(store)
        self.store = store
        self.layout: Layout = read_layout(store)
        self.root = open_group(store)
        self.levels = [Level(1, {name: array_of(self.root, name) for name in LAYERS})]
        for degrees, pixels in sorted(factors(self.layout).items()):
            group = group_name(degrees)
            if all(f"{group}/{name}" in self.root for name in LAYERS):
                arrays = {name: array_of(self.root, f"{group}/{name}") for name in LAYERS}
                self.levels.append(Level(pixels, arrays))
        if len(self.levels) == 1 and not self._fits(self.levels[0], self.layout.bounds):
            raise ValueError(
                f"{store} has no overviews, and its {self.layout.shape} pixels are too many for "
                f"maps at 1 km: run `gssm overviews {store}` first"
            )

    def read(self, layer: str, day: int, box: Box, *, thin: bool = True) -> DayMap:
        """Read a layer of a day in all cells that touch a box.

        Parameters
        ----------
        layer : str
            ``ssm``, ``ssm_spread`` or ``quality``.
        day : int
            After the product's first.
        box : (west, south, east, north), degrees
            What lies outside the product is left out.
        thin : bool
            Take every n-th cell where there would be more than a million.

        Returns
        -------
        DayMap
            Of no cell, if the box lies outside.
        """
        level = self.level_of(box)
        rows, cols = self._cells(level, box)
        place = (slice(day, day + 1), rows, cols)
        count = (rows.stop - rows.start) * (cols.stop - cols.start)
        step = max(1, ceil(sqrt(count / MOST_CELLS))) if thin else 1

        def codes_of(name: str) -> NDArray[Any]:
            whole = read_box(level.arrays[name], place) if count else np.empty((1, 0, 0), "int16")
            return whole[0, ::step, ::step]

        codes = codes_of(layer)
        if layer == QUALITY:
            values = classify(codes, codes_of("ssm"))
        else:
            values = STYLES[layer].packing.decode(codes)
        edge = level.pixels / self.layout.grid.pixels_per_degree
        west, _, _, north = self.layout.bounds
        height, width = (n * step * edge for n in codes.shape)
        left, top = west + cols.start * edge, north - rows.start * edge
        return DayMap(
            codes, values, (left, top - height, left + width, top), level.pixels, step, edge
        )

    def level_of(self, box: Box) -> Level:
        """Return the finest level of which a box holds not too much, or the coarsest."""
        return next((level for level in self.levels if self._fits(level, box)), self.levels[-1])

    def _fits(self, level: Level, box: Box) -> bool:
        """Whether a box of a level can be read and sent while somebody waits."""
        rows, cols = self._cells(level, box)
        if level.pixels == 1:
            edges = [ceil(p.stop / CHUNK_PIXELS) - p.start // CHUNK_PIXELS for p in (rows, cols)]
            return edges[0] * edges[1] <= MOST_CHUNKS
        return (rows.stop - rows.start) * (cols.stop - cols.start) <= MOST_CELLS

    def _cells(self, level: Level, box: Box) -> tuple[slice, slice]:
        """Return the rows and columns of the cells that touch a box."""
        west, south, east, north = box
        left, _, _, top = self.layout.bounds
        per_degree = self.layout.grid.pixels_per_degree / level.pixels
        spans = ((top - north, top - south), (west - left, east - left))
        sizes = (edge // level.pixels for edge in self.layout.shape)
        return tuple(
            _span(*span, per_degree, size) for span, size in zip(spans, sizes, strict=True)
        )  # type: ignore[return-value]


def _span(low: float, high: float, per_degree: float, size: int) -> slice:
    """Return the cells from one distance to another, degrees from the first cell's edge."""
    # 1e-6 of a cell: an edge that is given as 43.6 is not the next cell's.
    first = min(max(floor(low * per_degree + 1e-6), 0), size)
    return slice(first, max(min(ceil(high * per_degree - 1e-6), size), first))
