"""Memory of prediction: one full block of 480 x 480 pixels and 366 days, and 200 small blocks.

``python benchmarks/block_memory.py [--pixels 480] [--days 366] [--limit 2GB]``. The forest has 20
trees, leaves of one sample; the cube holds invented LST, vegetation, weather and soil over land
without sea; spread, bounds and flags are worked out too. Each case runs in a process of its own,
whose largest resident memory counts, and what it held before the first block; then the one block
is predicted by a Dask worker that would be killed and replaced near the limit.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from bare_cube import mark_all, write_bare_cube

from gssm_cube import cube
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import open_client
from gssm_cube.forest import Preset, compile_forest, train_forest
from gssm_cube.grid import Layout, Tile
from gssm_cube.predict import predict_product

FEATURES = (
    *("apei", "evaporation", "tair", "lst", "lst_diff", "ndvi", "evi"),
    *("clay", "sand", "silt", "elevation", "lat", "lon"),
)
CELL = 12  # pixels of a cell of 0.1 deg


def resident() -> float:
    """Resident memory of this process now, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def highest() -> float:
    """Largest resident memory of this process so far, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("this system tells no peak of memory")


def write_cube(store: Path, layout: Layout) -> None:
    """Write a cube on land alone, with all that the estimate, its bounds and flags read."""
    write_bare_cube(store, layout)
    root, rng = zarr.open_group(str(store), mode="r+"), np.random.default_rng(3)
    root["static/land"][:] = 1
    for name in ("sand", "silt", "porosity"):
        array = root[f"static/{name}"]
        array[:] = rng.integers(200, 500, array.shape).astype("int16")
    for name in ("daily/lst", "daily/lst_diff", "composite/ndvi", "composite/evi"):
        for tile in layout.tiles():
            place = (slice(None), *layout.tile_slices(tile))
            root[name][place] = likened(rng, root[name][place].shape)
    cells = root["meteo/cells"]
    for name in ("tair", "tair_7d", "swe"):
        values = rng.integers(0, 900, cells.shape[1:]).astype("int16")
        cells[cube.METEO.index(name)] = values
    mark_all(store, layout, list(layout.tiles()))


def likened(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Codes (time, lat, lon) that differ between cells of 0.1 deg, and a little within them."""
    days, rows, cols = shape
    coarse = rng.integers(0, 800, (days, rows // CELL, cols // CELL), dtype="int16")
    fine = np.kron(coarse, np.ones((1, CELL, CELL), dtype="int16"))
    return fine + rng.integers(0, 100, shape, dtype="int16")


def save_forest(folder: Path) -> Path:
    """Fit 20 trees to the last sample on 40,000 invented rows."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({name: rng.uniform(-30, 30, 40_000) for name in FEATURES}, dtype="float32")
    table["observed"] = 0.25 + 0.003 * table["apei"] + 0.05 * rng.random(len(table))
    preset = Preset(name="leaf1", features=FEATURES, trees=20, min_samples_leaf=1)
    compile_forest(train_forest(table, preset, seed=0), preset="leaf1").save(folder)
    return folder


def predict_all(folder: Path, name: str, told: "multiprocessing.Queue[tuple[float, ...]]") -> None:
    """Predict a cube's blocks; tell the memory before, after the first quarter and at the end."""
    before, marks = resident(), []
    begin = time.process_time()

    def note(stage: str, done: int, total: int) -> None:
        if stage == "predict" and done in (max(total // 4, 1), total):
            marks.append(highest())

    place = folder / name
    predict_product(place, folder / f"{name}.ssm", folder / "forest", {}, progress=note)
    told.put((before, marks[0], marks[-1], time.process_time() - begin))


def predict_on_worker(folder: Path, name: str, limit: str) -> None:
    """Predict a cube's blocks on one Dask worker of limited memory and tell what it took."""
    with open_client(Cluster(workers=1, memory_limit=limit), "predict") as client:
        first = client.run(os.getpid)
        place = folder / name
        predict_product(place, folder / f"{name}.2.ssm", folder / "forest", {}, client=client)
        kept = "the same process" if client.run(os.getpid) == first else "ANOTHER PROCESS"
        (peak,) = client.run(highest).values()
    print(f"{name} on a worker of {limit}: {peak:.0f} MB at most, {kept} at the end")


def main() -> None:
    """Measure all cases and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=480)
    parser.add_argument("--days", type=int, default=366)
    parser.add_argument("--limit", default="2GB", help="memory of the Dask worker")
    chosen = parser.parse_args()
    first = date(2018, 3, 1)
    last = first + timedelta(chosen.days - 1)
    cases = {
        "one block": Layout(Tile(10, 30), 1, 1, first, last, chosen.pixels),
        "200 blocks": Layout(Tile(100, 300), 10, 20, first, first + timedelta(19), 48),
    }
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_forest(folder / "forest")
        for case, layout in cases.items():
            store = case.replace(" ", "_")
            write_cube(folder / store, layout)
            told = context.Queue()
            process = context.Process(target=predict_all, args=(folder, store, told))
            process.start()
            before, quarter, peak, seconds = told.get()
            process.join()
            print(f"{case}: {before:.0f} MB before, {peak:.0f} MB at most, {seconds:.0f} CPU s")
            print(f"  peak after the first quarter of the blocks {quarter:.0f} MB")
        predict_on_worker(folder, "one_block", chosen.limit)


if __name__ == "__main__":
    main()
