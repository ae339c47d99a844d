"""Opening and slicing a product of global size, beside yearly GeoTIFFs and a naive Zarr.

    python benchmarks/product.py [--years 21] [--folder FOLDER] [--json FILE]

The store has the layout of the globe over the years, but values in one tile of 480 pixels only, and
one day of overviews. The same tile lies in one GeoTIFF a year (a band a day, deflate, tiles of 512)
and in a Zarr whose chunks are one day. Each question is asked five times in a warm process (series
of GeoTIFFs once); the median is printed, by the clock and in CPU time, which other work on the
machine spoils less, with the bytes that one asking reads of files, as the system counts them, and
the requests that it would make of an object store. With --folder the stores, about 9 GB for 21
years, stay there and are found again.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
import zarr
from rasterio.transform import Affine
from rasterio.windows import Window
from zarr.storage import LocalStore, WrapperStore

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import Layers, create_product, open_product, series, write_block
from gssm_cube.product.overviews import LEVELS, create_levels, group_name, open_overview
from gssm_cube.storage.stores import array_of, codec, open_group
from gssm_cube.variables import FILL

TILE = Tile(10, 43)
TURNS = 5
SLOW = "series of one pixel, GeoTIFFs"  # is asked once, and not in a warm process


@dataclass
class Count:
    """Requests of a store."""

    requests: int = 0


COUNT = Count()


class CountingStore(WrapperStore[LocalStore]):
    """A store that counts what is read of it."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Read, and count."""
        found = await super().get(key, prototype, byte_range)
        COUNT.requests += 1
        return found

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        """Read parts, and count."""
        found = await super().get_partial_values(prototype, key_ranges)
        COUNT.requests += len(found)
        return found


def bytes_read() -> int:
    """Bytes that this process has read of files, from the disk or the system's cache."""
    about = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(about["rchar"])


def tile_codes(layout: Layout, start: int, days: int) -> np.ndarray:
    """Return codes of a tile that look like soil moisture: places, a season, some noise."""
    rng = np.random.default_rng(start)
    place = rng.integers(100, 400, (60, 60)).repeat(8, 0).repeat(8, 1)
    season = 60 * np.sin(2 * np.pi * np.arange(start, start + days) / 365.25)
    noise = rng.integers(0, 12, (days, 480, 480))
    return (place + season[:, np.newaxis, np.newaxis] + noise).astype("int16")


