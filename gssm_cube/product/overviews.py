"""Coarse daily maps of the whole product, for whoever looks at a day rather than at a place.

A day of the globe at 1 km lies in 140,000 chunks of a year each. Overviews of 0.05 and 0.1 deg
keep one day in a few chunks: means over land, weighted by area, of soil moisture and of its
spread, and the flags that most of the land has. They are written window by window in two passes,
for their chunks cross blocks: each block is coarsened into a scratch store, then slabs of six days
are taken across all of it. Both go on where they were interrupted.
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
from numpy.typing import NDArray
from xarray.core import indexing

from gssm_cube import blocks
from gssm_cube.blocks import Client, Progress
from gssm_cube.flags import PRODUCT_FLAGS, flag_attrs
from gssm_cube.grid import WINDOW_DAYS, Block, Layout, Window, inner_chunks
from gssm_cube.lazy import PackedArray, StoredReader
from gssm_cube.product.coarsen import coarsen, gather_flags
from gssm_cube.product.store import STAGE as PREDICTED
from gssm_cube.product.store import check_product, check_whole
from gssm_cube.storage import locations
from gssm_cube.storage.growth import begin_growth, consolidate, end_growth
from gssm_cube.storage.locations import Location
from gssm_cube.storage.shards import held, read_box
from gssm_cube.storage.stores import (
    DIMS,
    LAT_ATTRS,
    LON_ATTRS,
    array_of,
    create_array,
    created_whole,
    day_numbers,
    exists,
    open_dataset,
    open_group,
    packed_attrs,
    read_layout,
    write_coordinate,
    write_days,
    write_region,
)
from gssm_cube.variables import FILL, SSM, SSM_SPREAD

logger = logging.getLogger(__name__)

LEVELS = (0.05, 0.1)  # degrees
LAYERS = {"ssm": FILL, "ssm_spread": FILL, "quality": 0}  # and what stands where there is no land
MEANS = {"ssm": SSM, "ssm_spread": SSM_SPREAD}
STAGE = "overview"
SLAB_DAYS = 6  # a 61st of a window; 0.3 GB of the globe at 0.05 deg
CHUNK = (1, 1800, 3600)


def open_overview(store: Location, degrees: float = 0.1) -> xr.Dataset:
    """Open the coarse maps of a product lazily.

    Parameters
    ----------
    store : path
        The product.
    degrees : 0.05 or 0.1

    Returns
    -------
    Dataset (time, lat, lon)
        ``ssm`` and ``ssm_spread`` m3 m-3: means over the land of each cell, weighted by area;
        ``quality``: the product's bits that at least half of the cell's land has.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no product, no such level, or the level was not written.
    """
    check_product(store)
    name, root = group_name(degrees), open_group(store)
    if any(f"{name}/{layer}" not in root for layer in LAYERS):
        raise ValueError(f"{store} has no overviews yet: run `gssm overviews {store}` first")
    dataset = open_dataset(store, name)
    means = {}
    for layer, variable in MEANS.items():
        # Decoded by us: in half of xarray's time, which counts for the globe.
        array = array_of(root, f"{name}/{layer}")
        values = PackedArray(StoredReader(array), array.shape, variable.packing)
        means[layer] = (DIMS, indexing.LazilyIndexedArray(values), dataset[layer].attrs)
    return dataset.assign(means)


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
    store: Location,
    *,
    scratch: Path | None = None,
    client: Client | None = None,
    progress: Progress = blocks.silent,
) -> tuple[int, int]:
    """Write the overviews of all that is predicted, or what is left of them.

    Parameters
    ----------
    store : path or URL
        The product; nobody may be writing it.
    scratch : Path, optional
        Folder that all workers see, for what one pass leaves to the other; by default that of the
        product. For one at a URL it must be given: over a network the second pass, a look into
        every block for each slab, would take days.
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
    ValueError
        If the product is at a URL and no folder is given.
    """
    if locations.is_url(store) and scratch is None:
        raise ValueError(
            f"{store} is at a URL: give a folder on disk for what waits between two passes"
        )
    check_product(store)
    layout = read_layout(store)
    done = skipped = 0
    with blocks.locked(store, partial(check_whole, store)):
        blocks.remove_partial_files(store)
        create_levels(store, layout)
        for window in layout.windows():
            coarse = scratch_of(store, window, scratch)
            work = FillSlab(store, coarse, layout, window)
            slabs = [f"{window}_d{day:03d}" for day in range(0, window.days, SLAB_DAYS)]
            key = work.key()
            todo = [slab for slab in slabs if not blocks.is_done(store, STAGE, slab, key)]
            skipped, done = skipped + len(slabs) - len(todo), done + len(todo)
            if todo:
                _coarsen_window(store, coarse, layout, window, client, progress)
                stage = f"overview {window}"
                blocks.run_units(work, todo, stage=stage, client=client, progress=progress)
            shutil.rmtree(coarse, ignore_errors=True)
            shutil.rmtree(f"{coarse}.markers", ignore_errors=True)
        end_growth(store)
    return done, skipped


def _coarsen_window(
    store: Location,
    scratch: Path,
    layout: Layout,
    window: Window,
    client: Client | None,
    progress: Progress,
) -> None:
    """Coarsen the blocks of a window that are not coarsened yet."""
    _create_scratch(scratch, layout, window)
    work = CoarsenBlock(store, scratch, layout)
    units = predicted_units(store, layout, window)
    todo = [u for u in units if not blocks.is_done(scratch, STAGE, u, work.key(u))]
    stage = f"coarsen {window}"
    blocks.run_units(work, todo, stage=stage, client=client, progress=progress)


def predicted_units(store: Location, layout: Layout, window: Window) -> list[str]:
    """Return the blocks of a window that were predicted; all, if the product has no markers."""
    marked = set(blocks.marked_units(store, PREDICTED))
    every = [str(Block(tile, window)) for tile in layout.tiles()]
    return [unit for unit in every if unit in marked or not marked]


# ---- first pass: blocks -----------------------------------------------------------------------


@dataclass(frozen=True)
class CoarsenBlock:
    """Task: the coarse maps of one block, one shard of the scratch store a level."""

    product: Location
    scratch: Path
    layout: Layout

    def key(self, unit: str) -> str:
        """Return a hash of what the block holds."""
        return blocks.stage_digest(self.product, PREDICTED, [unit])

    def __call__(self, unit: str) -> dict[str, Any]:
        """Coarsen the block and write its cells."""
        block = blocks.parse_block(unit, self.layout)
        place = self.layout.tile_slices(block.tile)
        root, objects = open_group(self.scratch, "r+"), []
        for (level, layer), cells in self.coarse(block).items():
            spans = (_cells(pixels, cells.shape[1], self) for pixels in place)
            region = (slice(0, block.window.days), *spans)
            written = write_region(array_of(root, scratch_name(level, layer)), region, cells)
            objects += written if np.any(cells != LAYERS[layer]) else []
        blocks.write_marker(self.scratch, STAGE, unit, self.key(unit), objects)
        return {}

    def coarse(self, block: Block) -> dict[tuple[float, str], NDArray[Any]]:
        """Return the cells of a block by level and layer, each (time, lat, lon); read by chunks."""
        rows, cols = self.layout.tile_slices(block.tile)
        root, days = open_group(self.product), block.window.days
        whole = (block.window.slice, rows, cols)
        arrays = {layer: held(array_of(root, layer), whole) for layer in LAYERS}
        sizes = {level: self.layout.tile_size // n for level, n in factors(self.layout).items()}
        found = {
            (level, layer): np.full((days, n, n), missing, arrays[layer].dtype)
            for level, n in sizes.items()
            for layer, missing in LAYERS.items()
        }
        for lat, lon in inner_chunks(rows, cols):
            box = (block.window.slice, lat, lon)
            codes = {layer: read_box(array, box) for layer, array in arrays.items()}
            weights = np.cos(np.deg2rad(self.layout.lat[lat]))
            for level, n in factors(self.layout).items():
                place = tuple(
                    slice((part.start - edge.start) // n, (part.stop - edge.start) // n)
                    for part, edge in ((lat, rows), (lon, cols))
                )
                for layer in MEANS:
                    found[level, layer][:, *place] = coarsen(codes[layer], weights, n)
                flags = gather_flags(codes["quality"], codes["ssm"], n)
                found[level, "quality"][:, *place] = flags
        return found


def _cells(pixels: slice, size: int, work: CoarsenBlock) -> slice:
    """Return the cells of a tile's pixels, ``size`` cells a tile."""
    start = pixels.start // work.layout.tile_size * size
    return slice(start, start + size)


