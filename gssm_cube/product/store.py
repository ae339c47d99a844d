"""The SSM Zarr: metadata first, then whole blocks, then plain xarray."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube.flags import PRODUCT_FLAGS, flag_attrs
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Block, Layout
from gssm_cube.product.attributes import (
    coverage_attrs,
    day_edges,
    discovery_attrs,
    write_bounds,
)
from gssm_cube.product.derived import Mask, with_derived_layers
from gssm_cube.storage.growth import is_growing, open_growing, set_attrs
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import (
    DIMS,
    array_of,
    codec,
    create_daily_array,
    created_whole,
    day_numbers,
    exists,
    layout_attrs,
    layout_of,
    lengthen,
    open_dataset,
    open_group,
    packed_attrs,
    read_layout,
    write_days,
    write_position,
    write_region,
    zarr_store,
)
from gssm_cube.variables import FILL, SSM, SSM_SPREAD

logger = logging.getLogger(__name__)

FORMAT = "gssm_cube product 2"
STAGE = "predict"  # under which its blocks have their markers
QUALITY_TYPE = {"coverage_content_type": "qualityInformation"}  # ACDD
DEPTH, DEPTH_BOUNDS = 0.025, (0.0, 0.05)  # m


class Layers(NamedTuple):
    """What the product stores of a block, each (time, lat, lon).

    Parameters
    ----------
    ssm : int16
        Packed soil moisture.
    ssm_spread : int16
        Packed standard deviation over the trees.
    quality : uint16
        Bits of ``flags.PRODUCT_FLAGS``.
    """

    ssm: NDArray[np.int16]
    ssm_spread: NDArray[np.int16]
    quality: NDArray[np.uint16]


def create_product(store: Location, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Create the empty product, or bring the attributes of one that is there up to date.

    One that has the first days of the layout grows, which readers see, with the attributes, after
    ``growth.end_growth``.

    Parameters
    ----------
    store : path
    layout : Layout
    attrs : mapping
        Provenance and other global attributes.

    Raises
    ------
    ValueError
        If the store holds something else, or another box or period.
    """
    if exists(store):
        check_product(store)
        found = read_layout(store)
        if found != layout and not layout.continues(found):
            raise ValueError(
                f"{store} spans {found}; the cube spans {layout}; give "
                "another folder, or remove the product to write it anew"
            )
        lengthen_product(store, layout, attrs)
        return
    with created_whole(store) as root:
        write_position(root, layout)
        write_days(root, "time", layout.time)
        write_bounds(root, layout)
        _write_depth(root)
        ssm = SSM.attrs | packed_attrs(SSM.packing)
        ssm |= {"cell_methods": "time: mean area: mean", "coordinates": "depth"}
        ssm |= {"coverage_content_type": "modelResult"}
        ssm |= {"ancillary_variables": "ssm_spread quality"}
        create_daily_array(root, "ssm", layout, "int16", FILL, ssm)
        spread = SSM_SPREAD.attrs | packed_attrs(SSM_SPREAD.packing) | {"coordinates": "depth"}
        # CF: the same quantity, its deviation over an ensemble, which the trees are.
        spread |= {"cell_methods": "time: mean area: mean realization: standard_deviation"}
        spread |= {"standard_name": SSM.standard_name} | QUALITY_TYPE
        create_daily_array(root, "ssm_spread", layout, "int16", FILL, spread)
        about = flag_attrs(PRODUCT_FLAGS, "What the estimate rests on, and whether soil allows it")
        about |= {"standard_name": "quality_flag"} | QUALITY_TYPE
        create_daily_array(root, "quality", layout, "uint16", 0, about)
        root.attrs.update(
            {
                **discovery_attrs(layout),
                "gssm_format": FORMAT,
                **layout_attrs(layout),
                "gssm_day": "UTC",
                **attrs,
            }
        )


