"""Gaps of a block of daily LST, filled in time, and in space as well: time and memory.

    python benchmarks/lst_blocks.py [--quick] [--json FILE]

``DailyBlock`` fills 366 days of a tile of 480 pixels, two fifths of them clouds. The two ways take
turns, each in a process of its own, on one thread; figures are medians.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tile_files import layout_of, surface

from gssm_cube import cube
from gssm_cube.grid import Layout
from gssm_cube.ingest import scratch, sensors
from gssm_cube.ingest.inputs import composite_starts
from gssm_cube.ingest.lst import REACH_PIXELS, DailyBlock
from gssm_cube.storage.stores import array_of, open_group

logger = logging.getLogger("lst_blocks")

WAYS = ("temporal", "temporal_spatial")


def prepare_block(folder: Path, layout: Layout) -> None:
    """Write a cube with land, meteorology and climatology, and a scratch of 366 days."""
    store, place = folder / "features.zarr", folder / "features.zarr.scratch"
    cube.create_cube(store, layout, composite_starts(layout), {"title": "", "gssm_day": "UTC"})
    root, rng = open_group(store, "r+"), np.random.default_rng(3)
    array_of(root, "static/land")[:] = 1
    shape = array_of(root, "meteo/cells").shape
    array_of(root, "meteo/cells")[:] = rng.integers(0, 2500, shape).astype("int16")
    for name in ("lst_day", "lst_night", "tair"):
        array = array_of(root, f"climatology/{name}")
        values = rng.normal(0, 2, array.shape).astype("float32")
        values[0] += 12
        array[:] = values
    scratch.create_scratch(place, layout)
    root = open_group(place, "r+")
    for name in sensors.OVERPASSES:
        for first in range(0, layout.days, 16):
            days = range(first, min(first + 16, layout.days))
            stack = [surface(layout.shape, 7 * day + len(name)) for day in days]
            array_of(root, name)[first : days.stop] = np.stack(stack)


def fill_block(way: str, folder: Path, layout: Layout) -> None:
    """Fill the block in time, or in space as well."""
    place = folder / "features.zarr", folder / "features.zarr.scratch"
    reach = REACH_PIXELS if way == "temporal_spatial" else None
    block = f"{next(iter(layout.tiles()))}_{layout.windows()[0]}"
    DailyBlock(*place, layout, "key", (), reach)(block)


def run_one(way: str, folder: Path, layout: Layout) -> dict[str, float]:
    """Do the job twice in this process and time the second: nothing is compiled then."""
    before = memory_mb("VmRSS")
    fill_block(way, folder, layout)
    begin = time.process_time()
    fill_block(way, folder, layout)
    cpu = time.process_time() - begin
    return {"cpu_s": cpu, "peak_mb": memory_mb("VmHWM"), "before_mb": before}


def memory_mb(word: str) -> float:
    """Return this process's memory now (VmRSS) or at its highest (VmHWM), MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


def measure(folder: Path, tile_size: int, days: int, rounds: int) -> dict[str, Any]:
    """Let the ways take turns, each in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--only", way, "--folder", str(folder)]
            command += ["--tile-size", str(tile_size), "--days", str(days)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict[str, Any] = {
        way: {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
        for way, runs in found.items()
    }
    for way, row in result.items():
        logger.info("%-17s %s", way, {key: round(value, 2) for key, value in row.items()})
    return result


def main() -> None:
    """Read the command line, run, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="96 pixels, 48 days, one round")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tile-size", type=int, default=480, help=argparse.SUPPRESS)
    parser.add_argument("--days", type=int, default=366, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        layout = layout_of(given.tile_size, given.days)
        print(json.dumps(run_one(given.only, given.folder, layout)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    tile_size, days = (96, 48) if given.quick else (480, 366)
    with tempfile.TemporaryDirectory() as name:
        prepare_block(Path(name), layout_of(tile_size, days))
        result = measure(Path(name), tile_size, days, 1 if given.quick else 3)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