def factors(layout: Layout) -> dict[float, int]:
    """Pixels along the edge of a cell of each level: tiles want a multiple of 20 a degree."""
    return {level: round(level * layout.grid.pixels_per_degree) for level in LEVELS}


# ---- second pass: slabs of days ---------------------------------------------------------------


@dataclass(frozen=True)
class FillSlab:
    """Task: six days of all levels, across the whole product."""

    product: Location
    scratch: Path
    layout: Layout
    window: Window

    def key(self) -> str:
        """Return a hash of all blocks of the window."""
        units = predicted_units(self.product, self.layout, self.window)
        made = blocks.stage_digest(self.product, PREDICTED, units)
        return blocks.digest(LEVELS, list(LAYERS), made)

    def __call__(self, unit: str) -> dict[str, Any]:
        """Copy the slab's maps from the scratch store."""
        start = int(unit.rpartition("_d")[2])
        stop = min(start + SLAB_DAYS, self.window.days)
        scratch = open_group(self.scratch)
        root, objects = open_group(self.product, "r+"), []
        for level, layer in [(level, layer) for level in LEVELS for layer in LAYERS]:
            stored = array_of(scratch, scratch_name(level, layer))
            target = array_of(root, f"{group_name(level)}/{layer}")
            whole = tuple(slice(0, n) for n in target.shape[1:])
            maps = read_box(stored, (slice(start, stop), *whole))
            days = slice(self.window.start + start, self.window.start + stop)
            objects += write_region(target, (days, *whole), maps)
        blocks.write_marker(self.product, STAGE, unit, self.key(), objects)
        return {}


