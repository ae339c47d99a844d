"""Coarse daily maps of the whole product, for whoever looks at a day rather than at a place.

A day of the globe at 1 km lies in 140,000 chunks of a year each. Overviews of 0.05 and 0.1 deg
keep one day in a few chunks: means over land, weighted by area. They are written window by window
in two passes, for their chunks cross blocks: each block is coarsened into a scratch store, then
slabs of six days are taken across all of it. Both go on where they were interrupted.
"""

import logging
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numba import njit
from numpy.typing import NDArray

from gssm_cube import blocks
from gssm_cube.blocks import Client, Progress
from gssm_cube.grid import WINDOW_DAYS, Block, Layout, Window, inner_chunks
from gssm_cube.growth import begin_growth, consolidate, end_growth
from gssm_cube.product.store import STAGE as PREDICTED
from gssm_cube.product.store import check_product, check_whole
from gssm_cube.stores import (
    DIMS,
    LAT_ATTRS,
    LON_ATTRS,
    array_of,
    create_array,
    created_whole,
    day_numbers,
    open_dataset,
    open_group,
    packed_attrs,
    read_layout,
    write_coordinate,
    write_days,
    write_region,
)
from gssm_cube.variables import FILL, SSM

logger = logging.getLogger(__name__)

LEVELS = (0.05, 0.1)  # degrees
STAGE = "overview"
SLAB_DAYS = 6  # a 61st of a window; 0.3 GB of the globe at 0.05 deg
CHUNK = (1, 1800, 3600)


def open_overview(store: str | Path, degrees: float = 0.1) -> xr.Dataset:
    """Open the coarse maps of a product lazily.

    Parameters
    ----------
    store : path
        The product.
    degrees : 0.05 or 0.1

    Returns
    -------
    Dataset (time, lat, lon)
        ``ssm`` m3 m-3: mean over the land of each cell, weighted by area.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no product, no such level, or the level was not written.
    """
    check_product(store)
    name = group_name(degrees)
    if name not in open_group(store):
        raise ValueError(f"{store} has no overviews yet: run `gssm overviews {store}` first")
    return open_dataset(store, name)


