"""A complete feature cube without any provider file, for runs of many blocks."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from gssm_cube import blocks, cube
from gssm_cube.block_inputs import input_units
from gssm_cube.forest import Preset, compile_forest, train_forest
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import open_group

LEAD = 32  # days from the first composite to the first day
FEATURES = ("apei", "evaporation", "clay", "elevation")


def many_blocks(rows: int, cols: int, days: date) -> Layout:
    """Return a layout of small tiles from 2018-03-01 on."""
    return Layout(Tile(100, 300), rows, cols, date(2018, 3, 1), days, 48)


def composite_starts(layout: Layout) -> np.ndarray:
    """Start dates, every 16 days, from before the first day until after the last."""
    return layout.time[0] - LEAD + 16 * np.arange((layout.days + LEAD) // 16 + 2)


def write_bare_cube(store: Location, layout: Layout) -> None:
    """Write weather and soil at random, two thirds land, and a marker for each part of the cube."""
    cube.create_cube(store, layout, composite_starts(layout), {"gssm_day": "UTC"})
    root, rng = open_group(store, "r+"), np.random.default_rng(7)
    for name in ("clay", "elevation"):
        array = root[f"static/{name}"]
        array[:] = rng.integers(0, 300, array.shape).astype("int16")
    land = root["static/land"]
    land[:] = (rng.random(land.shape) < 2 / 3).astype("int8")
    cells = root["meteo/cells"]
    for name in ("apei", "evaporation"):
        place = cube.METEO.index(name)
        cells[place] = rng.integers(-300, 300, cells.shape[1:]).astype("int16")
    mark_all(store, layout, list(layout.tiles()))


def mark_all(store: Location, layout: Layout, tiles: list[Tile]) -> None:
    """Write a marker for each part of the cube that blocks of these tiles read."""
    starts = composite_starts(layout)
    days = (starts - layout.time[0]).astype("int64").tolist()
    wanted = {
        (stage, unit)
        for window in layout.windows()
        for tile in tiles
        for stage, units in input_units(layout, Block(tile, window), days).items()
        for unit in units
    }
    for stage, unit in sorted(wanted):
        blocks.write_marker(store, stage, unit, "k", checksum=unit)


def save_small_forest(folder: Path) -> Path:
    """Save a forest of three trees on invented samples; return its folder."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({name: rng.uniform(-30, 30, 400) for name in FEATURES}, dtype="float32")
    table["observed"] = 0.25 + 0.003 * table["apei"] + 0.001 * table["clay"]
    preset = Preset(name="small", features=FEATURES, trees=3, min_samples_leaf=10)
    compile_forest(train_forest(table, preset, seed=0), preset="small").save(folder)
    return folder
