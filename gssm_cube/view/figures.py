"""The two figures of the page as Bokeh models: the map, and the series of a place."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
from bokeh.core.properties import value
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    HoverTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from gssm_cube.grid import Layout
from gssm_cube.plots.figures import stretch
from gssm_cube.view.layers import CLASSES, STYLES, words_of
from gssm_cube.view.maps import Box, DayMap
from gssm_cube.view.places import MOST, Neighbour, PixelSeries

BLUE, SEA, INK = "#0072B2", "#e4e4e1", "#1c1c1c"
STATION_STYLES = (("circle", "#D55E00"), ("triangle", "#009E73"), ("square", "#CC79A7"))
TOP = 0.5  # m3 m-3, of a series without values
NONE = "rgba(0,0,0,0)"
NOTHING = pd.Series(dtype="float64", index=pd.DatetimeIndex([]))


class MapFigure:
    """The map with its colour bar, stations and the chosen place."""

    def __init__(self) -> None:
        self.image = ColumnDataSource(
            {n: [] for n in ("image", "x", "y", "dw", "dh")}, name="map_image"
        )
        self.stations = ColumnDataSource({"lon": [], "lat": [], "name": []}, name="station_marks")
        self.place = ColumnDataSource({"lon": [], "lat": []}, name="place_mark")
        self.mapper = LinearColorMapper(nan_color=NONE)
        self.size = {"inner_width": 600, "inner_height": 400}  # screen pixels, until they are known
        self.figure = figure(
            name="map", sizing_mode="stretch_width", height=460, tools="pan,box_zoom,wheel_zoom",
            active_scroll="wheel_zoom", x_range=Range1d(0, 1), y_range=Range1d(0, 1),
            x_axis_label="longitude, degrees east", y_axis_label="latitude, degrees north",
            background_fill_color=SEA,
        )  # fmt: skip
        self.figure.toolbar.logo = None
        self.figure.grid.visible = False
        picture = self.figure.image(source=self.image, color_mapper=self.mapper)
        dots = self.figure.scatter(
            "lon", "lat", source=self.stations, marker="triangle", size=9, fill_color="#ffffff",
            line_color=INK, line_width=1.5,
        )  # fmt: skip
        self.figure.scatter(
            "lon", "lat", source=self.place, marker="cross", size=22, line_color="#ffffff",
            line_width=5,
        )  # fmt: skip
        self.figure.scatter(
            "lon", "lat", source=self.place, marker="cross", size=20, line_color="#D55E00",
            line_width=2.5,
        )  # fmt: skip
        self.picture_tips = HoverTool(renderers=[picture])
        self.figure.add_tools(
            self.picture_tips, HoverTool(renderers=[dots], tooltips=[("station", "@name")])
        )
        self.bar = ColorBar(color_mapper=self.mapper, orientation="horizontal", height=12)
        self.figure.add_layout(self.bar, "below")

    def dress(self, layer: str) -> None:
        """Take the colours of a layer; classes of quality have their key beside the map."""
        style = STYLES.get(layer)
        self.bar.visible = style is not None
        place = ("longitude, latitude", "$x{0.000}, $y{0.000}")
        if style is None:
            colors = [color for color, _ in CLASSES.values()]
            self.mapper.update(palette=colors, low=-0.5, high=len(colors) - 0.5)
            self.picture_tips.tooltips = [place]
            return
        self.mapper.update(palette=style.palette, low=style.limits[0], high=style.limits[1])
        self.bar.title = style.label
        self.picture_tips.tooltips = [(style.title, "@image{0.000} m³ m⁻³"), place]

    def show(self, day_map: DayMap) -> None:
        """Put another image."""
        west, south, east, north = day_map.bounds
        rows = day_map.values[::-1]  # Bokeh draws from the south
        self.image.data = {
            "image": [rows] if rows.size else [],
            **{
                name: [value] if rows.size else []
                for name, value in (
                    ("x", west), ("y", south), ("dw", east - west), ("dh", north - south),
                )
            },
        }  # fmt: skip

    @property
    def box(self) -> Box:
        """What is in view."""
        x, y = self.figure.x_range, self.figure.y_range
        return x.start, y.start, x.end, y.end

    def frame(self, box: Box) -> None:
        """Show a box, widened to the figure's form: a kilometre is as long north as east."""
        west, south, east, north = box
        lat = (south + north) / 2
        tall = stretch(south, north)
        wide, high = self.size["inner_width"], self.size["inner_height"]
        degrees = max((east - west) / wide, (north - south) * tall / high)  # a screen pixel
        half = degrees * wide / 2, degrees * high / tall / 2
        middle = (west + east) / 2
        self.figure.x_range.update(start=middle - half[0], end=middle + half[0])
        self.figure.y_range.update(start=lat - half[1], end=lat + half[1])


@dataclass
class _StationDots:
    """What one station observed."""

    source: ColumnDataSource
    item: LegendItem


