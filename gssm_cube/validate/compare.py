"""Which product is nearer to the stations: scores with intervals, differences, plain sentences."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from gssm_cube.statistics.bootstrap import confidence, mean_scores, paired_difference
from gssm_cube.validate.matching import Matched
from gssm_cube.validate.metrics import SCORES, Tables, grouped_tables
from gssm_cube.validate.strata import day_groups, station_groups

SCORE_COLUMNS = ["grid", "stratum", "group", "product", "score", "value", "low", "high",
                 "stations", "days"]  # fmt: skip
# By these a verdict is spoken: title, digits, unit, and whether less is better.
JUDGED = {
    "station_ubrmse": ("ubRMSD", 4, " m3 m-3", True),
    "station_r": ("r", 3, "", False),
    "station_anomaly_r": ("anomaly r", 3, "", False),
    "station_rmse": ("RMSD", 4, " m3 m-3", True),
}


def tables_of(matched: Matched, *, min_days: int) -> tuple[Tables, dict[tuple[str, str], Tables]]:
    """Return the scores of each product at each station, over all days and by groups of days.

    Parameters
    ----------
    matched : Matched
    min_days : int
        Days that a station needs for scores of its own.

    Returns
    -------
    dict of DataFrame (station); dict of the same
        By product; by stratum and group, then by product.
    """
    groups = {(stratum, group): days for stratum, group, days in day_groups(matched)}
    everything = {("all", "all"): np.ones((1, len(matched.days)), dtype="bool")}
    found = grouped_tables(
        matched.values, matched.days, matched.names, matched.products, everything | groups,
        min_days=min_days,
    )  # fmt: skip
    return found.pop(("all", "all")), found


def score_rows(
    matched: Matched,
    tables: Tables,
    by_days: Mapping[tuple[str, str], Tables],
    *,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Return all scores, over everything and by stratum.

    Parameters
    ----------
    matched : Matched
    tables, by_days : mapping
        From `tables_of`.
    draws, seed : int
        Of the bootstrap over stations.

    Returns
    -------
    DataFrame
        ``grid``, ``stratum`` ("all", "network", ...), ``group``, ``product``, ``score`` (pooled, or
        the median over stations, ``station_...``), ``value``, ``low`` and ``high`` (95 % over
        stations, missing for fewer than five), ``stations`` (with a score of their own), ``days``.
    """
    rows = list(_rows(matched.grid, "all", "all", tables, draws, seed))
    for stratum, group, members in station_groups(matched.stations):
        chosen = {name: table[table.index.isin(members)] for name, table in tables.items()}
        rows += _rows(matched.grid, stratum, group, chosen, draws, seed)
    for (stratum, group), chosen in by_days.items():
        rows += _rows(matched.grid, stratum, group, chosen, draws, seed)
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def station_rows(matched: Matched, tables: Tables) -> pd.DataFrame:
    """Return the scores of each station as rows.

    Parameters
    ----------
    matched : Matched
    tables : mapping of DataFrame (station)

    Returns
    -------
    DataFrame
        ``grid``, ``product``, ``station``, ``network``, ``lat``, ``lon``, ``days``, ``score``,
        ``value``.
    """
    parts = []
    about = matched.stations[["network", "lat", "lon"]]
    for product, table in tables.items():
        wide = about.join(table[[*SCORES, "n"]], how="inner").reset_index()
        wide = wide.rename(columns={"n": "days"}).astype({"days": "int64", "network": "object"})
        ids = ["station", "network", "lat", "lon", "days"]
        long = wide.melt(id_vars=ids, value_vars=list(SCORES), var_name="score")
        parts.append(long.assign(grid=matched.grid, product=product))
    columns = ["grid", "product", "station", "network", "lat", "lon", "days", "score", "value"]
    return pd.concat(parts, ignore_index=True)[columns]


