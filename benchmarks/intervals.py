"""Judge how often the intervals cover stations that nothing has seen, and how wide they are.

``python benchmarks/intervals.py TABLE [--json FILE]``. TABLE has a row a station-day with the
columns of NOAA's Climate Reference Network, of which the project makes its features. Presets, five
folds by place, several seeds; then the stations are divided many times: four fifths calibrate, the
others are judged.
Intervals calibrated on random rows, as is often done, stand beside them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.evaluate import read_samples
from gssm_cube.forest import PRESETS, Preset, compile_forest, train_forest
from gssm_cube.intervals import Calibration, calibrate, coverage, coverage_over_splits
from gssm_cube.splits import Split, place_folds, place_groups, random_folds
from gssm_cube.station_weather import derive_features

FOLDS = 5
DIVISIONS = 150
FOREST = PRESETS["memory_forest"]
MODELS = (
    FOREST.model_copy(update={"name": "memory_forest, leaf 1", "min_samples_leaf": 1}),
    FOREST,
    PRESETS["memory"],
)


def residuals(table: pd.DataFrame, preset: Preset, split: Split, seed: int) -> pd.DataFrame:
    """Return observations, estimates and spread of all rows, out of fold."""
    parts = []
    for train, test in split.parts():
        forest = compile_forest(train_forest(table[train], preset, seed=seed))
        mean, spread = forest.predict_with_spread(table[test])
        rows = table.loc[test, ["station", "observed", "climate"]]
        parts.append(rows.assign(predicted=mean, spread=spread, fold=split.folds[test]))
    return pd.concat(parts).sort_index()


def unseen_coverage(found: pd.DataFrame) -> pd.Series:
    """Return the share of covered days of each station, calibrated on the other folds' stations."""
    parts = []
    for fold in found["fold"].unique():
        here = found[found["fold"] == fold]
        lower, upper = calibrate(found[found["fold"] != fold]).bounds(
            here["predicted"], here["spread"]
        )
        inside = (here["observed"] >= lower) & (here["observed"] <= upper)
        parts.append(inside.groupby(here["station"]).mean())
    return pd.concat(parts)


def by_random_rows(found: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """Return what intervals cover at new stations that were calibrated on random rows."""
    naive = calibrate(rows.assign(station=np.arange(len(rows))))  # every row for itself
    told = coverage(found, Calibration(naive.level, naive.factor, None, naive.stations))
    return {"coverage": told["coverage"], "width": told["width"]}


def judge(table: pd.DataFrame, preset: Preset, seeds: range) -> dict[str, Any]:
    """Return coverage and width of one model, as means over the seeds."""
    groups: NDArray[np.int64] = place_groups(table["station_lat"], table["station_lon"])
    over, stations, climates, alone = [], [], [], []
    for seed in seeds:
        folds = place_folds(groups, k=FOLDS, seed=seed)
        if folds is None:
            raise ValueError("all stations lie in one block of 25 km, expected several")
        found = residuals(table, preset, Split(folds), seed)
        over.append(coverage_over_splits(found.assign(group=groups), splits=DIVISIONS, seed=seed))
        alone.append(calibrate(found).to_dict() | coverage(found, calibrate(found)))
        by_station = unseen_coverage(found)
        stations.append(by_station)
        climate = found.groupby("station")["climate"].first()
        climates.append(by_station.groupby(climate).agg(["mean", "size"]))
    at_random = Split(random_folds(len(table), k=FOLDS, seed=seeds[0]))
    rows = residuals(table, preset, at_random, seeds[0])
    divided = pd.concat(over)
    shares = pd.concat(stations)
    return {
        "coverage": divided["coverage"].mean(),
        "coverage_range": divided["coverage"].quantile([0.025, 0.975]).tolist(),
        "width": divided["width"].mean(),
        "change_coverage": divided["change_coverage"].mean(),
        "change_width": divided["change_width"].mean(),
        "divisions": len(divided),
        "constants": [
            {name: said[name] for name in ("factor", "change_factor", "floor", "width")}
            for said in alone
        ],
        "climate": {
            str(name): {
                "coverage": float(found["mean"].mean()),
                "stations": int(found["size"].iloc[0]),
            }
            for name, found in pd.concat(climates).groupby(level=0)
        },
        "stations_below_half": float((shares < 0.5).mean()),
        "stations_wholly": float((shares > 0.999).mean()),
        "station_quantiles": shares.quantile([0.05, 0.1, 0.25, 0.5]).tolist(),
        "by_random_rows": by_random_rows(found, rows),
    }


def main() -> None:
    """Judge all models and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="Parquet or CSV, a row a station-day")
    parser.add_argument("--climate", default="koeppen", help="column of the climate class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    table = derive_features(read_samples(arguments.table, columns=[arguments.climate]))
    # The first letter of Koeppen's class: B dry, C mild, D with a cold winter.
    table["climate"] = table[arguments.climate].astype("string").str[0].fillna("unknown")
    table = table.dropna(subset=[*FOREST.features, "observed"]).reset_index(drop=True)
    print(f"{len(table)} station-days of {table['station'].nunique()} stations")
    results = {}
    for preset in MODELS:
        results[preset.name] = judge(table, preset, range(arguments.seeds))
        print(f"\n{preset.name}")
        for name, value in results[preset.name].items():
            print(f"  {name}: {value:.3f}" if isinstance(value, float) else f"  {name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
