"""Predict from disk to disk and from an S3 store to itself, by turns: time, requests, bytes.

The store is moto's on loopback, in a process of its own, behind a proxy that waits before each
answer; the cube has every kind of layer, at random, and the forest is of a usual size. Needs the
extra ``test``. The ratio wanted is at most 1.3 with 30 ms a request.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bare_cube import mark_all  # noqa: E402
from object_proxy import Proxy  # noqa: E402
from object_server import Server, moto_server  # noqa: E402

from gssm_cube import cube  # noqa: E402
from gssm_cube.clusters import open_client  # noqa: E402
from gssm_cube.forest import Preset, compile_forest, train_forest  # noqa: E402
from gssm_cube.grid import Layout, Tile  # noqa: E402
from gssm_cube.predict import predict_product  # noqa: E402
from gssm_cube.storage import locations  # noqa: E402
from gssm_cube.storage.stores import array_of, open_group, write_region  # noqa: E402

FEATURES = (
    "apei", "evaporation", "tair", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt",
    "porosity", "omc", "ti", "elevation", "wtd", "dtb",
)  # fmt: skip
NAMES = {"static": ("clay", "sand", "silt", "porosity", "omc", "ti", "elevation", "wtd", "dtb")}


def main() -> None:
    """Print a table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile", type=int, default=240, help="edge of a tile, pixels")
    parser.add_argument("--delay", type=float, default=0.03, help="seconds before an answer")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _server() as endpoint, Proxy(endpoint) as proxy:
        server = Server(proxy.url)
        os.environ.update(server.environment)
        found = _compare(Path(folder), f"s3://{server.make_bucket()}", proxy, chosen)
    for name, value in found.items():
        print(f"{name:40s} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


def _compare(folder: Path, bucket: str, proxy: Proxy, chosen: Any) -> dict[str, Any]:
    """Time both ways by turns, on the same cube."""
    layout = Layout(Tile(20, 60), 1, 2, date(2018, 1, 1), date(2019, 1, 1), chosen.tile)
    here, there = folder / "features.zarr", f"{bucket}/features.zarr"
    for store in (here, there):
        _write_cube(store, layout)
    forest = _save_forest(folder / "forest")
    seconds: dict[str, list[float]] = {"disk": [], "store": []}
    busy: dict[str, list[float]] = {"disk": [], "store": []}  # of processors, the proxy's included
    with open_client("none", "predict"):
        predict_product(here, folder / "warm.zarr", forest, {})
        proxy.delay = chosen.delay
        for turn in range(chosen.turns):
            for name, source, target in (
                ("disk", here, folder / f"{turn}.zarr"), ("store", there, f"{bucket}/{turn}.zarr"),
            ):  # fmt: skip
                proxy.forget()
                begin, worked = time.perf_counter(), time.process_time()
                status, _ = predict_product(source, target, forest, {})
                seconds[name].append(time.perf_counter() - begin)
                busy[name].append(time.process_time() - worked)
    last = chosen.turns - 1
    same = _objects(folder / f"{last}.zarr") == _objects(f"{bucket}/{last}.zarr")
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    blocks = len(status)
    return {
        "blocks, pixels a side": f"{blocks}, {chosen.tile}",
        "identical": same,
        "seconds from disk to disk": [round(value, 2) for value in seconds["disk"]],
        "seconds from store to store": [round(value, 2) for value in seconds["store"]],
        "ratio, median of turns": round(median(ratios), 3),
        "CPU seconds from disk to disk": [round(value, 2) for value in busy["disk"]],
        "CPU seconds from store to store": [round(value, 2) for value in busy["store"]],
        "requests": dict(proxy.counts),
        "requests a block": round(sum(proxy.counts.values()) / blocks, 1),
        "MB read": round(proxy.bytes_of("GET") / 1e6, 1),
        "MB of the cube read from disk": round(_bytes(here) / 1e6, 1),
        "MB written": round(proxy.bytes_of("PUT") / 1e6, 1),
    }


def _write_cube(store: locations.Location, layout: Layout) -> None:
    """Fill every layer that the forest reads with smooth numbers and noise."""
    starts = layout.time[0] - 32 + 16 * np.arange((layout.days + 32) // 16 + 2)
    cube.create_cube(store, layout, starts, {"gssm_day": "UTC"})
    root, rng = open_group(store, "r+"), np.random.default_rng(1)
    for path in (
        *(f"static/{name}" for name in NAMES["static"]), "static/land",
        "daily/lst", "daily/lst_diff", "daily/quality",
        "composite/ndvi", "composite/evi", "composite/quality",
    ):  # fmt: skip
        array = array_of(root, path)
        days = slice(0, array.shape[0]) if array.ndim == 3 else None
        for tile in layout.tiles():
            region = layout.tile_slices(tile) if days is None else (days, *layout.tile_slices(tile))
            shape = tuple(part.stop - part.start for part in region)
            values = _values(path, shape, rng).astype(array.dtype)
            size = array.shards[0] if days is not None and array.shards else shape[0]
            for start in range(0, shape[0], size) if days is not None else (0,):
                stop = min(start + size, shape[0])
                part = region if days is None else (slice(start, stop), *region[1:])
                write_region(array, part, values if days is None else values[start:stop])
    cells = array_of(root, "meteo/cells")
    cells[:] = rng.integers(-300, 300, cells.shape).astype("int16")
    mark_all(store, layout, list(layout.tiles()))


def _values(path: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Codes that compress as real ones do."""
    if path == "static/land":
        return np.ones(shape)
    if path.endswith("quality"):
        return rng.random(shape) < 0.05
    slope = np.linspace(0, 2000, shape[-1])[np.newaxis, :]
    return slope + rng.normal(0, 20, shape)


def _save_forest(folder: Path) -> Path:
    """Train 20 trees on invented samples and save them."""
    rng = np.random.default_rng(5)
    rows = {name: rng.uniform(0, 60, 20_000) for name in FEATURES}
    table = pd.DataFrame(rows, dtype="float32")
    table["observed"] = 0.2 + 0.001 * table["apei"] + 0.0005 * table["clay"]
    table["observed"] += rng.normal(0, 0.03, len(table))
    preset = Preset(name="bench", features=FEATURES, trees=20, min_samples_leaf=5)
    compile_forest(train_forest(table, preset, seed=0), preset="bench").save(folder)
    return folder


def _objects(store: locations.Location) -> dict[str, bytes | None]:
    """All written objects of a product."""
    names = [found.name for found in locations.files(store) if "/c/" in found.name]
    return {name: locations.read(locations.join(store, name)) for name in names}


def _bytes(store: locations.Location) -> int:
    """Bytes of all files of a store."""
    return sum(found.size for found in locations.files(store))


@contextmanager
def _server() -> Iterator[str]:
    """Run moto in a process of its own and give its address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("end")
        process.join(10)


def _serve(pipe: Any) -> None:
    """Serve until told to end."""
    with moto_server() as server:
        pipe.send(server.endpoint)
        pipe.recv()


if __name__ == "__main__":
    main()
