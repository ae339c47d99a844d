"""Hourly ERA5-Land to daily values: the ingest's task beside a plain xarray script.

    python benchmarks/ingest_era5.py [--degrees 20] [--json FILE]

A month of hourly NetCDF (new layout, compressed, as CDS chunks it) over a square of land; each way
runs in a process of its own, so that its peak memory is its own. A cell-hour counts once, for all
five daily values.
"""

import argparse
import json
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from gssm_cube.grid import Layout
from gssm_cube.ingest.era5_days import VARIABLES, daily_values
from gssm_cube.sources import era5_land

logger = logging.getLogger("ingest_era5")

DAYS = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-02-02"))
CHUNKS = (124, 51, 51)  # in the order of what CDS gives a month of a region
Daily = dict[str, np.ndarray]


def layout_of(degrees: int) -> Layout:
    """Square north of the equator."""
    first, last = DAYS[[0, -1]].tolist()
    return Layout.covering((0.0, 0.0, float(degrees), float(degrees)), first, last, 480)


def write_month(folder: Path, layout: Layout) -> None:
    """Write random but compressible weather, all variables in one file."""
    rng = np.random.default_rng(0)
    stamps = np.arange(DAYS[0].astype("M8[h]"), DAYS[-1].astype("M8[h]") + np.timedelta64(25, "h"))
    hour = (stamps - (stamps - np.timedelta64(1, "h")).astype("M8[D]")).astype("int64")
    cells = np.round(rng.gamma(0.5, 2e-4, layout.cells_shape), 6)
    rain = (hour[:, None, None] * cells).astype("float32")
    noise = np.round(rng.normal(285, 5, (stamps.size, *layout.cells_shape)), 1)
    fields = {"t2m": ("K", noise), "tp": ("m", rain), "e": ("m of water equivalent", -rain / 2)}
    axes = ("valid_time", "latitude", "longitude")
    arrays = {k: (axes, v.astype("float32"), {"units": u}) for k, (u, v) in fields.items()}
    coords = {"valid_time": stamps.astype("M8[ns]"), "latitude": layout.cell_lat,
              "longitude": layout.cell_lon}  # fmt: skip
    packing = {name: {"zlib": True, "complevel": 1, "chunksizes": CHUNKS} for name in fields}
    xr.Dataset(arrays, coords).to_netcdf(folder / "era5_land.nc", encoding=packing)


def by_task(folder: Path, layout: Layout) -> Daily:
    """Do what the ingest does."""
    files = era5_land.find_files(folder)
    found: Daily = {}
    for source in VARIABLES:
        found |= daily_values(source, files, DAYS, layout)[0]
    return found


def by_xarray(folder: Path, layout: Layout) -> Daily:
    """Do what one would write at first: open_mfdataset and resample."""
    paths = sorted(str(path) for path in folder.glob("*.nc"))
    dataset = xr.open_mfdataset(paths, engine="netcdf4", chunks={})
    midnight = dataset.valid_time.dt.hour == 0
    totals = dataset[["tp", "e"]].isel(valid_time=midnight).isel(valid_time=slice(1, None))
    by_day = dataset["t2m"].isel(valid_time=slice(0, -1)).resample(valid_time="1D")
    return {
        "precipitation": (totals["tp"] * 1000).clip(min=0).values,
        "evaporation": (totals["e"] * -1000).values,
        "tair": (by_day.mean() - 273.15).values,
        "tmin": (by_day.min() - 273.15).values,
        "tmax": (by_day.max() - 273.15).values,
    }


WAYS: dict[str, Callable[[Path, Layout], Daily]] = {"task": by_task, "xarray": by_xarray}


def memory_mb(word: str) -> float:
    """Return this process's memory now (VmRSS) or at its highest (VmHWM); Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(word))


def measure(way: str, folder: Path, layout: Layout) -> dict[str, float]:
    """Run one way; CPU and clock seconds, peak memory above what importing took, check sums."""
    before = memory_mb("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    daily = WAYS[way](folder, layout)
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    cell_hours = DAYS.size * 24 * np.prod(layout.cells_shape)
    return {
        "seconds": seconds,
        "cpu_seconds": used,
        "mega_cell_hours_a_core_second": cell_hours / used / 1e6,
        "peak_mb": memory_mb("VmHWM") - before,
        **{f"mean_{name}": float(values.mean(dtype="float64")) for name, values in daily.items()},
    }


def compare(degrees: int = 20) -> dict[str, dict[str, float]]:
    """Measure both ways on the same files; raise if they differ in what they give."""
    layout = layout_of(degrees)
    with tempfile.TemporaryDirectory() as name:
        write_month(Path(name), layout)
        figures = {}
        for way in WAYS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures[way] = pool.apply(measure, (way, Path(name), layout))
    for name in (name for names in VARIABLES.values() for name in names):
        ours, plain = (figures[way][f"mean_{name}"] for way in WAYS)
        if abs(ours - plain) > 1e-4 * max(1.0, abs(plain)):
            raise ValueError(f"{name}: the task gives {ours}, xarray {plain}; expected the same")
    return figures


def main() -> None:
    """Print or keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--degrees", type=int, default=20, help="edge of the square")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = compare(arguments.degrees)
    for way, row in figures.items():
        text = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
        logger.info("%-7s %s", way, text)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
