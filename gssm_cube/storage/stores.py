"""Zarr stores as this project writes them: metadata first, then whole shards, one writer each.

Arrays are Zarr v3, blosc zstd 3 with shuffle, sharded so that a shard is what one task writes. A
region write of a whole shard is atomic (zarr writes a temporary file and renames it); two writers
in one shard would lose data silently, hence ``write_region`` refuses anything but whole shards.
A store is a path or a URL; in an object store a shard is one PUT, which is atomic as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle
from zarr.storage import MemoryStore

from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.storage import locations
from gssm_cube.storage.files import replaced
from gssm_cube.storage.growth import ROOT as ROOT  # others take it from here
from gssm_cube.storage.growth import (
    Lengths,
    begin_growth,
    consolidate,
    forget_growth,
    mend,
    open_growing,
    repeating,
)
from gssm_cube.storage.locations import Location
from gssm_cube.storage.remote_zarr import RemoteStore, unread
from gssm_cube.variables import FILL, Packing

# Blosc with threads of its own would make bytes depend on the machine, and crowd the cores.
numcodecs.blosc.use_threads = False

DIMS = ("time", "lat", "lon")
LAYOUT_ATTR = "gssm_layout"  # of a store's root
LAT_ATTRS = {
    "long_name": "Latitude",
    "standard_name": "latitude",
    "units": "degrees_north",
    "axis": "Y",
}
LON_ATTRS = {
    "long_name": "Longitude",
    "standard_name": "longitude",
    "units": "degrees_east",
    "axis": "X",
}


@contextmanager
def created_whole(store: Location) -> Iterator[zarr.Group]:
    """Yield the root of a new store that appears at its place only when it is complete.

    Raises
    ------
    ValueError
        If something is there already.
    """
    if locations.is_url(store):
        yield from _created_at_url(str(store))
        return
    place = Path(store)
    if place.exists():
        raise ValueError(f"{store} exists and is not a complete store; move it away first")
    with replaced(place) as building:
        yield zarr.open_group(str(building), mode="w-", zarr_format=3)
        consolidate(building)


def _created_at_url(url: str) -> Iterator[zarr.Group]:
    """Yield a root in memory; its objects follow, the root's own last: it makes the store.

    It repeats the metadata of all arrays, so that one request opens the store and none lists it.
    """
    memory: dict[str, Any] = {}
    yield zarr.open_group(MemoryStore(memory), mode="w-", zarr_format=3)
    contents = {name: value.to_bytes() for name, value in memory.items()}
    root = json.loads(contents.pop(ROOT))
    ends = [name for name in sorted(contents) if name.endswith(f"/{ROOT}")]
    nodes = {name.removesuffix(f"/{ROOT}"): json.loads(contents[name]) for name in ends}

    def write(name: str) -> None:
        locations.write(locations.join(url, name), contents[name])

    locations.each(url, write, contents)
    if not locations.create(locations.join(url, ROOT), json.dumps(repeating(root, nodes)).encode()):
        raise ValueError(f"{url} was made by another process at the same time; start again")


def exists(store: Location) -> bool:
    """Whether there is a whole store at a place: the root's metadata come last."""
    return locations.size(locations.join(store, ROOT)) is not None


def codec(level: int = 3) -> BloscCodec:
    """Return the one compressor of all stores."""
    return BloscCodec(cname="zstd", clevel=level, shuffle=BloscShuffle.shuffle)


def packed_attrs(packing: Packing) -> dict[str, Any]:
    """Attributes by which xarray decodes an int16 array."""
    return {"scale_factor": packing.scale, "add_offset": packing.offset, "_FillValue": FILL}


def create_array(
    group: zarr.Group,
    name: str,
    dims: Sequence[str],
    shape: Sequence[int],
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    dtype: str,
    fill: float,
    attrs: dict[str, Any],
) -> zarr.Array:
    """Create one empty array; an unwritten block reads as ``fill``."""
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        shards=tuple(shards) if shards else None,
        dtype=dtype,
        fill_value=fill,
        dimension_names=tuple(dims),
        compressors=[codec()],
        attributes=attrs,
        config={"write_empty_chunks": False},
    )


def create_daily_array(
    group: zarr.Group, name: str, layout: Layout, dtype: str, fill: int, attrs: dict[str, Any]
) -> zarr.Array:
    """Create a (time, lat, lon) array whose shards are blocks."""
    size = layout.tile_size
    shape = (layout.days, *layout.shape)
    chunks = (WINDOW_DAYS, CHUNK_PIXELS, CHUNK_PIXELS)
    shards = (WINDOW_DAYS, size, size)
    return create_array(group, name, DIMS, shape, chunks, shards, dtype, fill, attrs)


def write_coordinate(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    attrs: dict[str, Any],
    chunks: tuple[int, ...] | None = None,
) -> None:
    """Write one coordinate, in a single chunk unless they are given."""
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks or values.shape,
        dimension_names=(name,),
        compressors=[codec()],
        attributes=attrs,
    )
    array[:] = values


def write_days(group: zarr.Group, name: str, days: NDArray[np.datetime64]) -> None:
    """Write a daily axis as whole days after its first."""
    numbers = day_numbers(days)
    attrs = {
        "long_name": "Day, UTC",
        "standard_name": "time",
        "axis": "T",
        "units": f"days since {days[0]}",
        "calendar": "proleptic_gregorian",
    }
    # At least a window: days that are added later shall not come to a chunk each.
    chunks = (max(numbers.size, WINDOW_DAYS),)
    write_coordinate(group, name, numbers, attrs, chunks)


