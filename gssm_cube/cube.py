"""The feature cube: one Zarr store of five groups; create, write by block, open.

``static`` (lat, lon) and ``daily`` (time, lat, lon) at 1 km; ``composite`` every 16 days at 1 km;
``meteo`` (feature, time, lat, lon) at 0.1 deg, with the climate of the place, the state of the
memory of water, and where the files have it what ERA5-Land says of the soil; ``climatology``, the
frozen harmonics by which LST gaps are filled. ``open_cube`` gives all features on one (time, lat,
lon) grid, lazily.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.core import indexing

from gssm_cube.cube_readers import cell_region as cell_region  # others take these from here
from gssm_cube.cube_readers import composite_starts_of as composite_starts_of
from gssm_cube.cube_readers import of_block, readers_of, upsampling_of
from gssm_cube.cube_readers import reanalysis_of as reanalysis_of
from gssm_cube.flags import FLAGS, LST_FLAGS, VEGETATION_FLAGS, flag_attrs
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Block, Layout
from gssm_cube.lazy import PackedArray, QualityReader, Reader, StoredReader
from gssm_cube.storage.growth import set_attrs
from gssm_cube.storage.locations import Location
from gssm_cube.storage.shards import Shards
from gssm_cube.storage.stores import (
    DIMS,
    LAT_ATTRS,
    LON_ATTRS,
    array_of,
    create_array,
    create_daily_array,
    created_whole,
    exists,
    layout_attrs,
    layout_of,
    open_group,
    packed_attrs,
    read_layout,
    write_coordinate,
    write_days,
    write_position,
)
from gssm_cube.variables import FILL, PREDICTORS, STORED, Group, Upsampling, names_of

FORMAT = "gssm_cube features 3"
COMPOSITES_A_YEAR = 23
CELL_CHUNK = 120
TERMS = 7  # mean and three annual harmonics
METEO = names_of("meteo")
CLIMATE = names_of("climate")
STATE_VALUES = 10  # of ``harmonise.memory.MemoryState``
TIMELESS: tuple[Group, ...] = ("static", "climate", "climatology")


def create_cube(
    store: Location,
    layout: Layout,
    composites: NDArray[np.datetime64],
    attrs: Mapping[str, Any],
    upsampling: Upsampling = "bilinear",
    reanalysis: Sequence[str] = (),
) -> None:
    """Create the empty cube: metadata and coordinates, no values.

    Parameters
    ----------
    store : path
        Must not exist yet, or hold a cube of the same layout or of its first days, which is kept.
    layout : Layout
        Box of tiles and days.
    composites : (composite,) datetime64[D]
        Start dates; the first on or before the first day, the last on or after the last day.
    attrs : mapping
        More global attributes.
    upsampling : "bilinear" or "nearest"
        How 0.1 deg cells become pixels whenever the cube is read; kept in the store.
    reanalysis : sequence of str
        Of ``swvl1`` and ``stl1``, those that the cube is to hold; one that is there stays as it is.

    Raises
    ------
    ValueError
        If the store holds something else.
    """
    if exists(store):
        check_cube(store, layout, upsampling)
        return
    if upsampling not in get_args(Upsampling):
        raise ValueError(f"upsampling is {upsampling!r}, expected one of {get_args(Upsampling)}")
    with created_whole(store) as root:
        _create_static(root.create_group("static"), layout)
        _create_daily(root.create_group("daily"), layout)
        _create_composite(root.create_group("composite"), layout, composites)
        _create_meteo(root.create_group("meteo"), layout, upsampling, tuple(reanalysis))
        _create_climatology(root.create_group("climatology"), layout)
        about: dict[str, Any] = {
            "Conventions": "CF-1.11",
            "gssm_format": FORMAT,
            **layout_attrs(layout),
        }
        root.attrs.update({**about, **attrs})


def check_cube(store: Location, layout: Layout, upsampling: Upsampling | None = None) -> None:
    """Raise unless a store is a feature cube of this layout or of its first days.

    And read with this upsampling, if it is given.
    """
    found = read_layout(store)
    if open_group(store).attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not a feature cube ({FORMAT}); give another path")
    if found != layout and not layout.continues(found):
        raise ValueError(
            f"{store} spans {found}; the settings ask for {layout}; give "
            "another folder, or remove the store to build it anew"
        )
    kept = upsampling_of(open_group(store))
    if upsampling not in (None, kept):
        raise ValueError(
            f"{store} is read with {kept!r} upsampling, the settings ask for {upsampling!r}; give "
            "another folder, or remove the store to build it anew"
        )


def _create_static(group: zarr.Group, layout: Layout) -> None:
    """Create the static predictors, the land mask, and where holes were filled."""
    write_position(group, layout)
    size = layout.tile_size
    box = (layout.shape, (CHUNK_PIXELS, CHUNK_PIXELS), (size, size))
    for name in names_of("static"):
        attrs = PREDICTORS[name].attrs | packed_attrs(PREDICTORS[name].packing)
        create_array(group, name, DIMS[1:], *box, "int16", FILL, attrs)
    land = {"long_name": "Land", "units": "1", "flag_values": [0, 1], "flag_meanings": "sea land"}
    create_array(group, "land", DIMS[1:], *box, "uint8", 0, land)
    filled = {"long_name": "A static layer was filled from nearby land", "units": "1"}
    create_array(group, "filled", DIMS[1:], *box, "uint8", 0, filled)


def _create_daily(group: zarr.Group, layout: Layout) -> None:
    """Land surface temperature and how it came about."""
    write_position(group, layout)
    write_days(group, "time", layout.time)
    for name in names_of("daily"):
        attrs = PREDICTORS[name].attrs | packed_attrs(PREDICTORS[name].packing)
        create_daily_array(group, name, layout, "int16", FILL, attrs)
    about = flag_attrs(LST_FLAGS, "What was filled, and what came from other sensors than Terra's")
    create_daily_array(group, "quality", layout, "uint16", 0, about)


def _create_composite(
    group: zarr.Group, layout: Layout, composites: NDArray[np.datetime64]
) -> None:
    """Vegetation on its own axis of start dates; a shard is a tile and 23 composites."""
    write_position(group, layout)
    write_days(group, "time", composites.astype("M8[D]"))
    size = layout.tile_size
    shape = (len(composites), *layout.shape)
    chunks = (COMPOSITES_A_YEAR, CHUNK_PIXELS, CHUNK_PIXELS)
    shards = (COMPOSITES_A_YEAR, size, size)
    for name in names_of("composite"):
        attrs = PREDICTORS[name].attrs | packed_attrs(PREDICTORS[name].packing)
        create_array(group, name, DIMS, shape, chunks, shards, "int16", FILL, attrs)
    about = flag_attrs(VEGETATION_FLAGS, "What was filled, is provisional, or from other sensors")
    create_array(group, "quality", DIMS, shape, chunks, shards, "uint16", 0, about)


def _create_meteo(
    group: zarr.Group, layout: Layout, upsampling: Upsampling, reanalysis: tuple[str, ...]
) -> None:
    """Meteorology stacked in chunks of one feature, the climate, and the state of the memory."""
    write_coordinate(group, "lat", layout.cell_lat, LAT_ATTRS)
    write_coordinate(group, "lon", layout.cell_lon, LON_ATTRS)
    write_days(group, "time", layout.time)
    rows, cols = layout.cells_shape
    place = (min(CELL_CHUNK, rows), min(CELL_CHUNK, cols))

    def create(
        name: str, axes: dict[str, int], chunks: list[int], dtype: str, attrs: dict[str, Any]
    ) -> None:
        dims, shape = (*axes, "lat", "lon"), (*axes.values(), rows, cols)
        fill = FILL if dtype == "int16" else float("nan")
        create_array(group, name, dims, shape, (*chunks, *place), None, dtype, fill, attrs)

    attrs = _stack_attrs("Meteorological predictors, packed", METEO) | {"upsampling": upsampling}
    create("cells", {"feature": len(METEO), "time": layout.days}, [1, WINDOW_DAYS], "int16", attrs)
    if reanalysis:
        attrs = _stack_attrs("Soil of ERA5-Land, packed", reanalysis)
        axes = {"reanalysis_feature": len(reanalysis), "time": layout.days}
        create("reanalysis", axes, [1, WINDOW_DAYS], "int16", attrs)
    attrs = _stack_attrs("Climate of the place, packed", CLIMATE)
    create("climate", {"climate_feature": len(CLIMATE)}, [len(CLIMATE)], "int16", attrs)
    attrs = {"long_name": "Memory of water at the end of each window, see harmonise.memory"}
    axes = {"window": len(layout.windows()), "value": STATE_VALUES}
    create("state", axes, [1, STATE_VALUES], "float64", attrs)


def _stack_attrs(long_name: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Say what stands on the feature axis of a stack of codes."""
    return {
        "long_name": long_name,
        "features": list(names),
        "scale_factors": [STORED[name].packing.scale for name in names],
        "add_offsets": [STORED[name].packing.offset for name in names],
        "units": [STORED[name].units for name in names],
        "_FillValue": FILL,
    }