def lengthen_product(store: Location, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Let writers see a product with the days of ``layout``; one that has them gets ``attrs``.

    Raises
    ------
    ValueError
        If another forest than the one that predicted the first days is to go on.
    """
    check_same_forest(store, layout, attrs)
    days = day_numbers(layout.time)
    axes = {"time": days, "time_bounds": day_edges(days)}
    covered = coverage_attrs(layout.bounds, layout.first_day, layout.last_day)
    lengthen(store, layout, {"": {"time": layout.days}}, axes, covered | dict(attrs))
    if not is_growing(store):
        set_attrs(store, attrs)


def check_same_forest(store: Location, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Raise if a product is to grow by another forest; warn if all of it is predicted anew."""
    held = open_group(store).attrs.get("forest_digest")
    told = attrs.get("forest_digest")
    if held == told or held is None or told is None:
        return
    text = f"{store} was predicted by the forest {str(held)[:16]}, now it is {str(told)[:16]}"
    if layout.continues(read_layout(store)):
        raise ValueError(
            f"{text}: days may be added by the same forest only; set `version` for a product of "
            "the new one beside it, or remove this one to write it anew"
        )
    logger.warning("%s: all is predicted anew; `version` would keep it and write another", text)


def _write_depth(root: zarr.Group) -> None:
    """Write the scalar depth of the soil layer and its bounds."""
    attrs: dict[str, Any] = {
        "long_name": "Depth of the middle of the soil layer",
        "standard_name": "depth",
        "units": "m",
        "positive": "down",
        "axis": "Z",
        "bounds": "depth_bounds",
    }
    packed: dict[str, Any] = {"compressors": [codec()]}
    root.create_array("depth", data=np.array(DEPTH), attributes=attrs, **packed)
    bounds = np.array(DEPTH_BOUNDS)
    root.create_array("depth_bounds", data=bounds, dimension_names=("bounds",), **packed)


def check_product(store: Location) -> None:
    """Raise unless a store is an SSM product of this project."""
    _check_root(open_group(store), store)


def _check_root(root: zarr.Group, store: Location) -> None:
    """Raise unless an open root is that of a product."""
    if root.attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not an SSM product ({FORMAT}); give another path")


def check_whole(store: Location) -> None:
    """Raise if a product is getting days that are not all there yet."""
    longer = open_growing(store)
    if longer and layout_of(longer) != layout_of(open_group(store)):
        raise ValueError(f"{store} is getting more days; run `gssm predict` to its end first")


def write_block(store: Location, layout: Layout, block: Block, layers: Layers) -> list[str]:
    """Fill one block and return the names of its objects.

    Parameters
    ----------
    layers : Layers
        Of the whole block, one writer.
    """
    region = (block.window.slice, *layout.tile_slices(block.tile))
    root = open_group(store, "r+")
    objects = []
    for name, values in layers._asdict().items():
        objects += write_region(array_of(root, name), region, values)
    return objects


def open_product(
    store: Location,
    *,
    chunks: Mapping[str, int] | None = None,
    mask: Mask | None = None,
) -> xr.Dataset:
    """Open the product lazily, as plain xarray.

    Parameters
    ----------
    store : path or URL
        Also of a web server (https), read only.
    chunks : mapping, optional
        Dask chunks; ``{}`` means one inner chunk (366 days, 48 x 48 pixels) each. By default
        there is no Dask graph, which at global size would have millions of tasks.
    mask : "recommended", optional
        Leave out the values that the product itself advises against: on frozen ground, outside
        of what the soil can hold (``flags.RECOMMENDED``), or, where it has these static layers,
        where most of a pixel is open water, permanent ice or built up. ``ssm`` says so in its
        attribute ``mask``.

    Returns
    -------
    Dataset (time, lat, lon)
        ``ssm`` m3 m-3, NaN over sea and where nothing was predicted; ``ssm_spread`` m3 m-3, the
        standard deviation over the trees; ``ssm_lower`` and ``ssm_upper`` m3 m-3, the 90 %
        interval, where the product knows its constants (``interval`` in its attributes);
        ``quality``, bits as its ``flag_masks`` and ``flag_meanings`` say, 0 over sea.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If the store is something else, or there is no such mask.
    """
    opened = zarr_store(store)
    root = open_group(opened)
    _check_root(root, store)
    dataset = open_dataset(opened)
    dataset = dataset.set_coords([name for name in map(str, dataset) if name.endswith("_bounds")])
    dataset = with_derived_layers(dataset, root, mask)
    if chunks is None:
        return dataset
    inner = dict(zip(DIMS, (WINDOW_DAYS, CHUNK_PIXELS, CHUNK_PIXELS), strict=True))
    return dataset.chunk(chunks or inner)
