"""What a place is: static layers of a product from land cover, terrain, and the stations' places.

They are written into the product, tile by tile, beside what was predicted, which does not depend
on them. Without a land cover there are only the dissimilarity index and the steepness.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube import blocks, cube
from gssm_cube.block_inputs import land_tiles
from gssm_cube.blocks import Client, Progress
from gssm_cube.grid import Layout, inner_chunks, moved
from gssm_cube.harmonise.regrid import area_mean
from gssm_cube.harmonise.terrain import steepness
from gssm_cube.product.static_layers import (
    STEEP_DEGREES,
    create_static_layers,
    write_static_layers,
)
from gssm_cube.product.store import check_product, check_whole
from gssm_cube.skill.applicability import Reference, dissimilarity_layer
from gssm_cube.sources import land_cover, merit_hydro
from gssm_cube.sources.land_cover import CLASSES
from gssm_cube.sources.raster import Bounds, Raster
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.variables import Legend

STAGE = "surface"
MARGIN_DEGREES = 1 / 1200  # a cell of MERIT Hydro, for a slope needs neighbours
Layers = dict[str, NDArray[np.float32]]
Edges = tuple[NDArray[np.float64], NDArray[np.float64]]
Maker = Callable[[Layout, slice, slice], Layers]  # of rows and columns of the store


@dataclass(frozen=True)
class Origins:
    """Where the layers come from; what is None is left out.

    Parameters
    ----------
    land_cover : Path or None
        See ``sources.land_cover``.
    legend : "esa_cci", "worldcover" or "mcd12q1"
    merit_hydro : Path or None
        Folder of its tiles.
    reference : Path or None
        ``applicability.json`` of the run's evaluation.
    """

    land_cover: Path | None
    legend: Legend
    merit_hydro: Path | None
    reference: Path | None

    @property
    def sources(self) -> dict[str, str]:
        """What each layer that can be made comes from."""
        found = {}
        if self.reference is not None:
            found["di"] = "Meyer and Pebesma 2021, doi:10.1111/2041-210X.13650"
        if self.land_cover is not None:
            found |= dict.fromkeys(CLASSES[self.legend], f"{self.land_cover.name} ({self.legend})")
        if self.merit_hydro is not None:
            found["steep_terrain"] = "MERIT Hydro (doi:10.1029/2019WR024873)"
        return found

    def makers(self, features: xr.Dataset) -> list[Maker]:
        """Return what makes the layers of an inner chunk; files are looked for once."""
        found: list[Maker] = []
        if self.reference is not None:
            reference = Reference.from_dict(json.loads(self.reference.read_text()))
            found.append(partial(dissimilarity, reference, features))
        if self.land_cover is not None:
            found.append(partial(cover_shares, self.land_cover, self.legend))
        if self.merit_hydro is not None:
            found.append(partial(steep_share, merit_hydro.find_files(self.merit_hydro)))
        return found

    @property
    def key(self) -> str:
        """Hash of the files' facts, as far as they are single files, and of the reference."""
        paths = (self.land_cover, self.reference)
        facts = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in paths if p]
        return blocks.digest(facts, self.legend, self.sources, STEEP_DEGREES)


def write_surface(
    store: Location,
    features: Location,
    origins: Origins,
    *,
    client: Client | None = None,
    progress: Progress = blocks.silent,
) -> tuple[int, int]:
    """Write the static layers of a product, or what is left of them.

    Parameters
    ----------
    store : path or URL
        The product; nobody may be writing it.
    features : path or URL
        The cube that it was predicted from.
    origins : Origins
    client : distributed.Client, optional
    progress : callable

    Returns
    -------
    done, skipped : int
        Tiles with land.

    Raises
    ------
    ValueError
        If nothing is named to make a layer of, the cube has another box, or the product is
        getting more days.
    UnitsFailed
        If tiles failed, after all were tried.
    """
    if not origins.sources:
        raise ValueError("no layer can be made: name a land cover, or run `gssm evaluate` first")
    check_product(store)
    layout, box = read_layout(store), read_layout(features)
    if layout != replace(box, first_day=layout.first_day, last_day=layout.last_day):
        raise ValueError(
            f"{store} covers {layout.bounds}, {features} covers {box.bounds}, expected the cube "
            "that the product was predicted from; give its settings"
        )
    tiles = [str(tile) for tile in land_tiles(features, layout)]
    key = blocks.digest(origins.key, blocks.stage_digest(features, "static", tiles))
    work = SurfaceTile(store, features, origins, key)
    with blocks.locked(store, partial(check_whole, store)):
        create_static_layers(store, layout, origins.sources)
        todo = [t for t in tiles if not blocks.is_done(store, STAGE, t, work.key)]
        blocks.run_units(work, todo, stage=STAGE, client=client, progress=progress)
    return len(todo), len(tiles) - len(todo)


