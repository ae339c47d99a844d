"""Tiles and cut-outs of MODIS land products, read by window: GeoTIFF and HDF-EOS2 alike.

What a file is named for is checked against what is in it: grid, place, type, scale and fill.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from gssm_cube.sources import hdfeos, whole
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.modis_files import AREA, PRODUCTS, WHOLE, Day, Product, Tile
from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS, Cutout, SinusoidalGrid, clip


@dataclass(frozen=True)
class Coding:
    """How a layer is coded: type, fill, GeoTIFF types and scales, HDF-EOS2 attributes."""

    dtype: str
    fill: int
    attributes: Mapping[str, tuple[Any, ...]]
    scales: tuple[float, ...] = (1.0,)
    also: tuple[str, ...] = ()


_KELVIN = Coding(
    "uint16",
    0,
    {"scale_factor": (0.02,), "add_offset": (0.0,), "_FillValue": (0,), "units": ("K",)},
    (1.0, 0.02),
)
_QUALITY = Coding("uint8", 0b10, {})
# MOD13's HDF-EOS2 files state the divisor, 10000, as their scale_factor; conversions the factor.
_INDEX = Coding(
    "int16",
    -3000,
    {"scale_factor": (10000.0, 0.0001), "add_offset": (0.0,), "_FillValue": (-3000,)},
    (1.0, 0.0001),
)
# GDAL before 3.7 has no int8: -1 is 255 in such conversions, and comes back in the cast.
_RANK = Coding("int8", -1, {"_FillValue": (-1,)}, also=("uint8", "int16"))
_DAY_OF_YEAR = Coding("int16", -1, {"_FillValue": (-1,)})
CODINGS = {
    "LST_Day_1km": _KELVIN,
    "QC_Day": _QUALITY,
    "LST_Night_1km": _KELVIN,
    "QC_Night": _QUALITY,
    "NDVI": _INDEX,
    "EVI": _INDEX,
    "pixel_reliability": _RANK,
    "composite_day_of_the_year": _DAY_OF_YEAR,
}


def check_day(day: Day) -> None:
    """Raise unless the first tile of a day is on its product's grid, and coded as expected.

    Reads headers only. Every file is checked again when it is read.
    """
    check_tiles(dict(list(day.items())[:1]))


def check_tiles(day: Day, tell: Tell = stop) -> None:
    """Raise, or tell, what is wrong with the tiles of a day, by their headers.

    Each file must be whole, on its product's grid at the place of its name, and coded as expected.
    """
    files = [(name, layer, path) for name, tile in day.items() for layer, path in tile.items()]
    for name, layer, path in files:
        with told(tell):
            _check_file(path, layer, name)


def _check_file(path: Path, layer: str, name: str) -> None:
    """Raise unless a file is whole and holds its product's layer, or all, where its name says."""
    product = product_of({name: {layer: path}})
    if layer != WHOLE:
        _check_header(path, layer, product.grid, name)
        return
    with hdfeos.open_grid(path) as grid:
        whole.check_hdf4(path)
        _check_hdf(grid, product, product.layers)
        _place_of_hdf(grid, product, name)


def _check_header(path: Path, layer: str, grid: SinusoidalGrid, name: str) -> None:
    """Raise unless a GeoTIFF is coded as its layer and lies where its tile does."""
    with _open_geotiff(path) as source:
        whole.check_geotiff(source, path)
        _check_geotiff(source, path, layer)
        _check_tile(path, _place_of(source, path, grid), grid, name)


