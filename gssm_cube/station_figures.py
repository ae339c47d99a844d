"""Figures of the station tables: where, when, how much was lost, and how far sensors agree."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gssm_cube.figures import BLACK, BLUE, GREEN, ORANGE, WIDTH
from gssm_cube.grid import Grid
from gssm_cube.quality import REASONS

KEPT_COLOUR = BLUE
MOST_ROWS = 2000  # stations that a coverage figure can show one by one
LEAST_DAYS = 30  # days in common that make a pair worth a point


def places_map(table: pd.DataFrame) -> Figure:
    """Map the stations, their size by days.

    Parameters
    ----------
    table : DataFrame
        Station-days: ``station``, ``network``, ``lat``, ``lon`` (deg).

    Returns
    -------
    Figure
    """
    places = table.groupby("station").agg(
        lat=("lat", "first"), lon=("lon", "first"), days=("lat", "size")
    )
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    size = 6 + 40 * np.sqrt(places["days"] / places["days"].max())
    axes.scatter(places["lon"], places["lat"], s=size, color=BLUE, alpha=0.6, edgecolors=BLACK)
    axes.set(xlabel="longitude, degrees east", ylabel="latitude, degrees north")
    axes.set_title(f"{len(places)} stations; the larger, the more days", fontsize=9)
    axes.margins(0.08)
    return figure


def coverage(table: pd.DataFrame) -> Figure:
    """Draw the days of each station (row) and month (column) that have a value.

    Parameters
    ----------
    table : DataFrame
        Station-days: ``station`` and ``time``, sorted by network and station.

    Returns
    -------
    Figure
        Of more than 2000 stations every n-th is shown.
    """
    days = days_by_month(table)
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


def days_by_month(table: pd.DataFrame) -> pd.DataFrame:
    """Count the days of each station (row) in every month (column) from first to last."""
    month = table["time"].dt.to_period("M")
    days = table.groupby(["station", month], sort=False).size().unstack(fill_value=0)
    months = pd.period_range(month.min(), month.max(), freq="M")
    return days.reindex(columns=months, fill_value=0)


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


def histogram(table: pd.DataFrame) -> Figure:
    """Draw the distribution of the station-days' soil moisture.

    Parameters
    ----------
    table : DataFrame
        ``observed``, m3 m-3.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(
        table["observed"], bins=np.arange(0, 1.001, 0.02).tolist(), color=GREEN, edgecolor="white"
    )
    axes.set(xlabel="observed SSM, m³ m⁻³", ylabel="station-days")
    axes.set_xlim(0, max(0.6, float(table["observed"].max()) + 0.02))
    return figure


def pixel_pairs(table: pd.DataFrame, least_days: int = LEAST_DAYS) -> pd.DataFrame:
    """Compare the stations that share a pixel of the 1 km grid, pair by pair.

    Parameters
    ----------
    table : DataFrame
        Station-days: ``station``, ``lat``, ``lon``, ``time``, ``observed`` (m3 m-3).
    least_days : int
        Days in common that a pair needs.

    Returns
    -------
    DataFrame
        ``first``, ``second``, ``days``, ``r`` (NaN where one is constant) and ``rmsd`` (m3 m-3).
    """
    grid = Grid()
    places = table.groupby("station", as_index=False).agg(
        lat=("lat", "first"), lon=("lon", "first")
    )
    pixel = grid.row_of(places["lat"]) * grid.cols + grid.col_of(places["lon"])
    places = places.assign(pixel=np.asarray(pixel))
    pairs = places.merge(places, on="pixel", suffixes=("", "_other"))
    pairs = pairs[pairs["station"] < pairs["station_other"]]
    near = table[table["station"].isin({*pairs["station"], *pairs["station_other"]})]
    by_station = {name: g.set_index("time")["observed"] for name, g in near.groupby("station")}
    rows = []
    for first, second in zip(pairs["station"], pairs["station_other"], strict=True):
        both = pd.concat([by_station[first], by_station[second]], axis=1, join="inner").dropna()
        if len(both) >= least_days:
            a, b = both.iloc[:, 0], both.iloc[:, 1]
            rows.append(
                (first, second, len(both), a.corr(b), float(np.sqrt(((a - b) ** 2).mean())))
            )
    return pd.DataFrame(rows, columns=["first", "second", "days", "r", "rmsd"])


def agreement(table: pd.DataFrame) -> Figure:
    """Draw how far stations of one pixel, and sensors of one station, agree.

    Parameters
    ----------
    table : DataFrame
        Station-days with ``spread`` (standard deviation between sensors, m3 m-3).

    Returns
    -------
    Figure
        A panel without anything to compare says so.
    """
    pairs, spread = pixel_pairs(table), table["spread"].dropna()
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(pairs["r"], pairs["rmsd"], s=18, color=ORANGE, edgecolors=BLACK, linewidths=0.4)
    left.set(xlabel="r of two stations in one pixel", ylabel="RMS difference, m³ m⁻³")
    left.set_xlim(min(0.0, pairs["r"].min()) - 0.03 if pairs["r"].notna().any() else 0.0, 1.03)
    left.set_ylim(0, 1.1 * max(0.05, pairs["rmsd"].max()) if len(pairs) else 0.05)
    left.set_title(f"{len(pairs)} pairs", fontsize=9)
    right.hist(spread, bins=np.linspace(0, max(0.05, spread.max()), 41).tolist(), color=BLUE)
    right.set(xlabel="spread of a station's sensors, m³ m⁻³", ylabel="station-days")
    right.set_title(f"{len(spread):,} station-days", fontsize=9)
    for axes, found in ((left, len(pairs)), (right, len(spread))):
        if not found:
            axes.text(0.5, 0.5, "nothing to compare", ha="center", transform=axes.transAxes)
    return figure
