"""A feature cube of the real layout that holds values only where stations read, and their table.

Also the two judges of reading: a store that counts what is read from it, and the least that any
reader must read, worked out from the table and the shards' own indexes alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import zarr
from zarr.storage import LocalStore

from gssm_cube.cube import CELL_CHUNK, COMPOSITES_A_YEAR, create_cube
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.storage import shards
from gssm_cube.variables import names_of

LEAD = 32  # days from the first composite to the first day


def composite_starts(layout: Layout) -> np.ndarray:
    """Start dates, every 16 days, from before the first day until after the last."""
    return layout.time[0] - LEAD + 16 * np.arange((layout.days + LEAD) // 16 + 2)


def station_table(layout: Layout, places: list[tuple[int, int]], every: int = 1) -> pd.DataFrame:
    """Return a row for every so many days at each (row, col) of the store."""
    days = layout.time[::every]
    rows, cols = (np.repeat(part, days.size) for part in np.array(places).T)
    table = pd.DataFrame(
        {
            "network": "NET",
            "station": [f"NET/{n:03d}" for n in np.repeat(np.arange(len(places)), days.size)],
            "lat": layout.lat[rows],
            "lon": layout.lon[cols],
            "time": np.tile(days.astype("M8[us]"), len(places)),
            "observed": 0.2,
        }
    )
    table.attrs["day"] = "UTC"
    return table


def write_sparse_cube(store: Path, layout: Layout, places: list[tuple[int, int]]) -> None:
    """Create the cube and fill the inner chunks and cells that stations at places need."""
    create_cube(store, layout, composite_starts(layout), {"gssm_day": "UTC"})
    root = zarr.open_group(str(store), mode="r+")
    rng = np.random.default_rng(3)
    chunks = sorted({(row // CHUNK_PIXELS, col // CHUNK_PIXELS) for row, col in places})
    for row, col in chunks:
        box = tuple(slice(48 * n, 48 * n + 48) for n in (row, col))
        for name in names_of("static"):
            root[f"static/{name}"][box] = rng.integers(0, 9000, (48, 48)).astype("int16")
        for name in names_of("climatology"):
            root[f"climatology/{name}"][box] = rng.integers(0, 9000, (48, 48)).astype("int16")
        root["static/land"][box] = 1
        for name in names_of("composite"):
            shape = (root[f"composite/{name}"].shape[0], 48, 48)
            root[f"composite/{name}"][(slice(None), *box)] = rough(rng, shape, 200)
        for window in layout.windows():
            values = rough(rng, (window.days, 48, 48), 120)
            root["daily/lst"][(window.slice, *box)] = values
    shape = root["meteo/cells"].shape
    for window in layout.windows():
        cells = rough(rng, (shape[0], window.days, *shape[2:]), 40)
        root["meteo/cells"][:, window.slice] = cells
    climate = root["meteo/climate"]
    climate[:] = rng.integers(0, 9000, climate.shape).astype("int16")


def rough(rng: np.random.Generator, shape: tuple[int, ...], step: int) -> np.ndarray:
    """Codes that compress about as real ones: a common series and noise."""
    series = 1000 * np.sin(np.arange(shape[-3]) / 58)[:, np.newaxis, np.newaxis]
    return (series + rng.integers(-step, step, shape, dtype="int16")).astype("int16")


# ---- counting ---------------------------------------------------------------------------------


@dataclass
class Count:
    """Bytes of chunks that were read, by array."""

    read: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, size: int) -> None:
        """Note a read, unless it is of metadata or a coordinate."""
        array, found, _ = key.partition("/c/")
        if found and array.split("/")[-1] not in ("lat", "lon", "time"):
            self.read[array] = self.read.get(array, 0) + size


@contextmanager
def counted(store: Path) -> Iterator[Count]:
    """Count all that is read from a store in this process, by zarr and by ``shards``."""
    count, get, read_at = Count(), LocalStore.get, shards.read_at
    folder = f"{store.resolve()}/"

    async def counting_get(self, key, *args, **kwargs):  # type: ignore[no-untyped-def]
        found = await get(self, key, *args, **kwargs)
        if found is not None and Path(self.root) == store:
            count.add(key, len(found))
        return found

    def counting_read_at(descriptor: int, offset: int, buffer: memoryview) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith(folder):
            count.add(path.removeprefix(folder), len(buffer))
        read_at(descriptor, offset, buffer)

    with (
        mock.patch.object(LocalStore, "get", counting_get),
        mock.patch.object(shards, "read_at", counting_read_at),
    ):
        yield count


def ideal_bytes(store: Path, layout: Layout, table: pd.DataFrame) -> dict[str, int]:
    """Return the stored size of all chunks that any row needs, and of their shards' indexes."""
    row = layout.grid.row_of(table["lat"]) - layout.row
    col = layout.grid.col_of(table["lon"]) - layout.col
    day = (table["time"].to_numpy().astype("M8[D]") - layout.time[0]).astype("int64")
    root = zarr.open_group(str(store), mode="r")
    inner = (row // CHUNK_PIXELS, col // CHUNK_PIXELS)
    wanted = {f"static/{n}": [inner] for n in (*names_of("static"), "land", "filled")}
    wanted |= {f"climatology/{name}": [inner] for name in names_of("climatology")}
    wanted |= {f"daily/{n}": [(day // WINDOW_DAYS, *inner)] for n in ("lst", "lst_diff", "quality")}
    before = (day + LEAD) // 16
    after = before + ((day + LEAD) % 16 > 0)
    years = [(n // COMPOSITES_A_YEAR, *inner) for n in (before, after)]
    wanted |= {f"composite/{name}": years for name in names_of("composite")}
    n, corners = layout.cell_pixels, ((0, 0), (0, 1), (1, 0), (1, 1))
    chunks = [((row // n + r) // CELL_CHUNK, (col // n + c) // CELL_CHUNK) for r, c in corners]
    wanted["meteo/climate"] = [(0 * day, *chunk) for chunk in chunks]
    wanted["meteo/cells"] = [
        (0 * day + feature, day // WINDOW_DAYS, *chunk)
        for feature in range(root["meteo/cells"].shape[0])
        for chunk in chunks
    ]
    return {
        name: _stored_bytes(store, root[name], np.unique(np.hstack(places).T, axis=0))
        for name, places in wanted.items()
    }


def _stored_bytes(store: Path, array: zarr.Array, chunks: np.ndarray) -> int:
    """Bytes of an array's chunks, and of each index once."""
    ratio = np.array(array.shards or array.chunks) // array.chunks
    shards = chunks // ratio
    total = 0
    for shard in np.unique(shards, axis=0):
        path = store / array.path / "c" / "/".join(map(str, shard))
        if not path.exists():
            continue
        if array.shards is None:
            total += path.stat().st_size
            continue
        size = 16 * int(np.prod(ratio)) + 4  # offset and length of each inner chunk, checksum
        with path.open("rb") as stored:
            stored.seek(-size, 2)
            index = np.frombuffer(stored.read(size - 4), "<u8").reshape(*ratio, 2)
        inside = chunks[(shards == shard).all(axis=1)] % ratio
        lengths = index[tuple(inside.T)][:, 1]
        total += size + int(lengths[lengths < 2**63].sum())
    return total
