"""The figures of a report: data in, a matplotlib Figure out.

Figures are made without pyplot, so nothing global is touched and a report may be written from
any thread. Colours are those of Okabe and Ito (2008) and perceptually uniform or ColorBrewer
colour maps, which readers with colour-blindness can tell apart.
"""

import io
from collections.abc import Mapping
from typing import Literal

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from gssm_cube.statistics.station_parts import Parts, parts_of

BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
MISSING, LAND, INK = "#d4d4d4", "#e3e3df", "#444444"
WIDTH = 7.5  # inches
DPI = 150
HEXAGONS = 45  # across a density plot
MOST_BARS = 30  # of predictors in one figure

# Fixed limits let the maps of two runs be compared by eye; values beyond them are arrows.
SKILL = {
    "r": ("Pearson r of the station", "viridis", (0.0, 1.0), "min"),
    "bias": ("bias of the station, m³ m⁻³", "BrBG", (-0.15, 0.15), "both"),
}


def density(pairs: Parts) -> Figure:
    """Plot observed against predicted SSM as counts in hexagons, with the 1:1 line.

    Parameters
    ----------
    pairs : DataFrame, or its parts
        ``observed`` and ``predicted``, m3 m-3; gone through twice.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(6.2, 5.2), layout="compressed")
    axes = figure.add_subplot()
    largest = (part[["observed", "predicted"]].to_numpy().max() for part in parts_of(pairs))
    top = max(float(max(largest)), 0.1) * 1.03
    centres, counts = _hexagons(pairs, top)
    # Each hexagon's count stands for its days, at its centre.
    hexagons = axes.hexbin(
        centres[:, 0], centres[:, 1], counts, reduce_C_function=np.sum, mincnt=1, bins="log",
        cmap="viridis", linewidths=0.1, gridsize=HEXAGONS, extent=(0, top, 0, top),
    )  # fmt: skip
    axes.plot([0, top], [0, top], color=BLACK, linewidth=1, label="1:1 line")
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_xlabel("observed SSM, m³ m⁻³")
    axes.set_ylabel("predicted SSM, m³ m⁻³")
    axes.legend(loc="upper left", frameon=False)
    # Two colours at least: a logarithmic scale from 1 to 1 has none.
    hexagons.set_clim(1, max(2, np.asarray(hexagons.get_array()).max()))
    figure.colorbar(
        hexagons, ax=axes, shrink=0.9, label="station-days in a hexagon (logarithmic)",
        ticks=LogLocator(subs=(1, 2, 5)), format=StrMethodFormatter("{x:,.0f}"),
    ).minorticks_off()  # fmt: skip
    _clean(axes)
    return figure


def _hexagons(pairs: Parts, top: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of hexagons with a pair in them, and how many."""
    axes = Figure().add_subplot()
    centres, counts = np.empty((0, 2)), np.zeros(1)
    for part in parts_of(pairs):
        drawn = axes.hexbin(
            part["observed"], part["predicted"], gridsize=HEXAGONS, extent=(0, top, 0, top)
        )
        counts = counts + np.asarray(drawn.get_array())
        centres = np.asarray(drawn.get_offsets())
        drawn.remove()
    return centres[counts > 0], counts[counts > 0]


