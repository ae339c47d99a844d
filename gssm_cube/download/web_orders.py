"""What a run needs from open archives, source by source: deliveries of files, and their requests.

As ``orders`` has them for Earth Engine; the files are the same. Nobody is asked here: what must be
known beforehand of a store or of a map's tiles lies in the folder once it has been asked for.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.download.orders import (
    ARC_SECONDS_3,
    CELLS,
    LOST,
    ORDERS,
    OWN_SOIL,
    SOIL_TILE_BYTES,
    TERRAIN,
    Catalog,
    Delivery,
    cell_box,
    folder_of,
    list_of_tiles,
    listed_tiles,
    meteo_stamps,
    modis_deliveries,
    soil_stamps,
    terrain_boxes,
    terrain_files,
    usual_tiles,
)
from gssm_cube.grid import Layout
from gssm_cube.harmonise.drainage import drainage
from gssm_cube.sources import era5_land, merit_hydro, soilgrids
from gssm_cube.sources.copernicus_dem import corners_of
from gssm_cube.sources.ee_files import MapFiles
from gssm_cube.sources.ee_requests import Box, Request, Stamps, common, hull
from gssm_cube.sources.era5_store import (
    StoreFile,
    StoreLayout,
    chunk_requests,
    time_chunks,
    usual_layout,
)
from gssm_cube.sources.modis_files import PRODUCTS
from gssm_cube.storage.files import replaced
from gssm_cube.web_settings import COLLECTION, FOLDER, STAC, form_of, product_of

STORE = "store.json"  # what a Zarr said of itself
VRT_BYTES = 10 * 2**20  # of a layer's list of tiles: assumed
RIM_CELLS = 300  # a quarter of a degree round a tile, from which water may come
WHOLE_SHARE = 0.5  # of a tile: from here on one request asks for the file


@dataclass(frozen=True)
class FileRequest:
    """A whole file."""

    address: str
    bytes: int  # at most, as far as is known before it is asked for


@dataclass(frozen=True)
class WholeFile:
    """Writes a file as it came."""

    path: Path

    def __call__(self, answers: Sequence[tuple[Any, NDArray[np.uint8]]]) -> None:
        """Write the one answer."""
        ((_, content),) = answers
        with replaced(self.path) as partial:
            content.tofile(partial)


def web_deliveries(
    source: str,
    address: str,
    layout: Layout,
    folder: Path,
    catalog: Catalog,
    *,
    soil: bool = True,
) -> Iterator[Delivery]:
    """Yield all that a run needs of a source, done or not.

    Parameters
    ----------
    source : str
        Such as ``"mod11a1"``.
    address : str
    layout : Layout
    folder : Path
        Of all downloads from open archives.
    catalog : Catalog
    soil : bool
        Whether ERA5-Land is asked for its own soil as well, if it has it.
    """
    place = folder_of(folder, source, address, layout)
    if source == "era5_land":
        yield from _meteorology(address, layout, place)
        if soil:
            yield from _era5_soil(address, layout, place)
    elif source == "merit_hydro" and form_of(address) == COLLECTION:
        yield from _terrain_of_heights(address, layout, place)
    elif form_of(address) == COLLECTION:
        product = product_of(source, address)
        collection = collection_name(address, product)
        yield from modis_deliveries(
            product, collection, layout, place, replace(catalog, single=True)
        )
    elif form_of(address) == FOLDER:
        yield from _soil_tiles(address, layout, place)
    else:
        yield from ORDERS[source](address, layout, place, catalog)


def collection_name(address: str, product: str) -> str:
    """Return the name of a product in a collection that holds several."""
    return f"{address}#{product}"


def sends(request: Any) -> int:
    """Return how often a server is asked for a request, at most: header and blocks of each file."""
    if isinstance(request, HeightsRequest):
        return 2 * len(corners_of(ARC_SECONDS_3, request.box))
    if not isinstance(request, Request):
        return 1
    return len(request.bands) * (1 if asks_whole_files(request) else 2)


def asks_whole_files(request: Request) -> bool:
    """Whether a request wants most of a tile of MODIS."""
    if not request.asset.startswith(STAC):
        return False
    rows, cols = request.shape
    return rows * cols >= WHOLE_SHARE * tile_size_of(request) ** 2


def tile_size_of(request: Request) -> int:
    """Return the pixels along the edge of a request's tile of MODIS."""
    return PRODUCTS[request.asset.rsplit("#", 1)[1]].grid.tile_size


def modis_tile_of(request: Request) -> str:
    """Return the name of the tile of MODIS that a request lies in."""
    size = tile_size_of(request)
    return f"h{request.cols.start // size:02d}v{request.rows.start // size:02d}"


