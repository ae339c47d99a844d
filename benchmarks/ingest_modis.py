"""Daily LST of one tile: the ingest's tasks beside a plain rioxarray script, and filling its gaps.

    python benchmarks/ingest_modis.py [--quick] [--json FILE]

Invented MOD11A1 (GeoTIFF tiles of 1200 x 1200) and VNP21A1 (GeoTIFF cut-outs) of 16 days are
quality-checked, brought to a tile of 480 pixels and written to Zarr: by `LstDays`, and by
rioxarray (nearest, by GDAL). Then `DailyBlock` fills a block of 366 days, two fifths of it clouds,
in time and in space as well. The options take turns, each in a process of its own, on one thread;
figures are medians.
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
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from gssm_cube import cube
from gssm_cube.grid import Layout
from gssm_cube.ingest import scratch, sensors
from gssm_cube.ingest.inputs import composite_starts
from gssm_cube.ingest.lst import REACH_PIXELS, DailyBlock
from gssm_cube.sources import modis, viirs
from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS
from gssm_cube.stores import array_of, open_group

logger = logging.getLogger("ingest_modis")

WEST, SOUTH = 4.0, 44.0  # of the tile, in h18v04
FIRST = date(2018, 1, 1)
SINUSOIDAL = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS} +units=m +no_defs"
CORNER = 40 * 120, 180 * 120  # global row and column of h18v04
OVERPASSES = {"Day": "VNP21A1D", "Night": "VNP21A1N"}


def layout_of(tile_size: int, days: int) -> Layout:
    """Return a layout of one tile."""
    side = tile_size / 120
    bounds = (WEST, SOUTH, WEST + side, SOUTH + side)
    return Layout.covering(bounds, FIRST, FIRST + timedelta(days - 1), tile_size)


def clouds(shape: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """Return two fifths of a plane, in patches."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 12)
    return field > np.quantile(field, 0.6)


def surface(shape: tuple[int, int], seed: int) -> NDArray[np.uint16]:
    """Return LST numbers of 0.02 K, 0 under clouds."""
    rng = np.random.default_rng(seed)
    kelvin = 285 + 40 * gaussian_filter(rng.normal(size=shape), 8) + rng.normal(0, 0.8, shape)
    return np.where(clouds(shape, seed), 0, np.rint(kelvin / 0.02)).astype("uint16")


def write_tif(path: Path, values: NDArray[Any]) -> None:
    """Write the layer of h18v04."""
    left, top = (CORNER[1] * KILOMETRE.pixel - np.pi * RADIUS,
                 np.pi * RADIUS / 2 - CORNER[0] * KILOMETRE.pixel)  # fmt: skip
    transform = Affine(KILOMETRE.pixel, 0, left, 0, -KILOMETRE.pixel, top)
    profile = dict(driver="GTiff", dtype=values.dtype, count=1, crs=SINUSOIDAL, transform=transform)
    profile |= dict(height=1200, width=1200, tiled=True, compress="deflate", predictor=2)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)
        raster.scales = (0.02 if values.dtype == np.uint16 and "LST" in path.name else 1.0,)


def write_files(folder: Path, days: int) -> None:
    """Write both products."""
    rng = np.random.default_rng(0)
    for name in ("terra", "viirs"):
        (folder / name).mkdir()
    for number in range(days):
        day = FIRST + timedelta(number)
        for overpass, product in OVERPASSES.items():
            numbers = surface((1200, 1200), 2 * number + len(overpass))
            flags = rng.choice([0, 65, 129], (1200, 1200), p=[0.9, 0.05, 0.05])
            stem = f"MOD11A1.A{day:%Y%j}.h18v04.061.2020001000000"
            write_tif(folder / "terra" / f"{stem}_LST_{overpass}_1km.tif", numbers)
            write_tif(folder / "terra" / f"{stem}_QC_{overpass}.tif", flags.astype("uint8"))
            stem = f"doy{day:%Y%j}_aid0001.tif"
            write_tif(folder / "viirs" / f"{product}.002_LST_1KM_{stem}", numbers)
            words = np.where(flags == 0, 0, flags << 8 | 1).astype("uint16")
            write_tif(folder / "viirs" / f"{product}.002_QC_{stem}", words)


# ---- to the grid ------------------------------------------------------------------------------


def by_task(folder: Path, layout: Layout, store: Path, name: str) -> None:
    """Do it as the ingest does."""
    if name == "terra":
        files = modis.find_files(folder / name, "MOD11A1", modis.LST_LAYERS)
        reader: sensors.LstReader = sensors.ModisLst(files)
    else:
        reader = sensors.ViirsLst(
            {o: viirs.find_files(folder / name, p) for o, p in viirs.LST_PRODUCTS.items()}
        )
    scratch.create_scratch(store, layout)
    for unit in scratch.lst_units(layout):
        scratch.LstDays(store, reader, layout, "key")(unit)


