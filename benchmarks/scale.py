"""A run of the whole globe by simulation: real tasks, markers and metadata, no arithmetic.

``python benchmarks/scale.py [--tiles 1430] [--windows 21] [--first N] [--folder DIR]``. The store
is that of 21 years of the globe in tiles of 480 pixels; every block writes a file of one byte as
its shard, and its marker under its real key. With ``--first`` the client leaves after so many
blocks and the rest are done without Dask, which is quicker; then forty are taken back, and the
run goes on. Opening the cube is timed apart: blocks do it on workers, side by side. The scheduler
is a process of its own, so that its memory can be told.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bare_cube import composite_starts, mark_all
from gateway_server import free_port

from gssm_cube import blocks, cube, product
from gssm_cube.block_inputs import check_complete
from gssm_cube.grid import Block, Grid, Layout, Tile
from gssm_cube.predict import STAGE, PredictBlock
from gssm_cube.storage.stores import array_of, open_group

TELL = 5000  # blocks between two lines


class FakeBlock(PredictBlock):
    """Opens the product, writes one byte for the shard, and the marker."""

    def __call__(self, unit: str) -> dict[str, Any]:
        """Do all of a block but the forest."""
        block = blocks.parse_block(unit, self.layout)
        array = array_of(open_group(self.product, "r+"), "ssm")
        rows, cols = self.layout.tile_slices(block.tile)
        size = self.layout.tile_size
        name = f"{array.path}/c/{block.window.number}/{rows.start // size}/{cols.start // size}"
        place = self.product / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"1")
        blocks.write_marker(self.product, STAGE, unit, self.key(block), [name], valid=1)
        return {"valid": 1}


def write_stores(folder: Path, tiles: int, windows: int) -> Layout:
    """Write the cube's metadata, land and markers, and the empty product."""
    grid, first = Grid(), date(2000, 2, 24)
    places = [Tile(row, col) for row in range(4, 38) for col in range(90)][:: 34 * 90 // tiles]
    days = (first, first + timedelta(366 * windows - 1))
    layout = Layout.of_tiles(places[:tiles], *days, 480, grid)
    store = folder / "features.zarr"
    if (folder / "ssm.zarr" / "zarr.json").exists():
        return layout
    cube.create_cube(store, layout, composite_starts(layout), {"gssm_day": "UTC"})
    land = array_of(open_group(store, "r+"), "static/land")
    for tile in layout.tiles():
        land[layout.tile_slices(tile)] = np.ones((480, 480), land.dtype)
    mark_all(store, layout, list(layout.tiles()))
    product.create_product(folder / "ssm.zarr", layout, {})
    return layout


@contextmanager
def cluster() -> Iterator[tuple[Client, int]]:
    """Yield a client of a scheduler and one worker of two threads, and the scheduler's process."""
    dask, address = str(Path(sys.executable).parent / "dask"), f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    words = [dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    started = [subprocess.Popen(words, stderr=subprocess.DEVNULL)]
    words = [dask, "worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"]
    started.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
    try:
        with Client(address, timeout="120s") as client:
            client.wait_for_workers(1, timeout=120)
            yield client, started[0].pid
    finally:
        for process in started:
            process.terminate()
            process.wait()


def peak(pid: int) -> float:
    """Largest resident memory of a process so far, GB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("this system tells no peak of memory")


def prepare(folder: Path, layout: Layout) -> tuple[FakeBlock, list[str], int]:
    """Do what a run does before its first block; return its work, what is to do, and all."""
    store, target = folder / "features.zarr", folder / "ssm.zarr"
    read = cache(blocks.marker_contents)  # as predict_product does
    units, starts = check_complete(store, read)
    work = FakeBlock(store, target, folder, "", layout, starts, "mask")
    todo = work.left(units, read)
    return work, todo, len(units)


def opening(folder: Path, layout: Layout) -> float:
    """Return the CPU seconds that a block takes to open the cube."""
    window, tiles = layout.windows()[0], list(layout.tiles())[:20]
    cube.open_cube(folder / "features.zarr", block=Block(tiles[0], window))
    begin = time.process_time()
    for tile in tiles:
        cube.open_cube(folder / "features.zarr", block=Block(tile, window), mask_and_scale=False)
    return (time.process_time() - begin) / len(tiles)


class EnoughError(Exception):
    """As many blocks were run as were asked for."""


def run(folder: Path, layout: Layout, client: Client, most: int | None = None) -> None:
    """Run what is left, or the first of it, and print times."""
    begin, cpu = time.perf_counter(), time.process_time()
    work, todo, count = prepare(folder, layout)
    ready, ready_cpu = time.perf_counter() - begin, time.process_time() - cpu
    print(f"{len(todo)} of {count} blocks to do")
    print(f"  known after {ready:.1f} s ({ready_cpu:.1f} CPU s of the client)", flush=True)
    seen: list[float] = []

    def note(stage: str, done: int, total: int) -> None:
        seen.append(time.perf_counter() - begin)
        if done % TELL == 1:
            print(f"  block {done} after {seen[-1]:.1f} s", flush=True)
        if done == most:
            raise EnoughError

    with suppress(EnoughError):
        blocks.run_units(work, todo, stage=STAGE, client=client, progress=note)
    cpu = (time.process_time() - cpu - ready_cpu) / len(seen) * 1e3
    wall = (seen[-1] - seen[0]) / max(len(seen) - 1, 1) * 1e3
    print(f"  {len(seen)} done on Dask after {seen[-1]:.1f} s")
    print(f"  {wall:.1f} ms a block on two threads, {cpu:.1f} CPU ms of the client")
    print(f"  client {peak_self():.2f} GB", flush=True)


def finish(folder: Path, layout: Layout) -> None:
    """Do what is left without Dask, but forty blocks."""
    work, todo, count = prepare(folder, layout)
    begin = time.process_time()
    for unit in todo[: max(len(todo) - 40, 0)]:
        work(unit)
    if len(todo) > 40:
        spent = (time.process_time() - begin) / (len(todo) - 40)
        print(f"{len(todo) - 40} more without Dask, {spent * 1e3:.1f} CPU ms a block")


def peak_self() -> float:
    """Largest resident memory of this process so far, GB."""
    return peak(os.getpid())


def main() -> None:
    """Run the whole, then with forty blocks left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=1430)
    parser.add_argument("--windows", type=int, default=21)
    parser.add_argument("--first", type=int, help="blocks that are run on Dask")
    parser.add_argument("--folder", type=Path, help="kept, and gone on with; a temporary one else")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        layout = write_stores(folder, chosen.tiles, chosen.windows)
        print(f"opening the cube: {opening(folder, layout) * 1e3:.0f} CPU ms a block")
        with cluster() as (client, scheduler):
            before = peak(scheduler)
            run(folder, layout, client, chosen.first)
            after = peak(scheduler)
        tasks = chosen.tiles * chosen.windows
        print(f"scheduler: {before:.2f} GB before, {after:.2f} GB at most, {tasks} tasks")
        finish(folder, layout)
        markers = sorted(blocks.marker_folder(folder / "ssm.zarr", STAGE).glob("*.json"))
        for path in markers[:: max(len(markers) // 40, 1)][:40] if len(markers) == tasks else ():
            path.unlink()
        with cluster() as (client, scheduler):
            run(folder, layout, client)


if __name__ == "__main__":
    main()
