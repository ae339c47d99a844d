"""Time the reading of an ISMN archive, beside the package `ismn` and on a large archive.

python benchmarks/stations.py ARCHIVE [--large GB] [--json FILE]

Every case runs in a process of its own, imports and compilation from cache included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

OURS = """
import sys
from gssm_cube.quality import Rules
from gssm_cube.stations import gather_stations
if __name__ == "__main__":
    data = gather_stations(sys.argv[1], Rules(), processes=int(sys.argv[2]))
    print(len(data.table), int(data.counts["rows"].sum()))
"""
THEIRS = """
import sys, tempfile
from ismn.interface import ISMN_Interface
if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        archive = ISMN_Interface(sys.argv[1], meta_path=folder, parallel=False)
        ids = archive.get_dataset_ids("soil_moisture", min_depth=0, max_depth=0.0508)
        days = rows = 0
        for number in ids:
            series = archive.read_ts(number)
            good = series[series["soil_moisture_flag"] == "G"]["soil_moisture"]
            rows, days = rows + len(series), days + good.resample("D").mean().count()
    print(days, rows)
"""


def run(code: str, *arguments: object) -> dict[str, float]:
    """Run code in its own process; return seconds, and the peak memory of the largest process."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "case.py"
        script.write_text(code)
        watch = (
            "import resource, runpy, sys; sys.argv = sys.argv[1:]; "
            "runpy.run_path(sys.argv[0], run_name='__main__'); "
            "peaks = [resource.getrusage(w).ru_maxrss for w in "
            "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]; print(max(peaks))"
        )
        # A pool starts from the script, so that only one process is watched from within.
        one = arguments[1:] in ((), (1,))
        command = ["-c", watch, script] if one else [script]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *map(str, command), *map(str, arguments)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    words = done.stdout.split()
    found = {"seconds": seconds, "rows": int(words[1 if not one else -2])}
    if one:
        found["peak_mb"] = int(words[-1]) / 1024
    else:
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return found


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
    parser.add_argument("--large", type=float, default=0.0, help="GB of text to time as well")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [("ours, 1 process", OURS, 1), ("ours, 2 processes", OURS, 2), ("ismn", THEIRS, None)]
    found = {}
    run(OURS, options.archive, 1)  # fills the caches
    with tempfile.TemporaryDirectory() as folder:
        archives = {"as given": options.archive}
        if options.large:
            archives["large"] = Path(folder) / "large.zip"
            repeat_archive(options.archive, archives["large"], options.large)
        for size, archive in archives.items():
            megabytes = text_of(archive)
            for name, code, processes in cases:
                result = run(code, archive, *([processes] if processes else []))
                result["mb_per_s"] = megabytes / result["seconds"]
                result["station_years_per_minute"] = result["rows"] / 8766 / result["seconds"] * 60
                found[f"{size}, {name}"] = result
                words = ", ".join(f"{key} {value:,.1f}" for key, value in result.items())
                sys.stdout.write(f"{size} ({megabytes:,.0f} MB of text), {name}: {words}\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
