"""The SSM Zarr: metadata first, then whole blocks, then plain xarray."""

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
from gssm_cube.variables import FILL, SSM

FORMAT = "gssm_cube product 2"
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
        ssm |= {"ancillary_variables": "quality"}
        create_daily_array(root, "ssm", layout, "int16", FILL, ssm)
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
    store: str | Path,
    layout: Layout,
    block: Block,
    codes: NDArray[np.int16],
    quality: NDArray[np.uint16],
) -> list[str]:
    """Fill one block and return the names of its objects.

    Parameters
    ----------
    codes : (time, lat, lon) int16
        Packed soil moisture of the whole block, one writer.
    quality : (time, lat, lon) uint16
        Bits of ``flags.PRODUCT_FLAGS``.
    """
    region = (block.window.slice, *layout.tile_slices(block.tile))
    root = open_group(store, "r+")
    written = write_region(array_of(root, "quality"), region, quality)
    return write_region(array_of(root, "ssm"), region, codes) + written


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
        ``ssm`` m3 m-3, NaN over sea and where nothing was predicted; ``quality``, bits as its
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
