"""The page: its fields and buttons, and what happens when they are used."""

import html
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
from bokeh.document import Document
from bokeh.events import RangesUpdate, Tap, ValueSubmit
from bokeh.models import Button, DateSlider, Div, Select, TextInput

from gssm_cube.view.figures import MapFigure, SeriesFigure
from gssm_cube.view.layers import CLASSES, QUALITY, TITLES
from gssm_cube.view.maps import Atlas, Box, DayMap
from gssm_cube.view.places import PixelSeries, Stations, read_pixel

ZOOM = 2.0
LATENCY_MS = 120  # a wheel that turns asks for one map, not for ten
WORDS_CSS = """
h2 { font-size: 1.2em; margin: 0; }
p { margin: .1em 0 .4em; }
ul { display: flex; flex-wrap: wrap; gap: .3em 1.2em; margin: .2em 0; padding: 0; }
li { list-style: none; }
span { border: 1px solid #777; display: inline-block; margin-right: .4em; }
span { height: .9em; width: .9em; }
"""


class Page:
    """One visitor's page.

    Parameters
    ----------
    doc : Document
        Gets the fields and figures, each by its name for the template.
    atlas : Atlas
    stations : Stations
    """

    def __init__(self, doc: Document, atlas: Atlas, stations: Stations) -> None:
        self.doc, self.atlas, self.stations = doc, atlas, stations
        self.layout = atlas.layout
        self.day = self.layout.days // 2
        self.place: PixelSeries | None = None
        self.box: Box = self.layout.bounds  # what was asked for; the figure shows a little more
        self.map, self.series = MapFigure(), SeriesFigure(self.layout)
        self._waiting: Any = None
        self._make_fields()
        self._connect()
        for model in (*self.fields, self.map.figure, self.series.figure):
            doc.add_root(model)
        doc.title = str(atlas.root.attrs.get("title", "Surface soil moisture"))
        self.map.dress(self.layer.value)
        self.map.frame(self.box)
        self._mark_stations()
        self.set_day(self.day)

    def _make_fields(self) -> None:
        """Make what can be typed in and pressed."""
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        first, last = self.layout.first_day, self.layout.last_day
        self.day_field = TextInput(name="day", title="Day, UTC (year-month-day)", **wide)
        self.slider = DateSlider(
            name="slider", title="Or slide to a day", start=first, end=last, value=first,
            step=1, show_value=False, **wide,
        )  # fmt: skip
        self.before = Button(name="before", label="◀ Day before", **wide)
        self.after = Button(name="after", label="Day after ▶", **wide)
        self.layer = Select(
            name="layer",
            title="Layer of the map",
            options=list(TITLES.items()),
            value="ssm",
            **wide,
        )
        self.lat = TextInput(name="lat", title="Latitude, ° N", **wide)
        self.lon = TextInput(name="lon", title="Longitude, ° E", **wide)
        self.go = Button(name="go", label="Show the series", button_type="primary", **wide)
        self.closer = Button(name="closer", label="Zoom in", **wide)
        self.farther = Button(name="farther", label="Zoom out", **wide)
        self.whole = Button(name="whole", label="All of it", **wide)
        words = ("message", "caption", "key", "links")
        self.message, self.caption, self.key, self.links = (
            Div(name=name, stylesheets=[WORDS_CSS], **wide) for name in words
        )
        self.fields = [
            self.day_field, self.slider, self.before, self.after, self.layer, self.lat, self.lon,
            self.go, self.closer, self.farther, self.whole, self.message, self.caption, self.key,
            self.links,
        ]  # fmt: skip

    def _connect(self) -> None:
        """Say what happens when fields are used; in one place, as events have no order."""
        self.day_field.on_change("value", lambda _, old, new: self.ask_day(new))
        self.slider.on_change("value_throttled", lambda _, old, new: self._slid(new))
        self.before.on_click(lambda: self.set_day(self.day - 1))
        self.after.on_click(lambda: self.set_day(self.day + 1))
        self.layer.on_change("value", lambda _, old, new: self._take_layer(new))
        self.go.on_click(self.ask_place)
        for field in (self.lat, self.lon):
            field.on_event(ValueSubmit, lambda event: self.ask_place())
        self.closer.on_click(lambda: self.zoom(1 / ZOOM))
        self.farther.on_click(lambda: self.zoom(ZOOM))
        self.whole.on_click(lambda: self._frame(self.layout.bounds))
        for name in self.map.size:
            self.map.figure.on_change(name, lambda name, _, new: self._resized(name, new))
        self.map.figure.on_event(RangesUpdate, lambda event: self._later(self._moved))
        self.map.figure.on_event(Tap, lambda event: self.tap(event.x, event.y))
        self.series.figure.on_event(RangesUpdate, lambda event: self._show_links())

    # ---- the day and the map ------------------------------------------------------------------

    def ask_day(self, text: str) -> None:
        """Take the day that was typed, or say what is wrong with it."""
        first, last = self.layout.first_day, self.layout.last_day
        try:
            day = (date.fromisoformat(text.strip()) - first).days
        except ValueError:
            self.tell(f"The day is “{text}”, expected year-month-day such as {first}.")
            return
        if not 0 <= day < self.layout.days:
            self.tell(f"The product has no {text}: it spans {first} to {last}.")
            return
        if day == self.day:
            self.tell("")  # what was said of another text in the field
        else:
            self.set_day(day)

    def _slid(self, milliseconds: float) -> None:
        """Take the day that the slider stands at."""
        day = np.datetime64(int(milliseconds), "ms").astype("datetime64[D]")
        self.set_day(int((day - self.layout.time[0]).astype(int)))

    def set_day(self, day: int) -> None:
        """Show another day; before the first and after the last there is none."""
        self.day = min(max(day, 0), self.layout.days - 1)
        self.day_field.value = str(self.shown_day)
        self.slider.value = self.shown_day
        self.series.mark(self.layout.time[self.day])
        self.show_map()

    @property
    def shown_day(self) -> date:
        """The day that is shown."""
        return self.layout.first_day + timedelta(days=self.day)

    def _take_layer(self, layer: str) -> None:
        """Show another layer."""
        self.map.dress(layer)
        self.show_map()

    def show_map(self) -> None:
        """Read what is in view and show it."""
        layer = str(self.layer.value)
        found = self.atlas.read(layer, self.day, self.map.box)
        self.map.show(found)
        self.caption.text = (
            f"<h2>{TITLES[layer]} on {self.shown_day}</h2><p>{_cells(found)}; grey: no value.</p>"
        )
        self.key.text = _key() if layer == QUALITY else ""
        self.tell("")
        self._show_links()

    def zoom(self, factor: float) -> None:
        """Show more or less, round the chosen place or the middle of the map."""
        west, south, east, north = self.map.box
        lon, lat = (west + east) / 2, (south + north) / 2
        if self.place is not None and factor < 1:
            lon, lat = self.place.lon, self.place.lat
        half = (east - west) / 2 * factor, (north - south) / 2 * factor
        self._frame((lon - half[0], lat - half[1], lon + half[0], lat + half[1]))

    def _frame(self, box: Box) -> None:
        """Show a box."""
        self.box = box
        self._fit()

    def _fit(self) -> None:
        """Show the box in the figure as large as it is."""
        self.map.frame(self.box)
        self.show_map()

    def _resized(self, name: str, pixels: int) -> None:
        """Fit the map to its new size; a page that is being closed has none."""
        if pixels > 0:
            self.map.size[name] = pixels
            self._later(self._fit)

    def _moved(self) -> None:
        """Take the box to which the map was dragged or zoomed."""
        self.box = self.map.box
        self.show_map()

    def _later(self, work: Callable[[], None]) -> None:
        """Do something when nothing has happened for a moment."""
        if self._waiting is not None:
            self.doc.remove_timeout_callback(self._waiting)

        def now() -> None:
            self._waiting = None
            work()

        self._waiting = self.doc.add_timeout_callback(now, LATENCY_MS)

    def _mark_stations(self) -> None:
        """Mark the stations inside the product."""
        west, south, east, north = self.layout.bounds
        places = self.stations.places
        inside = places["lon"].between(west, east) & places["lat"].between(south, north)
        here = places[inside]
        self.map.stations.data = {
            "lon": here["lon"].to_list(), "lat": here["lat"].to_list(),
            "name": here["station"].to_list(),
        }  # fmt: skip

    # ---- the place and its series -------------------------------------------------------------

    def tap(self, lon: float, lat: float) -> None:
        """Take the place that was clicked."""
        self.lat.value, self.lon.value = f"{lat:.4f}", f"{lon:.4f}"
        self.ask_place()

    def ask_place(self) -> None:
        """Show the series of the place that stands in the fields, or say what is wrong with it."""
        try:
            lat, lon = (float(field.value.strip()) for field in (self.lat, self.lon))
        except ValueError:
            self.tell("Give latitude and longitude as numbers, such as 42.8 and -31.1.")
            return
        try:
            place = read_pixel(self.atlas, lat, lon)
        except ValueError as error:
            self.tell(f"{error}.")
            return
        self.place = place
        self.series.show(place, self.stations.near(place.lat, place.lon))
        self.map.place.data = {"lon": [place.lon], "lat": [place.lat]}
        known = bool(place.days["ssm"].notna().any())
        self.series.figure.visible = known
        self.series.figure.title.text = (
            f"Pixel at {_degrees(place.lat, 'NS')}, {_degrees(place.lon, 'EW')}"
        )
        self.tell(
            "" if known else "This pixel has no value on any day: it is sea, or not predicted."
        )
        self._show_links()

    # ---- words --------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """Say what is wrong, or take it back."""
        self.message.text = f"<p>{html.escape(text)}</p>" if text else ""

    def _show_links(self) -> None:
        """Point the links to what is shown."""
        of_map = {
            "layer": self.layer.value, "day": self.shown_day,
            "box": ",".join(f"{edge:.5f}" for edge in self.map.box),
        }  # fmt: skip
        links = [("Map as GeoTIFF", "map.tif", of_map), ("Map as PNG", "map.png", of_map)]
        if self.place is not None:
            links.append(("Series as CSV", "series.csv", self._series_query(self.place)))
        places = ((words, html.escape(f"{name}?{urlencode(of)}")) for words, name, of in links)
        items = (f'<li><a href="download/{to}" download>{words}</a></li>' for words, to in places)
        self.links.text = f"<ul>{''.join(items)}</ul>"

    def _series_query(self, place: PixelSeries) -> dict[str, Any]:
        """Return the place and the period that is in view."""
        query: dict[str, Any] = {"lat": f"{place.lat:.6f}", "lon": f"{place.lon:.6f}"}
        for name, day in zip(("first_day", "last_day"), self.series.period, strict=True):
            query[name] = str(min(max(day, self.layout.time[0]), self.layout.time[-1]))
        return query


def _degrees(value: float, sides: str) -> str:
    """Return 31.1° W for -31.1 and "EW"."""
    return f"{abs(value):.4f}° {sides[value < 0]}"


def _cells(found: DayMap) -> str:
    """Say what the map is made of, and whether there is anything."""
    cells = f"cells of {found.degrees:g}°" if found.level > 1 else "pixels of 1 km"
    thinned = f", one of {found.step} shown each way" if found.step > 1 else ""
    none = "" if np.isfinite(found.values).any() else " (no value in view on this day)"
    return f"{cells}{thinned}{none}"


def _key() -> str:
    """Return the key of the classes of quality."""
    items = (
        f'<li><span style="background:{color}"></span>{html.escape(name)}</li>'
        for name, (color, _) in CLASSES.items()
    )
    return f"<ul>{''.join(items)}</ul>"
