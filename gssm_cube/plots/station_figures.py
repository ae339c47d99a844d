"""Figures of the station tables: where, when, how much was lost, and how far sensors agree."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gssm_cube.insitu.quality import REASONS
from gssm_cube.plots.figures import BLACK, BLUE, GREEN, ORANGE, WIDTH, stretch
from gssm_cube.plots.station_summary import STEP, StationSummary

KEPT_COLOUR = BLUE
MOST_ROWS = 2000  # stations that a coverage figure can show one by one


def places_map(summary: StationSummary) -> Figure:
    """Map the stations, their size by days."""
    places = summary.places
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    size = 6 + 40 * np.sqrt(places["days"] / places["days"].max())
    axes.scatter(places["lon"], places["lat"], s=size, color=BLUE, alpha=0.6, edgecolors=BLACK)
    axes.set(xlabel="longitude, degrees east", ylabel="latitude, degrees north")
    axes.set_title(f"{len(places)} stations; the larger, the more days", fontsize=9)
    axes.margins(0.08)
    proportions = stretch(places["lat"].min(), places["lat"].max())
    axes.set_aspect(proportions, adjustable="datalim")
    return figure


def coverage(summary: StationSummary) -> Figure:
    """Draw the days of each station (row) and month (column) that have a value.

    Of more than 2000 stations every n-th is shown.
    """
    days = summary.months
    step = -(-len(days) // MOST_ROWS)
    shown = days.iloc[::step]
    figure = Figure(figsize=(WIDTH, float(np.clip(1.2 + 0.03 * len(shown), 2.6, 8))))
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        np.where(shown > 0, shown, np.nan), aspect="auto", cmap="viridis", vmin=0, vmax=31,
        interpolation="nearest",
    )  # fmt: skip
    months = shown.columns.astype(str)
    ticks = np.linspace(0, len(months) - 1, min(len(months), 8)).astype(int)
    axes.set_xticks(ticks, months[ticks], fontsize=8)
    axes.set(xlabel="month", ylabel="stations, sorted by network")
    figure.colorbar(image, ax=axes, label="days with a value")
    return figure


def losses(counts: pd.DataFrame) -> Figure:
    """Draw, for each network, the share of its rows by reason.

    Parameters
    ----------
    counts : DataFrame
        ``network``, ``reason``, ``rows``, as `read_station_counts` gives.

    Returns
    -------
    Figure
    """
    wide = counts.pivot_table(index="network", columns="reason", values="rows", aggfunc="sum")
    wide = wide.reindex(columns=[r for r in REASONS[::-1] if r in wide]).fillna(0)[::-1]
    wide.index = [f"{network} ({rows:,.0f})" for network, rows in wide.sum(axis="columns").items()]
    share = 100 * wide.div(wide.sum(axis="columns"), axis="index")
    figure = Figure(figsize=(WIDTH, 1.6 + 0.24 * len(share)), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(len(share))
    for number, reason in enumerate(share.columns):
        # "kept" is blue; the others take the colours of a qualitative map in turn.
        colour = KEPT_COLOUR if reason == REASONS[-1] else f"C{number % 10}"
        axes.barh(share.index, share[reason], left=left, color=colour, label=reason)
        left += share[reason].to_numpy()
    axes.set_xlabel("share of the rows read, %")
    axes.set_xlim(0, 100)
    axes.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def histogram(summary: StationSummary) -> Figure:
    """Draw the distribution of the station-days' soil moisture."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, summary.observed, 20, GREEN)
    axes.set(xlabel="observed SSM, m³ m⁻³", ylabel="station-days")
    axes.set_xlim(0, max(0.6, _largest(summary.observed) + 0.02))
    return figure


def agreement(summary: StationSummary) -> Figure:
    """Draw how far stations of one pixel, and sensors of one station, agree.

    A panel without anything to compare says so.
    """
    pairs, compared = summary.pairs, int(summary.spread.sum())
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(pairs["r"], pairs["rmsd"], s=18, color=ORANGE, edgecolors=BLACK, linewidths=0.4)
    left.set(xlabel="r of two stations in one pixel", ylabel="RMS difference, m³ m⁻³")
    left.set_xlim(min(0.0, pairs["r"].min()) - 0.03 if pairs["r"].notna().any() else 0.0, 1.03)
    left.set_ylim(0, 1.1 * max(0.05, pairs["rmsd"].max()) if len(pairs) else 0.05)
    left.set_title(f"{len(pairs)} pairs", fontsize=9)
    _bars(right, summary.spread, 2, BLUE)
    right.set_xlim(0, max(0.05, _largest(summary.spread)))
    right.set(xlabel="spread of a station's sensors, m³ m⁻³", ylabel="station-days")
    right.set_title(f"{compared:,} station-days", fontsize=9)
    for axes, found in ((left, len(pairs)), (right, compared)):
        if not found:
            axes.text(0.5, 0.5, "nothing to compare", ha="center", transform=axes.transAxes)
    return figure


def _bars(axes: Axes, counts: NDArray[np.int64], together: int, colour: str) -> None:
    """Draw counts by steps, so many together in a bar."""
    heights = counts.reshape(-1, together).sum(axis=1)
    width = together * STEP
    axes.bar(np.arange(heights.size) * width, heights, width, align="edge", color=colour)


def _largest(counts: NDArray[np.int64]) -> float:
    """Return the upper end of the last step that holds anything; 0 if none does."""
    return float(np.max(np.flatnonzero(counts) + 1, initial=0) * STEP)
