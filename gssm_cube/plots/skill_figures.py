"""Figures of the judgement: how good elsewhere, how sure, where not to trust."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gssm_cube.plots.figures import BLACK, BLUE, GREEN, INK, ORANGE, WIDTH, field_map

DISTANCES = {
    "prediction_km": ("prediction points to the nearest station", BLACK),
    "fold_km": ("held-out stations to the nearest training station", BLUE),
    "station_km": ("stations to the nearest other place", ORANGE),
}
# What the forest must beat: label, mark and colour.
RIVALS = {
    "climatology": ("climatology of the training stations", "|", ORANGE),
    "seed_like": ("forest of the gssm1km kind", "x", GREEN),
}


def split_bars(rows: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> Figure:
    """Draw the RMSE of each split, with its 95 % interval over stations and its scatter.

    Parameters
    ----------
    rows : mapping
        By split ``rmse``, ``interval`` and, where several seeds were tried, ``scatter``; those
        skipped are left out by the caller.
    titles : mapping
        What to call each split.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 1.8 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, row) in enumerate(reversed(list(rows.items()))):
        colour = "#9a9a9a" if name == "random_rows" else BLUE
        axes.plot(row["rmse"], place, "o", color=colour, zorder=3)
        if interval := row.get("interval", {}).get("rmse"):
            axes.plot(interval, [place, place], color=colour, linewidth=1)
        if scatter := row.get("scatter", {}).get("rmse"):
            ends = row["rmse"] - scatter, row["rmse"] + scatter
            axes.plot(ends, [place, place], color=colour, linewidth=5, alpha=0.5)
        for baseline, (_, mark, tone) in RIVALS.items():
            value = row.get("baseline", {}).get(baseline)
            value = value["rmse"] if isinstance(value, Mapping) else value
            if value is not None:
                axes.plot(value, place, mark, color=tone, markersize=10, markeredgewidth=1.8)
    labels = [
        titles.get(name, name) + (f", n {row['n']:,}" if row.get("n") else "")
        for name, row in rows.items()
    ]
    axes.set_yticks(range(len(rows)), labels[::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("RMSE, m³ m⁻³")
    axes.set_xlim(left=0)
    _split_legend(figure, rows.values())
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _split_legend(figure: Figure, rows: Collection[Mapping[str, Any]]) -> None:
    """Explain, above the bars, the marks that were drawn and no others."""
    marks = {"forest": Line2D([], [], color=BLUE, marker="o", linestyle="none")}
    if any(row.get("interval", {}).get("rmse") for row in rows):
        marks["95 % interval over stations"] = Line2D([], [], color=BLUE, linewidth=1)
    if any(row.get("scatter", {}).get("rmse") for row in rows):
        marks["scatter over seeds"] = Line2D([], [], color=BLUE, linewidth=5, alpha=0.5)
    for baseline, (label, mark, tone) in RIVALS.items():
        if any(row.get("baseline", {}).get(baseline) is not None for row in rows):
            marks[label] = Line2D(
                [], [], color=tone, marker=mark, linestyle="none", markersize=10,
                markeredgewidth=1.8,
            )  # fmt: skip
    figure.legend(
        marks.values(), marks.keys(), loc="outside upper center", ncols=3,
        frameon=False, fontsize=8,
    )  # fmt: skip


def distance_curves(distances: Mapping[str, Any]) -> Figure:
    """Draw the distributions of distances that nearest-neighbour distance matching compares.

    Parameters
    ----------
    distances : mapping
        ``prediction_km``, ``fold_km``, ``station_km``: evenly spaced quantiles, km.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (label, colour) in DISTANCES.items():
        share = np.linspace(0, 1, len(distances[name]))
        axes.plot(distances[name], share, color=colour, label=label)
    axes.set(xlabel="distance, km", ylabel="share that is nearer", ylim=(0, 1))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def learning_curve(curve: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the RMSE at new stations over the number of stations that trained.

    Parameters
    ----------
    curve : sequence of mapping
        ``stations`` and ``rmse``, m3 m-3; ``scatter`` over seeds, where there are several.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    points = pd.DataFrame(list(curve))
    scatter = points.get("scatter", pd.Series(np.nan, points.index)).astype("float64")
    axes.errorbar(
        points["stations"], points["rmse"], scatter.fillna(0.0), fmt="o-", color=BLUE, capsize=3
    )
    axes.set(xlabel="training stations", ylabel="RMSE at new stations, m³ m⁻³")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def cell_departures(said: Mapping[str, Any]) -> Figure:
    """Draw how far each station lies from the mean of its 0.1 degree cell, as seen and estimated.

    Parameters
    ----------
    said : mapping
        Of `resolution.within_cells`: ``pattern``, pairs of mean departures, m3 m-3.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    pairs = np.array(said["pattern"], dtype="float64")
    edge = 1.1 * max(float(np.abs(pairs).max()), 0.01)
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle="--", label="1:1")
    axes.axhline(0, color=ORANGE, linewidth=1, label="all that 0.1 degrees can say")
    axes.plot(*pairs.T, "o", color=BLUE, label=f"a station, n {len(pairs)}")
    axes.set(
        xlabel="observed less the cell's mean, m³ m⁻³",
        ylabel="estimated less the cell's mean, m³ m⁻³",
        xlim=(-edge, edge),
        ylim=(-edge, edge),
    )
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def station_coverage(shares: Sequence[float], level: float, mean: float) -> Figure:
    """Draw how many of its days each station's interval covers, least first.

    Parameters
    ----------
    shares : sequence of float
        Evenly spaced quantiles, over stations, of the share of days inside the interval.
    level : float
        What the interval was calibrated for.
    mean : float
        Share of days inside, each station the same weight.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.linspace(0, 100, len(shares)), shares, ".-", color=BLUE, clip_on=False)
    axes.axhline(level, color=INK, linewidth=0.8, linestyle="--", label=f"wanted {level:.0%}")
    axes.axhline(mean, color=ORANGE, linewidth=1, label=f"mean of these stations {mean:.1%}")
    axes.set(
        xlabel="stations, the least covered first, %", ylabel="share of days inside", ylim=(0, 1)
    )
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def dissimilarity_map(layer: xr.DataArray) -> Figure:
    """Map the dissimilarity index; grey where a predictor is missing.

    Parameters
    ----------
    layer : DataArray (lat, lon)
        Pixel centres on evenly spaced coordinates.

    Returns
    -------
    Figure
    """
    finite = layer.to_numpy()[np.isfinite(layer.to_numpy())]
    high = max(float(np.percentile(finite, 98)), 0.1) if finite.size else 1.0
    return field_map(layer, "dissimilarity index", "cividis", (0.0, high), "max")
