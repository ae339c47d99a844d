"""CPU seconds of each step of the ingest on one invented tile, and so what a run will take.

Writes a world of one tile and a year in providers' formats, harmonises it in one process, and
prints what each step did in a core-second. ``gssm check`` tells a run's time by these rates.

    python benchmarks/stage_rates.py [--size 480] [--days 400] [--json FILE]
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

from gssm_cube import ingest
from gssm_cube.grid import Layout
from gssm_cube.sources.synthetic import write_world

SOURCES = ("era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock")


class StepClock:
    """CPU seconds by step: what has passed between one unit's end and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.last = time.process_time()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Count what has passed to the step that a unit was done of."""
        now = time.process_time()
        self.seconds[stage] += now - self.last
        self.last = now


def measure(folder: Path, size: int, days: int) -> dict[str, float]:
    """Return the CPU seconds of each step for one tile."""
    first = date(2018, 3, 1)
    degrees = size / 120
    bounds = (-32.0, 44.0 - degrees, -32.0 + degrees, 44.0)
    layout = Layout.covering(bounds, first, first + timedelta(days - 1), size)
    write_world(folder / "raw", layout, stations=1)
    folders = {name: folder / "raw" / name for name in SOURCES}
    clock = StepClock()
    ingest.harmonise(folder / "features.zarr", layout, folders, progress=clock)
    return dict(clock.seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        seconds = measure(Path(place), chosen.size, chosen.days)
    million = chosen.size**2 * chosen.days / 1e6
    for step, spent in seconds.items():
        print(f"{step:<30}{spent:9.1f} s{million / spent:9.2f} million pixel-days a core-second")
    if chosen.json:
        chosen.json.write_text(json.dumps({"million_pixel_days": million, "seconds": seconds}))


if __name__ == "__main__":
    main()