def importance_bars(importance: pd.Series, largest: int = MOST_BARS) -> Figure:
    """Draw one bar a predictor, the most important on top.

    Parameters
    ----------
    importance : Series (predictor)
        Its name, if it has one, says which measure it is.
    largest : int
        Bars to draw at most.

    Returns
    -------
    Figure
    """
    shown = importance.sort_values(ascending=False).head(largest)[::-1]
    figure = Figure(figsize=(WIDTH, 1.0 + 0.24 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(shown.index.astype(str), shown.to_numpy(), color=BLUE, height=0.72)
    axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8, color=INK)
    axes.set_xlabel(str(importance.name or "importance"))
    axes.margins(x=0.1, y=0.01)
    axes.tick_params(axis="y", length=0)
    _clean(axes)
    return figure


def station_map(skill: pd.DataFrame, others: pd.DataFrame, land: xr.DataArray, of: str) -> Figure:
    """Map the stations, coloured by one score, over the land of the product.

    Parameters
    ----------
    skill : DataFrame
        One row a scored station: ``lat``, ``lon`` (degrees) and the column ``of``.
    others : DataFrame
        ``lat``, ``lon`` of the stations without a score of their own.
    land : DataArray (lat, lon), bool
        Where the product has values.
    of : {"r", "bias"}
        The score to show.

    Returns
    -------
    Figure
    """
    label, colors, (low, high), extend = SKILL[of]
    size = float(np.clip(5000 / max(len(skill), 1), 12, 50))
    frame = _frame_of(land, skill, others)
    figure, axes = _map_figure(frame)
    axes.imshow(
        np.where(land, 1.0, np.nan), extent=_extent(land), origin=_origin(land), vmin=0, vmax=1,
        cmap=ListedColormap([LAND]), interpolation="nearest",
    )  # fmt: skip
    axes.scatter(
        others["lon"], others["lat"], s=0.6 * size, facecolors="none", edgecolors="#777777",
        linewidths=0.7, label="no score of its own",
    )  # fmt: skip
    dots = axes.scatter(
        skill["lon"], skill["lat"], c=skill[of], s=size, cmap=colors, vmin=low, vmax=high,
        edgecolors=BLACK, linewidths=0.4,
    )  # fmt: skip
    if len(others):
        axes.legend(loc="lower left", fontsize=8, framealpha=0.9)
    figure.colorbar(dots, ax=axes, extend=extend, shrink=0.8, label=label)
    _finish_map(axes, frame)
    return figure


def ssm_map(mean: xr.DataArray) -> Figure:
    """Map mean SSM; water and pixels without a value are grey.

    Parameters
    ----------
    mean : DataArray (lat, lon), m3 m-3
        Pixel centres on evenly spaced coordinates.

    Returns
    -------
    Figure
    """
    low, high = _percentiles(mean.to_numpy())
    return field_map(mean, "mean SSM, m³ m⁻³", "viridis_r", (low, high), "both")


def field_map(
    field: xr.DataArray,
    label: str,
    colors: str,
    limits: tuple[float, float],
    extend: Literal["both", "max"],
) -> Figure:
    """Map a field; what is missing is grey.

    Parameters
    ----------
    field : DataArray (lat, lon)
        Pixel centres on evenly spaced coordinates.
    label : str
        Of the colour bar, with units.
    colors : str
        Colour map.
    limits : pair of float
        Of the colours, in the field's units.
    extend : {"both", "max"}
        Where values may lie beyond the limits.

    Returns
    -------
    Figure
    """
    figure, axes = _map_figure(_extent(field))
    axes.set_facecolor(MISSING)
    image = axes.imshow(
        field.to_numpy(), extent=_extent(field), origin=_origin(field), vmin=limits[0],
        vmax=limits[1], cmap=colors, interpolation="nearest",
    )  # fmt: skip
    figure.colorbar(image, ax=axes, extend=extend, shrink=0.8, label=label)
    _finish_map(axes, _extent(field))
    return figure


def class_map(field: xr.DataArray, classes: Mapping[str, str]) -> Figure:
    """Map classes; what is missing is grey.

    Parameters
    ----------
    field : DataArray (lat, lon)
        Number of a class; pixel centres on evenly spaced coordinates.
    classes : mapping
        Colour of each class by its name, in their order.

    Returns
    -------
    Figure
    """
    figure, axes = _map_figure(_extent(field))
    axes.set_facecolor(MISSING)
    image = axes.imshow(
        field.to_numpy(), extent=_extent(field), origin=_origin(field), vmin=-0.5,
        vmax=len(classes) - 0.5, cmap=ListedColormap(list(classes.values())),
        interpolation="nearest",
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=range(len(classes)))
    bar.ax.set_yticklabels(list(classes))
    _finish_map(axes, _extent(field))
    return figure


def series(table: pd.DataFrame) -> Figure:
    """Plot a station's SSM, observed and predicted, above the APEI of its pixel.

    Parameters
    ----------
    table : DataFrame
        One row a day, indexed by day: ``observed``, ``product`` and ``held_out`` in m3 m-3,
        ``apei`` in mm. Missing days are NaN and leave a gap.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    width = 1.1 if len(table) < 800 else 0.7
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(2.2, 1))
    if table["held_out"].notna().any():
        upper.plot(
            table["held_out"], color=ORANGE, linewidth=width, label="predicted without the station"
        )
    upper.plot(table["product"], color=BLUE, linewidth=width, label="product")
    upper.plot(table["observed"], ".", color=BLACK, markersize=2.5, label="observed")
    upper.set_ylabel("SSM, m³ m⁻³")
    upper.set_ylim(bottom=0)
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, markerscale=3)
    lower.axhline(0, color="#999999", linewidth=0.8)
    lower.plot(table["apei"], color=GREEN, linewidth=width)
    lower.set_ylabel("APEI, mm")
    lower.margins(x=0.01)
    locator = mdates.AutoDateLocator(maxticks=9)
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    for axes in (upper, lower):
        _clean(axes)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # Without Software=None the file names the matplotlib version and its home page.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _clean(axes: Axes) -> None:
    """Take away the frame that carries nothing."""
    axes.spines[["top", "right"]].set_visible(False)


def _origin(field: xr.DataArray) -> Literal["upper", "lower"]:
    """Tell imshow whether the first row is the north."""
    return "upper" if field.sizes["lat"] < 2 or field["lat"][0] > field["lat"][-1] else "lower"


def _edges(centres: NDArray[np.float64]) -> tuple[float, float]:
    """Outer edges of evenly spaced pixels, lower first."""
    step = abs(centres[-1] - centres[0]) / (len(centres) - 1) if len(centres) > 1 else 0.1
    return float(centres.min() - step / 2), float(centres.max() + step / 2)


def _extent(field: xr.DataArray) -> tuple[float, float, float, float]:
    """West, east, south, north edges of a map."""
    return *_edges(field["lon"].to_numpy()), *_edges(field["lat"].to_numpy())


def _frame_of(land: xr.DataArray, *places: pd.DataFrame) -> tuple[float, float, float, float]:
    """West, east, south, north of the land and of all stations, with a little air."""
    west, east, south, north = _extent(land)
    air = 0.02 * max(east - west, north - south)
    lon, lat = (pd.concat([place[name] for place in places]) for name in ("lon", "lat"))
    if len(lon):
        west, east = min(west, lon.min() - air), max(east, lon.max() + air)
        south, north = min(south, lat.min() - air), max(north, lat.max() + air)
    return west, east, south, north


def stretch(south: float, north: float) -> float:
    """Height of a degree north in degrees east; 1 (plate carree) for large parts of the globe."""
    return float(1 / np.cos(np.deg2rad((south + north) / 2))) if north - south < 60 else 1.0


def _map_figure(frame: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """Return a figure whose height suits a map of west, east, south, north."""
    west, east, south, north = frame
    height = 0.78 * WIDTH * stretch(south, north) * (north - south) / (east - west) + 0.6
    figure = Figure(figsize=(WIDTH, float(np.clip(height, 2.6, 6.5))), layout="compressed")
    return figure, figure.add_subplot()


def _finish_map(axes: Axes, frame: tuple[float, float, float, float]) -> None:
    """Show all of the frame in its proportions; after imshow, which sets its own."""
    axes.set(xlim=frame[:2], ylim=frame[2:], aspect=stretch(*frame[2:]))
    axes.xaxis.set_major_locator(MaxNLocator(6))  # long labels would touch
    axes.set_xlabel("longitude, degrees east")
    axes.set_ylabel("latitude, degrees north")


def _percentiles(values: NDArray[np.float32]) -> tuple[float, float]:
    """Limits of the colours: 2nd and 98th percentile, or the whole range where all is missing."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [2, 98])
    return float(low), float(max(high, low + 0.01))