class SeriesFigure:
    """The series of a place with its band, what stations near it saw, and the day of the map."""

    def __init__(self, layout: Layout) -> None:
        first, last = layout.time[0] - 1, layout.time[-1] + 2
        names = ("time", "ssm", "lower", "upper", "flags")
        self.days = ColumnDataSource({name: [] for name in names}, name="series")
        self.band = ColumnDataSource({"xs": [], "ys": []}, name="band")
        self.figure = figure(
            name="series_figure", sizing_mode="stretch_width", height=340, x_axis_type="datetime",
            tools="xpan,box_zoom,xwheel_zoom,reset", y_axis_label="soil moisture, m³ m⁻³",
            x_range=Range1d(_milliseconds(first), _milliseconds(last)),
            y_range=Range1d(0.0, TOP), title="Pixel", visible=False,
        )  # fmt: skip
        self.figure.toolbar.logo = None
        band = self.figure.patches(
            "xs", "ys", source=self.band, color=BLUE, alpha=0.18, line_width=0
        )
        line = self.figure.line("time", "ssm", source=self.days, color=BLUE, line_width=1.5)
        self.figure.add_tools(
            HoverTool(
                renderers=[line], mode="vline", formatters={"@time": "datetime"},
                tooltips=[
                    ("day", "@time{%F}"), ("soil moisture", "@ssm{0.000} m³ m⁻³"),
                    ("90 % interval", "@lower{0.000} to @upper{0.000}"), ("noted", "@flags"),
                ],
            )
        )  # fmt: skip
        self.day = Span(dimension="height", line_color=INK, line_dash="dashed", visible=False)
        self.figure.add_layout(self.day)
        self.dots = [self._add_dots(*style) for style in STATION_STYLES[:MOST]]
        self.items = [
            LegendItem(label="estimate", renderers=[line]),
            LegendItem(label="90 % interval", renderers=[band]),
        ]
        self.legend = Legend(items=self.items, location="left", border_line_color=None)
        self.figure.add_layout(self.legend, "below")

    @property
    def period(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last day in view."""
        span = self.figure.x_range
        first, last = (np.datetime64(round(end), "ms") for end in (span.start, span.end))
        return first.astype("datetime64[D]"), last.astype("datetime64[D]")

    def mark(self, day: np.datetime64) -> None:
        """Mark the day that the map shows."""
        self.day.update(location=_milliseconds(day), visible=True)

    def _add_dots(self, marker: str, color: str) -> _StationDots:
        """Add the dots of one station, none as yet."""
        source = ColumnDataSource({"time": [], "observed": []})
        dots = self.figure.scatter(
            "time", "observed", source=source, marker=marker, size=4, color=color, alpha=0.7
        )
        return _StationDots(source, LegendItem(label="", renderers=[dots]))

    def show(self, place: PixelSeries, neighbours: Sequence[Neighbour]) -> None:
        """Put the series of another place and its stations."""
        days = place.days
        unknown = pd.Series(np.nan, days.index)
        ends = {name: days.get(f"ssm_{name}", unknown).to_numpy() for name in ("lower", "upper")}
        flags = {bits: words_of(int(bits)) for bits in days["quality"].unique()}
        self.days.data = {
            "time": days.index.to_numpy(), "ssm": days["ssm"].to_numpy(), **ends,
            "flags": days["quality"].map(flags).to_list(),
        }  # fmt: skip
        xs, ys = band_outlines(days.index.to_numpy(), ends["lower"], ends["upper"])
        self.band.data = {"xs": xs, "ys": ys}
        items = list(self.items)
        for dots, other in zip_longest(self.dots, neighbours):
            observed = NOTHING if other is None else other.observed
            dots.source.data = {"time": observed.index.to_numpy(), "observed": observed.to_numpy()}
            if other is not None:
                dots.item.label = value(f"observed at {other.station} ({other.km:.1f} km)")
                items.append(dots.item)
        self.legend.items = items
        shown = [days["ssm"], pd.Series(ends["upper"]), *(other.observed for other in neighbours)]
        top = pd.Series([values.max() for values in shown]).max()
        self.figure.y_range.end = TOP if pd.isna(top) else 1.05 * float(top)


def _milliseconds(day: np.datetime64) -> float:
    """Return a day as Bokeh's axes count."""
    return float(day.astype("datetime64[ms]").astype("int64"))


def band_outlines(
    time: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the outlines of the interval, one for each run of days without a gap.

    Parameters
    ----------
    time : (time,) datetime64
    lower, upper : (time,) float, m3 m-3
        NaN on the same days.

    Returns
    -------
    xs, ys : list of arrays
        Along the lower ends and back along the upper ones, from half a day before the run's
        first day to half a day after its last.
    """
    known = np.concatenate([[False], np.isfinite(lower), [False]])
    starts, stops = (np.flatnonzero(np.diff(known.astype("int8")) == sign) for sign in (1, -1))
    half = np.timedelta64(12, "h")
    xs, ys = [], []
    for run in map(slice, starts, stops):
        days = time[run]
        along = np.concatenate([[days[0] - half], days, [days[-1] + half]])
        low, high = (np.pad(end[run], 1, mode="edge") for end in (lower, upper))
        xs.append(np.concatenate([along, along[::-1]]))
        ys.append(np.concatenate([low, high[::-1]]))
    return xs, ys