def by_rioxarray(folder: Path, layout: Layout, store: Path, name: str) -> None:
    """Do it with rioxarray: open, mask, warp to the grid, stack, write."""
    days = [FIRST + timedelta(n) for n in range(layout.days)]
    west, _, _, north = layout.bounds
    target = xr.DataArray(
        np.zeros(layout.shape, "uint16"), {"y": layout.lat, "x": layout.lon}, ("y", "x")
    )
    target = target.rio.write_crs(4326).rio.write_transform(
        Affine(1 / 120, 0, west, 0, -1 / 120, north)
    )
    stacks = {}
    for overpass in OVERPASSES:
        layers = []
        for day in days:
            numbers, flags = (
                rioxarray.open_rasterio(path).squeeze("band", drop=True)
                for path in plain_paths(folder, day, overpass, name)
            )
            usable = (modis if name == "terra" else viirs).usable_lst(numbers.values, flags.values)
            masked = numbers.where(usable, 0).astype("uint16").rio.write_nodata(0)
            layers.append(masked.rio.reproject_match(target, resampling=Resampling.nearest))
        stacks[f"lst_{overpass.lower()}"] = xr.concat(layers, "time").drop_attrs()
    dataset = xr.Dataset(stacks).drop_vars("spatial_ref")
    for variable in dataset.variables.values():
        variable.encoding.clear()
    encoding = {n: {"chunks": (16, *layout.shape)} for n in stacks}
    dataset.to_zarr(store, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def plain_paths(folder: Path, day: date, overpass: str, name: str) -> list[Path]:
    """Files of an overpass: LST, quality."""
    if name == "terra":
        stem = f"MOD11A1.A{day:%Y%j}.h18v04.061.2020001000000"
        return [folder / name / f"{stem}_{layer}.tif"
                for layer in (f"LST_{overpass}_1km", f"QC_{overpass}")]  # fmt: skip
    stem = f"doy{day:%Y%j}_aid0001.tif"
    return [folder / name / f"{OVERPASSES[overpass]}.002_{layer}_{stem}"
            for layer in ("LST_1KM", "QC")]  # fmt: skip


# ---- filling ----------------------------------------------------------------------------------


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


def fill_block(folder: Path, layout: Layout, store: Path, name: str) -> None:
    """Fill the block in time, or in space as well; the cube is the folder's, ``store`` unused."""
    place = folder / "features.zarr", folder / "features.zarr.scratch"
    reach = REACH_PIXELS if name == "temporal_spatial" else None
    block = f"{next(iter(layout.tiles()))}_{layout.windows()[0]}"
    DailyBlock(*place, layout, "key", (), reach)(block)


# ---- measuring --------------------------------------------------------------------------------

JOBS: dict[str, Callable[[Path, Layout, Path, str], None]] = {
    "LstDays terra": by_task,
    "rioxarray terra": by_rioxarray,
    "LstDays viirs": by_task,
    "rioxarray viirs": by_rioxarray,
    "DailyBlock temporal": fill_block,
    "DailyBlock temporal_spatial": fill_block,
}


def run_one(option: str, folder: Path, layout: Layout, store: Path) -> dict[str, float]:
    """Do the job twice in this process and time the second: nothing is compiled then."""
    work, name = JOBS[option], option.split()[1]
    work(folder, layout, store.with_name(f"{store.name}_first"), name)
    begin = time.process_time()
    work(folder, layout, store, name)
    cpu = time.process_time() - begin
    pixels = 2 * layout.days * layout.shape[0] * layout.shape[1] / 1e6  # day and night
    return {"cpu_s": cpu, "mpx_per_cpu_s": pixels / cpu, "peak_mb": peak_memory()}


def peak_memory() -> float:
    """Return this process's largest resident memory so far, MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(folder: Path, tile_size: int, days: int, rounds: int) -> dict[str, Any]:
    """Let the options take turns, each in a process of its own; compare what they wrote."""
    found: dict[str, list[dict[str, float]]] = {option: [] for option in JOBS}
    for turn in range(rounds):
        for option in JOBS:
            store = folder / f"{option.replace(' ', '_')}_{turn}"
            length = days if option.startswith("DailyBlock") else 16
            command = [sys.executable, __file__, "--only", option, "--folder", str(folder)]
            command += ["--store", str(store), "--tile-size", str(tile_size), "--days", str(length)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[option].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict[str, Any] = {
        option: {key: float(np.median([run[key] for run in runs])) for key in runs[0]}
        for option, runs in found.items()
    }
    for option, row in result.items():
        logger.info("%-28s %s", option, {key: round(value, 2) for key, value in row.items()})
    for name in ("terra", "viirs"):
        result[f"{name} that differ"] = share_that_differs(folder, name)
        logger.info("%s: %.4f of the pixels differ", name, result[f"{name} that differ"])
    return result


def share_that_differs(folder: Path, name: str) -> float:
    """Share of pixels in which the two ways differ: ties between pixels, and the warp's error."""
    ours = open_group(folder / f"LstDays_{name}_0")
    plain = open_group(folder / f"rioxarray_{name}_0")
    sensor = "terra" if name == "terra" else "viirs"
    return float(np.mean([
        np.asarray(array_of(ours, sensors.lst_array(sensor, layer))[:])
        != np.asarray(array_of(plain, layer)[:])
        for layer in sensors.OVERPASSES
    ]))  # fmt: skip


def main() -> None:
    """Read the command line, run, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="96 pixels, 48 days, one round")
    parser.add_argument("--only", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tile-size", type=int, default=480, help=argparse.SUPPRESS)
    parser.add_argument("--days", type=int, default=366, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        layout = layout_of(given.tile_size, given.days)
        print(json.dumps(run_one(given.only, given.folder, layout, given.store)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    tile_size, days = (96, 48) if given.quick else (480, 366)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, 16)
        prepare_block(folder, layout_of(tile_size, days))
        result = measure(folder, tile_size, days, 1 if given.quick else 3)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
