"""Frozen ground of the product's rule beside what stations measured.

    python benchmarks/frozen.py ARCHIVE.zip TABLE.parquet [--json FILE]

Of an ISMN archive, the stations that measure air temperature too: a day is frozen if half of its
hours have a flag of frozen ground (D01-D03) or frozen soil; the rule has their air temperature and
no snow. Of a daily table of NOAA's Climate Reference Network: frozen where the soil at 5 cm is
below 0 degC; the rule has the week's air temperature and the snow of the memory of water.
"""

import argparse
import json
import logging
from pathlib import Path

import pandas as pd

from gssm_cube import physics
from gssm_cube.insitu.archive import open_archive
from gssm_cube.insitu.ismn import parse_file_name, read_sensors
from gssm_cube.station_weather import derive_features
from gssm_cube.stations import gather_stations

logger = logging.getLogger("frozen")

WEEK = 7  # days
LEAST_HOURS = 18


def air_temperature(archive: Path) -> pd.DataFrame:
    """Return daily means (degC) of the stations of an ISMN archive that measure it."""
    parts = []
    with open_archive(archive) as members:
        for member, read in members.items():
            name = parse_file_name(member)
            if name is None or name.variable != "ta":
                continue
            for sensor, rows in read_sensors(read(), name):
                good = rows.where(rows.has_flag("G"))
                hours = pd.Series(good.value, pd.DatetimeIndex(good.stamp))
                daily = hours.resample("D").agg(["mean", "count"])
                tair = daily["mean"].where(daily["count"] >= LEAST_HOURS)
                week = tair.rolling(WEEK, min_periods=WEEK).mean()
                about = {"station": sensor.station_id, "time": daily.index}
                parts.append(pd.DataFrame(about | {"tair": tair.array, "tair_7d": week.array}))
    return pd.concat(parts, ignore_index=True)


def of_archive(archive: Path) -> pd.DataFrame:
    """Return station-days of an archive with air temperature and whether they were frozen."""
    data = gather_stations(archive)
    keys = ["station", "time"]
    frozen = data.frozen[[*keys, "frozen"]]
    clear = data.table[keys].assign(frozen=False)
    known = pd.concat([frozen, clear]).drop_duplicates(keys)
    return known.merge(air_temperature(archive), on=keys).dropna().assign(swe=0.0)


def of_table(path: Path) -> pd.DataFrame:
    """Return station-days of NOAA's table with the rule's features and whether they were frozen."""
    table = derive_features(pd.read_parquet(path))
    table = table.dropna(subset=["soil_temp_5_daily", "tair", "tair_7d", "swe"])
    columns = ["station", "time", "tair", "tair_7d", "swe"]
    return table[columns].assign(frozen=table["soil_temp_5_daily"] < 0)


def rates(days: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return how each rule fares: of the frozen days found, of the others, of those it names."""
    rules = {
        "rule": physics.frozen(days["tair_7d"].to_numpy(), days["swe"].to_numpy()),
        "the day below 0 degC": (days["tair"] < 0).to_numpy(),
        "the week below 0 degC": (days["tair_7d"] < 0).to_numpy(),
        "snow water above 10 mm": (days["swe"] > physics.SNOW).to_numpy(),
    }
    frozen = days["frozen"].to_numpy()
    found = {}
    for name, said in rules.items():
        hits, named, either = (frozen & said).sum(), said.sum(), (frozen | said).sum()
        found[name] = {
            "hit_rate": float(hits / frozen.sum()),
            "false_alarm_rate": float((named - hits) / (~frozen).sum()),
            "false_of_named": float((named - hits) / max(named, 1)),
            "success": float(hits / either),
        }
    return found


def main() -> None:
    """Print the rates of both populations, and keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    populations = {"ISMN flags": of_archive(arguments.archive), "soil": of_table(arguments.table)}
    kept = {}
    for name, days in populations.items():
        stations, cold = days["station"].nunique(), days["station"][days["frozen"]].nunique()
        counts = {"days": len(days), "stations": stations, "frozen_days": int(days["frozen"].sum())}
        kept[name] = counts | {"frozen_stations": cold, "rules": rates(days)}
        logger.info("%s: %s, at %d stations", name, counts, cold)
        for rule, found in kept[name]["rules"].items():
            text = "  ".join(f"{key} {value:.3f}" for key, value in found.items())
            logger.info("  %-24s %s", rule, text)
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
