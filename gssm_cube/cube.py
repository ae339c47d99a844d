"""The feature cube: one Zarr store of five groups; create, write by block, open.

``static`` (lat, lon) and ``daily`` (time, lat, lon) at 1 km; ``composite`` every 16 days at 1 km;
``meteo`` (feature, time, lat, lon) at 0.1 deg, with the climate of the place and the state of the
memory of water; ``climatology``, the frozen harmonics by which LST gaps are filled. ``open_cube``
gives all features on one (time, lat, lon) grid, lazily.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.core import indexing

from gssm_cube.flags import FLAGS, LST_FLAGS, VEGETATION_FLAGS, flag_attrs
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Block, Layout
from gssm_cube.growth import set_attrs
from gssm_cube.lazy import (
    CellReader,
    CompositeReader,
    PackedArray,
    QualityReader,
    Reader,
    StoredReader,
)
from gssm_cube.stores import (
    DIMS,
    LAT_ATTRS,
    LON_ATTRS,
    array_of,
    create_array,
    create_daily_array,
    created_whole,
    open_group,
    packed_attrs,
    read_layout,
    write_coordinate,
    write_days,
    write_position,
)
from gssm_cube.variables import FILL, PREDICTORS, Group, Upsampling, names_of

FORMAT = "gssm_cube features 3"
COMPOSITES_A_YEAR = 23
CELL_CHUNK = 120
TERMS = 7  # mean and three annual harmonics
METEO = names_of("meteo")
CLIMATE = names_of("climate")
STATE_VALUES = 10  # of ``harmonise.memory.MemoryState``
TIMELESS: tuple[Group, ...] = ("static", "climate", "climatology")


def create_cube(
    store: str | Path,
    layout: Layout,
    composites: NDArray[np.datetime64],
    attrs: Mapping[str, Any],
    upsampling: Upsampling = "bilinear",
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

    Raises
    ------
    ValueError
        If the store holds something else.
    """
    if (Path(store) / "zarr.json").exists():
        check_cube(store, layout, upsampling)
        return
    if upsampling not in get_args(Upsampling):
        raise ValueError(f"upsampling is {upsampling!r}, expected one of {get_args(Upsampling)}")
    with created_whole(store) as root:
        _create_static(root.create_group("static"), layout)
        _create_daily(root.create_group("daily"), layout)
        _create_composite(root.create_group("composite"), layout, composites)
        _create_meteo(root.create_group("meteo"), layout, upsampling)
        _create_climatology(root.create_group("climatology"), layout)
        about: dict[str, Any] = {
            "Conventions": "CF-1.11",
            "gssm_format": FORMAT,
            "gssm_layout": layout.to_dict(),
        }
        root.attrs.update({**about, **attrs})


def check_cube(store: str | Path, layout: Layout, upsampling: Upsampling | None = None) -> None:
    """Raise unless a store is a feature cube of this layout or of its first days.

    And read with this upsampling, if it is given.
    """
    found = read_layout(store)
    if open_group(store).attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not a feature cube ({FORMAT}); give another path")
    if found != layout and not layout.continues(found):
        raise ValueError(
            f"{store} spans {found.to_dict()}, the settings ask for {layout.to_dict()}; give "
            "another folder, or remove the store to build it anew"
        )
    kept = upsampling_of(open_group(store))
    if upsampling not in (None, kept):
        raise ValueError(
            f"{store} is read with {kept!r} upsampling, the settings ask for {upsampling!r}; give "
            "another folder, or remove the store to build it anew"
        )


def upsampling_of(root: zarr.Group) -> Upsampling:
    """How a cube's 0.1 deg cells become pixels; cubes that do not say are bilinear."""
    return cast("Upsampling", array_of(root, "meteo/cells").attrs.get("upsampling", "bilinear"))


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


def _create_meteo(group: zarr.Group, layout: Layout, upsampling: Upsampling) -> None:
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
        "scale_factors": [PREDICTORS[name].packing.scale for name in names],
        "add_offsets": [PREDICTORS[name].packing.offset for name in names],
        "units": [PREDICTORS[name].units for name in names],
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


def note_floored_slopes(store: str | Path, share: float) -> None:
    """Keep, with the topographic index, the share of cells whose slope was raised to the floor."""
    array = array_of(open_group(store), "static/ti")
    if array.attrs.get("floored_slopes") != round(share, 6):
        set_attrs(store, {"floored_slopes": round(share, 6)}, "static/ti")


# ---- opening ----------------------------------------------------------------------------------


