"""Sampling the cube at 60 stations over 21 windows, against pointwise ``.sel``.

    python benchmarks/samples.py [--quick] [--turns N] [--store FOLDER] [--json FILE]

The cube has the real layout (tiles of 480 pixels, inner chunks of 366 x 48 x 48, meteorology in
chunks of 366 x 120 x 120 cells) and synthetic values, only where stations stand. The ways take
turns, each in a process of its own, which has sampled one row before: seconds of CPU and by the
clock, bytes of chunks read, peak memory above what that row took.
"""

import argparse
import logging
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from distributed import Client
from sparse_cube import counted, ideal_bytes, station_table, write_sparse_cube

from gssm_cube.cube import open_cube
from gssm_cube.grid import Layout
from gssm_cube.samples import write_samples
from gssm_cube.sampling.sample_store import open_samples
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger("samples")

FEATURES = [name for name in PREDICTORS if name not in ("lat", "lon")]
FIRST, WINDOWS = date(2000, 2, 24), 21


def draw_places(layout: Layout, chunks: int, stations: int) -> list[tuple[int, int]]:
    """Draw stations in so many inner chunks of six tiles; some share a chunk, two a pixel."""
    rng = np.random.default_rng(1)
    tiles = rng.choice(list(np.ndindex(layout.tile_rows, layout.tile_cols)), 6, replace=False)
    corners = [
        (480 * tile[0] + 48 * place // 10 // 48 * 48, 480 * tile[1] + 48 * (place % 10))
        for tile, place in zip(
            np.repeat(tiles, -(-chunks // 6), axis=0), rng.permutation(100), strict=False
        )
    ][:chunks]
    own = [corners[n % chunks] for n in range(stations)]
    shifts = rng.integers(0, 48, (stations, 2))
    places = [(int(r + a), int(c + b)) for (r, c), (a, b) in zip(own, shifts, strict=True)]
    return [*places[:-1], places[0]]


# ---- the ways ---------------------------------------------------------------------------------


def by_blocks(
    store: Path, table: pd.DataFrame, names: list[str], client: Client | None = None
) -> Path:
    """Sample as this package does, to Parquet, in this process's threads or on a cluster."""
    folder = Path(tempfile.mkdtemp(dir=store.parent)) / "samples"
    write_samples(store, table, folder, features=names, client=client)
    return folder


def by_blocks_cluster(store: Path, table: pd.DataFrame, names: list[str]) -> Path:
    """Do the same on a cluster of two threads in this process."""
    with cluster() as client:
        return by_blocks(store, table, names, client)


def by_station(store: Path, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Select pointwise without Dask, a station a call: all in one would read the box round all."""
    dataset = open_cube(store)[names]
    return pd.concat(_points(dataset, rows) for _, rows in table.groupby("station"))


def by_dask(store: Path, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Select pointwise on the Dataset chunked by Dask, all stations in one call, two threads."""
    with dask.config.set(scheduler="threads", num_workers=2):
        return _computed(store, table, names)


def by_dask_cluster(store: Path, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Do the same on a cluster of two threads in this process."""
    with cluster():
        return _computed(store, table, names)


def cluster() -> Client:
    """Start two threads in this process, for whatever is computed while they last."""
    return Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)


def _computed(store: Path, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Select all stations of a table at once on Dask's chunks."""
    dataset = open_cube(store, chunks={})[names]
    places = table.drop_duplicates("station").reset_index(drop=True)
    lat, lon = (xr.DataArray(places[name], dims="place") for name in ("lat", "lon"))
    found = dataset.sel(lat=lat, lon=lon, method="nearest")
    found = found.sel(time=slice(table["time"].min(), table["time"].max()))
    frame = found.compute().drop_vars(["lat", "lon"]).to_dataframe().reset_index()
    frame["station"] = places["station"].to_numpy()[frame["place"]]
    return frame[["station", "time", *names]]


def _points(dataset: xr.Dataset, rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of a table, one point each."""
    where = {name: xr.DataArray(rows[name].to_numpy(), dims="point") for name in ("lat", "lon")}
    found = dataset.sel(where, method="nearest").sel(time=xr.DataArray(rows["time"], dims="point"))
    columns = {name: found[name].values for name in dataset.data_vars}
    return rows[["station", "time"]].assign(**columns)


WAYS = (by_blocks, by_dask, by_blocks_cluster, by_dask_cluster, by_station)
RIVALS = {"by_dask": "by_blocks", "by_dask_cluster": "by_blocks_cluster", "by_station": "by_blocks"}


def measure(way: str, store: Path, table: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """Run one way in this process; return its figures and its table."""
    run = next(run for run in WAYS if run.__name__ == way)
    run(store, table.head(1), names)  # what is imported and loaded late
    before = peak_mb()
    with counted(store) as count:
        begin, used = time.perf_counter(), time.process_time()
        found = run(store, table, names)
        cpu, seconds = time.process_time() - used, time.perf_counter() - begin
    peak = peak_mb() - before
    if isinstance(found, Path):  # reading the samples again is no part of sampling
        found = open_samples(found, columns=["station", "time", *names])
    found = found.sort_values(["station", "time"], ignore_index=True)
    facts = {"cpu_s": cpu, "clock_s": seconds, "mb_read": sum(count.read.values()) / 1e6}
    return {**facts, "peak_mb": peak, "table": found}


def peak_mb() -> float:
    """Peak memory of this process; ``getrusage`` would inherit its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def compare(
    store: Path, table: pd.DataFrame, names: list[str], title: str, options: argparse.Namespace
) -> list[dict]:
    """Measure all ways by turns on the same rows; the values must be the same to the last bit."""
    rows, bits = [], None
    for turn, way in product(range(options.turns), WAYS):
        if way is by_station and (turn or options.no_station):
            continue  # it takes minutes, and no one doubts it
        # A process for each: peaks of memory and caches are its own.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            row = pool.submit(measure, way.__name__, store, table, names).result()
        values = row.pop("table")[names].to_numpy("float32").view("int32")
        bits = values if bits is None else bits
        about = {"rows": title, "turn": turn, "way": way.__name__}
        row = {**about, **row, "identical": bool(np.array_equal(values, bits))}
        rows.append(row)
        logger.info("%s", row)
    return rows


def ratios(figures: pd.DataFrame) -> pd.DataFrame:
    """Return how much longer each rival takes than this package, turn by turn."""
    wide = figures.pivot_table(index=["rows", "turn"], columns="way", values=["cpu_s", "clock_s"])
    pairs = {
        (kind, rival): wide[kind, rival] / wide[kind, ours]
        for kind, (rival, ours) in product(("cpu_s", "clock_s"), RIVALS.items())
        if (kind, rival) in wide
    }
    return pd.DataFrame(pairs)


def main() -> None:
    """Build the cube, compare, show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three windows, 12 stations")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--store", type=Path, help="folder that keeps the cube, or has it")
    parser.add_argument("--no-station", action="store_true", help="without the slowest way")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    logger.setLevel(logging.INFO)
    windows, chunks, stations = (3, 9, 12) if options.quick else (WINDOWS, 45, 60)
    last = pd.Timestamp(FIRST) + pd.Timedelta(366 * windows - 1, "D")
    layout = Layout.covering((-24.0, 30.0, -12.0, 42.0), FIRST, last.date(), 480)
    places = draw_places(layout, chunks, stations)
    with tempfile.TemporaryDirectory() as folder:
        store = (options.store or Path(folder)) / "features.zarr"
        if not store.exists():
            # Elsewhere, for it holds gigabytes while it writes.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                pool.submit(write_sparse_cube, store, layout, places).result()
        table = station_table(layout, places)
        few = table[table["station"] < "NET/012"]
        few = few[few["time"] < pd.Timestamp(FIRST) + pd.Timedelta(366, "D")]
        ideal = ideal_bytes(store, layout, table)["daily/lst"] / 1e6
        title = f"{stations} stations, lst alone"
        rows = compare(store, table, ["lst"], title, options)
        rows += compare(store, few, FEATURES, "12 stations, one window, all features", options)
    logger.info("by_blocks read %.4f of the ideal %.1f MB", rows[0]["mb_read"] / ideal, ideal)
    figures = pd.DataFrame(rows)
    logger.info("\n%s", figures.round(2).to_string(index=False))
    logger.info("rivals' time over this package's:\n%s", ratios(figures).round(2).to_string())
    if options.json:
        figures.to_json(options.json, orient="records", indent=1)


if __name__ == "__main__":
    main()
