"""Memory of an evaluation and of its report, over the number of samples.

Invented samples of stations with 2,000 days each, thirty features, soil moisture of other estimates
and three strata, in tiles of some stations as the stage samples leaves them; a forest of two trees
with large leaves. Each case is a process of its own. Told are peaks of resident memory above what
imports took, MB: of laying the rows down, of one fit (matrix, scikit-learn, its forest), of all
that is judged and scored by a forest of few rows, of the report's figures, of `evaluate` itself.
Linux only.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from gssm_cube.evaluate import evaluate
from gssm_cube.forest import Preset
from gssm_cube.plots import figures
from gssm_cube.report import skill_of_parts
from gssm_cube.sampling.sample_store import FORMAT, MANIFEST
from gssm_cube.skill.findings import applicability_note, baseline_scores, calibrated, strata_scores
from gssm_cube.skill.held_out import judged
from gssm_cube.skill.judgements import scored
from gssm_cube.skill.predictions import Predictions, write_predictions
from gssm_cube.skill.resolution import within_cells
from gssm_cube.skill.station_rows import rows_of_store
from gssm_cube.skill.trials import Recipe

DAYS, FEATURES, IN_TILE = 2000, 30, 10
TRAINED = 40_000  # rows of the forest whose judgement is measured by itself
NAMES = tuple(f"f{number:02d}" for number in range(FEATURES))
PRESET = Preset(name="cheap", features=NAMES, trees=2, min_samples_leaf=200, max_features=0.33)


def write_samples(folder: Path, stations: int) -> None:
    """Write samples of so many stations, a file a tile, and the manifest."""
    (folder / "window=00").mkdir(parents=True)
    files = []
    for tile in range(-(-stations // IN_TILE)):
        name = f"window=00/r{tile // 90:03d}c{tile % 90:03d}.parquet"
        numbers = range(tile * IN_TILE, min(stations, (tile + 1) * IN_TILE))
        pd.concat([station(number) for number in numbers]).to_parquet(folder / name, index=False)
        files.append(name)
    about = {"format": FORMAT, "day": "UTC", "files": files}
    (folder / MANIFEST).write_text(json.dumps(about))


def station(number: int) -> pd.DataFrame:
    """Invent the samples of a station; two and two share a cell of 0.1 degrees."""
    rng = np.random.default_rng(number)
    table = pd.DataFrame(rng.normal(size=(DAYS, FEATURES)).astype("float32"), columns=NAMES)
    table = table.assign(f00=np.float32(rng.normal()))
    wet = 0.25 + 0.05 * rng.normal() + 0.05 * table["f01"].astype("float64")
    pair = number // 2
    return table.assign(
        station=f"net/{number:05d}", station_lat=-60.0 + 0.5 * (pair % 240) + 0.01 * (number % 2),
        station_lon=-170.0 + 0.5 * (pair // 240), observed=wet + rng.normal(0, 0.02, DAYS),
        time=pd.date_range("2001-01-01", periods=DAYS), network=f"net{number % 24}",
        koeppen="Cfb", land_cover="grass", swvl1=(wet + 0.1).astype("float32"),
        bucket_50=(0.5 + wet).astype("float32"),
    )  # fmt: skip


def peak_mb(begin: bool = False) -> float:
    """Return the peak of resident memory, MB; it may begin anew."""
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def evaluated(samples: Path, scratch: Path) -> dict[str, float]:
    """Measure `evaluate` as the stage calls it."""
    found = evaluate(samples, PRESET, predictions=scratch / "p.parquet", scratch=scratch)
    return {"rmse": found.scores["new_stations"]["rmse"]}


def parts(samples: Path, scratch: Path) -> dict[str, float]:
    """Measure the parts of an evaluation, one after the other."""
    start = peak_mb(begin=True)
    rows = rows_of_store(samples, NAMES, scratch / "rows")
    peaks = {"laid_down_mb": peak_mb() - start}
    recipe = Recipe(PRESET, list(NAMES), 0, 1)
    few = np.arange(len(rows)) < TRAINED
    start = peak_mb(begin=True)
    with judged(rows, recipe, few, np.ones(len(rows), bool)) as held:
        baseline_scores(held, scored(held).stations)
        strata_scores(held)
        calibrated(held)
        applicability_note(held, None)
        within_cells(held.cells())
        write_predictions(scratch / "p.parquet", {"new_stations": held})
    peaks["judged_mb"] = peak_mb() - start
    start = peak_mb(begin=True)
    predictions = Predictions(scratch / "p.parquet").of_split("new_stations")
    figures.png(figures.density(predictions))
    skill_of_parts(predictions)
    peaks["report_mb"] = peak_mb() - start
    start = peak_mb(begin=True)
    recipe.fit(*rows.training(np.ones(len(rows), bool), NAMES))
    peaks["fit_mb"] = peak_mb() - start
    return peaks


def measure(case: str, samples: Path) -> None:
    """Run a case in this process and print what it took."""
    before = peak_mb()
    with TemporaryDirectory(dir=samples.parent) as scratch:
        told = {"evaluated": evaluated, "parts": parts}[case](samples, Path(scratch))
    used = resource.getrusage(resource.RUSAGE_SELF)
    told |= {"before_mb": before, "cpu_s": used.ru_utime + used.ru_stime}
    if case == "evaluated":
        told["peak_mb"] = used.ru_maxrss / 1e3 - before
    print(json.dumps(told))


def main() -> None:
    """Measure all cases and print a row for each number of stations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", default="250,500,1000", help="numbers, by commas")
    parser.add_argument("--folder", type=Path, help="where the samples go; the system's scratch")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        measure(arguments.case[0], Path(arguments.case[1]))
        return
    rows = []
    for stations in map(int, arguments.stations.split(",")):
        with TemporaryDirectory(dir=arguments.folder) as place:
            samples = Path(place) / "samples"
            write_samples(samples, stations)
            row = {"rows": stations * DAYS}
            for case in ("parts", "evaluated"):
                begin = time.perf_counter()
                command = [sys.executable, __file__, "--case", case, str(samples)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                told = json.loads(done.stdout.splitlines()[-1])
                row |= {f"{case}_{name}": value for name, value in told.items()}
                row[f"{case}_s"] = time.perf_counter() - begin
        rows.append(row)
        print(json.dumps({name: round(value, 3) for name, value in row.items()}), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