def lengthen(
    store: Location,
    layout: Layout,
    lengths: Lengths,
    axes: Mapping[str, NDArray[Any]],
    attrs: Mapping[str, Any],
) -> None:
    """Let writers see a store with the days of a layout, of which it has the first.

    If it has all of them, a growth that was begun and left is forgotten.

    Parameters
    ----------
    lengths : mapping
        See ``growth.begin_growth``.
    axes : mapping
        Whole values of the coordinates that grow, by their paths.
    attrs : mapping
        Attributes of the root that change with the days; the layout is added.
    """
    if read_layout(store) == layout:
        forget_growth(store)
        mend(store)
        return
    begin_growth(store, lengths, {**layout_attrs(layout), **attrs})
    held, longer = open_group(store), open_group(store, "r+")
    for path, values in axes.items():
        there = array_of(held, path).shape[0]
        array_of(longer, path)[there:] = values[there:]


def day_numbers(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return days as they stand on a daily axis: whole days after its first."""
    return (days - days[0]).astype("int64")


def write_position(group: zarr.Group, layout: Layout) -> None:
    """Write the latitude and longitude of the pixel centres."""
    write_coordinate(group, "lat", layout.lat, LAT_ATTRS)
    write_coordinate(group, "lon", layout.lon, LON_ATTRS)


def write_region(array: zarr.Array, region: tuple[slice, ...], values: NDArray[Any]) -> list[str]:
    """Write whole shards and return the names of their objects.

    Raises
    ------
    ValueError
        If the region cuts a shard (another task may be writing the rest of it), or the values
        are not of its shape and kind.
    """
    units = array.shards or array.chunks
    for part, unit, length in zip(region, units, array.shape, strict=True):
        if part.start % unit or (part.stop % unit and part.stop != length):
            raise ValueError(
                f"{array.path}: {region} cuts a shard of {units}; write whole shards only"
            )
    shape = tuple(part.stop - part.start for part in region)
    if values.shape != shape or not np.can_cast(values.dtype, array.dtype, "same_kind"):
        raise ValueError(
            f"{array.path}: values are {values.dtype} {values.shape}, expected {array.dtype} "
            f"{shape} for {region}"
        )
    unread(array)[region] = values
    steps = [
        range(part.start // unit, -(-part.stop // unit))
        for part, unit in zip(region, units, strict=True)
    ]
    return [f"{array.path}/c/{'/'.join(map(str, place))}" for place in _product(steps)]


def _product(steps: list[range]) -> list[tuple[int, ...]]:
    """All combinations of chunk numbers, the last axis fastest."""
    grids = np.meshgrid(*steps, indexing="ij")
    return [tuple(map(int, place)) for place in zip(*(g.ravel() for g in grids), strict=True)]


def zarr_store(store: Location | RemoteStore, mode: str = "r") -> str | RemoteStore:
    """Return what zarr and xarray open a store by; one that is open already as it is."""
    if isinstance(store, RemoteStore):
        return store
    if not locations.is_url(store):
        return str(store)
    return RemoteStore(str(locations.location_of(store)), read_only=mode == "r")


def open_group(store: Location | RemoteStore, mode: str = "r") -> zarr.Group:
    """Open a store's root group; whoever writes a growing store sees it as it is to become.

    Raises
    ------
    FileNotFoundError
        If there is no Zarr store at that place.
    """
    if mode == "r+" and not isinstance(store, RemoteStore) and (growing := open_growing(store)):
        return growing
    try:
        opened = zarr_store(store, mode)
        # Else zarr asks a far store for the files of format 2 as well.
        known = 3 if isinstance(opened, RemoteStore) else None
        return zarr.open_group(opened, mode=mode, zarr_format=known)  # type: ignore[arg-type]
    except (FileNotFoundError, zarr.errors.ContainsArrayError) as error:
        raise FileNotFoundError(
            f"no Zarr store at {store}: run the stage that writes it"
        ) from error


def open_dataset(
    store: Location | RemoteStore, group: str | None = None, *, mask_and_scale: bool = True
) -> xr.Dataset:
    """Open the arrays of a store or of one of its groups as plain xarray, without Dask."""
    opened = zarr_store(store)
    told = open_group(opened).metadata.consolidated_metadata is not None
    return xr.open_zarr(
        opened,
        group=group,
        chunks=None,
        consolidated=told,
        zarr_format=3,
        mask_and_scale=mask_and_scale,
    )


def array_of(group: zarr.Group, path: str) -> zarr.Array:
    """Return an array of a store.

    Raises
    ------
    ValueError
        If the store has no such array.
    """
    found = group.get(path)
    if not isinstance(found, zarr.Array):
        raise ValueError(f"{group.store_path} has no array {path!r}; it has {sorted(group)}")
    return found


def read_layout(store: Location) -> Layout:
    """Return the layout that a store was created with.

    Raises
    ------
    ValueError
        If the store was not written by this project.
    """
    return layout_of(open_group(store))


def layout_of(root: zarr.Group) -> Layout:
    """Return the layout that an open store was created with."""
    if LAYOUT_ATTR not in root.attrs:
        raise ValueError(
            f"{root.store} has no {LAYOUT_ATTR} attribute: it is not a store of gssm_cube"
        )
    return layout_in(root.attrs.asdict())


def layout_in(attrs: Mapping[str, Any]) -> Layout:
    """Return the layout that a root's attributes tell; older stores hold it as a mapping."""
    told = attrs[LAYOUT_ATTR]
    return Layout.from_dict(json.loads(told) if isinstance(told, str) else told)


def layout_attrs(layout: Layout) -> dict[str, str]:
    """Return the root's attribute that tells a layout; as text, for NetCDF knows no mappings."""
    return {LAYOUT_ATTR: json.dumps(layout.to_dict())}
