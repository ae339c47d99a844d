"""What is shown, as files: the map as GeoTIFF or PNG, the series as CSV."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import xarray as xr
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds
from tornado.web import HTTPError, RequestHandler

from gssm_cube.plots import figures
from gssm_cube.product.export import NODATA
from gssm_cube.product.point_series import find_days
from gssm_cube.variables import FILL, SSM
from gssm_cube.view.layers import CLASSES, QUALITY, STYLES, TITLES
from gssm_cube.view.maps import Atlas, Box, DayMap
from gssm_cube.view.places import Stations, read_pixel, series_table

KINDS = {"map.tif": "image/tiff", "map.png": "image/png", "series.csv": "text/csv"}
Ask = Callable[[str], str]


class Download(RequestHandler):
    """Answers ``download/map.tif?layer=ssm&day=2019-07-01&box=2,40,4,42`` and others."""

    def initialize(self, atlas: Atlas, stations: Stations) -> None:
        """Take what all answers come from."""
        self.atlas, self.stations = atlas, stations

    def prepare(self) -> None:
        """Answer pages of this machine only: a name of elsewhere may have been pointed at it."""
        if self.request.host_name not in ("localhost", "127.0.0.1", "[::1]"):
            raise HTTPError(403)

    def get(self, name: str) -> None:
        """Send a file."""
        try:
            stem, content = answer(self.atlas, self.stations, name, self.get_query_argument)
        except (ValueError, OverflowError) as error:
            self.set_status(400)
            self.finish(f"{error}\n")
            return
        self.set_header("Content-Type", KINDS[name])
        self.set_header("Content-Disposition", f'attachment; filename="{stem}"')
        self.finish(content)


def answer(atlas: Atlas, stations: Stations, name: str, ask: Ask) -> tuple[str, bytes]:
    """Return a file's name and content.

    Parameters
    ----------
    name : str
        One of ``KINDS``.
    ask : callable
        Gives an argument by its name: ``layer``, ``day``, ``box`` of a map; ``lat``, ``lon``,
        ``first_day``, ``last_day`` of a series.

    Raises
    ------
    ValueError
        If an argument says nothing that there is.
    """
    if name == "series.csv":
        lat, lon = float(ask("lat")), float(ask("lon"))
        days = find_days(atlas.layout, _day(ask("first_day")), _day(ask("last_day")))
        return f"ssm_{lat:.4f}_{lon:.4f}.csv", series_csv(atlas, stations, lat, lon, days)
    layer, day = ask("layer"), _day(ask("day"))
    if layer not in TITLES:
        raise ValueError(f"layer is {layer!r}, expected one of {list(TITLES)}")
    number = find_days(atlas.layout, day, day).start
    found = atlas.read(layer, number, _box(ask("box")), thin=name == "map.png")
    if not found.codes.size:
        raise ValueError("the product has nothing in this box; move the map")
    write = map_tif if name == "map.tif" else map_png
    return f"{layer}_{day}.{name[-3:]}", write(found, layer, day)


def _day(text: str) -> date:
    """Return a day of the form 2019-07-01."""
    return date.fromisoformat(text)


def _box(text: str) -> Box:
    """Return west, south, east, north."""
    west, south, east, north = (float(part) for part in text.split(","))
    return west, south, east, north


def series_csv(atlas: Atlas, stations: Stations, lat: float, lon: float, days: slice) -> bytes:
    """Return a row a day: the layers of the pixel, and what stations near it observed.

    Parameters
    ----------
    lat, lon : float, degrees
    days : slice
        Of the product's.
    """
    place = read_pixel(atlas, lat, lon)
    table = series_table(place, stations.near(place.lat, place.lon)).iloc[days]
    return table.to_csv(float_format="%.4f", date_format="%Y-%m-%d").encode()


def map_tif(found: DayMap, layer: str, day: date) -> bytes:
    """Return a GeoTIFF of codes, as `gssm export` packs them: uint16 x 1000, 65535 for no value.

    Quality keeps its bits, and has no such number.
    """
    height, width = found.codes.shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "uint16",
        "crs": "EPSG:4326", "transform": from_bounds(*found.bounds, width, height),
        "compress": "deflate", "predictor": 2,
    }  # fmt: skip
    codes = found.codes
    if layer != QUALITY:
        profile["nodata"] = NODATA
        codes = np.where(codes == FILL, np.uint16(NODATA), codes)
    with MemoryFile() as memory:
        with memory.open(**profile) as image:
            image.write(codes.astype("uint16"), 1)
            image.descriptions = [f"{layer} {day}"]
            if layer != QUALITY:
                image.scales, image.units = (SSM.packing.scale,), (SSM.units,)
        return bytes(memory.read())


def map_png(found: DayMap, layer: str, day: date) -> bytes:
    """Return a picture with title, axes and key."""
    west, south, east, north = found.bounds
    rows, cols = found.values.shape
    half = (north - south) / rows / 2, (east - west) / cols / 2
    coords = {
        "lat": np.linspace(north - half[0], south + half[0], rows),
        "lon": np.linspace(west + half[1], east - half[1], cols),
    }
    field = xr.DataArray(found.values, coords, ("lat", "lon"))
    if layer == QUALITY:
        figure = figures.class_map(field, {name: color for name, (color, _) in CLASSES.items()})
    else:
        style = STYLES[layer]
        figure = figures.field_map(field, style.label, style.colors, style.limits, "max")
    figure.axes[0].set_title(f"{TITLES[layer]}, {day}")
    return figures.png(figure)
