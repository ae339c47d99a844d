"""The SSM Zarr: metadata first, then whole blocks, then plain xarray."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube.flags import PRODUCT_FLAGS, flag_attrs
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Block, Layout
from gssm_cube.stores import (
    DIMS,
    array_of,
    codec,
    create_daily_array,
    created_whole,
    open_group,
    packed_attrs,
    read_layout,
    write_days,
    write_position,
    write_region,
)
from gssm_cube.variables import FILL, SSM, SSM_SPREAD

FORMAT = "gssm_cube product 2"
LAYERS = ("ssm", "ssm_spread", "quality")
DEPTH, DEPTH_BOUNDS = 0.025, (0.0, 0.05)  # m


def create_product(store: str | Path, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Create the empty product, or bring the attributes of one that is there up to date.

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
    if (Path(store) / "zarr.json").exists():
        check_product(store)
        found = read_layout(store)
        if found != layout:
            raise ValueError(
                f"{store} spans {found.to_dict()}, the cube spans {layout.to_dict()}; give "
                "another folder, or remove the product to write it anew"
            )
        open_group(store, "r+").attrs.update(dict(attrs))
        return
    with created_whole(store) as root:
        write_position(root, layout)
        write_days(root, "time", layout.time)
        _write_depth(root)
        ssm = SSM.attrs | packed_attrs(SSM.packing)
        ssm |= {"cell_methods": "time: mean area: mean", "coordinates": "depth"}
        ssm |= {"ancillary_variables": "ssm_spread quality"}
        create_daily_array(root, "ssm", layout, "int16", FILL, ssm)
        spread = SSM_SPREAD.attrs | packed_attrs(SSM_SPREAD.packing)
        create_daily_array(root, "ssm_spread", layout, "int16", FILL, spread)
        about = flag_attrs(PRODUCT_FLAGS, "What the estimate rests on, and whether soil allows it")
        about |= {"standard_name": "quality_flag"}
        create_daily_array(root, "quality", layout, "uint16", 0, about)
        root.attrs.update(
            {
                "Conventions": "CF-1.11",
                "title": "Surface soil moisture, daily, 1 km",
                "gssm_format": FORMAT,
                "gssm_layout": layout.to_dict(),
                "gssm_day": "UTC",
                **attrs,
            }
        )


def _write_depth(root: zarr.Group) -> None:
    """Write the scalar depth of the soil layer and its bounds."""
    attrs: dict[str, Any] = {
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


def check_product(store: str | Path) -> None:
    """Raise unless a store is an SSM product of this project."""
    if open_group(store).attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not an SSM product ({FORMAT}); give another path")


def write_block(
    store: str | Path, layout: Layout, block: Block, layers: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Fill one block and return the names of its objects.

    Parameters
    ----------
    layers : mapping of (time, lat, lon)
        ``ssm`` and ``ssm_spread``, packed int16, and ``quality``, bits of
        ``flags.PRODUCT_FLAGS``, uint16; the whole block, one writer.
    """
    region = (block.window.slice, *layout.tile_slices(block.tile))
    root = open_group(store, "r+")
    names = [write_region(array_of(root, name), region, layers[name]) for name in LAYERS]
    return [name for objects in names for name in objects]


def interval(product: xr.Dataset) -> xr.Dataset:
    """Return the calibrated interval of an opened product, or of a region of it.

    The estimate plus and minus ``factor * sqrt(ssm_spread**2 + floor**2)``, by the constants of the
    product's attribute ``interval``; see ``gssm_cube.intervals`` for what it covers.

    Parameters
    ----------
    product : Dataset (time, lat, lon)
        Of `open_product`, with its attributes. Select first, or give it chunks: without Dask all of
        it is read.

    Returns
    -------
    Dataset (time, lat, lon)
        ``ssm_lower``, at least 0, and ``ssm_upper``, m3 m-3.

    Raises
    ------
    ValueError
        If the product was made without a calibrated interval.
    """
    said = json.loads(product.attrs.get("interval", "null"))
    if said is None:
        raise ValueError("this product has no calibrated interval: too few stations were held out")
    ssm, spread = product["ssm"], product["ssm_spread"]
    half = said["factor"] * np.sqrt(spread**2 + said["floor"] ** 2)
    ends = {"ssm_lower": (ssm - half).clip(min=0), "ssm_upper": ssm + half}
    words = {"units": SSM.units, "long_name": f"{said['level']:.0%} interval of soil moisture"}
    return xr.Dataset({name: end.assign_attrs(words) for name, end in ends.items()})


def open_product(store: str | Path, *, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Open the product lazily, as plain xarray.

    Parameters
    ----------
    store : path
    chunks : mapping, optional
        Dask chunks; ``{}`` means one inner chunk (366 days, 48 x 48 pixels) each. By default
        there is no Dask graph, which at global size would have millions of tasks.

    Returns
    -------
    Dataset (time, lat, lon)
        ``ssm`` m3 m-3, NaN over sea and where nothing was predicted; ``ssm_spread``, the standard
        deviation of the trees, which `interval` calibrates; ``quality``, bits as its
        ``flag_masks`` and ``flag_meanings`` say, 0 over sea.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If the store is something else.
    """
    check_product(store)
    dataset = xr.open_zarr(str(store), chunks=None, consolidated=False)
    dataset = dataset.set_coords("depth_bounds")
    if chunks is None:
        return dataset
    inner = dict(zip(DIMS, (WINDOW_DAYS, CHUNK_PIXELS, CHUNK_PIXELS), strict=True))
    return dataset.chunk(chunks or inner)