def merit_tile_of(request: Request) -> str:
    """Return the name of the tile of MERIT Hydro that a request lies in."""
    size = merit_hydro.TILE_DEGREES
    cells = size * merit_hydro.CELLS_PER_DEGREE
    south = 90 - size * (request.rows.start // cells + 1)
    return merit_hydro.tile_name(south, size * (request.cols.start // cells) - 180)


# ---- meteorology ------------------------------------------------------------------------------


def _meteorology(address: str, layout: Layout, folder: Path) -> Iterator[Delivery]:
    """Yield ERA5-Land's weather, with that before the run's first day."""
    store = known_store(address, folder)
    weather = store.only(set(store.names) - set(era5_land.SOIL))
    stamps = meteo_stamps(layout, hourly=not store.is_daily)
    yield from _chunk_files(weather, address, layout, stamps, folder / "era5_land")


def _era5_soil(address: str, layout: Layout, folder: Path) -> Iterator[Delivery]:
    """Yield what a store has of ERA5-Land's soil, in files of its own."""
    store = known_store(address, folder).only(era5_land.SOIL)
    stamps = soil_stamps(layout, hourly=not store.is_daily)
    if store.names:
        yield from _chunk_files(store, address, layout, stamps, folder / f"era5_land_{OWN_SOIL}")


def _chunk_files(
    store: StoreLayout, address: str, layout: Layout, wanted: Stamps, start: Path
) -> Iterator[Delivery]:
    """Yield a file for each chunk of the time axis; ``start`` is how their paths begin."""
    word = "daily" if store.is_daily else "hourly"
    box = cell_box(layout)
    for times in time_chunks(store, store.times_of(np.array(wanted))):
        stamps = store.stamps(times)[[0, -1]]
        ends = (str(stamp).replace("-", "") for stamp in stamps)
        path = start.with_name(f"{start.name}_{word}_{'_'.join(ends)}.nc")
        requests = tuple(chunk_requests(store, address, layout, times))
        write = StoreFile(path, store, CELLS, box, times)
        yield Delivery("era5_land", requests, (path,), write)


def known_store(address: str, folder: Path) -> StoreLayout:
    """Return what is known of a Zarr: what it said of itself, or what is usual."""
    path = folder / STORE
    if path.exists():
        return StoreLayout.of(json.loads(path.read_text()))
    return usual_layout(address)


# ---- terrain of heights -----------------------------------------------------------------------


@dataclass(frozen=True)
class HeightsRequest:
    """Heights on a box of MERIT Hydro's cells."""

    address: str
    box: Box

    @property
    def bytes(self) -> int:
        """Size of the answer, uncompressed."""
        return 4 * len(self.box[0]) * len(self.box[1])


@dataclass(frozen=True)
class TerrainFiles:
    """Writes a tile in the form of MERIT Hydro: heights, and what is made of them.

    The rim of the answer, from which water may come, is left out.
    """

    write: MapFiles
    box: Box

    def __call__(self, answers: Sequence[tuple[Any, NDArray[np.float32]]]) -> None:
        """Write heights, drainage area and directions."""
        ((request, heights),) = answers
        rows, cols = request.box
        lat = 90 - (np.arange(rows.start, rows.stop) + 1) / merit_hydro.CELLS_PER_DEGREE
        heights = np.array(heights)
        codes, area = drainage(heights, lat, 1 / merit_hydro.CELLS_PER_DEGREE)
        inner = tuple(
            slice(own.start - all_of.start, own.stop - all_of.start)
            for own, all_of in zip(self.box, request.box, strict=True)
        )
        sea = np.isnan(heights[inner])
        answer = np.empty(sea.shape, [(band.name, band.dtype) for band in TERRAIN])
        answer["elv"] = np.where(sea, LOST, heights[inner])
        answer["upa"] = np.where(sea, LOST, area[inner])
        answer["dir"] = codes[inner]
        self.write([(Request(request.address, TERRAIN, ARC_SECONDS_3, *self.box), answer)])


def _terrain_of_heights(address: str, layout: Layout, folder: Path) -> Iterator[Delivery]:
    """Yield tiles in the form of MERIT Hydro, made of heights with a rim round them."""
    for name, boxes in sorted(terrain_boxes(layout).items()):
        rows, cols = boxes[0]
        for box in boxes:
            rows, cols = hull(rows, box[0]), hull(cols, box[1])
        wider = tuple(
            common(range(span.start - RIM_CELLS, span.stop + RIM_CELLS), range(size))
            for span, size in ((rows, 216_000), (cols, 432_000))
        )
        write = terrain_files(folder, name)
        request = HeightsRequest(address, (wider[0], wider[1]))
        yield Delivery("merit_hydro", (request,), write.files, TerrainFiles(write, (rows, cols)))


# ---- SoilGrids as ISRIC has it ----------------------------------------------------------------


def _soil_tiles(address: str, layout: Layout, folder: Path) -> Iterator[Delivery]:
    """Yield the list of each layer's tiles, and those tiles that the run needs."""
    for layer in soilgrids.LAYERS:
        path = list_of_tiles(folder, layer)
        base = f"{address.rstrip('/')}/{layer}"
        yield file_delivery(f"{base}/{path.name}", path, VRT_BYTES)
        if not path.exists():
            for row, col in usual_tiles(layout):
                name = f"{row}-{col}.tif"
                yield file_delivery(f"{base}/{name}", path.parent / name, SOIL_TILE_BYTES)
            continue
        for tile in listed_tiles(path, layout):
            inner = tile.relative_to(path.parent).as_posix()
            yield file_delivery(f"{base}/{inner}", tile, SOIL_TILE_BYTES)


def file_delivery(address: str, path: Path, most: int) -> Delivery:
    """Return the delivery of a file as it is."""
    return Delivery("soilgrids", (FileRequest(address, most),), (path,), WholeFile(path))
