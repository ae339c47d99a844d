"""Names of very many tiles, as a run of the globe has: time and memory of finding them.

    python benchmarks/many_files.py [--tiles 200000] [--json FILE]

Empty files under the names of MOD11A1, 290 tiles a day, are found by the door of the ingest,
counted by day and tile, and hashed day by day; no header is read. The work has a process of its
own.
"""

import argparse
import json
import logging
import multiprocessing
import os
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from gssm_cube.grid import Layout
from gssm_cube.ingest import inputs
from gssm_cube.sources import modis

logger = logging.getLogger("many_files")

FIRST = date(2001, 1, 1)
TILES_A_DAY = 290  # with land
GLOBE = (-180.0, -60.0, 180.0, 84.0)


def write_names(folder: Path, days: int, layout: Layout) -> int:
    """Make a folder a year of empty tiles; return how many."""
    tiles = sorted(inputs.modis_tiles(layout))[:TILES_A_DAY]
    for number in range(days):
        day = FIRST + timedelta(number)
        place = folder / f"{day:%Y}"
        place.mkdir(exist_ok=True)
        for tile in tiles:
            name = f"MOD11A1.A{day:%Y%j}.{tile}.061.{2021000000000 + number:013d}.hdf"
            os.close(os.open(place / name, os.O_CREAT))
    return days * len(tiles)


def find(folder: Path, layout: Layout) -> dict[str, float]:
    """Find, count and hash them; CPU seconds, and memory above what importing took."""
    before, begin = memory_mb("VmRSS"), time.process_time()
    faults: list[Exception] = []
    files = inputs.find_lst(folder, layout, set(), faults.append)
    found = time.process_time() - begin
    absent = sum(map(len, modis.missing_tiles(files).values()))
    hashes = {inputs.fingerprint(files[day]) for day in files}
    return {
        "days": len(hashes),
        "absent": absent,
        "find_cpu_s": found,
        "cpu_s": time.process_time() - begin,
        "held_mb": memory_mb("VmRSS") - before,
        "peak_mb": memory_mb("VmHWM") - before,
    }


def memory_mb(word: str) -> float:
    """Return this process's memory now (VmRSS) or at its highest (VmHWM), MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(word))


def main() -> None:
    """Print or keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=200_000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    days = -(-given.tiles // TILES_A_DAY)
    layout = Layout.covering(GLOBE, FIRST, FIRST + timedelta(days - 1), 480)
    with tempfile.TemporaryDirectory() as name:
        count = write_names(Path(name), days, layout)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures = {"tiles": count} | pool.apply(find, (Path(name), layout))
    logger.info("%s", {key: round(value, 2) for key, value in figures.items()})
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
