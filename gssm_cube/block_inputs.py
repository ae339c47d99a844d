"""Which blocks a cube has, how much land is in them, and which units of the cube each reads."""

from collections.abc import Sequence

import numpy as np

from gssm_cube import blocks, cube
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.storage import locations
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group, read_layout


def input_units(
    layout: Layout, block: Block, starts: Sequence[int], *, reanalysis: bool = False
) -> dict[str, list[str]]:
    """Return the units of the cube that a block reads, by stage.

    ``reanalysis`` says whether the cube holds ERA5-Land's own soil, by which ground is frozen.
    """
    _, cell_rows, cell_cols = cube.cell_region(layout, block)
    cells = [f"k{row:02d}k{col:02d}" for row in _chunks(cell_rows) for col in _chunks(cell_cols)]
    units = {
        "static": [str(block.tile)],
        "climatology": [str(block.tile)],
        "climate": cells,
        "meteo": [f"{place}_{block.window}" for place in cells],
        "daily": [str(block)],
        "composite": [f"{block.tile}_y{year:02d}" for year in _years(block, starts)],
    }
    return units | {"reanalysis": units["meteo"]} if reanalysis else units


def _chunks(cells: slice) -> range:
    """Chunks of cells that a stretch of cells touches."""
    return range(cells.start // cube.CELL_CHUNK, (cells.stop - 1) // cube.CELL_CHUNK + 1)


def _years(block: Block, starts: Sequence[int]) -> range:
    """Years of composites that a window reads, one composite before and after included."""
    window = block.window
    first = int(np.searchsorted(starts, window.start, side="right")) - 1
    last = int(np.searchsorted(starts, window.start + window.days - 1, side="left"))
    return range(first // cube.COMPOSITES_A_YEAR, last // cube.COMPOSITES_A_YEAR + 1)


def check_complete(
    store: Location, read: blocks.ReadContents = blocks.marker_contents
) -> tuple[list[Block], tuple[int, ...]]:
    """Return the land blocks and the composites' starts of a cube that is whole.

    ``read`` reads a marker; one that remembers may be used again for keys.

    Raises
    ------
    ValueError
        If something that a block reads was not harmonised: it would read as missing.
    """
    layout = read_layout(store)
    wanted = land_blocks(store, layout)
    root = open_group(store)
    starts = tuple(map(int, cube.composite_starts_of(root, layout)))
    soil = bool(cube.reanalysis_of(root))
    needed = sorted(
        {
            (stage, unit)
            for block in wanted
            for stage, units in input_units(layout, block, starts, reanalysis=soil).items()
            for unit in units
        }
    )
    if not wanted:
        raise ValueError(f"{store} has no land yet; run `gssm harmonise` to its end first")
    found = locations.each(store, lambda part: read(store, *part), needed)
    lacking = [part for part, marker in zip(needed, found, strict=True) if marker is None]
    if lacking:
        raise ValueError(
            f"{store} is not complete: it lacks {len(lacking)} of {len(needed)} parts, such as "
            f"{'/'.join(lacking[0])}; run `gssm harmonise` to its end first"
        )
    return wanted, starts


def land_blocks(store: Location, layout: Layout) -> list[Block]:
    """Return the blocks with land, window by window."""
    tiles = land_tiles(store, layout)
    return [Block(tile, window) for window in layout.windows() for tile in tiles]


def land_tiles(store: Location, layout: Layout) -> list[Tile]:
    """Return the tiles with land, row by row."""
    land = array_of(open_group(store), "static/land")
    return [tile for tile in layout.tiles() if np.any(land[layout.tile_slices(tile)])]


def block_sizes(store: Location, layout: Layout, units: Sequence[str]) -> dict[str, int]:
    """Return the pixel-days of land of blocks."""
    land = array_of(open_group(store), "static/land")
    chosen = [blocks.parse_block(unit, layout) for unit in units]
    counts = {
        tile: int(np.count_nonzero(land[layout.tile_slices(tile)] == 1))
        for tile in {block.tile for block in chosen}
    }
    return {str(block): counts[block.tile] * block.window.days for block in chosen}