def write_forms(folder: Path, layout: Layout) -> None:
    """Write the tile in all forms, and one day of overviews."""
    store = folder / "ssm.zarr"
    create_product(store, layout, {})
    naive = zarr.create_array(
        str(folder / "naive.zarr"), shape=(layout.days, 480, 480), chunks=(1, 480, 480),
        dtype="int16", compressors=[codec()], dimension_names=("time", "lat", "lon"),
    )  # fmt: skip
    for window in layout.windows():
        codes = tile_codes(layout, window.start, window.days)
        write_block(
            store, layout, Block(TILE, window), Layers(codes, codes, codes.astype("uint16"))
        )
        naive[window.slice] = codes
        profile = {
            "driver": "GTiff", "width": 480, "height": 480, "count": window.days, "dtype": "uint16",
            "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
            "interleave": "band", "predictor": 2, "transform": Affine(1, 0, 0, 0, -1, 0),
        }  # fmt: skip
        with rasterio.open(folder / f"{window}.tif", "w", **profile) as image:
            image.write(codes.astype("uint16"))
    create_levels(store, layout)
    for level in LEVELS:
        array = array_of(open_group(store, "r+"), f"{group_name(level)}/ssm")
        day = np.random.default_rng(0).integers(100, 400, array.shape[1:]).astype("int16")
        day[: day.shape[0] // 3] = FILL
        array[0] = day


def read_geotiffs(folder: Path, window: Window, bands: slice = slice(None)) -> np.ndarray:
    """Read a window of all yearly GeoTIFFs."""
    parts = []
    for path in sorted(folder.glob("w*.tif")):
        with rasterio.open(path) as image:
            parts.append(image.read(list(range(1, image.count + 1))[bands], window=window))
    return np.concatenate(parts)


def open_counted(store: Path, group: str | None = None) -> xr.Dataset:
    """Open a store, or a group of it, by plain xarray; its requests are counted."""
    counting = CountingStore(LocalStore(store, read_only=True))
    return xr.open_zarr(counting, group=group, chunks=None, consolidated=False)


def counted_questions(store: Path) -> dict[str, Callable[[], Any]]:
    """Questions that are asked past zarr, or of a store opened anew, as plain xarray asks them."""
    return {
        "open": lambda: open_counted(store),
        "open by plain xarray": lambda: open_counted(store),
        "a day of the globe, 0.1 deg": lambda: open_counted(store, group_name(0.1)).ssm[0].values,
        "a day of the globe, 0.05 deg": lambda: open_counted(store, group_name(0.05)).ssm[0].values,
    }


def questions(folder: Path, layout: Layout) -> dict[str, Callable[[], Any]]:
    """Return each question by name; all of them read values to the end."""
    store = folder / "ssm.zarr"
    rows, cols = layout.tile_slices(TILE)
    lat, lon = float(layout.lat[rows.start + 200]), float(layout.lon[cols.start + 300])
    counted = open_counted(store)
    naive = zarr.open_array(str(folder / "naive.zarr"), mode="r")
    place = {"lat": lat, "lon": lon, "method": "nearest"}
    north, west = float(layout.lat[rows.start]), float(layout.lon[cols.start])
    tile = {"lat": slice(north, north - 4), "lon": slice(west, west + 4)}
    wide = {"lat": slice(north + 0.5, north - 4.5), "lon": slice(west - 0.5, west + 4.5)}
    return {
        "open": lambda: open_product(store),
        "open by plain xarray": lambda: xr.open_zarr(str(store), chunks=None, consolidated=False),
        "series of one pixel": lambda: counted.ssm.sel(**place).values,
        SLOW: lambda: read_geotiffs(folder, Window(300, 200, 1, 1)),
        "series of one pixel, naive Zarr": lambda: naive[:, 200, 300],
        "a year of one pixel": lambda: counted.ssm.sel(time="2001", **place).values,
        "a month of 5 x 5 deg, mean": lambda: (
            counted.ssm.sel(time="2001-07", **wide).mean("time").values
        ),
        "a day of 4 x 4 deg": lambda: counted.ssm.sel(time="2001-07-01", **tile).values,
        "a day of 4 x 4 deg, GeoTIFF": lambda: rasterio.open(folder / "w01.tif").read(182),
        "a day of 4 x 4 deg, naive Zarr": lambda: naive[547],
        "a day of the globe, 0.1 deg": lambda: open_overview(store, 0.1).ssm[0].values,
        "a day of the globe, 0.05 deg": lambda: open_overview(store, 0.05).ssm[0].values,
        "series of one pixel by series()": lambda: series(store, points_of(layout)[:1]),
        "1,000 series of a tile by series()": lambda: series(store, points_of(layout)),
    }


def points_of(layout: Layout) -> pd.DataFrame:
    """Return a thousand points of the tile."""
    rng = np.random.default_rng(0)
    rows, cols = layout.tile_slices(TILE)
    return pd.DataFrame(
        {
            "lat": layout.lat[rows.start + rng.integers(0, 480, 1000)],
            "lon": layout.lon[cols.start + rng.integers(0, 480, 1000)],
        }
    )


def main() -> None:
    """Write the stores, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=21)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    last = date(1999 + options.years, 12, 31)
    layout = Layout(Tile(0, 0), 45, 90, date(2000, 1, 1), last)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "written").exists():
            write_forms(folder, layout)
            (folder / "written").touch()
        counted = counted_questions(folder / "ssm.zarr")
        rows = [
            ask(name, work, counted.get(name, work))
            for name, work in questions(folder, layout).items()
        ]
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1))


def ask(name: str, work: Callable[[], Any], counted: Callable[[], Any]) -> dict[str, Any]:
    """Ask a question five times and print the median."""
    COUNT.requests = 0
    if name != SLOW:
        counted()
    requests, clock, cpu = COUNT.requests, [], []
    if name != SLOW:
        work()
    for _ in range(1 if name == SLOW else TURNS):
        begin, before = (time.perf_counter(), time.process_time()), bytes_read()
        work()
        size = bytes_read() - before
        clock.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
    ms, cpu_ms = (statistics.median(turns) * 1000 for turns in (clock, cpu))
    asked = f"{requests:6d} requests" if requests else ""
    line = f"{name:36s} {ms:9.1f} ms {cpu_ms:9.1f} ms CPU {size / 1e6:9.2f} MB {asked}"
    print(line, flush=True)
    return {
        "question": name, "ms": ms, "cpu_ms": cpu_ms, "requests": requests, "bytes": size,
    }  # fmt: skip


if __name__ == "__main__":
    main()