def read_tile(
    tile: Tile, layers: tuple[str, ...], rows: range, cols: range, name: str = AREA
) -> list[Cutout] | None:
    """Read layers of a tile or a cut-out within global rows and columns of its product's grid.

    Parameters
    ----------
    tile : Tile
        Its files by layer, or one HDF-EOS2 file.
    layers : tuple of str
    rows, cols : range
    name : str
        Such as ``"h18v04"``: the place that the file must have.

    Returns
    -------
    list of Cutout or None
        One a layer, all of the same place; None where the tile lies elsewhere.

    Raises
    ------
    ValueError
        Naming the file, if it is damaged, of another product, grid, place or coding.
    """
    product = product_of({name: tile})
    if WHOLE in tile:
        return _read_hdf(tile[WHOLE], product, layers, rows, cols, name)
    parts = []
    for layer in layers:
        with _open_geotiff(tile[layer]) as source:
            _check_geotiff(source, tile[layer], layer)
            part = _read_part(source, tile[layer], product.grid, rows, cols, name)
        parts.append(part and _as_coded(part, layer))
    if len({part and (part.row, part.col, part.values.shape) for part in parts}) > 1:
        raise ValueError(
            f"{tile[layers[-1]]} covers another area than its {layers[0]}; download both again"
        )
    return [part for part in parts if part is not None] or None


def read_cutout(
    path: Path,
    rows: range | None = None,
    cols: range | None = None,
    grid: SinusoidalGrid = KILOMETRE,
) -> Cutout:
    """Read a GeoTIFF as stored, or its part within global sinusoidal ``rows`` and ``cols``.

    Raises
    ------
    ValueError
        If the file is not on the sinusoidal grid, or damaged.
    """
    down, across = (range(size) for size in grid.shape)
    with _open_geotiff(path) as source:
        part = _read_part(source, path, grid, rows or down, cols or across, AREA)
        return part or Cutout(np.zeros((1, 1), source.dtypes[0]), -1, -1)


def check_cutout(path: Path, grid: SinusoidalGrid = KILOMETRE) -> str:
    """Return the type of a GeoTIFF; raise unless it is whole and on the grid, by its header."""
    with _open_geotiff(path) as source:
        whole.check_geotiff(source, path)
        _place_of(source, path, grid)
        return str(source.dtypes[0])


def read_tiles(
    day: Day, layers: tuple[str, ...], rows: range, cols: range
) -> Iterator[list[Cutout]]:
    """Read the tiles of a day that reach rows and columns, one after another."""
    near = product_of(day).grid.tiles(rows, cols)
    for name, tile in day.items():
        if name == AREA or name in near:
            parts = read_tile(tile, layers, rows, cols, name)
            if parts:
                yield parts


def product_of(day: Mapping[str, Tile]) -> Product:
    """Product of a day's files, by the name of one; what is in them is checked against it."""
    path = next(path for tile in day.values() for path in tile.values())
    product = PRODUCTS.get(path.name[:7])
    if product is None:
        raise ValueError(
            f"{path} is of no product that is read here, expected one of {', '.join(PRODUCTS)}; "
            "leave the names of the files as delivered"
        )
    return product


# ---- GeoTIFF ----------------------------------------------------------------------------------