@dataclass(frozen=True)
class SurfaceTile:
    """Task: the static layers of a tile, an inner chunk at a time; missing over the sea."""

    product: Location
    features: Location
    origins: Origins
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the tile's shards and its marker."""
        layout, tile = read_layout(self.product), blocks.parse_tile(unit)
        rows, cols = layout.tile_slices(tile)
        makers = self.origins.makers(cube.open_cube(self.features))
        shape = (layout.tile_size, layout.tile_size)
        layers = {n: np.full(shape, np.nan, dtype="float32") for n in self.origins.sources}
        sea = np.asarray(array_of(open_group(self.features), "static/land")[rows, cols]) != 1
        for lat, lon in inner_chunks(rows, cols):
            place = moved(lat, -rows.start), moved(lon, -cols.start)
            if sea[place].all():
                continue
            for make in makers:
                for name, values in make(layout, lat, lon).items():
                    layers[name][place] = np.where(sea[place], np.nan, values)
        objects = write_static_layers(self.product, layout, tile, layers)
        facts = {name: int(np.isfinite(values).sum()) for name, values in layers.items()}
        blocks.write_marker(self.product, STAGE, unit, self.key, objects, **facts)
        return facts


# ---- the layers of an inner chunk -------------------------------------------------------------


def edges_of(layout: Layout, lat: slice, lon: slice) -> Edges:
    """Edges of a store's rows (descending) and columns, degrees."""
    pixels = layout.grid.pixels_per_degree
    rows = np.arange(lat.start, lat.stop + 1) + layout.row
    cols = np.arange(lon.start, lon.stop + 1) + layout.col
    return 90 - rows / pixels, cols / pixels - 180


def bounds_of(edges: Edges, margin: float = 0.0) -> Bounds:
    """West, south, east, north of edges, with a margin in degrees."""
    lat, lon = edges
    box = (lon[0] - margin, lat[-1] - margin, lon[-1] + margin, lat[0] + margin)
    return tuple(map(float, box))  # type: ignore[return-value]


def dissimilarity(
    reference: Reference, features: xr.Dataset, layout: Layout, lat: slice, lon: slice
) -> Layers:
    """Return how unlike all stations each pixel is."""
    return {"di": dissimilarity_layer(reference, features.isel(lat=lat, lon=lon)).values}


def cover_shares(path: Path, legend: Legend, layout: Layout, lat: slice, lon: slice) -> Layers:
    """Return the share of each class in each pixel, of what is known of it."""
    edges = edges_of(layout, lat, lon)
    codes, classes = land_cover.read_classes(path, legend, bounds_of(edges))
    return {name: _mean(codes, values, edges) for name, values in classes.items()}


def steep_share(files: merit_hydro.Files, layout: Layout, lat: slice, lon: slice) -> Layers:
    """Return the share of each pixel's terrain that is steep."""
    edges = edges_of(layout, lat, lon)
    elevation = merit_hydro.read_layer(files, "elv", bounds_of(edges, MARGIN_DEGREES))
    middle = (elevation.lat_edges[:-1] + elevation.lat_edges[1:]) / 2
    slope = steepness(elevation.values, middle)
    steep = np.where(np.isnan(slope), np.nan, slope > np.tan(np.radians(STEEP_DEGREES)))
    return {"steep_terrain": _mean(elevation, steep.astype("float32"), edges)}


def _mean(raster: Raster, values: NDArray[Any], edges: Edges) -> NDArray[np.float32]:
    """Average values on a raster's cells over pixels."""
    return area_mean(values, raster.lat_edges, raster.lon_edges, *edges)[0].astype("float32")
