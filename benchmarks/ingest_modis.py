"""Tiles of every form onto the grid: the ingest's tasks beside plain scripts, file form by form.

    python benchmarks/ingest_modis.py [--quick] [--forms A,B] [--json FILE]

Sixteen days of LST, or the composites that they reach, of one sinusoidal tile (``tile_files.py``)
are quality-checked, brought to a tile of 480 pixels and written to Zarr: by ``LstDays`` or
``VegetationComposite``, and by ``plain_tiles.py``. The two take turns, each in a process of its
own, on one thread; figures are medians. A pixel counts once for each layer that is written.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_tiles
import tile_files
from tile_files import DAYS, FORMS, layout_of, place_of

from gssm_cube.grid import Layout
from gssm_cube.ingest import scratch, sensors
from gssm_cube.sources import modis, viirs
from gssm_cube.storage.stores import array_of, open_group

logger = logging.getLogger("ingest_modis")


def by_task(folder: Path, layout: Layout, store: Path, form: str) -> None:
    """Do it as the ingest does."""
    product, place = form.split()[0], place_of(folder, form)
    scratch.create_scratch(store, layout)
    if product in ("MOD13A2", "VNP13A2"):
        reader = vegetation_reader(place, product)
        for unit in scratch.vegetation_units(layout):
            scratch.VegetationComposite(store, reader, layout, "key")(unit)
    else:
        for unit in scratch.lst_units(layout):
            scratch.LstDays(store, lst_reader(place, product), layout, "key")(unit)


def lst_reader(place: Path, product: str) -> sensors.LstReader:
    """Return what reads LST of a product."""
    if product == "MOD11A1":
        return sensors.ModisLst(modis.find_files(place, product, modis.LST_LAYERS))
    products = viirs.LST_PRODUCTS.items()
    return sensors.ViirsLst({o: viirs.find_files(place, p) for o, p in products})


def vegetation_reader(place: Path, product: str) -> sensors.VegetationReader:
    """Return what reads vegetation of a product."""
    if product == "MOD13A2":
        files = modis.find_files(place, product, modis.VEGETATION_LAYERS)
        return sensors.ModisVegetation(files)
    return sensors.ViirsVegetation(viirs.find_files(place, viirs.VNP13A2))


WAYS: dict[str, Callable[[Path, Layout, Path, str], None]] = {
    "task": by_task,
    "plain": plain_tiles.by_script,
}


def run_one(way: str, form: str, folder: Path, layout: Layout, store: Path) -> dict[str, float]:
    """Do the job twice in this process and time the second: nothing is compiled then."""
    before = memory_mb("VmRSS")
    WAYS[way](folder, layout, store.with_name(f"{store.name}_first"), form)
    begin = time.process_time()
    WAYS[way](folder, layout, store, form)
    cpu = time.process_time() - begin
    planes = sum(len(layer) for layer in written(store, form).values())
    pixels = planes * layout.shape[0] * layout.shape[1] / 1e6
    peak = memory_mb("VmHWM")
    return {"cpu_s": cpu, "mpx_per_cpu_s": pixels / cpu, "peak_mb": peak, "before_mb": before}


def memory_mb(word: str) -> float:
    """Return this process's memory now (VmRSS) or at its highest (VmHWM), MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


def written(store: Path, form: str) -> dict[str, Any]:
    """Return the arrays (time, lat, lon) that either way wrote, by their name in Terra."""
    root, product = open_group(store), form.split()[0]
    sensor = "viirs" if product.startswith("VNP") else "terra"
    if product in ("MOD13A2", "VNP13A2"):
        names = {name: sensors.vegetation_array(sensor, name) for name in sensors.VEGETATION}
    else:
        names = {name: sensors.lst_array(sensor, name) for name in sensors.OVERPASSES}
    # The ingest's scratch has an array for each sensor, the plain script's store has one.
    found = {name: held if held in root else name for name, held in names.items()}
    return {name: np.asarray(array_of(root, held)[:]) for name, held in found.items()}


def share_that_differs(folder: Path, form: str) -> float:
    """Share of values in which the two ways differ: ties between pixels, and the warp's error."""
    ours, plain = (written(store_of(folder, way, form, 0), form) for way in WAYS)
    return float(np.mean([(ours[name] != plain[name]).mean() for name in ours]))


def store_of(folder: Path, way: str, form: str, turn: int) -> Path:
    """Where a way writes."""
    return folder / f"{way}_{place_of(folder, form).name}_{turn}.zarr"


def measure(folder: Path, tile_size: int, forms: list[str], rounds: int) -> dict[str, Any]:
    """Let the ways take turns on each form; compare what they wrote."""
    result: dict[str, Any] = {}
    for form in forms:
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for way in WAYS:
                command = [sys.executable, __file__, "--only", way, "--forms", form]
                command += ["--folder", str(folder), "--tile-size", str(tile_size)]
                command += ["--store", str(store_of(folder, way, form, turn))]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
        row: dict[str, Any] = {
            way: {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
            for way, runs in found.items()
        }
        pairs = zip(found["task"], found["plain"], strict=True)
        row["ratio"] = float(np.median([b["cpu_s"] / a["cpu_s"] for a, b in pairs]))
        row["differ"] = share_that_differs(folder, form)
        result[form] = row
        logger.info("%-17s %s", form, json.dumps(row, default=float))
    return result


def main() -> None:
    """Read the command line, run, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a tile of 96 pixels, one round")
    parser.add_argument("--forms", default=",".join(FORMS), help="some of: %(default)s")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tile-size", type=int, default=480, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        layout = layout_of(given.tile_size, DAYS)
        print(json.dumps(run_one(given.only, given.forms, given.folder, layout, given.store)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    tile_size, rounds = (96, 1) if given.quick else (480, 3)
    with tempfile.TemporaryDirectory() as name:
        tile_files.write_files(Path(name))
        result = measure(Path(name), tile_size, given.forms.split(","), rounds)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
