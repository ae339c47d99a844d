"""Four products at 1,000 stations over 21 years: from files to the page, seconds and memory.

    python benchmarks/validate.py [--stations 1000] [--days 7671] [--products 4] [--coarse 0]

An invented truth on a grid of 0.25 degrees; the products are NetCDF files that see it with noise of
their own, the stations a Parquet table with gaps. The comparison runs in a process of its own,
whose largest resident memory is told.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

logger = logging.getLogger("validate")

STEP = 0.25
MISSING = 0.15  # share of days that a product or a station lacks


def write_inputs(folder: Path, stations: int, days: int, products: int) -> None:
    """Write the stations, the products and the settings."""
    rng = np.random.default_rng(0)
    time_axis = pd.date_range("2000-01-01", periods=days, name="time")
    height = int(np.ceil(np.sqrt(stations / 1.25)))
    shape = days, height, -(-stations // height)
    lat, lon = 50 - STEP * (np.arange(shape[1]) + 0.5), STEP * (np.arange(shape[2]) + 0.5)
    truth = 0.25 + 0.08 * np.cos(2 * np.pi * np.arange(days) / 365.25)[:, None, None]
    slow = np.zeros(shape[1:])
    truth = np.broadcast_to(truth, shape).astype("float32").copy()
    for day in range(days):
        slow = 0.9 * slow + rng.normal(0, 0.015, shape[1:])
        truth[day] += slow
    text = 'stations = "stations.parquet"\nfolder = "out"\n'
    for number in range(products):
        seen = truth + rng.normal(0, 0.02 + 0.005 * number, shape).astype("float32")
        seen[rng.random(shape) < MISSING / products] = np.nan
        field = xr.DataArray(np.clip(seen, 0.01, 0.6), {"time": time_axis, "lat": lat, "lon": lon},
                             ("time", "lat", "lon"), "sm", {"units": "m3 m-3"})  # fmt: skip
        field.to_netcdf(folder / f"p{number}.nc")
        text += f'[products.product_{number}]\npath = "p{number}.nc"\n'
    _write_stations(folder / "stations.parquet", truth, time_axis, lat, lon, stations, rng)
    (folder / "validate.toml").write_text(text)


def _write_stations(path, truth, days, lat, lon, count, rng) -> None:
    """Write the table of stations, each in a cell of its own."""
    series = truth.reshape(len(days), -1)[:, :count]
    series = np.clip(series + rng.normal(0, 0.03, series.shape), 0.01, 0.6)
    row, col = np.divmod(np.arange(count), len(lon))
    kept = rng.random(series.shape) > MISSING
    day, station = np.nonzero(kept)
    names = np.array([f"N{k % 20}/S{k}" for k in range(count)])
    climates = np.array(["Cfb", "Dfb", "BSk", "Aw"])
    pd.DataFrame({
        "station": pd.Categorical.from_codes(station, names),
        "network": pd.Categorical.from_codes(station % 20, [f"N{k}" for k in range(20)]),
        "koeppen": pd.Categorical.from_codes(station % 4, climates),
        "lat": lat[row[station]], "lon": lon[col[station]], "time": days[day],
        "observed": series[kept],
    }).to_parquet(path)  # fmt: skip


def run(settings: Path, coarse: float) -> dict[str, float]:
    """Compare, write everything, and tell what it took; in a process of its own."""
    import resource

    from gssm_cube.validate.run import compare, write_findings
    from gssm_cube.validate.settings import read_comparison

    chosen = read_comparison(settings).model_copy(update={"coarse_degrees": coarse})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.perf_counter(), time.process_time()
    found = compare(chosen)
    scored = time.perf_counter(), time.process_time()
    write_findings(found, chosen)
    ended = time.perf_counter(), time.process_time()
    return {
        "compared_s": scored[0] - started[0], "compared_cpu_s": scored[1] - started[1],
        "written_s": ended[0] - scored[0], "all_s": ended[0] - started[0],
        "all_cpu_s": ended[1] - started[1], "libraries_gb": before,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "common_days": found.counts["own"]["common"],
    }  # fmt: skip


def main() -> None:
    """Write the inputs, compare them, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stations", type=int, default=1000)
    parser.add_argument("--days", type=int, default=7671)
    parser.add_argument("--products", type=int, default=4)
    parser.add_argument("--coarse", type=float, default=0.0)
    parser.add_argument("--folder", type=Path, help="Keep the inputs here; made if they are not.")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        sys.stdout.write(json.dumps(run(args.run, args.coarse)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "validate.toml").exists():
            write_inputs(folder, args.stations, args.days, args.products)
        command = [sys.executable, __file__, "--run", str(folder / "validate.toml")]
        command += ["--coarse", str(args.coarse)]
        seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for name, value in seen.items():
        logger.info("%-16s %12.2f", name, value)


if __name__ == "__main__":
    main()
