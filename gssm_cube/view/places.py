"""The series of a place, and what stations near it have seen."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gssm_cube.insitu.station_tables import read_days_of
from gssm_cube.plots.station_summary import station_list
from gssm_cube.product.derived import ENDS, interval_ends, interval_of
from gssm_cube.product.point_series import find_pixels
from gssm_cube.statistics.sphere import nearest_km
from gssm_cube.storage.shards import read_box
from gssm_cube.variables import SSM, SSM_SPREAD
from gssm_cube.view.maps import Atlas

REACH = 25.0  # km
MOST = 3  # stations beside a series


class PixelSeries(NamedTuple):
    """A pixel and its series.

    Parameters
    ----------
    lat, lon : float, degrees
        Centre of the pixel.
    days : DataFrame (time)
        ``ssm``, ``ssm_lower``, ``ssm_upper``, ``ssm_spread`` in m3 m-3, and ``quality``, bits.
    """

    lat: float
    lon: float
    days: pd.DataFrame


class Neighbour(NamedTuple):
    """A station near a place: its name, how far it is, and what it observed, m3 m-3 by day."""

    station: str
    km: float
    observed: pd.Series


def read_pixel(atlas: Atlas, lat: float, lon: float) -> PixelSeries:
    """Read the series of the pixel that holds a place.

    Raises
    ------
    ValueError
        If it lies outside the product.
    """
    place = pd.DataFrame({"lat": [lat], "lon": [lon]}, index=[f"{lat:g}, {lon:g}"])
    rows, cols = find_pixels(atlas.layout, place)
    row, col = int(rows[0]), int(cols[0])
    box = (slice(0, atlas.layout.days), slice(row, row + 1), slice(col, col + 1))
    codes = {name: read_box(a, box)[:, 0, 0] for name, a in atlas.levels[0].arrays.items()}
    found = {"ssm": codes["ssm"]}
    interval = interval_of(atlas.root.attrs)
    for name, sign in ENDS.items() if interval else ():
        factor, floor = sign * interval["factor"], interval["floor"]
        found[name] = interval_ends(codes["ssm"], codes["ssm_spread"], factor, floor)
    days = pd.DataFrame(
        {
            **{name: SSM.packing.decode(values) for name, values in found.items()},
            "ssm_spread": SSM_SPREAD.packing.decode(codes["ssm_spread"]),
            "quality": codes["quality"],
        },
        index=pd.DatetimeIndex(atlas.layout.time.astype("datetime64[ns]"), name="time"),
    )
    return PixelSeries(float(atlas.layout.lat[row]), float(atlas.layout.lon[col]), days)


class Stations:
    """The stations of a table, as `gssm stations` writes it, whose days are read when asked for."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @cached_property
    def places(self) -> pd.DataFrame:
        """``station``, ``network``, ``lat``, ``lon`` (deg) and ``days``, one row a station."""
        if self.path is None:
            return pd.DataFrame({name: [] for name in ("station", "network", "lat", "lon", "days")})
        return station_list(self.path)

    def near(self, lat: float, lon: float) -> list[Neighbour]:
        """Return the nearest stations within 25 km, three at most, and what they observed."""
        if self.path is None or self.places.empty:
            return []
        km = nearest_km(self.places["lat"], self.places["lon"], [lat], [lon])
        here = self.places.assign(km=km)
        here = here[here["km"] <= REACH].nsmallest(MOST, "km")
        if here.empty:
            return []
        days = read_days_of(self.path, here["station"].to_list()).dropna(subset="observed")
        days = days.assign(time=days["time"].astype("datetime64[ns]")).set_index("time")
        by_station = {
            str(name): of["observed"].sort_index() for name, of in days.groupby("station")
        }
        found = zip(here["station"].astype(str), here["km"], strict=True)
        return [Neighbour(name, km, by_station[name]) for name, km in found if name in by_station]


def series_table(place: PixelSeries, neighbours: list[Neighbour]) -> pd.DataFrame:
    """Return a row a day: the pixel's layers, and a column for each station near it."""
    columns = {f"observed {other.station}": other.observed for other in neighbours}
    return place.days.join(pd.DataFrame(columns)) if columns else place.days