def open_cube(
    store: str | Path,
    *,
    chunks: Mapping[str, int] | None = None,
    mask_and_scale: bool = True,
    block: Block | None = None,
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
        Hold the 0.1 deg cells of this block in memory, for reading the block chunk by chunk.

    Returns
    -------
    Dataset (time, lat, lon)
        Float32 features by name; static ones and the climate are (lat, lon); ``lat`` and
        ``lon``, as features, are the coordinates. ``land`` (lat, lon) is 1 on land. NaN where
        missing.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If the store is not a feature cube.
    """
    layout = read_layout(store)
    root = open_group(store)
    if root.attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not a feature cube ({FORMAT})")
    variables = {
        name: _variable(name, reader, layout, mask_and_scale)
        for name, reader in _readers(root, layout, block).items()
    }
    variables["land"] = _flags("land", array_of(root, "static/land"), layout)
    coords = {
        "time": ("time", layout.time.astype("M8[ns]"), {"standard_name": "time", "axis": "T"}),
        "lat": ("lat", layout.lat, LAT_ATTRS),
        "lon": ("lon", layout.lon, LON_ATTRS),
    }
    dataset = xr.Dataset(variables, coords, dict(root.attrs))
    if chunks is None:
        return dataset
    return dataset.chunk(chunks or dict(zip(DIMS, (WINDOW_DAYS, 48, 48), strict=True)))


def open_quality(store: str | Path) -> xr.DataArray:
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


def quality_reader(store: str | Path) -> QualityReader:
    """Return what reads a cube's flags of any region, without xarray."""
    root, layout = open_group(store), read_layout(store)
    return QualityReader(
        array_of(root, "daily/quality"),
        array_of(root, "composite/quality"),
        composite_starts_of(root, layout),
        array_of(root, "static/land"),
        array_of(root, "static/filled"),
        tuple(array_of(root, f"static/{name}") for name in names_of("static")),
        array_of(root, "meteo/cells"),
        layout.cell_pixels,
        upsampling_of(root),
    )


def _readers(root: zarr.Group, layout: Layout, block: Block | None) -> dict[str, Reader]:
    """Return the reader of each feature that the cube holds."""
    readers: dict[str, Reader] = {}
    groups: tuple[Group, ...] = ("static", "daily", "climatology")
    for group in groups:
        for name in names_of(group):
            readers[name] = StoredReader(array_of(root, f"{group}/{name}"))
    starts = composite_starts_of(root, layout)
    for name in names_of("composite"):
        readers[name] = CompositeReader(array_of(root, f"composite/{name}"), starts)
    return readers | _cell_readers(root, layout, block)


def _cell_readers(root: zarr.Group, layout: Layout, block: Block | None) -> dict[str, Reader]:
    """Return the readers of what is stored at 0.1 deg: with days, and the climate without."""
    readers: dict[str, Reader] = {}
    upsampling = upsampling_of(root)
    for path in ("meteo/cells", "meteo/climate"):
        cells = array_of(root, path)
        held: zarr.Array | NDArray[np.int16] = cells
        box = tuple(slice(0, size) for size in cells.shape[1:])
        if block is not None:
            box = cell_region(layout, block)[-len(box) :]
            held = np.asarray(cells[:, *box])
        origin = tuple(part.start for part in box)
        names = cast("list[str]", cells.attrs["features"])
        for number, name in enumerate(names):
            readers[name] = CellReader(held, number, layout.cell_pixels, origin, upsampling)
    return readers


def composite_starts_of(root: zarr.Group, layout: Layout) -> NDArray[np.int64]:
    """Start dates of the composites as days after the layout's first day."""
    axis = array_of(root, "composite/time")
    first = np.datetime64(str(axis.attrs["units"]).removeprefix("days since "), "D")
    return np.asarray(axis[:]) + (first - layout.time[0]).astype("int64")


def cell_region(layout: Layout, block: Block) -> tuple[slice, slice, slice]:
    """Days, cell rows and cell columns that a block needs."""
    rows, cols = layout.tile_slices(block.tile)
    n = layout.cell_pixels
    cell_rows = slice(rows.start // n, (rows.stop - 1) // n + 2)
    cell_cols = slice(cols.start // n, (cols.stop - 1) // n + 2)
    return block.window.slice, cell_rows, cell_cols


def _variable(name: str, reader: Reader, layout: Layout, decoded: bool) -> xr.Variable:
    """Wrap a reader as a lazily indexed variable."""
    variable = PREDICTORS[name]
    static = variable.group in TIMELESS
    shape = layout.shape if static else (layout.days, *layout.shape)
    array = PackedArray(reader, shape, variable.packing if decoded else None)
    attrs = variable.attrs if decoded else variable.attrs | packed_attrs(variable.packing)
    return xr.Variable(DIMS[1:] if static else DIMS, indexing.LazilyIndexedArray(array), attrs)


def _flags(name: str, array: Any, layout: Layout) -> xr.Variable:
    """Wrap a layer of small integers as a lazily indexed variable."""
    lazy = PackedArray(StoredReader(array), layout.shape, None)
    lazy.dtype = array.dtype
    return xr.Variable(DIMS[1:], indexing.LazilyIndexedArray(lazy), dict(array.attrs))