def group_name(degrees: float) -> str:
    """Return the group of a level.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    if degrees not in LEVELS:
        raise ValueError(f"degrees is {degrees}, expected one of {LEVELS}")
    return f"overview_{degrees:.2f}".replace(".", "p")


def write_overviews(
    store: Path, *, client: Client | None = None, progress: Progress = blocks.silent
) -> tuple[int, int]:
    """Write the overviews of all that is predicted, or what is left of them.

    Parameters
    ----------
    store : Path
        The product; nobody may be writing it.
    client : distributed.Client, optional
    progress : callable

    Returns
    -------
    done, skipped : int
        Slabs of six days.

    Raises
    ------
    UnitsFailed
        If parts failed, after all of their window were tried.
    """
    check_product(store)
    layout = read_layout(store)
    done = skipped = 0
    with blocks.locked(store, partial(check_whole, store)):
        blocks.remove_partial_files(store)
        create_levels(store, layout)
        for window in layout.windows():
            work = FillSlab(store, layout, window)
            slabs = [f"{window}_d{day:03d}" for day in range(0, window.days, SLAB_DAYS)]
            key = work.key()
            todo = [slab for slab in slabs if not blocks.is_done(store, STAGE, slab, key)]
            skipped, done = skipped + len(slabs) - len(todo), done + len(todo)
            if todo:
                _coarsen_window(store, layout, window, client, progress)
                stage = f"overview {window}"
                blocks.run_units(work, todo, stage=stage, client=client, progress=progress)
            shutil.rmtree(scratch_of(store, window), ignore_errors=True)
            shutil.rmtree(f"{scratch_of(store, window)}.markers", ignore_errors=True)
        end_growth(store)
    return done, skipped


def _coarsen_window(
    store: Path, layout: Layout, window: Window, client: Client | None, progress: Progress
) -> None:
    """Coarsen the blocks of a window that are not coarsened yet."""
    scratch = scratch_of(store, window)
    _create_scratch(scratch, layout, window)
    work = CoarsenBlock(store, scratch, layout)
    units = predicted_units(store, layout, window)
    todo = [u for u in units if not blocks.is_done(scratch, STAGE, u, work.key(u))]
    stage = f"coarsen {window}"
    blocks.run_units(work, todo, stage=stage, client=client, progress=progress)


def predicted_units(store: Path, layout: Layout, window: Window) -> list[str]:
    """Return the blocks of a window that were predicted; all, if the product has no markers."""
    folder = blocks.marker_folder(store, PREDICTED)
    every = [str(Block(tile, window)) for tile in layout.tiles()]
    return [u for u in every if (folder / f"{u}.json").exists()] if folder.exists() else every


# ---- first pass: blocks -----------------------------------------------------------------------


@dataclass(frozen=True)
class CoarsenBlock:
    """Task: the coarse maps of one block, one shard of the scratch store a level."""

    product: Path
    scratch: Path
    layout: Layout

    def key(self, unit: str) -> str:
        """Return a hash of what the block holds."""
        return blocks.stage_digest(self.product, PREDICTED, [unit])

    def __call__(self, unit: str) -> dict[str, Any]:
        """Read the block by inner chunks, and write its means."""
        block = blocks.parse_block(unit, self.layout)
        rows, cols = self.layout.tile_slices(block.tile)
        array = array_of(open_group(self.product), "ssm")
        sizes = {level: self.layout.tile_size // n for level, n in factors(self.layout).items()}
        days = block.window.days
        maps = {v: np.full((days, n, n), FILL, dtype="int16") for v, n in sizes.items()}
        for lat, lon in inner_chunks(rows, cols):
            codes = np.asarray(array[block.window.slice, lat, lon])
            weights = np.cos(np.deg2rad(self.layout.lat[lat]))
            for level, n in factors(self.layout).items():
                part = coarsen(codes, weights, n)
                top, left = (lat.start - rows.start) // n, (lon.start - cols.start) // n
                height, width = part.shape[1:]
                maps[level][:, top : top + height, left : left + width] = part
        root, objects = open_group(self.scratch, "r+"), []
        for level, values in maps.items():
            place = (slice(0, days), *(_cells(part, sizes[level], self) for part in (rows, cols)))
            written = write_region(array_of(root, group_name(level)), place, values)
            objects += written if np.any(values != FILL) else []
        blocks.write_marker(self.scratch, STAGE, unit, self.key(unit), objects)
        return {}


def _cells(pixels: slice, size: int, work: CoarsenBlock) -> slice:
    """Return the cells of a tile's pixels, ``size`` cells a tile."""
    start = pixels.start // work.layout.tile_size * size
    return slice(start, start + size)


def factors(layout: Layout) -> dict[float, int]:
    """Pixels along the edge of a cell of each level: tiles want a multiple of 20 a degree."""
    return {level: round(level * layout.grid.pixels_per_degree) for level in LEVELS}


