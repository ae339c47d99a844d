"""What the ingest's tasks share: a tile with its rim, and packing with a check."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.grid import Layout, Tile
from gssm_cube.harmonise.regrid import area_mean
from gssm_cube.sources.raster import Bounds, Raster
from gssm_cube.variables import STORED

HOLE_PIXELS = 5  # holes in soil, water table or LST of up to 5 km are filled from nearby land
SATURATED_SHARE = 1e-4


def pack(name: str, values: NDArray[Any]) -> NDArray[np.int16]:
    """Return the codes of what the cube stores under a name.

    Raises
    ------
    ValueError
        If more than 0.01 % of the values lie outside what the codes can say: wrong units.
    """
    packing = STORED[name].packing
    saturated = packing.saturated(values)
    if saturated > SATURATED_SHARE * values.size:
        raise ValueError(
            f"{name}: {saturated} of {values.size} values lie outside the packing "
            f"({packing.scale} {STORED[name].units} a step); check the source's units"
        )
    return packing.encode(values)


@dataclass(frozen=True)
class Padded:
    """A tile and a rim of a few pixels, cut at the poles and the antimeridian."""

    layout: Layout
    tile: Tile

    @property
    def rows(self) -> range:
        """Global rows."""
        first = self.tile.row * self.layout.tile_size
        last = first + self.layout.tile_size + HOLE_PIXELS
        return range(max(first - HOLE_PIXELS, 0), min(last, self.layout.grid.rows))

    @property
    def cols(self) -> range:
        """Global columns."""
        first = self.tile.col * self.layout.tile_size
        last = first + self.layout.tile_size + HOLE_PIXELS
        return range(max(first - HOLE_PIXELS, 0), min(last, self.layout.grid.cols))

    @property
    def lat_edges(self) -> NDArray[np.float64]:
        """Edges of the rows, descending."""
        return 90 - np.arange(self.rows.start, self.rows.stop + 1) / self._ppd

    @property
    def lon_edges(self) -> NDArray[np.float64]:
        """Edges of the columns."""
        return np.arange(self.cols.start, self.cols.stop + 1) / self._ppd - 180

    @property
    def _ppd(self) -> int:
        return self.layout.grid.pixels_per_degree

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north."""
        lat, lon = self.lat_edges, self.lon_edges
        return float(lon[0]), float(lat[-1]), float(lon[-1]), float(lat[0])

    @property
    def core(self) -> tuple[slice, slice]:
        """The tile within its rim."""
        size = self.layout.tile_size
        row = self.tile.row * size - self.rows.start
        col = self.tile.col * size - self.cols.start
        return slice(row, row + size), slice(col, col + size)

    def mean(self, raster: Raster) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Average a raster over the pixels; also the share of each that is valid."""
        edges = raster.lat_edges, raster.lon_edges
        return area_mean(raster.values, *edges, self.lat_edges, self.lon_edges)

    def within(self, rim: int = HOLE_PIXELS) -> tuple[slice, slice, tuple[slice, slice]]:
        """Rows and columns of the store under a rim's reach, and the tile within them."""
        rows, cols = self.layout.tile_slices(self.tile)
        top, left = max(rows.start - rim, 0), max(cols.start - rim, 0)
        bottom = min(rows.stop + rim, self.layout.shape[0])
        right = min(cols.stop + rim, self.layout.shape[1])
        inner = (
            slice(rows.start - top, rows.stop - top),
            slice(cols.start - left, cols.stop - left),
        )
        return slice(top, bottom), slice(left, right), inner