# ---- the stores -------------------------------------------------------------------------------


def scratch_of(store: Location, window: Window, folder: Path | None = None) -> Path:
    """Return where the coarse blocks of a window wait: in a folder, or beside their product."""
    name = f"{Path(store).name}.overview_{window}"
    if folder is None:
        return Path(store).with_name(name)
    return folder / f"{blocks.digest(str(store))[:8]}_{name}"  # others have the same name


def scratch_name(level: float, layer: str) -> str:
    """Return the array of a level and layer in the scratch store."""
    return f"{group_name(level)}_{layer}"


def _create_scratch(scratch: Path, layout: Layout, window: Window) -> None:
    """Create the scratch store of a window, unless it is there."""
    if exists(scratch):
        return
    with created_whole(scratch) as root:
        for level, n in factors(layout).items():
            shape = (window.days, *(edge // n for edge in layout.shape))
            cells = layout.tile_size // n
            chunks, shards = (SLAB_DAYS, cells, cells), (WINDOW_DAYS, cells, cells)
            for layer, missing in LAYERS.items():
                create_array(
                    root, scratch_name(level, layer), DIMS, shape, chunks, shards,
                    dtype_of(layer), missing, {},
                )  # fmt: skip


def dtype_of(layer: str) -> str:
    """Return how a layer is stored."""
    return "int16" if layer in MEANS else "uint16"


def create_levels(store: Location, layout: Layout) -> None:
    """Create the empty levels of a product that has none; those of fewer days grow with it."""
    root = open_group(store, "r+")
    lacking = {
        level: n
        for level, n in factors(layout).items()
        if not all(exists(locations.join(store, group_name(level), name)) for name in LAYERS)
    }
    for level, n in lacking.items():
        _create_level(root, group_name(level), layout, n)
    if lacking:
        consolidate(store)
    lengthen_levels(store, layout)


def lengthen_levels(store: Location, layout: Layout) -> None:
    """Let writers see the levels with all days of the product."""
    names, days = [group_name(level) for level in LEVELS], day_numbers(layout.time)
    held = {name: array_of(open_group(store), f"{name}/time").shape[0] for name in names}
    if set(held.values()) == {layout.days}:
        return
    begin_growth(store, {name: {"time": layout.days} for name in names}, {})
    for name, there in held.items():
        array_of(open_group(store, "r+"), f"{name}/time")[there:] = days[there:]


def _create_level(root: zarr.Group, name: str, layout: Layout, n: int) -> None:
    """Create one level: coordinates and the empty arrays, whose attributes come last."""
    group = root.create_group(name, overwrite=True)
    write_coordinate(group, "lat", _centres(layout.lat, n), LAT_ATTRS)
    write_coordinate(group, "lon", _centres(layout.lon, n), LON_ATTRS)
    write_days(group, "time", layout.time)
    shape = (layout.days, *(edge // n for edge in layout.shape))
    chunks = tuple(min(size, edge) for size, edge in zip(CHUNK, shape, strict=True))
    for layer, missing in LAYERS.items():
        dtype, attrs = dtype_of(layer), _layer_attrs(layer)
        create_array(group, layer, DIMS, shape, chunks, None, dtype, missing, attrs)


def _layer_attrs(layer: str) -> dict[str, Any]:
    """Say what a coarse layer holds."""
    if layer not in MEANS:
        return flag_attrs(PRODUCT_FLAGS, "Flags that at least half of the cell's land has")
    attrs = MEANS[layer].attrs | packed_attrs(MEANS[layer].packing)
    return attrs | {"cell_methods": "time: mean area: mean where land"}


def _centres(pixels: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the centres of cells of n pixels."""
    means: NDArray[np.float64] = pixels.reshape(-1, n).mean(axis=1)
    return means.round(10)
