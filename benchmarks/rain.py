"""Skill at stations that no forest has seen, with rain as wrong as a reanalysis has it.

    python benchmarks/rain.py TABLE.parquet [--correlations .75,.48,.26] [--trees 100] [--json FILE]

Models, folds and scores of ``skill.py``: each station's rain is spoilt until its daily correlation
to the gauge is as wanted, total kept, and all features, their memory and the climate are made of
it, in training and at the held-out stations. Differences are to the seed-like forest on the same
rain.
"""

import argparse
import json
import logging
from pathlib import Path

import pandas as pd
from skill import MODELS, judge, read_table

from gssm_cube.skill.rain_errors import degrade_stations

logger = logging.getLogger("rain")

RAIN, STATION, DAY = "p_daily_calc", "wban", "lst_date"
COMPARED = [model for model in MODELS if model.name in ("seed-like forest", "memory")]


def spoil(table: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """Return the table with other rain; dry stations come as near as they can."""
    keys = table[STATION], table[DAY]
    rain = degrade_stations(table[RAIN], *keys, correlation, tolerance=1.0)
    pairs = pd.DataFrame({"gauge": table[RAIN], "rain": rain, "station": table[STATION]})
    reached = pairs.groupby("station")[["gauge", "rain"]].apply(
        lambda days: days["gauge"].corr(days["rain"])
    )
    missed = int((reached > correlation + 0.03).sum())
    logger.info("correlation %.2f: reached but for %d of %d stations", correlation, missed,
                len(reached))  # fmt: skip
    return table.assign(**{RAIN: rain})


def main() -> None:
    """Print the table, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--correlations", default=".75,.48,.26")
    parser.add_argument("--trees", type=int, default=100, help="at most so many a forest")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    given = pd.read_parquet(arguments.table)
    found = {
        text: judge(read_table(spoil(given, float(text))), COMPARED, arguments.trees)
        for text in arguments.correlations.split(",")
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
