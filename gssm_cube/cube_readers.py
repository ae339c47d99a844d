"""What reads a feature cube: a reader for each feature, whatever resolution it is stored at."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.grid import Block, Layout
from gssm_cube.lazy import CellReader, CompositeReader, Reader, StoredReader, composites_round
from gssm_cube.storage.shards import Shards, held
from gssm_cube.storage.stores import array_of
from gssm_cube.variables import PREDICTORS, Group, Upsampling, names_of


def upsampling_of(root: zarr.Group) -> Upsampling:
    """How a cube's 0.1 deg cells become pixels; cubes that do not say are bilinear."""
    return cast("Upsampling", array_of(root, "meteo/cells").attrs.get("upsampling", "bilinear"))


def reanalysis_of(root: zarr.Group) -> tuple[str, ...]:
    """Return what a cube holds of ERA5-Land's own soil: nothing, if it was begun without."""
    held = root.get("meteo/reanalysis")
    return tuple(cast("list[str]", held.attrs["features"])) if held is not None else ()


def readers_of(
    root: zarr.Group, layout: Layout, block: Block | None, names: Sequence[str] | None
) -> dict[str, Reader]:
    """Return the reader of each feature that is wanted, in the order of the cube's groups."""
    groups: tuple[Group, ...] = ("static", "daily", "climatology", "composite")
    paths = {name: f"{group}/{name}" for group in groups for name in names_of(group)
             if names is None or name in names}  # fmt: skip
    starts = composite_starts_of(root, layout)
    readers: dict[str, Reader] = {}
    for name, path in paths.items():
        array = array_of(root, path)
        if PREDICTORS[name].group == "composite":
            readers[name] = CompositeReader(of_block(array, layout, block, starts), starts)
        else:
            readers[name] = StoredReader(of_block(array, layout, block))
    return readers | _cell_readers(root, layout, block, names)


def of_block(
    array: zarr.Array,
    layout: Layout,
    block: Block | None,
    starts: NDArray[np.int64] | None = None,
) -> zarr.Array | Shards:
    """Return an array at 1 km, or begin to fetch what a block needs of it from an object store.

    ``starts`` are those of composites, days after the first day; other arrays are daily, or have
    no days.
    """
    if block is None:
        return array
    days = block.window.slice
    if starts is not None:
        days = composites_round(starts, days)
    return held(array, (days, *layout.tile_slices(block.tile))[-array.ndim :])


def _cell_readers(
    root: zarr.Group, layout: Layout, block: Block | None, names: Sequence[str] | None
) -> dict[str, Reader]:
    """Return the readers of what is stored at 0.1 deg: with days, and the climate without."""
    paths = ["meteo/cells", "meteo/climate"] + ["meteo/reanalysis"] * bool(reanalysis_of(root))
    readers: dict[str, Reader] = {}
    upsampling = upsampling_of(root)
    for path in paths:
        cells = array_of(root, path)
        known = cast("list[str]", cells.attrs["features"])
        numbers = {name: known.index(name) for name in known if names is None or name in names}
        codes: zarr.Array | NDArray[np.int16] = cells
        box = tuple(slice(0, size) for size in cells.shape[1:])
        if block is not None:
            box = cell_region(layout, block)[-len(box) :]
            wanted: Any = (list(numbers.values()), *box)
            codes = np.asarray(cells.oindex[wanted]) if numbers else np.empty(0, "int16")
            numbers = {name: place for place, name in enumerate(numbers)}
        origin = tuple(part.start for part in box)
        for name, number in numbers.items():
            readers[name] = CellReader(codes, number, layout.cell_pixels, origin, upsampling)
    return readers


def composite_starts_of(root: zarr.Group, layout: Layout) -> NDArray[np.int64]:
    """Start dates of the composites as days after the layout's first day."""
    axis = array_of(root, "composite/time")
    first = np.datetime64(str(axis.attrs["units"]).removeprefix("days since "), "D")
    return np.asarray(axis[:]) + (first - layout.time[0]).astype("int64")


def cell_region(layout: Layout, block: Block) -> tuple[slice, slice, slice]:
    """Days, cell rows and cell columns that a block needs."""
    rows, cols = layout.tile_slices(block.tile)
    n = layout.cell_pixels
    cell_rows = slice(rows.start // n, (rows.stop - 1) // n + 2)
    cell_cols = slice(cols.start // n, (cols.stop - 1) // n + 2)
    return block.window.slice, cell_rows, cell_cols
