"""Skill below the 0.1 degree cell of the meteorology, on stations that stand close together.

    python benchmarks/resolution.py TABLE.csv [--archives A.zip,B.zip] [--json FILE]

A table of ten-day means with SMAP, Sentinel-1 and Sentinel-2 and soil at the station. Forests of
five folds of whole places (25 km), with and without what is seen at 1 km or finer; three deals.
Stations that share a cell are compared with its mean. Of ISMN archives, whose stations have no such
features here, only what there is to know: how far stations of a cell lie apart.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from gssm_cube.forest import Preset, compile_forest, train_forest
from gssm_cube.skill.resolution import within_cells
from gssm_cube.splits import place_folds, place_groups
from gssm_cube.stations import read_stations

logger = logging.getLogger("resolution")

DEALS = 3
COARSE = ("ssm", "season_sin", "season_cos")  # SMAP's own grid is that of 9 km or more
SOIL = ("clay", "sand", "silt", "sat", "soc", "fc", "elev")
VEGETATION = ("ndvi", "evi", "ndmi")
RADAR = ("VV", "VH", "angle")
SETS = {
    "SMAP and season": COARSE,
    "and soil": (*COARSE, *SOIL),
    "and vegetation": (*COARSE, *SOIL, *VEGETATION),
    "and radar": (*COARSE, *SOIL, *VEGETATION, *RADAR),
}
SHOWN = ("cells", "stations", "n", "spatial_r", "pattern_r", "change_r", "rmse", "coarse_rmse",
         "gain")  # fmt: skip


def read_table(path: Path) -> pd.DataFrame:
    """Return the complete rows of the table, in the package's names."""
    table = pd.read_csv(path).rename(
        columns={"network_station": "station", "sm_0_5cm_m3m3": "observed", "date_start": "time"}
    )
    turn = 2 * np.pi * table["doy"] / 365.25
    table = table.assign(
        season_sin=np.sin(turn), season_cos=np.cos(turn), time=pd.to_datetime(table["time"])
    )
    return table.dropna(subset=[*SETS["and radar"], "observed"]).reset_index(drop=True)


def estimates(table: pd.DataFrame, features: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Return the table with each row's estimate by a forest that has not seen its place."""
    preset = Preset(name="fine", features=features, trees=200, min_samples_leaf=5,
                    max_features=0.33)  # fmt: skip
    folds = place_folds(place_groups(table["lat"], table["lon"]), seed=seed)
    predicted = np.full(len(table), np.nan)
    for fold in np.unique(folds):
        forest = compile_forest(train_forest(table[folds != fold], preset, seed=seed))
        predicted[folds == fold] = forest.predict(table[folds == fold])
    return table.assign(predicted=predicted)


def of_table(path: Path) -> dict[str, dict]:
    """Return, by set of features, what is known within cells, the mean over the deals."""
    table, found = read_table(path), {}
    logger.info("%d rows of %d stations", len(table), table["station"].nunique())
    for name, features in SETS.items():
        deals = [within_cells(estimates(table, features, seed)) for seed in range(DEALS)]
        frame = pd.DataFrame([{key: deal[key] for key in SHOWN} for deal in deals])
        found[name] = {str(k): v for k, v in frame.astype("float64").mean().items()}
        found[name]["interval"] = deals[0]["interval"]
        logger.info("%-16s %s", name, _text(found[name]))
    return found


def of_archive(path: Path) -> dict[str, dict]:
    """Return, by network, how far stations of a cell lie apart; no estimate is made."""
    days, _ = read_stations(path, processes=1)
    found = {}
    for network, rows in days.groupby("network", observed=True):
        said = within_cells(rows.assign(predicted=rows["observed"]), draws=2)
        if "skipped" in said:
            continue
        keys = ("cells", "stations", "n", "pattern_sd", "change_sd")
        found[str(network)] = {key: said[key] for key in keys}
        logger.info("%-16s %s", network, _text(found[str(network)]))
    return found


def _text(values: dict) -> str:
    """Numbers of a row."""
    return "  ".join(f"{k} {v:.3f}" for k, v in values.items() if isinstance(v, float | int))


def main() -> None:
    """Print what is known within cells, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--archives", default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    archives = [Path(text) for text in arguments.archives.split(",") if text]
    found = {"estimates": of_table(arguments.table)}
    found |= {path.stem: of_archive(path) for path in archives}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
