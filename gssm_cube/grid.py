"""The grid, its tiles and windows: small frozen values and plain arithmetic.

The grid is EPSG:4326, row 0 in the north, column 0 at 180 W, pixel centres. At 120 pixels a
degree (30 arcsec) its rows are exactly the rows of the MODIS 1 km sinusoidal grid, and an
ERA5-Land cell (0.1 deg, centred on multiples of 0.1 deg) is exactly 12 x 12 pixels.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK_PIXELS = 48  # edge of an inner Zarr chunk: 6 x 6 groups of 8 x 8 pixels
WINDOW_DAYS = 366
CELLS_PER_DEGREE = 10  # ERA5-Land


@dataclass(frozen=True)
class Grid:
    """The global latitude-longitude grid.

    Parameters
    ----------
    pixels_per_degree : int
        120 by default; a multiple of 10, so that pixels tile the ERA5-Land cells.
    """

    pixels_per_degree: int = 120

    def __post_init__(self) -> None:
        if self.pixels_per_degree <= 0 or self.pixels_per_degree % CELLS_PER_DEGREE:
            raise ValueError(
                f"pixels_per_degree is {self.pixels_per_degree}, expected a multiple of "
                f"{CELLS_PER_DEGREE}, so that pixels tile the 0.1 deg cells of ERA5-Land"
            )

    @property
    def rows(self) -> int:
        """Rows from pole to pole."""
        return 180 * self.pixels_per_degree

    @property
    def cols(self) -> int:
        """Columns round the globe."""
        return 360 * self.pixels_per_degree

    def lat(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Latitude of the centres of rows, degrees north."""
        # The order of operations is Packing.decode's, so that both give the same bits.
        step = 1 / self.pixels_per_degree
        return (self.rows // 2 - 1 - np.asarray(rows)) * step + 0.5 / self.pixels_per_degree

    def lon(self, cols: ArrayLike) -> NDArray[np.float64]:
        """Longitude of the centres of columns, degrees east."""
        step = 1 / self.pixels_per_degree
        return (np.asarray(cols) - self.cols // 2) * step + 0.5 / self.pixels_per_degree

    def row_of(self, lat: ArrayLike) -> NDArray[np.int64]:
        """Row that holds a latitude; the south pole belongs to the last row."""
        rows = np.floor((90.0 - np.asarray(lat, dtype="float64")) * self.pixels_per_degree)
        return np.clip(rows, 0, self.rows - 1).astype("int64")

    def col_of(self, lon: ArrayLike) -> NDArray[np.int64]:
        """Column that holds a longitude, wrapped into -180..180."""
        cols = np.floor((np.asarray(lon, dtype="float64") + 180.0) * self.pixels_per_degree)
        return (cols.astype("int64")) % self.cols

    def pixel_of(self, lat: ArrayLike, lon: ArrayLike) -> NDArray[np.int64]:
        """Global number of the pixel that holds a place: ``row * cols + col``."""
        return self.row_of(lat) * self.cols + self.col_of(lon)


@dataclass(frozen=True, order=True)
class Tile:
    """A fixed square of the globe; ids count from the north-west corner."""

    row: int
    col: int

    def __str__(self) -> str:
        return f"r{self.row:03d}c{self.col:03d}"

    @classmethod
    def parse(cls, label: str) -> "Tile":
        """Return the tile of a label as ``str`` writes it.

        Raises
        ------
        ValueError
            If it is no such label.
        """
        match = re.fullmatch(r"r(\d{3})c(\d{3})", label)
        if match is None:
            raise ValueError(f"tile is {label!r}, expected a row and a column such as 'r010c020'")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, order=True)
class Window:
    """A run of 366 days of a store's daily axis (the last may be shorter)."""

    number: int
    start: int  # days after the store's first day
    days: int

    def __str__(self) -> str:
        return f"w{self.number:02d}"

    @property
    def slice(self) -> slice:
        """The window's place on the daily axis."""
        return slice(self.start, self.start + self.days)


@dataclass(frozen=True, order=True)
class Block:
    """One tile x one window: one Zarr shard, one task, one marker."""

    tile: Tile
    window: Window

    def __str__(self) -> str:
        return f"{self.tile}_{self.window}"


def box_in_words(bounds: tuple[float, float, float, float]) -> str:
    """Return west, south, east, north (deg) as people say them: ``32W to 30.4W, 42N to 43.6N``."""
    west, south, east, north = bounds
    lon, lat = (
        " to ".join(f"{abs(value):g}{signs[value < 0] if value else ''}" for value in pair)
        for pair, signs in (((west, east), "EW"), ((south, north), "NS"))
    )
    return f"{lon}, {lat}"


@dataclass(frozen=True)
class Layout:
    """The box of whole tiles and the days that a store spans.

    Parameters
    ----------
    first_tile : Tile
        North-west tile.
    tile_rows, tile_cols : int
        Size of the box in tiles.
    first_day, last_day : date
        Both included; windows count from ``first_day``.
    tile_size : int
        Pixels; a multiple of 48 that divides 21,600.
    grid : Grid
    chosen : tuple of Tile, optional
        Tiles of the box that are worked on, row by row; all by default. The arrays of a store span
        the whole box; what is not chosen reads as missing and takes no space.
    """

    first_tile: Tile
    tile_rows: int
    tile_cols: int
    first_day: date
    last_day: date
    tile_size: int = 480
    grid: Grid = Grid()
    chosen: tuple[Tile, ...] | None = None

    def __post_init__(self) -> None:
        check_tile_size(self.tile_size, self.grid)
        if self.last_day < self.first_day:
            raise ValueError(f"last_day {self.last_day} is before first_day {self.first_day}")
        rows, cols = self.grid.rows // self.tile_size, self.grid.cols // self.tile_size
        row, col = self.first_tile.row, self.first_tile.col
        tiles = (self.tile_rows, self.tile_cols)
        if not (0 <= row < row + tiles[0] <= rows and 0 <= col < col + tiles[1] <= cols):
            raise ValueError(
                f"{tiles} tiles from {self.first_tile} are not within the globe's {(rows, cols)}"
            )
        if self.chosen is not None:
            self._check_chosen(self.chosen)

    def _check_chosen(self, chosen: tuple[Tile, ...]) -> None:
        """Raise unless the chosen tiles are some of the box, each once and row by row."""
        if not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(self._box()):
            raise ValueError(
                f"chosen tiles are {', '.join(map(str, chosen)) or 'none'}, expected some of the "
                f"{self.tile_rows} x {self.tile_cols} from {self.first_tile}, sorted, each once"
            )

    @classmethod
    def covering(
        cls,
        bounds: tuple[float, float, float, float],
        first_day: date,
        last_day: date,
        tile_size: int = 480,
        grid: Grid | None = None,
    ) -> "Layout":
        """Return the layout of whole tiles that covers ``(west, south, east, north)``, degrees."""
        grid = grid or Grid()
        check_tile_size(tile_size, grid)
        west, south, east, north = bounds
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise ValueError(
                f"bounds are {bounds}, expected (west, south, east, north) in degrees with "
                "-180 <= west < east <= 180 and -90 <= south < north <= 90; for a box across 180 "
                "deg give a region of two polygons, one on either side"
            )
        tile_degrees = tile_size / grid.pixels_per_degree
        # 1e-9 of a tile: bounds such as 43.6 are not exact in binary.
        top, left = (np.floor(v / tile_degrees + 1e-9) for v in (90 - north, west + 180))
        bottom, right = (np.ceil(v / tile_degrees - 1e-9) for v in (90 - south, east + 180))
        tile = Tile(int(top), int(left))
        return cls(tile, int(bottom - top), int(right - left), first_day, last_day, tile_size, grid)

    @classmethod
    def of_tiles(
        cls,
        tiles: Iterable[Tile],
        first_day: date,
        last_day: date,
        tile_size: int = 480,
        grid: Grid | None = None,
    ) -> "Layout":
        """Return the smallest box that holds the given tiles, restricted to them."""
        chosen = tuple(sorted(set(tiles)))
        if not chosen:
            raise ValueError("no tile is given, expected one at least")
        rows, cols = [tile.row for tile in chosen], [tile.col for tile in chosen]
        first = Tile(min(rows), min(cols))
        size = (max(rows) - first.row + 1, max(cols) - first.col + 1)
        # A full box is a plain box, however it was asked for.
        part = chosen if len(chosen) < size[0] * size[1] else None
        return cls(first, *size, first_day, last_day, tile_size, grid or Grid(), part)

    def continues(self, other: "Layout") -> bool:
        """Tell whether this is the other layout with days added at its end."""
        return self.last_day > other.last_day and replace(self, last_day=other.last_day) == other

    def __str__(self) -> str:
        tiles = self.tile_rows * self.tile_cols
        part = "" if self.chosen is None else f"{len(self.chosen)} of "
        return (
            f"{box_in_words(self.bounds)}, {self.first_day} to {self.last_day}, "
            f"{part}{tiles} tiles of {self.tile_size} pixels of 1/{self.grid.pixels_per_degree} deg"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a store's attributes; ``chosen`` only where not all are."""
        part = {} if self.chosen is None else {"chosen": [str(tile) for tile in self.chosen]}
        return part | {
            "first_tile": [self.first_tile.row, self.first_tile.col],
            "tiles": [self.tile_rows, self.tile_cols],
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
            "tile_size": self.tile_size,
            "pixels_per_degree": self.grid.pixels_per_degree,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Layout":
        """Return the layout that ``to_dict`` described."""
        tile_rows, tile_cols = values["tiles"]
        chosen = values.get("chosen")
        return cls(
            Tile(*values["first_tile"]),
            tile_rows,
            tile_cols,
            date.fromisoformat(values["first_day"]),
            date.fromisoformat(values["last_day"]),
            values["tile_size"],
            Grid(values["pixels_per_degree"]),
            None if chosen is None else tuple(Tile.parse(label) for label in chosen),
        )

    @property
    def row(self) -> int:
        """Global row of the first pixel row."""
        return self.first_tile.row * self.tile_size

    @property
    def col(self) -> int:
        """Global column of the first pixel column."""
        return self.first_tile.col * self.tile_size

    @property
    def shape(self) -> tuple[int, int]:
        """Pixel rows and columns."""
        return self.tile_rows * self.tile_size, self.tile_cols * self.tile_size

    @property
    def days(self) -> int:
        """Days, both ends included."""
        return (self.last_day - self.first_day).days + 1

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the whole tiles, degrees."""
        ppd = self.grid.pixels_per_degree
        west, south = self.col / ppd - 180, 90 - (self.row + self.shape[0]) / ppd
        return west, south, (self.col + self.shape[1]) / ppd - 180, 90 - self.row / ppd

    @cached_property
    def lat(self) -> NDArray[np.float64]:
        """Latitude of the pixel rows."""
        return self.grid.lat(np.arange(self.row, self.row + self.shape[0]))

    @cached_property
    def lon(self) -> NDArray[np.float64]:
        """Longitude of the pixel columns."""
        return self.grid.lon(np.arange(self.col, self.col + self.shape[1]))

    @cached_property
    def time(self) -> NDArray[np.datetime64]:
        """The daily axis, UTC days."""
        return np.datetime64(self.first_day, "D") + np.arange(self.days)

    def tiles(self) -> Iterator[Tile]:
        """Tiles that are worked on, row by row: all of the box, or the chosen ones."""
        return self._box() if self.chosen is None else iter(self.chosen)

    def _box(self) -> Iterator[Tile]:
        """All tiles of the box, row by row."""
        for row in range(self.tile_rows):
            for col in range(self.tile_cols):
                yield Tile(self.first_tile.row + row, self.first_tile.col + col)

    def windows(self) -> list[Window]:
        """All windows in order of time."""
        starts = range(0, self.days, WINDOW_DAYS)
        return [
            Window(number, start, min(WINDOW_DAYS, self.days - start))
            for number, start in enumerate(starts)
        ]

    def tile_slices(self, tile: Tile) -> tuple[slice, slice]:
        """Return a tile's rows and columns in the store."""
        row = (tile.row - self.first_tile.row) * self.tile_size
        col = (tile.col - self.first_tile.col) * self.tile_size
        if not (0 <= row < self.shape[0] and 0 <= col < self.shape[1]):
            raise ValueError(f"tile {tile} is outside the store, which spans {self.bounds}")
        return slice(row, row + self.tile_size), slice(col, col + self.tile_size)

    # ---- the 0.1 deg cells of the meteorology -------------------------------------------------

    @property
    def cell_pixels(self) -> int:
        """Pixels along the edge of a 0.1 deg cell."""
        return self.grid.pixels_per_degree // CELLS_PER_DEGREE

    @property
    def cells_shape(self) -> tuple[int, int]:
        """Cell rows and columns: from border to border, both included."""
        return self.shape[0] // self.cell_pixels + 1, self.shape[1] // self.cell_pixels + 1

    @cached_property
    def cell_lat(self) -> NDArray[np.float64]:
        """Latitude of the cell centres."""
        first = 90 * CELLS_PER_DEGREE - self.row // self.cell_pixels
        return (first - np.arange(self.cells_shape[0])) / CELLS_PER_DEGREE

    @cached_property
    def cell_lon(self) -> NDArray[np.float64]:
        """Longitude of the cell centres; a global store repeats 180 W as 180 E."""
        first = self.col // self.cell_pixels - 180 * CELLS_PER_DEGREE
        return (first + np.arange(self.cells_shape[1])) / CELLS_PER_DEGREE


def check_tile_size(tile_size: int, grid: Grid) -> None:
    """Raise unless tiles are whole inner chunks and whole cells and fill the globe."""
    unit = lcm(CHUNK_PIXELS, grid.pixels_per_degree // CELLS_PER_DEGREE)
    if tile_size <= 0 or tile_size % unit or grid.rows % tile_size:
        raise ValueError(
            f"tile_size is {tile_size}, expected a multiple of {unit} that divides {grid.rows}, "
            f"such as {2 * unit}, {5 * unit} or {10 * unit}"
        )


def inner_chunks(rows: slice, cols: slice) -> Iterator[tuple[slice, slice]]:
    """Cut a tile's rows and columns into inner chunks of 48 x 48 pixels."""
    for row in range(rows.start, rows.stop, CHUNK_PIXELS):
        for col in range(cols.start, cols.stop, CHUNK_PIXELS):
            yield slice(row, row + CHUNK_PIXELS), slice(col, col + CHUNK_PIXELS)


def moved(part: slice, by: int) -> slice:
    """Return a slice moved along its axis."""
    return slice(part.start + by, part.stop + by)