@njit(nogil=True, cache=True)
def coarsen(codes, weights, factor):  # type: ignore[no-untyped-def]
    """Return means of squares of valid codes, each weighted by its row.

    Parameters
    ----------
    codes : (time, lat, lon) int16
    weights : (lat,) float64
    factor : int
        Pixels along the edge of a square.

    Returns
    -------
    (time, lat, lon) int16
        Missing where no pixel of the square is valid.
    """
    days, rows, cols = codes.shape
    means = np.full((days, rows // factor, cols // factor), np.int16(FILL))
    total, weight = np.empty(cols // factor), np.empty(cols // factor)
    for day in range(days):
        for row in range(rows // factor):
            total[:], weight[:] = 0.0, 0.0
            _add_rows(codes[day], weights, row * factor, factor, total, weight)
            _divide(total, weight, means[day, row])
    return means


@njit(nogil=True, cache=True)
def _divide(total, weight, means):  # type: ignore[no-untyped-def]
    """Fill in the rounded means where there is weight."""
    for col in range(total.size):
        if weight[col] > 0:
            means[col] = np.int16(np.floor(total[col] / weight[col] + 0.5))


@njit(nogil=True, cache=True)
def _add_rows(codes, weights, first, factor, total, weight):  # type: ignore[no-untyped-def]
    """Add the valid codes of the rows of one row of squares."""
    for row in range(first, first + factor):
        for col in range(total.size * factor):
            if codes[row, col] != FILL:
                total[col // factor] += weights[row] * codes[row, col]
                weight[col // factor] += weights[row]


# ---- second pass: slabs of days ---------------------------------------------------------------


@dataclass(frozen=True)
class FillSlab:
    """Task: six days of all levels, across the whole product."""

    product: Path
    layout: Layout
    window: Window

    def key(self) -> str:
        """Return a hash of all blocks of the window."""
        units = predicted_units(self.product, self.layout, self.window)
        return blocks.digest(LEVELS, blocks.stage_digest(self.product, PREDICTED, units))

    def __call__(self, unit: str) -> dict[str, Any]:
        """Copy the slab's maps from the scratch store."""
        start = int(unit.rpartition("_d")[2])
        stop = min(start + SLAB_DAYS, self.window.days)
        scratch = open_group(scratch_of(self.product, self.window))
        root, objects = open_group(self.product, "r+"), []
        for level in LEVELS:
            maps = np.asarray(array_of(scratch, group_name(level))[start:stop])
            target = array_of(root, f"{group_name(level)}/ssm")
            days = slice(self.window.start + start, self.window.start + stop)
            place = (days, *(slice(0, n) for n in target.shape[1:]))
            objects += [n for n in write_region(target, place, maps) if self._is_there(n)]
        blocks.write_marker(self.product, STAGE, unit, self.key(), objects)
        return {}

    def _is_there(self, name: str) -> bool:
        """Whether an object was written: those without a value are not."""
        return (self.product / name).exists()


# ---- the stores -------------------------------------------------------------------------------


def scratch_of(store: Path, window: Window) -> Path:
    """Return where the coarse blocks of a window wait."""
    return store.with_name(f"{store.name}.overview_{window}")


def _create_scratch(scratch: Path, layout: Layout, window: Window) -> None:
    """Create the scratch store of a window, unless it is there."""
    if (scratch / "zarr.json").exists():
        return
    with created_whole(scratch) as root:
        for level, n in factors(layout).items():
            shape = (window.days, *(edge // n for edge in layout.shape))
            cells = layout.tile_size // n
            chunks, shards = (SLAB_DAYS, cells, cells), (WINDOW_DAYS, cells, cells)
            create_array(
                root, group_name(level), DIMS, shape, chunks, shards, "int16", FILL, {}
            )  # fmt: skip


def create_levels(store: Path, layout: Layout) -> None:
    """Create the empty levels of a product that has none; those of fewer days grow with it."""
    root = open_group(store, "r+")
    lacking = {
        level: n
        for level, n in factors(layout).items()
        if not (store / group_name(level) / "ssm" / "zarr.json").exists()
    }
    for level, n in lacking.items():
        _create_level(root, group_name(level), layout, n)
    if lacking:
        consolidate(store)
    lengthen_levels(store, layout)


def lengthen_levels(store: Path, layout: Layout) -> None:
    """Let writers see the levels with all days of the product."""
    names, days = [group_name(level) for level in LEVELS], day_numbers(layout.time)
    held = {name: array_of(open_group(store), f"{name}/time").shape[0] for name in names}
    if set(held.values()) == {layout.days}:
        return
    begin_growth(store, {name: {"time": layout.days} for name in names}, {})
    for name, there in held.items():
        array_of(open_group(store, "r+"), f"{name}/time")[there:] = days[there:]


def _create_level(root: zarr.Group, name: str, layout: Layout, n: int) -> None:
    """Create one level: coordinates and the empty array, whose attributes come last."""
    group = root.create_group(name, overwrite=True)
    write_coordinate(group, "lat", _centres(layout.lat, n), LAT_ATTRS)
    write_coordinate(group, "lon", _centres(layout.lon, n), LON_ATTRS)
    write_days(group, "time", layout.time)
    shape = (layout.days, *(edge // n for edge in layout.shape))
    chunks = tuple(min(size, edge) for size, edge in zip(CHUNK, shape, strict=True))
    attrs = SSM.attrs | packed_attrs(SSM.packing)
    attrs |= {"cell_methods": "time: mean area: mean where land"}
    create_array(group, "ssm", DIMS, shape, chunks, None, "int16", FILL, attrs)


def _centres(pixels: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the centres of cells of n pixels."""
    means: NDArray[np.float64] = pixels.reshape(-1, n).mean(axis=1)
    return means.round(10)
