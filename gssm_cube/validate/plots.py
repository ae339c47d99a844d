"""Figures of a comparison: data in, a matplotlib Figure out, as in `figures.py`."""

from collections.abc import Mapping, Sequence

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gssm_cube.plots.figures import BLACK, INK, WIDTH, stretch

# Okabe and Ito (2008); the stations are black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#999999")
BOXES = {
    "r": "Pearson r", "anomaly_r": "anomaly r (35 days)",
    "ubrmse": "ubRMSD, m³ m⁻³", "bias": "bias, m³ m⁻³",
}  # fmt: skip
AIR = 0.06  # of a map's size, about its stations
LEAST_FRAME = 0.5  # degrees


def colours_of(products: Sequence[str]) -> dict[str, str]:
    """Return the colour of each product, the same in all figures."""
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(products)}


def box_plots(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how each product's scores spread over the stations.

    Parameters
    ----------
    tables : mapping of DataFrame (station)
        By product, with the scores of `BOXES`.

    Returns
    -------
    Figure
        The box holds half of the stations, its line is the median, whiskers reach the 5th and the
        95th percentile.
    """
    names = list(tables)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.5 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(BOXES), sharey=True)
    colours = colours_of(names)
    for axes, (score, label) in zip(panels, BOXES.items(), strict=True):
        values = [tables[name][score].dropna().to_numpy() for name in names]
        drawn = axes.boxplot(
            values, orientation="horizontal", whis=(5, 95), widths=0.6, patch_artist=True,
            showfliers=False, medianprops={"color": BLACK, "linewidth": 1.4},
        )  # fmt: skip
        for box, name in zip(drawn["boxes"], names, strict=True):
            box.set(facecolor=colours[name], alpha=0.65, edgecolor=INK)
        if score == "bias":
            axes.axvline(0, color="#999999", linewidth=0.8, zorder=0)
        axes.set_xlabel(label, fontsize=8.5)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(1, len(names) + 1), names, fontsize=8.5)
    panels[0].invert_yaxis()
    return figure


def score_maps(tables: Mapping[str, pd.DataFrame], stations: pd.DataFrame) -> Figure:
    """Map Pearson's r of each station, a panel a product, on one scale.

    Parameters
    ----------
    tables : mapping of DataFrame (station)
        By product, with ``r``.
    stations : DataFrame (station)
        ``lat`` and ``lon``, degrees.

    Returns
    -------
    Figure
    """
    columns = min(2, len(tables))
    rows = -(-len(tables) // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + rows * _map_height(stations, columns)),
                    layout="constrained")  # fmt: skip
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())
    dots = None
    for axes, (name, table) in zip(panels, tables.items(), strict=False):
        shown = stations.loc[table.index[table["r"].notna()]]
        dots = axes.scatter(
            shown["lon"], shown["lat"], c=table.loc[shown.index, "r"], cmap="viridis", vmin=0,
            vmax=1, s=_size(len(stations)), edgecolors=BLACK, linewidths=0.4,
        )  # fmt: skip
        axes.set_title(f"{name}: median r {table['r'].median():.3f}", fontsize=9)
        _frame(axes, stations)
    for axes in panels[len(tables) :]:
        axes.set_visible(False)
    if dots is not None:
        figure.colorbar(dots, ax=list(panels), extend="min", shrink=0.7, label="Pearson r")
    return figure


def winner_map(best: pd.Series, stations: pd.DataFrame, products: Sequence[str]) -> Figure:
    """Map which product has the highest r at each station.

    Parameters
    ----------
    best : Series (station)
        Names of products.
    stations : DataFrame (station)
        ``lat`` and ``lon``, degrees.
    products : sequence of str
        In the order of their colours.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 0.8 + _map_height(stations, 1)), layout="constrained")
    axes = figure.add_subplot()
    for (name, colour), marker in zip(colours_of(products).items(), "osD^vPX*" * 9, strict=False):
        shown = stations.loc[best.index[best == name]]
        axes.scatter(
            shown["lon"], shown["lat"], color=colour, marker=marker, s=1.4 * _size(len(stations)),
            edgecolors=BLACK, linewidths=0.4, label=f"{name} ({len(shown)})",
        )  # fmt: skip
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8, frameon=False)
    _frame(axes, stations)
    return figure


def station_series(series: pd.DataFrame, products: Sequence[str]) -> Figure:
    """Plot what a station measured and what the products say.

    Parameters
    ----------
    series : DataFrame (day)
        ``station`` and a column a product, m3 m-3; NaN leaves a gap.
    products : sequence of str

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in colours_of(products).items():
        axes.plot(series[name], color=colour, linewidth=0.9, marker=".", markersize=1.5, label=name)
    axes.plot(series["station"], ".", color=BLACK, markersize=3, label="station", zorder=0)
    axes.set_ylabel("SSM, m³ m⁻³")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    locator = mdates.AutoDateLocator(maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, fontsize=8, frameon=False,
                markerscale=2)  # fmt: skip
    return figure


def memory_curves(table: pd.DataFrame, products: Sequence[str]) -> Figure:
    """Plot the correlation with the days before, of stations and products.

    Parameters
    ----------
    table : DataFrame
        ``column``, ``lag`` (days), ``r``.
    products : sequence of str

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in {"station": BLACK, **colours_of(products)}.items():
        rows = table[table["column"] == name]
        width = 2.2 if name == "station" else 1.3
        axes.plot(rows["lag"], rows["r"], "o-", color=colour, linewidth=width, label=name,
                  markersize=4)  # fmt: skip
    axes.set(xlabel="days before", ylabel="r with the day itself")
    axes.set_ylim(top=1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _size(count: int) -> float:
    """Return how large a dot is among so many."""
    return float(np.clip(4000 / max(count, 1), 10, 45))


def _edges(stations: pd.DataFrame) -> tuple[float, float, float, float]:
    """West, east, south, north of all stations, with a little air."""
    west, east, south, north = (
        float(edge)
        for name in ("lon", "lat")
        for edge in (stations[name].min(), stations[name].max())
    )
    air = max(AIR * max(east - west, north - south), LEAST_FRAME / 2)
    return west - air, east + air, max(south - air, -90.0), min(north + air, 90.0)


def _map_height(stations: pd.DataFrame, columns: int) -> float:
    """Height in inches of one of so many maps beside each other."""
    west, east, south, north = _edges(stations)
    height = 0.8 * WIDTH / columns * stretch(south, north) * (north - south) / (east - west)
    return float(np.clip(height + 0.5, 1.8, 5.5))


def _frame(axes: Axes, stations: pd.DataFrame) -> None:
    """Show all stations in their proportions."""
    west, east, south, north = _edges(stations)
    axes.set(xlim=(west, east), ylim=(south, north), aspect=stretch(south, north))
    axes.grid(color="#e3e3df", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("degrees east", fontsize=8)
    axes.set_ylabel("degrees north", fontsize=8)
