"""Judge how often the intervals cover stations that nothing has seen, and how wide they are.

``python benchmarks/intervals.py TABLE --features A,B,C [--json FILE]``. TABLE has a row a
station-day; columns are NOAA's (USCRN) unless named. Two forests, five folds by place, several
seeds; then the stations are divided many times: four fifths calibrate, the others are judged.
Intervals calibrated on random rows, as is often done, stand beside them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.evaluate import read_samples
from gssm_cube.forest import compile_forest
from gssm_cube.intervals import Calibration, calibrate, coverage, coverage_over_splits
from gssm_cube.splits import Split, place_folds, place_groups, random_folds

COLUMNS = {
    "observed": "soil_moisture_5_daily",
    "station": "wban",
    "lat": "latitude",
    "lon": "longitude",
}
FOLDS = 5
DIVISIONS = 150
FORESTS = {
    "random forest, leaf 5": (RandomForestRegressor, 5),
    "extremely randomised, leaf 1": (ExtraTreesRegressor, 1),
}


def residuals(
    table: pd.DataFrame, features: list[str], kind: str, split: Split, trees: int, seed: int
) -> pd.DataFrame:
    """Return observations, estimates and spread of all rows, out of fold."""
    model, leaf = FORESTS[kind]
    parts = []
    for train, test in split.parts():
        forest = model(trees, min_samples_leaf=leaf, max_features=0.33, random_state=seed, n_jobs=2)
        forest.fit(table.loc[train, features].astype("float32"), table.loc[train, "observed"])
        mean, spread = compile_forest(forest).predict_with_spread(table.loc[test, features])
        rows = table.loc[test, ["station", "observed", "climate"]]
        fold = split.folds[test]
        parts.append(rows.assign(predicted=mean, spread=spread, fold=fold))
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


def judge(
    table: pd.DataFrame, features: list[str], kind: str, trees: int, seeds: range
) -> dict[str, Any]:
    """Return coverage and width of one kind of forest, as means over the seeds."""
    groups: NDArray[np.int64] = place_groups(table["lat"], table["lon"])
    over, stations, climates, alone = [], [], [], []
    for seed in seeds:
        folds = place_folds(groups, k=FOLDS, seed=seed)
        if folds is None:
            raise ValueError("all stations lie in one block of 25 km, expected several")
        found = residuals(table, features, kind, Split(folds), trees, seed)
        over.append(coverage_over_splits(found, groups=groups, splits=DIVISIONS, seed=seed))
        alone.append(calibrate(found).to_dict() | coverage(found, calibrate(found)))
        by_station = unseen_coverage(found)
        stations.append(by_station)
        climate = found.groupby("station")["climate"].first()
        climates.append(by_station.groupby(climate).agg(["mean", "size"]))
    at_random = Split(random_folds(len(table), k=FOLDS, seed=seeds[0]))
    rows = residuals(table, features, kind, at_random, trees, seeds[0])
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
    """Judge both forests and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="Parquet or CSV, a row a station-day")
    parser.add_argument("--features", required=True, help="columns, separated by commas")
    parser.add_argument("--climate", default="koeppen", help="column of the climate class")
    for role, name in COLUMNS.items():
        parser.add_argument(f"--{role}", default=name, help=f"column (default {name})")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    features = [name.strip() for name in arguments.features.split(",")]
    columns = {role: getattr(arguments, role) for role in COLUMNS}
    read = read_samples(arguments.table, columns=[*features, *columns.values()])
    table = read[features].assign(**{role: read[name] for role, name in columns.items()})
    # The first letter of Koeppen's class: B dry, C mild, D with a cold winter.
    table["climate"] = read[arguments.climate].astype("string").str[0].fillna("unknown")
    table = table.dropna().reset_index(drop=True)
    print(f"{len(table)} station-days of {table['station'].nunique()} stations")
    results = {}
    for kind in FORESTS:
        results[kind] = judge(table, features, kind, arguments.trees, range(arguments.seeds))
        print(f"\n{kind}")
        for name, value in results[kind].items():
            print(f"  {name}: {value:.3f}" if isinstance(value, float) else f"  {name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
