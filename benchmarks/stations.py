"""Time the reading of an ISMN archive, beside the package `ismn` and on a large archive.

python benchmarks/stations.py ARCHIVE [--large GB] [--turns N] [--ours] [--json FILE]

Every case runs in processes of its own. CPU seconds of all of them, seconds by the clock, without
the imports too, peak memory of the largest; what is loaded from numba's cache is in all of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from itertools import product
from pathlib import Path

OURS = """
import sys, time
from gssm_cube.insitu.quality import Rules
from gssm_cube.stations import write_archive
if __name__ == "__main__":
    start = time.perf_counter()
    counts = write_archive(sys.argv[1], sys.argv[2], Rules(), processes=int(sys.argv[3]))
    print(int(counts["rows"].sum()), time.perf_counter() - start)
"""
THEIRS = """
import sys, tempfile, time
import pandas as pd
from ismn.interface import ISMN_Interface
if __name__ == "__main__":
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        archive = ISMN_Interface(sys.argv[1], meta_path=folder, parallel=int(sys.argv[3]) > 1)
        ids = archive.get_dataset_ids("soil_moisture", min_depth=0, max_depth=0.0508)
        days, rows = {}, 0
        for number in ids:
            series = archive.read_ts(number)
            good = series[series["soil_moisture_flag"] == "G"]["soil_moisture"]
            rows, days[str(number)] = rows + len(series), good.resample("D").mean()
    pd.concat(days).to_frame("observed").to_parquet(sys.argv[2])
    print(rows, time.perf_counter() - start)
"""
# Between this script and a case, so that the resources of its process tree are its own. A pool's
# processes are children of a server that outlives the case: they are inherited and waited for.
WATCH = """
import ctypes, os, resource, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1) == 0  # PR_SET_CHILD_SUBREAPER
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(code: str, archive: Path, processes: int) -> dict[str, float]:
    """Run code in its own processes; return seconds, rows and the peak memory of one of them."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "case.py"
        script.write_text(code)
        case = [sys.executable, script, archive, Path(folder) / "days.parquet", processes]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *map(str, case)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    rows, reading, used, peak = map(float, done.stdout.split()[-4:])
    times = {"cpu_seconds": used, "seconds": seconds, "without_imports": reading}
    return {**times, "rows": int(rows), "peak_mb": peak}


def repeat_archive(source: Path, target: Path, gigabytes: float) -> int:
    """Write an archive of that much text, from copies under other names; return the copies."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        files = [i for i in old.infolist() if i.filename.endswith(".stm")]
        copies = max(1, round(gigabytes * 2**30 / sum(i.file_size for i in files)))
        for info in files:
            text = old.read(info)
            name = Path(info.filename)
            network = name.name.split("_")[0]
            for copy in range(copies):
                other = f"{network}X{copy}"
                renamed = name.name.replace(f"{network}_", f"{other}_", 2)
                content = text.replace(network.encode(), other.encode(), 2)
                new.writestr(f"{other}/{name.parent.name}/{renamed}", content)
    return copies


def text_of(archive: Path) -> float:
    """Return MB of the archive's data files."""
    with zipfile.ZipFile(archive) as file:
        return sum(i.file_size for i in file.infolist() if i.filename.endswith(".stm")) / 1e6


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--large", type=float, default=0.0, help="GB of text: time copies instead")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="without the package ismn")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = {"ours": OURS} if options.ours else {"ours": OURS, "ismn": THEIRS}
    found: dict[str, list[dict[str, float]]] = {}
    run(OURS, options.archive, 1)  # fills the caches
    with tempfile.TemporaryDirectory() as folder:
        archives = {"as given": options.archive}
        if options.large:
            archives = {"large": Path(folder) / "large.zip"}
            repeat_archive(options.archive, archives["large"], options.large)
        for (size, archive), turn, processes in product(
            archives.items(), range(options.turns), (1, 2)
        ):
            megabytes = text_of(archive)
            for name, code in cases.items():  # by turns, as the machine's pace may change
                result = run(code, archive, processes)
                result["mb_per_s"] = megabytes / result["seconds"]
                result["station_years_per_minute"] = result["rows"] / 8766 / result["seconds"] * 60
                found.setdefault(f"{size}, {name}, {processes}", []).append(result)
                words = ", ".join(f"{key} {value:,.2f}" for key, value in result.items())
                title = f"{size} ({megabytes:,.0f} MB of text), turn {turn}, {name}, {processes}"
                sys.stdout.write(f"{title} processes: {words}\n")
                sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
