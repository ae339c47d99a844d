"""Prediction on more workers and threads: from store to store, by turns, in one run.

``python benchmarks/scaling.py [--pixels 240] [--days 366] [--blocks 6] [--rounds 3]``. A worker of
one thread, two workers, and one worker of two threads predict the same blocks with 20 trees,
leaves of one sample; spread, bounds and flags included. Clusters are started and warmed up before.
The clock tells, which other work on the machine spoils; CPU seconds of the workers stand beside it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
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


def predict_all(folder: Path, client: Client) -> tuple[float, float]:
    """Predict all blocks of the cube anew; return clock and CPU seconds of the workers."""
    target = folder / "ssm.zarr"
    for path in (target, Path(f"{target}.markers")):
        shutil.rmtree(path, ignore_errors=True)
    spent = -sum(client.run(time.process_time).values())
    begin = time.perf_counter()
    predict_product(folder / "features.zarr", target, folder / "forest", {}, client=client)
    clock = time.perf_counter() - begin
    return clock, spent + sum(client.run(time.process_time).values())


def main() -> None:
    """Let the shapes take turns, forth and back, and print ratios within each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"pixels": 240, "days": 366, "blocks": 6, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    first = date(2018, 3, 1)
    days = (first, first + timedelta(chosen.days - 1))
    layout = Layout(Tile(20, 60), 1, chosen.blocks, *days, chosen.pixels)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_forest(folder / "forest")
        write_cube(folder / "features.zarr", layout)
        clients = {}
        for shape, (profile, count) in SHAPES.items():
            clients[shape] = stack.enter_context(open_client(Cluster(workers=count), profile))
            predict_all(folder, clients[shape])
        ratios: dict[str, list[float]] = {shape: [] for shape in SHAPES}
        for turn in range(chosen.rounds):
            order = list(SHAPES) if turn % 2 == 0 else list(SHAPES)[::-1]
            print(f"round {turn + 1}, load {os.getloadavg()[0]:.1f}")
            found = {shape: predict_all(folder, clients[shape]) for shape in order}
            for shape, (clock, spent) in found.items():
                ratios[shape].append(found["1 worker"][0] / clock)
                print(f"  {shape}: {clock:.1f} s, {spent:.1f} CPU s, {ratios[shape][-1]:.2f}x")
        for shape, values in ratios.items():
            print(f"{shape}: median {statistics.median(values):.2f}x")


if __name__ == "__main__":
    main()