def difference_rows(grid: str, tables: Tables, *, draws: int, seed: int) -> pd.DataFrame:
    """Return the differences of every two products on the same station-days.

    Parameters
    ----------
    grid : str
    tables : mapping of DataFrame (station)
    draws, seed : int
        Of the bootstrap over stations, which are drawn together for both.

    Returns
    -------
    DataFrame
        ``grid``, ``first``, ``second``, ``score``, ``first_value``, ``second_value``,
        ``difference`` (first less second, over the stations of which both have the score),
        ``low``, ``high``, ``significant`` (the interval
        excludes 0), ``better`` (the product that is significantly better; missing if none is, and
        for scores of which neither more nor less is better), ``stations``.
    """
    rows = []
    known = [name for name, table in tables.items() if len(table)]
    for first, second in combinations(known, 2):
        pair = _scored_by_both(tables[first], tables[second])
        whole = [mean_scores([table]) for table in pair]
        found = paired_difference(*pair, draws=draws, seed=seed)
        scored = int(pair[0]["rmse"].notna().sum())
        for score, said in found.items():
            low, high = said["interval"] or (np.nan, np.nan)
            values = whole[0][score], whole[1][score]
            better = _better(first, second, score, said)
            rows.append((grid, first, second, score, *values, said["difference"], low, high,
                         said["significant"], better, scored))  # fmt: skip
    columns = ["grid", "first", "second", "score", "first_value", "second_value", "difference",
               "low", "high", "significant", "better", "stations"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def winner(differences: pd.DataFrame, score: str = "station_ubrmse") -> str | None:
    """Return the product that is significantly better than every other; None if none is.

    Parameters
    ----------
    differences : DataFrame
        From `difference_rows`, of one grid.
    score : str
    """
    pairs = differences[differences["score"] == score]
    products = set(pairs["first"]) | set(pairs["second"])
    wins = pairs["better"].value_counts()
    first = [name for name in products if wins.get(name, 0) == len(products) - 1]
    return first[0] if len(first) == 1 else None


def sentences(differences: pd.DataFrame) -> list[str]:
    """Say of every two products which is better, by how much, and whether that is significant.

    Parameters
    ----------
    differences : DataFrame
        From `difference_rows`, of one grid.

    Returns
    -------
    list of str
        One sentence a pair.
    """
    found = []
    for (first, second), rows in differences.groupby(["first", "second"], sort=False):
        by_score = rows.set_index("score").to_dict("index")
        parts = [_clause(by_score[score], score) for score in JUDGED]
        told = "; ".join(part for part in parts if part)
        count = int(rows["stations"].iloc[0])
        found.append(f"{first} against {second}, {count} stations: {told}.")
    return found


def best_products(tables: Tables, score: str = "r") -> pd.Series:
    """Return the product with the best score at each station.

    Parameters
    ----------
    tables : mapping of DataFrame (station)
    score : str
        One of which more is better.

    Returns
    -------
    Series (station) of str
        Stations without a score are left out.
    """
    wide = pd.DataFrame({name: table[score] for name, table in tables.items()}).dropna()
    if wide.empty:
        return pd.Series(dtype="str", index=wide.index)
    return wide.idxmax(axis="columns")


def _rows(
    grid: str, stratum: str, group: str, tables: Tables, draws: int, seed: int
) -> Iterator[tuple[Any, ...]]:
    """Rows of one group: each product's pooled scores and medians."""
    for product, table in tables.items():
        if table.empty:
            continue
        ends = confidence(table, draws=draws, seed=seed)
        days, scored = int(table["n"].sum()), int(table["rmse"].notna().sum())
        for score, value in mean_scores([table]).items():
            low, high = ends.get(score) or (np.nan, np.nan)
            yield grid, stratum, group, product, score, value, low, high, scored, days


def _scored_by_both(first: pd.DataFrame, second: pd.DataFrame) -> list[pd.DataFrame]:
    """Return two tables with the scores of stations that both have: a constant series has no r."""
    names = list(SCORES)
    both = first[names].notna().to_numpy() & second[names].notna().to_numpy()
    return [table.assign(**table[names].where(both)) for table in (first, second)]


def _better(first: str, second: str, score: str, said: Mapping[str, Any]) -> str | None:
    """Return which of two is significantly better; None if that cannot be said."""
    kind = score.removeprefix("station_")
    if not said["significant"] or kind == "bias":
        return None
    less_is_better = kind in ("rmse", "ubrmse")
    return first if (said["difference"] < 0) == less_is_better else second


def _clause(row: Mapping[Any, Any], score: str) -> str:
    """Tell one score of a pair; nothing where it is not known."""
    title, digits, unit, _ = JUDGED[score]
    if not np.isfinite([row["first_value"], row["second_value"], row["low"], row["high"]]).all():
        return ""
    numbers = (
        f"{title} {row['first_value']:.{digits}f} against {row['second_value']:.{digits}f}{unit} "
        f"(difference {row['difference']:+.{digits}f}, 95 % {row['low']:+.{digits}f} to "
        f"{row['high']:+.{digits}f})"
    )
    told = f"{row['better']} is better" if row["significant"] else "no significant difference"
    return f"{numbers}: {told}"
