"""Ways to predict a block with a random forest, side by side in one run.

    python benchmarks/kernel.py [--quick] [--json FILE]

Two forests (20 trees, leaves of 1 or 5), with and without 40 % sea, one and two threads. Options
take turns, round by round; figures are medians over the rounds, ratios medians of the ratios of a
round. Two threads are timed by the clock, all else in CPU seconds.
"""

import argparse
import copy
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from world import (
    CELLS,
    COMPOSITES,
    DYNAMIC,
    FEATURES,
    STATIC,
    Stored,
    composite_days,
    station_samples,
    stored_block,
)

from gssm_cube.forest import CompiledForest, compile_forest, find_preset, train_forest
from gssm_cube.forest.lanes import PATH, predict_codes
from gssm_cube.lazy import CellReader, CompositeReader, Reader, StoredReader
from gssm_cube.storage.stores import DIMS, create_array
from gssm_cube.variables import FILL, PREDICTORS, SSM

logger = logging.getLogger("kernel")

SEA = 0.4  # share of the block without land, where there is sea
LEAVES = {"leaf1": 1, "leaf5": 5}
CHUNK = 48
Codes = dict[str, NDArray[np.int16]]
Work = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    stations: int = 1000
    days_a_station: int = 550
    days: int = 366
    rounds: int = 5


FULL = Size()
QUICK = Size(stations=100, days_a_station=200, days=61, rounds=2)


@dataclass(frozen=True)
class Case:
    """One forest and one block, in all the forms that the options start from."""

    name: str
    forest: RandomForestRegressor  # without feature names, so that it takes plain arrays
    compiled: CompiledForest
    stored: Stored  # without sea
    dynamic: Codes
    static: Codes
    place: NDArray[np.bool_]  # (lat, lon), land
    day_major: NDArray[np.float32] = field(init=False)
    pixel_major: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        rows = feature_rows(self.dynamic, self.static, self.place)  # (day, pixel, feature)
        object.__setattr__(self, "day_major", rows.reshape(-1, len(FEATURES)))
        turned = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(-1, len(FEATURES))
        object.__setattr__(self, "pixel_major", turned)

    @property
    def rows(self) -> int:
        """Rows with all features."""
        return len(self.day_major)

    def on_land(self, ssm: NDArray[Any]) -> NDArray[Any]:
        """Values of the valid rows, day-major."""
        return ssm[:, self.place].ravel()


