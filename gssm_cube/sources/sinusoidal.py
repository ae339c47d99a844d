"""The global sinusoidal grid of the MODIS and VIIRS land products, and tiles laid together on it.

Rows count from the north pole, columns from 180 W on the equator, over the whole globe; a tile
h, v of 10 x 10 deg is 1,200 x 1,200 pixels at 1 km and 2,400 x 2,400 at 500 m. Outside the
globe's outline the products hold fill. Grid: MODIS Land Team,
https://modis-land.gsfc.nasa.gov/GCTP.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

RADIUS = 6371007.181  # m
PIXEL = 2 * np.pi * RADIUS / 43200  # m, of the 1 km grid
TILE_DEGREES = 10
_PIXEL_ERROR = 1e-5  # relative; files state pixels to six digits and more
_CORNER_ERROR = 0.01  # pixels; files state corners to a millimetre or a metre


@dataclass(frozen=True)
class SinusoidalGrid:
    """The grid at one pixel size.

    Parameters
    ----------
    pixels_per_degree : int
        120 (926.625 m, "1 km") or 240 (463.313 m, "500 m").
    """

    pixels_per_degree: int = 120

    @property
    def pixel(self) -> float:
        """Edge of a pixel, m."""
        return PIXEL * 120 / self.pixels_per_degree

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the globe."""
        return 180 * self.pixels_per_degree, 360 * self.pixels_per_degree

    @property
    def tile_size(self) -> int:
        """Pixels along the edge of a tile."""
        return TILE_DEGREES * self.pixels_per_degree

    def has_pixel(self, width: float, height: float) -> bool:
        """Whether pixels of ``width`` x ``height`` m are this grid's."""
        return max(abs(size / self.pixel - 1) for size in (width, height)) <= _PIXEL_ERROR

    def place_of(self, left: float, top: float) -> tuple[int, int] | None:
        """Global row and column of the pixel whose corner is at (m); None if off the grid."""
        col = (left + np.pi * RADIUS) / self.pixel
        row = (np.pi * RADIUS / 2 - top) / self.pixel
        if max(abs(row - round(row)), abs(col - round(col))) > _CORNER_ERROR:
            return None
        return round(row), round(col)

    def tiles(self, rows: range, cols: range) -> set[str]:
        """Names (``h18v04``) of the tiles that hold global rows and columns."""
        down, across = (
            range(span.start // self.tile_size, -(-span.stop // self.tile_size))
            for span in (rows, cols)
        )
        return {f"h{h:02d}v{v:02d}" for v in down for h in across}


KILOMETRE = SinusoidalGrid(120)
HALF_KILOMETRE = SinusoidalGrid(240)


@dataclass(frozen=True)
class Cutout:
    """A window of the global sinusoidal grid: values (row, col) and its first row and column."""

    values: NDArray[Any]
    row: int
    col: int

    @property
    def rows(self) -> range:
        """Global rows."""
        return range(self.row, self.row + self.values.shape[0])

    @property
    def cols(self) -> range:
        """Global columns."""
        return range(self.col, self.col + self.values.shape[1])

    def at(self, rows: NDArray[np.int32], cols: NDArray[np.int32], fill: int) -> NDArray[Any]:
        """Return the values of global rows (n,) and columns (n, m); ``fill`` outside."""
        i, j = rows[:, None] - self.row, cols - self.col
        if not self._holds(rows, cols):
            height, width = self.values.shape
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            found = self.values[np.where(inside, i, 0), np.where(inside, j, 0)]
            return np.where(inside, found, self.values.dtype.type(fill))
        return self.values.ravel().take(i * np.intp(self.values.shape[1]) + j)

    def _holds(self, rows: NDArray[np.int32], cols: NDArray[np.int32]) -> bool:
        """Whether all rows and columns lie inside."""
        if not cols.size:
            return False
        spans = ((rows, self.rows), (cols, self.cols))
        return all(span.start <= n.min() and n.max() < span.stop for n, span in spans)


def mosaic(
    parts: Iterable[Cutout], rows: range, cols: range, *, fill: int, dtype: DTypeLike
) -> Cutout:
    """Lay the tiles of a day together over the wanted rows and columns.

    Tiles share edges, not pixels, so each wanted pixel has one value or none. What no tile holds
    is ``fill``; a caller who must know of absent tiles counts them by name.

    Parameters
    ----------
    parts : iterable of Cutout
        Taken one at a time; what reaches beyond the wanted window is cut off.
    rows, cols : range
        Global; the memory held is theirs and that of one part.
    fill : int
    dtype : dtype
        That of every part.

    Returns
    -------
    Cutout
        Of exactly ``rows`` and ``cols``.

    Raises
    ------
    ValueError
        If two parts hold the same wanted pixel, or a part is of another type.
    """
    values = np.full((len(rows), len(cols)), fill, dtype=dtype)
    laid: list[tuple[range, range]] = []
    for part in parts:
        if part.values.dtype != values.dtype:
            raise ValueError(
                f"a tile at row {part.row}, column {part.col} is {part.values.dtype}, expected "
                f"{values.dtype}; give tiles of one product"
            )
        area = _common(part.rows, rows), _common(part.cols, cols)
        if not area[0] or not area[1]:
            continue
        for other in laid:
            if _common(area[0], other[0]) and _common(area[1], other[1]):
                raise ValueError(
                    f"two tiles hold row {max(area[0].start, other[0].start)}, column "
                    f"{max(area[1].start, other[1].start)} of the sinusoidal grid, expected one; "
                    "leave one file of each tile"
                )
        laid.append(area)
        values[_within(area, rows, cols)] = part.values[_within(area, part.rows, part.cols)]
    return Cutout(values, rows.start, cols.start)


def clip(
    place: tuple[int, int], shape: tuple[int, int], rows: range, cols: range
) -> tuple[range, range] | None:
    """Global rows and columns that a file of a place and shape shares with the wanted ones."""
    down = _common(range(place[0], place[0] + shape[0]), rows)
    across = _common(range(place[1], place[1] + shape[1]), cols)
    return (down, across) if down and across else None


def _common(one: range, other: range) -> range:
    """Numbers that both ranges hold."""
    return range(max(one.start, other.start), min(one.stop, other.stop))


def _within(area: tuple[range, range], rows: range, cols: range) -> tuple[slice, slice]:
    """Slices of an area in an array of rows and columns."""
    return (
        slice(area[0].start - rows.start, area[0].stop - rows.start),
        slice(area[1].start - cols.start, area[1].stop - cols.start),
    )


def span(numbers: NDArray[np.int32]) -> range:
    """Range that holds all row or column numbers."""
    return range(int(numbers.min()), int(numbers.max()) + 1)
