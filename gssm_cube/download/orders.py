"""What a run needs from elsewhere, by whichever route: deliveries of files, and their requests.

A delivery is the files that are made of the answers to some requests. What is there already is
told by the files, so nothing is asked twice, and a longer run asks only for what is new. Here are
the parts of each grid that a run needs, and what Earth Engine and open archives are asked in the
same way; ``earthengine_orders`` and ``web_orders`` have what they are not.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.blocks import digest
from gssm_cube.grid import Layout, Tile
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.ingest.inputs import meteo_days, vegetation_starts
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.sensors import own_start
from gssm_cube.sources import bedrock, merit_hydro, modis, soilgrids
from gssm_cube.sources.ee_files import Answers, MapFiles, TileFiles, WaterTableFile
from gssm_cube.sources.ee_requests import (
    Band,
    Box,
    PixelGrid,
    Request,
    Stamps,
    batches,
    common,
    hull,
    images_at_once,
    pieces,
)
from gssm_cube.sources.homolosine import PROJECTION, boxes_of
from gssm_cube.sources.modis_files import PRODUCTS
from gssm_cube.sources.raster import Bounds
from gssm_cube.sources.sinusoidal import KILOMETRE, PIXEL, RADIUS, span
from gssm_cube.sources.tries import Refused

SINUSOIDAL = PixelGrid("SR-ORG:6974", (-np.pi * RADIUS, np.pi * RADIUS / 2), (PIXEL, PIXEL))
CELLS = PixelGrid("EPSG:4326", (-180.05, 90.05), (0.1, 0.1))  # of ERA5-Land
ARC_SECONDS_3 = PixelGrid(
    "EPSG:4326",
    (-180 - merit_hydro.HALF, 90 - merit_hydro.HALF),
    (1 / merit_hydro.CELLS_PER_DEGREE,) * 2,
)
# Grids of maps until a service has told them. SoilGrids': files.isric.org/soilgrids.
SOIL = PixelGrid(PROJECTION, (-19949750.0, 8361000.0), (250.0, 250.0))
SOIL_TILE = 450  # cells along the edge of one of ISRIC's tiles
SOIL_TILE_BYTES = 2 * SOIL_TILE**2  # before they are compressed
ARC_SECONDS_30 = PixelGrid("EPSG:4326", (-180.0, 90.0), (1 / 120, 1 / 120))
LOST = -9999.0  # what masked pixels of floats become
OWN_SOIL = "soil"  # how files and stamps of what ERA5-Land itself says of the soil are named
RENAMED = {"pixel_reliability": "SummaryQA", "composite_day_of_the_year": "DayOfYear"}  # to ours
TERRAIN = (Band("elv", "float32", LOST), Band("upa", "float32", LOST), Band("dir", "int16", 247))
TERRAIN_RECODED = {-1: 255, -9: 247}  # of directions: sinks and sea are signed there

GridOf = Callable[[str, Band, PixelGrid], PixelGrid]  # of a map's band; the usual one is given


@dataclass(frozen=True)
class Delivery:
    """Files of a source, the requests whose answers they are made of, and how."""

    source: str
    requests: tuple[Any, ...]  # of one kind, which ``write`` knows
    files: tuple[Path, ...]
    write: Callable[[Any], None]

    @property
    def is_done(self) -> bool:
        """Whether all files are there."""
        return all(path.exists() for path in self.files)


@dataclass(frozen=True)
class Catalog:
    """What a service is known to have: by default what is usual, without asking.

    ``there`` picks the stamps of a collection that have an image, of a tile where it has tiles, or
    of ERA5-Land's soil; ``grid`` gives the grid of a map's band from its asset and the usual one.
    Of ``single`` layers each is a file of its own there: a request asks for one layer of one day.
    """

    there: Callable[[str, Stamps, str], Stamps] = lambda asset, stamps, tile: stamps
    grid: GridOf = lambda asset, band, usual: usual
    single: bool = False


USUAL = Catalog()


def folder_of(folder: Path, source: str, asset: str, layout: Layout) -> Path:
    """Return the folder of a source's files: another region or asset has another one."""
    chosen = [str(tile) for tile in layout.tiles()]
    return folder / f"{source}-{digest(asset, layout.tile_size, chosen)[:8]}"


# ---- meteorology ------------------------------------------------------------------------------


def meteo_stamps(layout: Layout, *, hourly: bool) -> Stamps:
    """Return stamps of weather; hours close with the day after."""
    days = meteo_days(layout)
    return tuple(np.arange(days[0], days[-1] + 2, dtype="M8[h]") if hourly else days)


