"""Skill at stations that no forest has seen, on a table of NOAA's Climate Reference Network.

    python benchmarks/skill.py TABLE.parquet [--trees 100] [--json FILE]

Five folds of whole stations, dealt three times; features from the table's own weather. Models of
one deal see the same rows. Differences to the first model with 95 % intervals, from drawing
stations with replacement, the same ones for both.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.forest import PRESETS, Preset, Weights, compile_forest, train_forest
from gssm_cube.scores import pearson_r, ubrmse
from gssm_cube.station_weather import derive_features

logger = logging.getLogger("skill")

DEALS, FOLDS, DRAWS = 3, 5, 500
ANOMALY_DAYS = 35
LEAST_DAYS = 60  # of a station that is scored by itself
SOIL = ("clay", "sand", "silt", "porosity", "omc", "elevation")
# The predictors of Han et al. (2023) that such a table has; one index of rain less evaporation.
SEED = ("surplus_11d", "precipitation", "pet", "tair", "lst", "lst_diff", *SOIL)
POSITION = ("station_lat", "station_lon")
FOREST, BLEND = PRESETS["memory_forest"], PRESETS["memory"]
NO_CLIMATE = tuple(name for name in FOREST.features if not name.startswith("climate_"))

MODELS = (
    Preset(name="seed-like forest", features=(*SEED, *POSITION), trees=100, min_samples_leaf=5,
           max_features=0.33),
    Preset(name="as gssm1km: 20 trees, half of the rows", features=(*SEED, *POSITION), trees=20,
           max_features="sqrt", max_samples=0.5),
    Preset(name="seed-like forest + memory", features=(*NO_CLIMATE, *POSITION), trees=100,
           min_samples_leaf=5, max_features=0.33),
    FOREST.model_copy(update={"name": "memory_forest without climate", "features": NO_CLIMATE}),
    FOREST,
    BLEND.model_copy(update={"name": "booster", "weights": Weights(forest=0, booster=1)}),
    BLEND,
)  # fmt: skip


def deal_folds(station: pd.Series, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row: stations in order of name, shuffled, dealt in turn."""
    names = np.array(sorted(station.unique()))
    np.random.default_rng(seed).shuffle(names)
    fold = {name: number % FOLDS for number, name in enumerate(names)}
    return station.map(fold).to_numpy("int64")


def out_of_fold(table: pd.DataFrame, preset: Preset, seed: int) -> NDArray[np.float64]:
    """Return the estimate of each row by a forest that has not seen its station."""
    folds, predicted = deal_folds(table["station"], seed), np.full(len(table), np.nan)
    for fold in range(FOLDS):
        forest = compile_forest(train_forest(table[folds != fold], preset))
        predicted[folds == fold] = forest.predict(table[folds == fold])
    return predicted


def anomaly(values: pd.Series) -> pd.Series:
    """Return departures from the mean of 35 days round each day, where 15 of them are there."""
    daily = values.asfreq("D")
    return daily - daily.rolling(ANOMALY_DAYS, center=True, min_periods=15).mean()


def by_station(table: pd.DataFrame, predicted: NDArray[np.float64]) -> pd.DataFrame:
    """Return a row a station: its sums for the pooled scores, and its own scores."""
    rows = {}
    pairs = table[["station", "time", "observed"]].assign(predicted=predicted)
    for station, pair in pairs.groupby("station"):
        o, p = (pair.set_index("time")[name].sort_index() for name in ("observed", "predicted"))
        row = {"n": len(o), "o": o.sum(), "p": p.sum(), "oo": o @ o, "pp": p @ p, "op": o @ p}
        row |= {"station_ubrmse": ubrmse(o, p)}
        if len(o) >= LEAST_DAYS:
            row |= {"station_r": pearson_r(o, p), "anomaly_r": pearson_r(anomaly(o), anomaly(p))}
        rows[station] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def summary(stations: pd.DataFrame) -> dict[str, float]:
    """Return pooled RMSE and r, and medians over the stations."""
    s = stations[["n", "o", "p", "oo", "pp", "op"]].sum()
    error = (s["oo"] - 2 * s["op"] + s["pp"]) / s["n"]
    cov = s["op"] / s["n"] - s["o"] * s["p"] / s["n"] ** 2
    spread = [s[2 * k] / s["n"] - (s[k] / s["n"]) ** 2 for k in ("o", "p")]
    pooled = {"rmse": np.sqrt(error), "r": cov / np.sqrt(spread[0] * spread[1])}
    names = ("station_r", "station_ubrmse", "anomaly_r")
    return {k: float(v) for k, v in pooled.items()} | {n: stations[n].median() for n in names}


def difference(model: list[pd.DataFrame], first: list[pd.DataFrame]) -> dict[str, list[float]]:
    """Return the 95 % interval of each score's difference, mean over the deals."""
    rng, draws = np.random.default_rng(1), []
    for _ in range(DRAWS):
        chosen = rng.integers(0, len(first[0]), len(first[0]))
        pairs = zip(model, first, strict=True)
        both = [(summary(m.iloc[chosen]), summary(f.iloc[chosen])) for m, f in pairs]
        draws.append({k: np.mean([m[k] - f[k] for m, f in both]) for k in both[0][0]})
    ends = pd.DataFrame(draws).quantile([0.025, 0.975])
    return {name: ends[name].tolist() for name in ends}


def read_table(given: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table where nothing that any model needs is missing."""
    table = derive_features(given)
    needed = list(dict.fromkeys(name for model in MODELS for name in model.features))
    return table.dropna(subset=[*needed, "observed"]).reset_index(drop=True)


def main() -> None:
    """Print the table, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--trees", type=int, default=100, help="at most so many a forest")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    table = read_table(pd.read_parquet(arguments.table))
    logger.info("%d rows of %d stations", len(table), table["station"].nunique())
    found, first = {}, None
    for model in MODELS:
        preset = model.model_copy(update={"trees": min(model.trees, arguments.trees)})
        deals = [by_station(table, out_of_fold(table, preset, seed)) for seed in range(DEALS)]
        first = first or deals
        scores = pd.DataFrame([summary(stations) for stations in deals]).mean().to_dict()
        found[model.name] = {"scores": scores, "difference": difference(deals, first)}
        text = "  ".join(
            f"{name} {value:.4f} [{low:+.4f}, {high:+.4f}]"
            for (name, value), (low, high) in zip(
                scores.items(), found[model.name]["difference"].values(), strict=True
            )
        )
        logger.info("%-38s %s", model.name, text)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
