"""Rasters of one place and coding, which GDAL lays out once: their projection takes it long."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile


@contextmanager
def open_raster(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a raster without listing its folder, which takes longest where there are thousands."""
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(path) as raster,
    ):
        yield raster


def read_raster(path: Path) -> tuple[NDArray, dict[str, Any]]:
    """Return a raster's only band and its profile."""
    with open_raster(path) as raster:
        return raster.read(1), raster.profile


def write_raster(path: Path, values: NDArray, profile: dict[str, Any]) -> None:
    """Write a GeoTIFF of one uncompressed band; those of one profile differ by pixels alone."""
    about = profile | {"dtype": values.dtype.name, "blockysize": values.shape[0], "tiled": False}
    head, tail = _layout_of(tuple(about.items()))
    path.write_bytes(head + values.tobytes() + tail)


@cache
def _layout_of(items: tuple[tuple[str, Any], ...]) -> tuple[bytes, bytes]:
    """Return the bytes before and after the pixels."""
    profile = dict(items)
    # Pixels of 1, for GDAL writes no pixels where all are 0.
    pixels = np.ones((profile["height"], profile["width"]), profile["dtype"])
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(pixels, 1)
        with memory.open() as raster:
            start = int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        page = bytes(memory.getbuffer())
    head, there, tail = page[:start], page[start:][: pixels.nbytes], page[start + pixels.nbytes :]
    assert there == pixels.tobytes(), "the pixels are cut or compressed"
    return head, tail