def soil_stamps(layout: Layout, *, hourly: bool) -> Stamps:
    """Return stamps of ERA5-Land's soil, of which nothing is remembered: the run's own days."""
    days = layout.time
    return tuple(np.arange(days[0], days[-1] + 1, dtype="M8[h]") if hourly else days)


def cell_box(layout: Layout) -> Box:
    """Rows and columns of a layout's cells; of a globe 180 E is left to 180 W, the same cell."""
    row, col = (round(v * 10) for v in (90 - layout.cell_lat[0], layout.cell_lon[0] + 180))
    rows, cols = layout.cells_shape
    return range(row, row + rows), range(col, col + min(cols, 3600))


# ---- MODIS ------------------------------------------------------------------------------------


def modis_deliveries(
    product: str, asset: str, layout: Layout, folder: Path, catalog: Catalog
) -> Iterator[Delivery]:
    """Yield a product by tile and as many days as fit in a request."""
    daily = product.endswith("11A1")
    layers = modis.LST_LAYERS if daily else modis.VEGETATION_LAYERS
    wanted: NDArray[np.datetime64] = layout.time
    if not daily:
        wanted = own_start("aqua" if product[1] == "Y" else "terra", vegetation_starts(layout))
    fine = PRODUCTS[product].grid
    grid = replace(SINUSOIDAL, cell=(fine.pixel, fine.pixel))
    times = fine.pixels_per_degree // KILOMETRE.pixels_per_degree
    groups = [(layer,) for layer in layers] if catalog.single else [layers]
    for (tile, coarse), group in itertools.product(sorted(modis_boxes(layout).items()), groups):
        rows, cols = (range(times * span.start, times * span.stop) for span in coarse)
        bands = tuple(_layer_band(layer) for layer in group)
        write = TileFiles(folder, product, tile, group)
        most = 1 if catalog.single else images_at_once((rows, cols), bands)
        for batch in batches(tuple(wanted), most):
            stamps = catalog.there(asset, batch, tile)
            if not stamps:
                continue
            days = [stamp.astype(object) for stamp in stamps]
            files = tuple(write.path(day, layer) for day in days for layer in group)
            request = Request(asset, bands, grid, rows, cols, stamps)
            yield Delivery(product.lower(), (request,), files, write)


def _layer_band(layer: str) -> Band:
    """Return the band of a layer, filled as its files are."""
    coding = modis.CODINGS[layer]
    return Band(RENAMED.get(layer, layer), coding.dtype, coding.fill)


def modis_boxes(layout: Layout) -> dict[str, Box]:
    """Rows and columns of the sinusoidal grid that a layout needs, by MODIS tile."""
    boxes: dict[str, Box] = {}
    for tile in layout.tiles():
        slices = layout.tile_slices(tile)
        lat, lon = layout.lat[slices[0]], layout.lon[slices[1]]
        rows, cols = (span(numbers) for numbers in sinusoidal_index(lat, lon[[0, -1]]))
        for name in KILOMETRE.tiles(rows, cols):
            size = KILOMETRE.tile_size
            h, v = int(name[1:3]), int(name[4:])
            part = (
                common(range(v * size, (v + 1) * size), rows),
                common(range(h * size, (h + 1) * size), cols),
            )
            other = boxes.get(name, part)
            boxes[name] = (hull(part[0], other[0]), hull(part[1], other[1]))
    return boxes


# ---- maps -------------------------------------------------------------------------------------


def padded_bounds(layout: Layout, tile: Tile) -> Bounds:
    """Bounds of a tile with the rim that the static predictors look at, and a cell of 30 arcsec."""
    west, south, east, north = Padded(layout, tile).bounds
    return max(west - 1 / 120, -180), south - 1 / 120, min(east + 1 / 120, 180), north + 1 / 120


def list_of_tiles(folder: Path, layer: str) -> Path:
    """Where the VRT of a layer of SoilGrids lies in a source's folder, as at its provider's."""
    return folder / layer / f"{layer}_0-5cm_mean.vrt"


def listed_tiles(path: Path, layout: Layout) -> list[Path]:
    """Return the tiles of a VRT of SoilGrids that a layout needs.

    Raises
    ------
    Refused
        If one would lie outside the VRT's own folder.
    """
    found: dict[Path, None] = {}
    for tile in layout.tiles():
        found |= dict.fromkeys(soilgrids.tiles_behind(path, padded_bounds(layout, tile)))
    for file in found:
        if ".." in file.parts or not file.is_relative_to(path.parent):
            raise Refused(f"{path} names {file}, expected tiles below it; do not use it")
    return list(found)


