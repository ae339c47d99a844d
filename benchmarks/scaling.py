"""Prediction on more workers and threads: from store to store, by turns, in one run.

``python benchmarks/scaling.py [--pixels 240] [--days 366] [--blocks 6] [--rounds 3]``. A worker of
one thread, two workers, and one worker of two threads predict the same blocks with 20 trees,
leaves of one sample; spread, bounds and flags included. One cluster is up at a time, for idle ones
take their share of two cores, and is warmed up on small blocks. The clock tells, which other work
on the machine spoils; beside it stand CPU seconds of the workers and of this process, which is the
client and the scheduler.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from block_memory import save_forest, write_cube
from distributed import Client

from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.grid import Layout, Tile
from gssm_cube.predict import predict_product

SHAPES = {
    "1 worker": ("ingest", 1),
    "2 workers": ("ingest", 2),
    "1 worker, 2 threads": ("predict", 2),
}
SMALL = 48  # pixels of a block that warms a worker up


def predict_all(cube: Path, forest: Path, client: Client) -> tuple[float, float, float]:
    """Predict all blocks of a cube anew; return clock, CPU seconds of workers and of the client."""
    target = cube.with_name("ssm.zarr")
    for path in (target, Path(f"{target}.markers")):
        shutil.rmtree(path, ignore_errors=True)
    spent, own = -sum(client.run(time.process_time).values()), time.process_time()
    begin = time.perf_counter()
    predict_product(cube, target, forest, {}, client=client)
    clock, own = time.perf_counter() - begin, time.process_time() - own
    return clock, spent + sum(client.run(time.process_time).values()), own


def measure(folder: Path, shape: str) -> tuple[float, float, float]:
    """Start the workers of a shape, warm them up, and predict the cube."""
    profile, count = SHAPES[shape]
    with open_client(Cluster(workers=count), profile) as client:
        predict_all(folder / "small.zarr", folder / "forest", client)
        return predict_all(folder / "features.zarr", folder / "forest", client)


def main() -> None:
    """Let the shapes take turns, forth and back, and print ratios within each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"pixels": 240, "days": 366, "blocks": 6, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    first = date(2018, 3, 1)
    days = (first, first + timedelta(chosen.days - 1))
    layout = Layout(Tile(20, 60), 1, chosen.blocks, *days, chosen.pixels)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_forest(folder / "forest")
        write_cube(folder / "features.zarr", layout)
        write_cube(folder / "small.zarr", replace(layout, tile_cols=4, tile_size=SMALL))
        ratios: dict[str, list[float]] = {shape: [] for shape in SHAPES}
        for turn in range(chosen.rounds):
            order = list(SHAPES) if turn % 2 == 0 else list(SHAPES)[::-1]
            print(f"round {turn + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
            found = {shape: measure(folder, shape) for shape in order}
            for shape, (clock, spent, own) in found.items():
                ratios[shape].append(found["1 worker"][0] / clock)
                used = f"{spent:.1f} CPU s of workers, {own:.1f} of the client"
                print(f"  {shape}: {clock:.1f} s, {used}, {ratios[shape][-1]:.2f}x", flush=True)
        for shape, values in ratios.items():
            print(f"{shape}: median {statistics.median(values):.2f}x")


if __name__ == "__main__":
    main()