@contextmanager
def _open_geotiff(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a raster; one that cannot be read is named."""
    # Without the option GDAL lists the folder, thousands of files, at every opening.
    try:
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path) as source:
            whole.check_directory(path)
            yield source
    except RasterioError as error:
        if not path.exists():
            raise FileNotFoundError(f"{path} is gone; download it again") from error
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) cannot be read ({error}), expected a whole "
            "GeoTIFF; it is cut short or damaged: download it again"
        ) from error


def _read_part(
    source: rasterio.DatasetReader,
    path: Path,
    grid: SinusoidalGrid,
    rows: range,
    cols: range,
    name: str,
) -> Cutout | None:
    """Part of a raster within global rows and columns; None where it lies elsewhere."""
    row, col = _place_of(source, path, grid)
    _check_tile(path, (row, col), grid, name)
    window = clip((row, col), (source.height, source.width), rows, cols)
    if window is None:
        return None
    down, across = window
    place = RasterWindow(across.start - col, down.start - row, len(across), len(down))
    return Cutout(source.read(1, window=place), down.start, across.start)


def _place_of(source: rasterio.DatasetReader, path: Path, grid: SinusoidalGrid) -> tuple[int, int]:
    """First global row and column of a raster."""
    transform = source.transform
    return _checked_place(
        path,
        (transform.a, -transform.e),
        (transform.c, transform.f),
        grid,
    )


def _check_geotiff(source: rasterio.DatasetReader, path: Path, layer: str) -> None:
    """Raise unless a raster holds digital numbers of the layer's coding."""
    coding = CODINGS[layer]
    found, scale, offset = source.dtypes[0], source.scales[0], source.offsets[0]
    if found not in (coding.dtype, *coding.also):
        raise ValueError(
            f"{path} is {found}, expected {coding.dtype} digital numbers of {layer} "
            f"(scale {coding.scales[-1]:g}); it was scaled already or converted: download it as "
            "delivered"
        )
    if scale not in coding.scales or offset != 0:
        raise ValueError(
            f"{path}: scale and offset are {scale:g} and {offset:g}, expected "
            f"{coding.scales[-1]:g} and 0 for {layer}; its units are not those this run decodes: "
            "download it as delivered"
        )


def _as_coded(part: Cutout, layer: str) -> Cutout:
    """Part in the type of its layer."""
    return Cutout(part.values.astype(CODINGS[layer].dtype, copy=False), part.row, part.col)


# ---- HDF-EOS2 ---------------------------------------------------------------------------------


def _read_hdf(
    path: Path, product: Product, layers: tuple[str, ...], rows: range, cols: range, name: str
) -> list[Cutout] | None:
    """Read layers of an HDF-EOS2 tile; None where it lies elsewhere."""
    with hdfeos.open_grid(path) as grid:
        _check_hdf(grid, product, layers)
        row, col = _place_of_hdf(grid, product, name)
        window = clip((row, col), grid.header.shape, rows, cols)
        if window is None:
            return None
        down, across = window
        place = (
            slice(down.start - row, down.stop - row),
            slice(across.start - col, across.stop - col),
        )
        values = (grid.read(product.field(layer), *place) for layer in layers)
        return [Cutout(part, down.start, across.start) for part in values]


def _check_hdf(grid: hdfeos.HdfGrid, product: Product, layers: tuple[str, ...]) -> None:
    """Raise unless a grid is the product's, and its fields are coded as expected."""
    if grid.header.name != product.grid_name:
        raise ValueError(
            f"{grid.path} holds the grid {grid.header.name!r}, expected {product.grid_name!r}; it "
            "is another product than its name says"
        )
    hdfeos.check_sinusoidal(grid.path, grid.header)
    for layer in layers:
        coding = CODINGS[layer]
        hdfeos.check_field(grid, product.field(layer), coding.dtype, coding.attributes)


def _place_of_hdf(grid: hdfeos.HdfGrid, product: Product, name: str) -> tuple[int, int]:
    """First global row and column of a grid."""
    header = grid.header
    place = _checked_place(grid.path, header.pixel, header.corner, product.grid)
    _check_tile(grid.path, place, product.grid, name)
    return place


# ---- places -----------------------------------------------------------------------------------


def _checked_place(
    path: Path, pixel: tuple[float, float], corner: tuple[float, float], grid: SinusoidalGrid
) -> tuple[int, int]:
    """First global row and column of a corner; raise if pixels or corner are another grid's."""
    place = grid.place_of(*corner) if grid.has_pixel(*pixel) else None
    if place is None:
        size = "1 km" if grid == KILOMETRE else "500 m"
        raise ValueError(
            f"{path} is not on the MODIS {size} sinusoidal grid: pixel {pixel[0]:.3f} x "
            f"{pixel[1]:.3f} m with its corner at ({corner[0]:.3f}, {corner[1]:.3f}), expected "
            f"{grid.pixel:.3f} m from ({-np.pi * RADIUS:.3f}, {np.pi * RADIUS / 2:.3f}); order "
            "the native projection and resolution"
        )
    return place


def _check_tile(path: Path, place: tuple[int, int], grid: SinusoidalGrid, name: str) -> None:
    """Raise if a file that is named as a tile lies in another."""
    v, h = (number // grid.tile_size for number in place)
    found = f"h{h:02d}v{v:02d}"
    if name not in (AREA, found):
        raise ValueError(
            f"{path} lies in tile {found} by its own metadata, expected {name} by its name; "
            "download both again"
        )
