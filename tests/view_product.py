"""A small product with overviews and an interval, and stations, for the tests of its page."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.insitu.station_tables import write_stations
from gssm_cube.product import Layers, create_product, write_block
from gssm_cube.product.overviews import write_overviews
from gssm_cube.variables import FILL

# Two tiles side by side in the Atlantic, two months.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2019, 1, 20), date(2019, 3, 20), 48)
WEST, SOUTH, EAST, NORTH = LAYOUT.bounds
INTERVAL = {"level": 0.9, "factor": 1.5, "floor": 0.05}
COAST = WEST + 0.2  # sea lies west of it


def write_view_product(folder: Path) -> Path:
    """Write product, overviews and station table; return the product."""
    store = folder / "ssm.zarr"
    create_product(store, LAYOUT, {"interval": json.dumps(INTERVAL), "title": "A small world"})
    rng = np.random.default_rng(0)
    for tile in LAYOUT.tiles():
        rows, cols = LAYOUT.tile_slices(tile)
        sea = np.broadcast_to(LAYOUT.lon[cols] < COAST, (48, 48))
        for window in LAYOUT.windows():
            write_block(store, LAYOUT, Block(tile, window), _layers(rng, window.days, sea))
    write_overviews(store)
    stations = pd.concat([_station("NET/near", 0.30, 0.2), _station("NET/far", 0.75, 0.3)])
    stations = stations.reset_index(drop=True)
    stations.attrs["day"] = "UTC"
    counts = pd.DataFrame({"network": ["NET"], "reason": ["kept"], "rows": [len(stations)]})
    write_stations(stations, counts, folder / "stations.parquet")
    return store


def _layers(rng: np.random.Generator, days: int, sea: np.ndarray) -> Layers:
    """Random layers: sea in the west, one frozen day in ten, a quarter of LST filled."""
    codes = rng.integers(100, 450, (days, 48, 48)).astype("int16")
    spread = rng.integers(5, 60, codes.shape).astype("int16")
    quality = np.where(rng.random(codes.shape) < 0.25, PRODUCT_FLAGS["lst_filled"], 0)
    quality[5::10] |= PRODUCT_FLAGS["frozen"]
    codes[5::10] = FILL
    codes[:, sea], quality[:, sea] = FILL, 0
    spread[codes == FILL] = FILL
    return Layers(codes, spread, quality.astype("uint16"))


def _station(name: str, east: float, observed: float) -> pd.DataFrame:
    """A month of a station so many degrees from the western edge, in the middle of the north."""
    time = pd.date_range("2019-03-01", "2019-03-31", unit="us")
    table = {
        "network": "NET", "station": name, "lat": NORTH - 0.2, "lon": WEST + east,
        "elevation": 1.0, "time": time, "observed": observed, "hours": 24, "sensors": 1,
        "spread": 0.0, "koeppen": "Cfb", "land_cover": "grass",
    }  # fmt: skip
    return pd.DataFrame(table)