def _create_climatology(group: zarr.Group, layout: Layout) -> None:
    """Harmonics of LST and what follows from them at 1 km, of air temperature at 0.1 deg."""
    write_position(group, layout)
    group.attrs["fitted_on"] = f"{layout.first_day}/{layout.last_day}"
    size, nan = layout.tile_size, float("nan")
    shape, chunks = (TERMS, *layout.shape), (TERMS, CHUNK_PIXELS, CHUNK_PIXELS)
    for name in ("lst_day", "lst_night"):
        attrs = {"long_name": f"Harmonics of {name}", "units": "degC"}
        dims, shards = ("term", "lat", "lon"), (TERMS, size, size)
        create_array(group, name, dims, shape, chunks, shards, "float32", nan, attrs)
    for name in names_of("climatology"):
        attrs = PREDICTORS[name].attrs | packed_attrs(PREDICTORS[name].packing)
        box = (layout.shape, (CHUNK_PIXELS, CHUNK_PIXELS), (size, size))
        create_array(group, name, DIMS[1:], *box, "int16", FILL, attrs)
    rows, cols = layout.cells_shape
    chunks = (TERMS, min(CELL_CHUNK, rows), min(CELL_CHUNK, cols))
    attrs = {"long_name": "Harmonics of tair", "units": "degC"}
    dims = ("term", "cell_lat", "cell_lon")
    create_array(group, "tair", dims, (TERMS, rows, cols), chunks, None, "float32", nan, attrs)


