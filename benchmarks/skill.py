"""Skill at stations that no forest has seen, on a table of NOAA's Climate Reference Network.

    python benchmarks/skill.py TABLE.parquet [--trees 100] [--draws 0] [--json FILE]

Five folds of whole stations, dealt three times; features from the table's own weather. Models of
one deal see the same rows. Differences to the first model with 95 % intervals, from drawing
stations with replacement, the same ones for both. With draws, the blend and its members are also
trained without 14 stations, drawn anew each time, and judged there: a score moves that far.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.forest import PRESETS, Preset, compile_forest, train_forest
from gssm_cube.forest.blend import Blend
from gssm_cube.station_weather import derive_features
from gssm_cube.statistics.scores import pearson_r, ubrmse

logger = logging.getLogger("skill")

DEALS, FOLDS, DRAWS = 3, 5, 500
THREADS = 2  # folds at once; no figure depends on it
ANOMALY_DAYS = 35
DRAWN = 14  # stations
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
    BLEND,
)  # fmt: skip
# Members of the blend that are models by themselves, and need not be fitted again for it.
ALONE = {"forest": FOREST.name, "booster": "booster"}


def deal_folds(station: pd.Series, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row: stations in order of name, shuffled, dealt in turn."""
    names = np.array(sorted(station.unique()))
    np.random.default_rng(seed).shuffle(names)
    fold = {name: number % FOLDS for number, name in enumerate(names)}
    return station.map(fold).to_numpy("int64")


def out_of_fold(table: pd.DataFrame, preset: Preset, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return by model the estimate of each row by one that has not seen its station.

    A blend gives its members that are told alone as well, before itself.
    """
    folds = deal_folds(table["station"], seed)
    held = [folds == fold for fold in range(FOLDS)]
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(partial(estimates, table, preset), held))
    found = {name: np.full(len(table), np.nan) for name in parts[0]}
    for rows, part in zip(held, parts, strict=True):
        for name, values in part.items():
            found[name][rows] = values
    return found


def estimates(
    table: pd.DataFrame, preset: Preset, held: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Fit on the rows that are not held out, and estimate the others."""
    forest, unseen = train_forest(table[~held], preset, n_jobs=1), table[held]
    members = forest.members if isinstance(forest, Blend) else ()
    alone = {
        ALONE[member.name]: replace(forest, members=(replace(member, weight=1.0),)).predict(unseen)
        for member in members
        if member.name in ALONE
    }
    return alone | {preset.name: compile_forest(forest).predict(unseen)}


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


def summary(stations: pd.DataFrame, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return pooled RMSE and r, and medians over the stations, of each row of chosen stations."""
    n, o, p, oo, pp, op = (
        stations[name].to_numpy()[chosen].sum(axis=1) for name in ("n", "o", "p", "oo", "pp", "op")
    )
    cov = op / n - o * p / n**2
    spread = [square / n - (total / n) ** 2 for square, total in ((oo, o), (pp, p))]
    pooled = {"rmse": np.sqrt((oo - 2 * op + pp) / n), "r": cov / np.sqrt(spread[0] * spread[1])}
    names = ("station_r", "station_ubrmse", "anomaly_r")
    return pooled | {k: np.nanmedian(stations[k].to_numpy()[chosen], axis=1) for k in names}


def scores_of(deals: list[pd.DataFrame]) -> dict[str, float]:
    """Return the scores of all stations, mean over the deals."""
    found = [summary(stations, np.arange(len(stations))[np.newaxis]) for stations in deals]
    return {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}


def difference(model: list[pd.DataFrame], first: list[pd.DataFrame]) -> dict[str, list[float]]:
    """Return the 95 % interval of each score's difference, mean over the deals."""
    count = len(first[0])
    chosen = np.random.default_rng(1).integers(0, count, (DRAWS, count))
    pairs = [(summary(m, chosen), summary(f, chosen)) for m, f in zip(model, first, strict=True)]
    draws = {k: np.mean([m[k] - f[k] for m, f in pairs], axis=0) for k in pairs[0][0]}
    return {name: np.quantile(values, [0.025, 0.975]).tolist() for name, values in draws.items()}


def read_table(given: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table where nothing that any model needs is missing."""
    table = derive_features(given)
    needed = list(dict.fromkeys(name for model in MODELS for name in model.features))
    return table.dropna(subset=[*needed, "observed"]).reset_index(drop=True)


def line(model: dict) -> str:
    """Show each score with the interval of its difference."""
    pairs = zip(model["scores"].items(), model["difference"].values(), strict=True)
    return "  ".join(
        f"{k} {value:.4f} [{low:+.4f}, {high:+.4f}]" for (k, value), (low, high) in pairs
    )


def judge(table: pd.DataFrame, models: Sequence[Preset], trees: int) -> dict[str, dict]:
    """Return by model its scores and their difference to those of the first, and show them."""
    found: dict[str, dict] = {}
    first: list[pd.DataFrame] = []
    for model in models:
        preset = model.model_copy(update={"trees": min(model.trees, trees)})
        held = [out_of_fold(table, preset, seed) for seed in range(DEALS)]
        for name in held[0]:
            deals = [by_station(table, estimate[name]) for estimate in held]
            first = first or deals
            found[name] = {"scores": scores_of(deals), "difference": difference(deals, first)}
            logger.info("%-38s %s", name, line(found[name]))
    return found


def draw(table: pd.DataFrame, preset: Preset, seed: int) -> pd.DataFrame:
    """Return the scores of a blend and its members at stations drawn at random: a row a model."""
    names = np.array(sorted(table["station"].unique()))
    drawn = np.random.default_rng(seed).choice(names, DRAWN, replace=False)
    held = table["station"].isin(drawn).to_numpy()
    unseen = table[held].reset_index(drop=True)
    found = {}
    for name, estimate in estimates(table, preset, held).items():
        stations = by_station(unseen, estimate)
        found[name] = {k: v[0] for k, v in summary(stations, np.arange(DRAWN)[np.newaxis]).items()}
    return pd.DataFrame.from_dict(found, orient="index")


def judge_draws(table: pd.DataFrame, preset: Preset, draws: int) -> dict[str, dict]:
    """Return by model the quantiles of its scores over many draws, and show them."""
    with ThreadPoolExecutor(THREADS) as pool:
        scores = pd.concat(pool.map(partial(draw, table, preset), range(draws)))
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    found = {str(name): rows.quantile(shares) for name, rows in scores.groupby(level=0)}
    for name, rows in found.items():
        logger.info("%s, %d draws of %d stations\n%s", name, draws, DRAWN, rows.round(4))
    return {name: rows.to_dict("list") for name, rows in found.items()}


def main() -> None:
    """Print the table, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--trees", type=int, default=100, help="at most so many a forest")
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("gssm_cube").setLevel(logging.WARNING)
    table = read_table(pd.read_parquet(arguments.table))
    logger.info("%d rows of %d stations", len(table), table["station"].nunique())
    found: dict[str, dict] = judge(table, MODELS, arguments.trees)
    if arguments.draws:
        found["draws"] = judge_draws(table, BLEND, arguments.draws)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
