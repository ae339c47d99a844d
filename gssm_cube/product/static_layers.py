"""Layers of the product that do not change in time: what a place is, beside its soil moisture."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.grid import CHUNK_PIXELS, Layout, Tile
from gssm_cube.storage.growth import consolidate, is_growing, set_attrs
from gssm_cube.storage.locations import Location, join
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import (
    DIMS,
    array_of,
    create_array,
    exists,
    open_group,
    packed_attrs,
    write_region,
)
from gssm_cube.variables import FILL, Packing

PACKING = Packing(0.01)
STEEP_DEGREES = 10.0
LONG_NAMES: Mapping[str, str] = {
    "di": "Dissimilarity from the most similar station, in mean distances between stations",
    "open_water": "Share of open water",
    "permanent_ice": "Share of permanent snow and ice",
    "urban": "Share of built-up land",
    "wetland": "Share of wetland",
    "dense_forest": "Share of dense forest",
    "steep_terrain": f"Share of terrain steeper than {STEEP_DEGREES:g} degrees",
}
# There a pixel is mostly no soil; the other layers are information, no advice.
NO_SOIL = ("open_water", "permanent_ice", "urban")
MOST = 0.5


def create_static_layers(store: Location, layout: Layout, sources: Mapping[str, str]) -> None:
    """Create the empty static layers that a product lacks, and say what each comes from.

    Parameters
    ----------
    store : path
    layout : Layout
    sources : mapping
        What each layer comes from, by name; names are those of ``LONG_NAMES``.

    Raises
    ------
    ValueError
        If the product is getting longer: the metadata that it will have are laid down already.
    """
    if is_growing(store):
        raise ValueError(
            f"{store} is getting longer, or its overviews are; run `gssm predict`, or "
            "`gssm overviews`, to its end first"
        )
    root = open_group(store, "r+")
    size = layout.tile_size
    box = (layout.shape, (CHUNK_PIXELS, CHUNK_PIXELS), (size, size))
    lacking = [name for name in sources if name not in root]
    for name in lacking:
        if exists(join(store, name)):  # a run was killed before the root said so
            continue
        attrs: dict[str, Any] = {"long_name": LONG_NAMES[name], "units": "1"}
        attrs |= packed_attrs(PACKING) | {"source": sources[name]}
        create_array(root, name, DIMS[1:], *box, "int16", FILL, attrs)
    if lacking:
        consolidate(store)
    for name, source in sources.items():
        if array_of(open_group(store), name).attrs["source"] != source:
            set_attrs(store, {"source": source}, name)


def write_static_layers(
    store: Location, layout: Layout, tile: Tile, layers: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Fill one tile and return the names of its objects.

    Parameters
    ----------
    layers : mapping of array (lat, lon)
        Values of the whole tile by name; NaN is missing.
    """
    root, objects = open_group(store, "r+"), []
    for name, values in layers.items():
        codes = PACKING.encode(values)
        objects += write_region(array_of(root, name), layout.tile_slices(tile), codes)
    return objects


def no_soil_arrays(root: zarr.Group) -> list[zarr.Array]:
    """Return the layers that a product has of those by which a pixel may be mostly no soil."""
    return [array_of(root, name) for name in NO_SOIL if name in root]


def mostly_no_soil(
    arrays: Iterable[zarr.Array], lat: slice, lon: slice
) -> NDArray[np.bool_] | bool:
    """Tell where more than half of a pixel is one of these; unknown is not."""
    most = round(MOST / PACKING.scale)
    found: NDArray[np.bool_] | bool = False
    for array in arrays:
        found = found | (read_box(array, (lat, lon)) > most)
    return found


def no_soil_rule(arrays: Iterable[zarr.Array]) -> str:
    """Say by which layers values are left out."""
    names = [array.path for array in arrays]
    return f", or where more than half of the pixel is {' or '.join(names)}" if names else ""