def feature_rows(dynamic: Codes, static: Codes, place: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return decoded features (day, pixel, feature) of the pixels on land."""
    days = next(iter(dynamic.values())).shape[0]
    rows = np.empty((days, int(place.sum()), len(FEATURES)), dtype="float32")
    for column, name in enumerate(FEATURES):
        codes = dynamic[name] if name in dynamic else static[name]
        rows[:, :, column] = PREDICTORS[name].packing.decode(codes[..., place])
    return rows


# ---- the options ------------------------------------------------------------------------------


def dataframe(case: Case, dataset: xr.Dataset) -> NDArray[np.float64]:
    """Predict as most users do: stack to a table, drop what is missing, predict, put back."""
    table = dataset.to_dataframe()[list(FEATURES)]
    complete = table.dropna()
    ssm = pd.Series(case.forest.predict(complete.to_numpy()), index=complete.index)
    return case.on_land(ssm.reindex(table.index).to_numpy().reshape(tuple(dataset.sizes.values())))


def as_dataset(case: Case) -> xr.Dataset:
    """Return decoded features, static ones repeated for each day."""
    shape = case.dynamic[DYNAMIC[0]].shape
    variables = {}
    for name in FEATURES:
        codes = case.dynamic[name] if name in case.dynamic else case.static[name]
        values = np.broadcast_to(PREDICTORS[name].packing.decode(codes), shape)
        variables[name] = (("day", "row", "col"), values)
    return xr.Dataset(variables)


def parallel_post_fit(case: Case) -> NDArray[np.float64]:
    """Predict through dask-ml."""
    from dask_ml.wrappers import ParallelPostFit

    rows = da.from_array(case.day_major, chunks=(100_000, len(FEATURES)))
    lazy = ParallelPostFit(case.forest).predict(rows)
    return np.asarray(lazy.compute(scheduler="synchronous"))


def onnx_work(case: Case) -> Work | None:
    """Predict by ONNX Runtime, where it is installed."""
    try:
        import onnxruntime
        from skl2onnx import to_onnx
    except ImportError:
        logger.info("onnxruntime or skl2onnx is not installed (extra `bench`): left out")
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = to_onnx(case.forest, case.day_major[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(model, options)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: case.day_major})[0].ravel()


def options(case: Case) -> dict[str, Work]:
    """Return what is compared, each a function that returns the valid rows day-major."""
    days = case.dynamic[DYNAMIC[0]].shape[0]

    def pixel_major() -> NDArray[np.float64]:
        return case.forest.predict(case.pixel_major).reshape(-1, days).T.ravel()

    def kernel() -> NDArray[np.float64]:
        return case.on_land(predict_codes(case.compiled, case.dynamic, case.static))

    def kernel_std() -> NDArray[np.float64]:
        codes = (case.dynamic, case.static)
        return case.on_land(predict_codes(case.compiled, *codes, spread=True)[0])

    work: dict[str, Work] = {
        "sklearn_day_major": lambda: case.forest.predict(case.day_major),
        "sklearn_pixel_major": pixel_major,
        "dataframe": partial(dataframe, case, as_dataset(case)),
        "parallel_post_fit": partial(parallel_post_fit, case),
        "rows": lambda: case.compiled.predict_array(case.day_major),
        "kernel": kernel,
        "kernel_std": kernel_std,
    }
    onnx = onnx_work(case)
    return work if onnx is None else work | {"onnxruntime": onnx}


# ---- measuring --------------------------------------------------------------------------------


def seconds(work: Work, clock: Callable[[], float]) -> float:
    """Return how long one call takes."""
    start = clock()
    work()
    return clock() - start


def in_threads(work: Work, count: int) -> Work:
    """Return the same work done that many times at once."""

    def run() -> None:
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(work) for _ in range(count)]:
                done.result()

    return run


def alternate(
    work: dict[str, Work], clock: Callable[[], float], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Seconds of each option in each round; the options take turns."""
    times = [{name: seconds(run, clock) for name, run in work.items()} for _ in range(rounds)]
    return {name: np.array([each[name] for each in times]) for name in work}


def measure(case: Case, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of the table for one case: one thread, then two."""
    work = options(case)
    results = {name: run() for name, run in work.items()}  # the first calls compile
    sea = bool((~case.place).any())
    for threads in (1, 2):
        names = work if threads == 1 else ("sklearn_day_major", "kernel", "kernel_std")
        chosen = {n: work[n] if threads == 1 else in_threads(work[n], 2) for n in names}
        clock = time.process_time if threads == 1 else time.perf_counter
        times = alternate(chosen, clock, rounds)
        orders = [n for n in ("sklearn_day_major", "sklearn_pixel_major") if n in times]
        fastest = min(orders, key=lambda n: float(np.median(times[n])))
        for name in names:
            worst = float(np.abs(results[name] - results["sklearn_day_major"]).max())
            yield {
                "forest": case.name,
                "option": name,
                "threads": threads,
                "ocean": SEA if sea else 0.0,
                "rows_per_s": threads * case.rows / float(np.median(times[name])),
                "ratio": float(np.median(times[fastest] / times[name])),
                "max_abs_diff": worst,
                "times_io": None,
            }


# ---- end to end -------------------------------------------------------------------------------


def write_store(folder: Path, stored: Stored) -> zarr.Group:
    """Write the block's features as the cube stores them, and an empty product."""
    root = zarr.open_group(str(folder), mode="w-", zarr_format=3)
    for name, codes in (stored.daily | stored.composites | stored.static).items():
        dims, chunks = DIMS[-codes.ndim :], (*codes.shape[:-2], CHUNK, CHUNK)
        array = create_array(root, name, dims, codes.shape, chunks, codes.shape, "int16", FILL, {})
        array[:] = codes
    dims = ("feature", *DIMS)
    shape = stored.cells.shape
    root_cells = create_array(root, "cells", dims, shape, (1, *shape[1:]), None, "int16", FILL, {})
    root_cells[:] = stored.cells
    shape = stored.daily["lst"].shape
    chunks = (shape[0], CHUNK, CHUNK)
    create_array(root, "ssm", DIMS, shape, chunks, shape, "int16", FILL, {})
    return root


def feature_readers(root: zarr.Group) -> dict[str, Reader]:
    """Return how the cube reads each feature that changes."""
    starts, _ = composite_days(root["ssm"].shape[0])
    readers: dict[str, Reader] = {n: CompositeReader(root[n], starts) for n in COMPOSITES}
    readers |= {n: CellReader(root["cells"], i, cell_pixels=12) for i, n in enumerate(CELLS)}
    return readers | {n: StoredReader(root[n]) for n in DYNAMIC if n not in readers}


def read_codes(root: zarr.Group, lat: slice, lon: slice) -> tuple[Codes, Codes]:
    """Read the codes of one inner chunk, refined to 1 km and days."""
    box = (slice(0, root["ssm"].shape[0]), lat, lon)
    dynamic = {name: reader.read(box) for name, reader in feature_readers(root).items()}
    return dynamic, {name: np.asarray(root[name][lat, lon]) for name in STATIC}


def end_to_end(root: zarr.Group, predict: Callable[[Codes, Codes], NDArray[Any]]) -> None:
    """Read the features chunk by chunk, predict, pack and write the whole shard."""
    codes = np.empty(root["ssm"].shape, dtype="int16")
    for top in range(0, codes.shape[1], CHUNK):
        for left in range(0, codes.shape[2], CHUNK):
            lat, lon = slice(top, top + CHUNK), slice(left, left + CHUNK)
            codes[:, lat, lon] = predict(*read_codes(root, lat, lon))
    root["ssm"][:] = codes


def by_kernel(case: Case, dynamic: Codes, static: Codes) -> NDArray[np.int16]:
    """Packed soil moisture by the block kernel."""
    return SSM.packing.encode(predict_codes(case.compiled, dynamic, static))


def by_sklearn(case: Case, dynamic: Codes, static: Codes) -> NDArray[np.int16]:
    """Packed soil moisture by scikit-learn, of the valid rows."""
    place = static[STATIC[0]] != FILL
    codes = np.full(dynamic[DYNAMIC[0]].shape, FILL, dtype="int16")
    rows = feature_rows(dynamic, static, place)
    ssm = case.forest.predict(rows.reshape(-1, len(FEATURES)))
    codes[:, place] = SSM.packing.encode(ssm.reshape(rows.shape[:2]))
    return codes


def measure_end_to_end(case: Case, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of the table from store to store, against reading and writing alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_store(Path(folder) / "cube.zarr", case.stored)
        end_to_end(root, partial(by_kernel, case))
        written = root["ssm"][:]
        shape = (case.dynamic[DYNAMIC[0]].shape[0], CHUNK, CHUNK)

        def stored(dynamic: Codes, static: Codes) -> NDArray[np.int16]:
            return written[:, :CHUNK, :CHUNK] if dynamic else np.empty(shape, "int16")

        work = {
            "io": partial(end_to_end, root, stored),
            "end_to_end": partial(end_to_end, root, partial(by_kernel, case)),
            "end_to_end_sklearn": partial(end_to_end, root, partial(by_sklearn, case)),
        }
        times = alternate(work, time.process_time, rounds)
        end_to_end(root, partial(by_sklearn, case))
        worst = float(np.abs(root["ssm"][:] - written).max()) * SSM.packing.scale
    for name in ("end_to_end", "end_to_end_sklearn"):
        yield {
            "forest": case.name,
            "option": name,
            "threads": 1,
            "ocean": 0.0,
            "rows_per_s": case.rows / float(np.median(times[name])),
            "ratio": float(np.median(times["end_to_end_sklearn"] / times[name])),
            "max_abs_diff": worst,
            "times_io": float(np.median(times[name] / times["io"])),
        }


# ---- all of it --------------------------------------------------------------------------------


def sea_mask(pixels: int) -> NDArray[np.bool_]:
    """Land (lat, lon) with a slanting, wavy coast; the share of sea is `SEA`."""
    row, col = np.mgrid[:pixels, :pixels]
    height = row + 0.7 * col + 5 * np.sin(col / 6)
    return height > np.quantile(height, SEA)


def cases(samples: pd.DataFrame, size: Size) -> Iterator[Case]:
    """Both forests over a block without and with sea."""
    stored = stored_block(size.days, CHUNK)
    everywhere = np.ones((CHUNK, CHUNK), dtype=bool)
    preset = find_preset("gssm1km")
    for name, leaf in LEAVES.items():
        fitted = train_forest(samples, preset.model_copy(update={"min_samples_leaf": leaf}))
        plain = copy.copy(fitted)
        del plain.feature_names_in_
        compiled = compile_forest(fitted)
        logger.info("%s: %d trees, %d nodes", name, compiled.trees, compiled.feature.size)
        for place in (everywhere, sea_mask(CHUNK)):
            masked = {
                n: np.where(place, codes, FILL).astype("int16")
                for n, codes in stored.static.items()
            }
            yield Case(name, plain, compiled, stored, stored.dynamic(), masked, place)


def run(size: Size) -> list[dict[str, Any]]:
    """Measure everything, a line as soon as it is known."""
    samples = station_samples(size.stations, size.days_a_station)
    logger.info("training set: %d rows; lists are split by %s", len(samples), PATH or "one")
    heads = ("forest", "option", "threads", "sea", "rows/s", "ratio", "max diff", "x I/O")
    logger.info("%-6s %-20s %7s %5s %10s %7s %9s %6s", *heads)
    found: list[dict[str, Any]] = []
    for case in cases(samples, size):
        rows = [measure(case, size.rounds)]
        if case.place.all():
            rows.append(measure_end_to_end(case, size.rounds))
        for row in (row for part in rows for row in part):
            found.append(row)
            io = "" if row["times_io"] is None else f"{row['times_io']:.2f}"
            logger.info("%-6s %-20s %7d %5.1f %10.0f %7.2f %9.1e %6s",
                        *list(row.values())[:7], io)  # fmt: skip
    return found


def main() -> None:
    """Read the command line, run, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the table here")
    parser.add_argument("--quick", action="store_true", help="small forests, two rounds")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = run(QUICK if arguments.quick else FULL)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
