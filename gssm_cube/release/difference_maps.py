"""Maps of where two products differ, filled tile by tile: a GeoTIFF, or a picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from gssm_cube.grid import Layout, Tile
from gssm_cube.storage.files import replaced
from gssm_cube.variables import SSM

PICTURE_PIXELS = 1600  # along the longer edge of a picture, at most
SPREAD = 98  # per cent of the pixels that the colours tell apart
Sums = NDArray[np.int64]


class Canvas(Protocol):
    """Takes what was summed over the days of a tile's pixels."""

    def add(self, tile: Tile, sums: Sums) -> None:
        """Add (3, lat, lon): days compared, sum of differences in codes, days that differ."""
        ...


class Nothing:
    """Takes everything and keeps nothing: no map is wanted."""

    def add(self, tile: Tile, sums: Sums) -> None:
        """Add nothing."""


def means(sums: Sums) -> NDArray[np.float32]:
    """Return (2, lat, lon) mean difference, m3 m-3, and share of days that differ; NaN if none."""
    days = np.where(sums[0] > 0, sums[0], np.nan)
    return np.stack([sums[1] / days * SSM.packing.scale, sums[2] / days]).astype("float32")


@contextmanager
def open_canvas(path: Path | None, layout: Layout) -> Iterator[Canvas]:
    """Yield what takes the tiles of a layout; the file is there when the context is left.

    Raises
    ------
    ValueError
        If the path ends neither in .tif nor in .png.
    """
    if path is None:
        yield Nothing()
        return
    if path.suffix not in (".tif", ".png"):
        raise ValueError(f"map is {path.name!r}, expected a name that ends in .tif or .png")
    with replaced(path) as partial:
        if path.suffix == ".png":
            picture = Picture(layout)
            yield picture
            picture.save(partial)
        else:
            with _geotiff(partial, layout) as file:
                yield GeoTiff(file, layout)


def _geotiff(path: Path, layout: Layout) -> rasterio.io.DatasetWriter:
    """Open an empty GeoTIFF of a layout's box; what is not written takes no space."""
    rows, cols = layout.shape
    west, _, _, north = layout.bounds
    pixel = 1 / layout.grid.pixels_per_degree
    return rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=2, dtype="float32",
        crs="EPSG:4326", transform=from_origin(west, north, pixel, pixel), nodata=np.nan,
        tiled=True, blockxsize=48, blockysize=48, compress="deflate", sparse_ok=True,
        BIGTIFF="IF_SAFER",
    )  # fmt: skip


class GeoTiff:
    """Writes each tile to its place at once."""

    def __init__(self, file: rasterio.io.DatasetWriter, layout: Layout) -> None:
        self.file, self.layout = file, layout
        names = "Mean difference, second minus first, m3 m-3", "Share of days that differ"
        for band, name in enumerate(names, start=1):
            file.set_band_description(band, name)

    def add(self, tile: Tile, sums: Sums) -> None:
        """Write a tile, unless nothing was compared."""
        if sums[0].any():
            rows, cols = self.layout.tile_slices(tile)
            self.file.write(means(sums), window=Window.from_slices(rows, cols))


class Picture:
    """Adds tiles up on cells coarse enough for a picture."""

    def __init__(self, layout: Layout) -> None:
        self.layout, size = layout, layout.tile_size
        wanted = min(max(layout.shape) / PICTURE_PIXELS, size)
        self.factor = next(n for n in range(1, size + 1) if size % n == 0 and n >= wanted)
        self.sums = np.zeros((3, *(edge // self.factor for edge in layout.shape)), dtype="int64")

    def add(self, tile: Tile, sums: Sums) -> None:
        """Add a tile's pixels to their cells."""
        n, edge = self.factor, self.layout.tile_size // self.factor
        rows, cols = (slice(p.start // n, p.stop // n) for p in self.layout.tile_slices(tile))
        self.sums[:, rows, cols] += sums.reshape(3, edge, n, edge, n).sum(axis=(2, 4))

    def save(self, path: Path) -> None:
        """Draw the mean difference."""
        mean = means(self.sums)[0]
        known = np.abs(mean[np.isfinite(mean)])
        limit = max(float(np.percentile(known, SPREAD)) if known.size else 0.0, SSM.packing.scale)
        west, south, east, north = self.layout.bounds
        figure = Figure(figsize=(9, 1 + 8 * (north - south) / (east - west)), layout="constrained")
        axes = figure.subplots()
        drawn = axes.imshow(
            mean, cmap="BrBG", vmin=-limit, vmax=limit, extent=(west, east, south, north)
        )
        axes.set(xlabel="Longitude, degrees east", ylabel="Latitude, degrees north")
        figure.colorbar(drawn, label="Mean difference, second minus first, m3 m-3", shrink=0.8)
        figure.savefig(path, dpi=120, format="png")