def usual_tiles(layout: Layout) -> list[tuple[int, int]]:
    """Return rows and columns of as many tiles as a layout usually needs of a VRT of SoilGrids."""
    found: set[tuple[int, int]] = set()
    for tile in layout.tiles():
        for box in map(SOIL.box, boxes_of(padded_bounds(layout, tile))):
            rows, cols = (range(s.start // SOIL_TILE, -(-s.stop // SOIL_TILE)) for s in box)
            found |= set(itertools.product(rows, cols))
    return sorted(found)


def _soil(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield the five layers of SoilGrids in one delivery."""
    bands = tuple(
        Band(f"{name}_0-5cm_mean", "int16", soilgrids.NODATA, f"/{name}_mean")
        for name in soilgrids.LAYERS
    )
    files = tuple(folder / f"{name}_0-5cm_mean.tif" for name in soilgrids.LAYERS)
    write = MapFiles(files, (soilgrids.NODATA,) * 5, ("int16",) * 5)
    yield from _map("soilgrids", asset, bands, SOIL, layout, catalog, write, files)


def _water_table(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield the user's map of the water table: heights in m, negative below the surface."""
    path = folder / "wtd_annualmean.nc"
    band = Band("", "float32", LOST)
    yield from _map(
        "wtd", asset, (band,), ARC_SECONDS_30, layout, catalog, WaterTableFile(path), (path,)
    )


def _bedrock(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield the user's map of the depth to bedrock, cm."""
    path = folder / bedrock.FILE_NAME
    band = Band("", "int32", bedrock.NODATA)
    write = MapFiles((path,), (bedrock.NODATA,), ("int32",))
    yield from _map("bedrock", asset, (band,), ARC_SECONDS_30, layout, catalog, write, (path,))


def _map(
    source: str,
    asset: str,
    bands: tuple[Band, ...],
    usual: PixelGrid,
    layout: Layout,
    catalog: Catalog,
    write: Callable[[Answers], None],
    files: tuple[Path, ...],
) -> Iterator[Delivery]:
    """Yield one delivery of a map on its own grid, in pieces round the layout's tiles."""
    grid = catalog.grid(asset, bands[0], usual)
    degrees = grid.crs == "EPSG:4326"
    wanted = (padded_bounds(layout, tile) for tile in layout.tiles())
    boxes = (box for bounds in wanted for box in ([bounds] if degrees else boxes_of(bounds)))
    parts = pieces((grid.box(box) for box in boxes), bands)
    yield Delivery(
        source, tuple(Request(asset, bands, grid, *part) for part in parts), files, write
    )


def _terrain(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield MERIT Hydro by its provider's tiles of 5 degrees."""
    for name, boxes in sorted(terrain_boxes(layout).items()):
        requests = (
            Request(asset, TERRAIN, ARC_SECONDS_3, *part) for part in pieces(boxes, TERRAIN)
        )
        write = terrain_files(folder, name)
        yield Delivery("merit_hydro", tuple(requests), write.files, write)


def terrain_boxes(layout: Layout) -> dict[str, list[Box]]:
    """Rows and columns of 3 arcsec that a layout needs, by MERIT Hydro's tiles."""
    size = merit_hydro.TILE_DEGREES * merit_hydro.CELLS_PER_DEGREE
    wanted: dict[str, list[Box]] = {}
    for tile in layout.tiles():
        rows, cols = merit_hydro.cells_of(padded_bounds(layout, tile))
        for south, west in merit_hydro.tiles_of(rows, cols):
            first = (90 - merit_hydro.TILE_DEGREES - south) * 1200, (west + 180) * 1200
            part = [common(range(f, f + size), s) for f, s in zip(first, (rows, cols), strict=True)]
            turn = 72 * size if west >= 180 else 0  # 180 E is 180 W
            box = part[0], range(part[1].start - turn, part[1].stop - turn)
            wanted.setdefault(merit_hydro.tile_name(south, west), []).append(box)
    return wanted


def terrain_files(folder: Path, name: str) -> MapFiles:
    """Return what writes the layers of a tile of MERIT Hydro."""
    files = tuple(folder / f"{name}_{band.name}.tif" for band in TERRAIN)
    return MapFiles(files, (LOST, LOST, 247), ("float32", "float32", "uint8"), TERRAIN_RECODED)


ORDERS: Mapping[str, Callable[[str, Layout, Path, Catalog], Iterator[Delivery]]] = {
    "mod11a1": partial(modis_deliveries, "MOD11A1"),
    "myd11a1": partial(modis_deliveries, "MYD11A1"),
    "mod13a2": partial(modis_deliveries, "MOD13A2"),
    "myd13a2": partial(modis_deliveries, "MYD13A2"),
    "soilgrids": _soil,
    "merit_hydro": _terrain,
    "wtd": _water_table,
    "bedrock": _bedrock,
}
