"""Scores as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from gssm_cube.skill.baselines import TITLES


def score_table(scores: Mapping[str, Any]) -> Table:
    """Return the scores as a table, each with its baselines; random rows stand last."""
    table = Table(box=box.SIMPLE, caption="RMSE, ubRMSE, bias in m3 m-3; station r is a median")
    table.add_column("judged on")
    for name in ("n", "RMSE", "ubRMSE", "bias", "r", "station r"):
        table.add_column(name, justify="right", no_wrap=True)
    titles = {
        "new_stations": "new stations",
        "new_years": "new years",
        "test": "second table (test)",
        "truth": "synthetic truth",
        "random_rows": "random rows (comparison)",
    }
    for name, title in titles.items():
        score = scores.get(name)
        if score is None:
            continue
        if "skipped" in score:
            table.add_row(f"{title}: {score['skipped']}")
            continue
        beside = score.get("baseline", {})
        short = {
            k: f"  {name.removesuffix(' of the training stations')}" for k, name in TITLES.items()
        }
        shown = {title: score} | {short[k]: beside[k] for k in short if k in beside}
        for label, found in shown.items():
            values = [found.get(k) for k in ("rmse", "ubrmse", "bias", "r")]
            values.append(found.get("stations", {}).get("r"))
            texts = ("–" if value is None else f"{value:.3f}" for value in values)
            table.add_row(label, f"{found['n']:,}", *texts)
    return table


def split_table(splits: Mapping[str, Any]) -> Table:
    """Return all splits side by side: means over the seeds, RMSE with its scatter."""
    table = Table(box=box.SIMPLE, caption="Mean over seeds; +- is the scatter over seeds")
    table.add_column("split")
    for name in ("folds", "RMSE", "+-", "95 % interval", "r", "station r", "climatology"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in splits.items():
        title = name.replace("_", " ") + (" (comparison)" if name == "random_rows" else "")
        if "skipped" in row:
            table.add_row(f"{title}: {row['skipped']}")
            continue
        low_high = row["interval"].get("rmse")
        values = [row["rmse"], row["scatter"]["rmse"], row["r"], row["station_r"]]
        rmse, scatter, r, station_r = ("" if v is None else f"{v:.3f}" for v in values)
        interval = "{:.3f} to {:.3f}".format(*low_high) if low_high else ""
        baseline = f"{row['baseline']['climatology']:.3f}"
        table.add_row(title, str(row["folds"]), rmse, scatter, interval, r, station_r, baseline)
    return table


def within_line(scores: Mapping[str, Any]) -> str:
    """Return what new stations that share a cell of 0.1 degrees tell; nothing if none do."""
    found = scores.get("new_stations", {}).get("resolution", {})
    if found.get("spatial_r") is None:
        return ""
    return (
        f"Within cells of 0.1 degrees, {found['stations']} new stations in {found['cells']}: "
        f"r {found['spatial_r']:.2f}, RMSE {found['rmse']:.3f}, of the cells' means "
        f"{found['coarse_rmse']:.3f}"
    )