def note_floored_slopes(store: Location, share: float) -> None:
    """Keep, with the topographic index, the share of cells whose slope was raised to the floor."""
    array = array_of(open_group(store), "static/ti")
    if array.attrs.get("floored_slopes") != round(share, 6):
        set_attrs(store, {"floored_slopes": round(share, 6)}, "static/ti")


# ---- opening ----------------------------------------------------------------------------------


def open_cube(
    store: Location,
    *,
    chunks: Mapping[str, int] | None = None,
    mask_and_scale: bool = True,
    block: Block | None = None,
    names: Sequence[str] | None = None,
) -> xr.Dataset:
    """Open all features as one harmonised Dataset, lazily.

    Parameters
    ----------
    store : path
    chunks : mapping, optional
        Dask chunks, such as ``{"time": 366, "lat": 48, "lon": 48}``; ``{}`` means just these. By
        default there is no Dask graph: values are read when they are asked for.
    mask_and_scale : bool
        False gives int16 codes, -32768 where missing.
    block : Block, optional
        Hold the 0.1 deg cells of this block in memory, for reading the block chunk by chunk; of a
        cube in an object store also the block's shards, each fetched in one request.
    names : sequence of str, optional
        Only these features, beside ``land``; by default all.

    Returns
    -------
    Dataset (time, lat, lon)
        Float32 features by name; static ones and the climate are (lat, lon); ``lat`` and
        ``lon``, as features, are the coordinates. ``land`` (lat, lon) is 1 on land. NaN where
        missing. ``swvl1`` and ``stl1``, if the cube has them, are no features: estimates of
        ERA5-Land's own model, to compare with.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If the store is not a feature cube.
    """
    root = open_group(store)
    layout = layout_of(root)
    if root.attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not a feature cube ({FORMAT})")
    variables = {
        name: _variable(name, reader, layout, mask_and_scale)
        for name, reader in readers_of(root, layout, block, names).items()
    }
    land = array_of(root, "static/land")
    variables["land"] = _flags(of_block(land, layout, block), dict(land.attrs), layout)
    coords = {
        "time": ("time", layout.time.astype("M8[ns]"), {"standard_name": "time", "axis": "T"}),
        "lat": ("lat", layout.lat, LAT_ATTRS),
        "lon": ("lon", layout.lon, LON_ATTRS),
    }
    dataset = xr.Dataset(variables, coords, dict(root.attrs))
    if chunks is None:
        return dataset
    return dataset.chunk(chunks or dict(zip(DIMS, (WINDOW_DAYS, 48, 48), strict=True)))


def open_quality(store: Location) -> xr.DataArray:
    """Open what was filled, what is provisional and what is missing, by pixel and day, lazily.

    Parameters
    ----------
    store : path

    Returns
    -------
    DataArray (time, lat, lon), uint16
        Bits of ``flags.FLAGS``, as ``flag_masks`` and ``flag_meanings`` say; 0 over the sea.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``open_cube``.
    """
    features, layout = open_cube(store), read_layout(store)
    reader = quality_reader(store)
    lazy = PackedArray(reader, (layout.days, *layout.shape), None)
    lazy.dtype = np.dtype("uint16")
    attrs = flag_attrs(FLAGS, "What was filled, is provisional or is missing")
    variable = xr.Variable(DIMS, indexing.LazilyIndexedArray(lazy), attrs)
    return xr.DataArray(variable, {dim: features[dim] for dim in DIMS}, name="quality")


def quality_reader(store: Location, block: Block | None = None) -> QualityReader:
    """Return what reads a cube's flags of any region, or of a block alone, without xarray."""
    root = open_group(store)
    layout = layout_of(root)
    starts = composite_starts_of(root, layout)
    return QualityReader(
        of_block(array_of(root, "daily/quality"), layout, block),
        of_block(array_of(root, "composite/quality"), layout, block, starts),
        starts,
        array_of(root, "static/land"),
        of_block(array_of(root, "static/filled"), layout, block),
        tuple(array_of(root, f"static/{name}") for name in names_of("static")),
        array_of(root, "meteo/cells"),
        layout.cell_pixels,
        upsampling_of(root),
    )


def _variable(name: str, reader: Reader, layout: Layout, decoded: bool) -> xr.Variable:
    """Wrap a reader as a lazily indexed variable."""
    variable = STORED[name]
    static = variable.group in TIMELESS
    shape = layout.shape if static else (layout.days, *layout.shape)
    array = PackedArray(reader, shape, variable.packing if decoded else None)
    attrs = variable.attrs if decoded else variable.attrs | packed_attrs(variable.packing)
    return xr.Variable(DIMS[1:] if static else DIMS, indexing.LazilyIndexedArray(array), attrs)


def _flags(array: zarr.Array | Shards, attrs: dict[str, Any], layout: Layout) -> xr.Variable:
    """Wrap a layer of small integers as a lazily indexed variable."""
    lazy = PackedArray(StoredReader(array), layout.shape, None)
    lazy.dtype = array.dtype
    return xr.Variable(DIMS[1:], indexing.LazilyIndexedArray(lazy), attrs)
