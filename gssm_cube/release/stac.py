"""A product as an item of a SpatioTemporal Asset Catalog (STAC 1.1), with its axes and layers.

Needs pystac, the extra ``stac``. Extensions: datacube 2.2, projection 2.0, xarray-assets 1.0.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gssm_cube.blocks import write_atomically
from gssm_cube.grid import Layout
from gssm_cube.product.store import open_product
from gssm_cube.storage.locations import Location, is_url
from gssm_cube.storage.stores import DIMS, read_layout

if TYPE_CHECKING:
    import pystac
    import xarray as xr

MEDIA_TYPE = "application/vnd.zarr; version=3"
LICENCES = {  # of MERIT Hydro, one of which the product inherits
    "https://creativecommons.org/licenses/by-nc/4.0/": "CC-BY-NC 4.0",
    "https://opendatacommons.org/licenses/odbl/1-0/": "ODbL 1.0",
}


def product_item(store: Location, href: str | None = None) -> "pystac.Item":
    """Return the STAC item of a product.

    Parameters
    ----------
    store : path
    href : str, optional
        Where readers find it; by default the store's own path, made absolute.

    Returns
    -------
    pystac.Item
        Box, period, axes and layers; the store is its asset ``data``.

    Raises
    ------
    ImportError
        If pystac is not installed.
    FileNotFoundError, ValueError
        If there is no product.
    """
    pystac = _pystac()
    product, layout = open_product(store), read_layout(store)
    west, south, east, north = layout.bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = pystac.Item(
        id=item_id(layout),
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=[west, south, east, north],
        datetime=None,
        start_datetime=_midnight(layout.first_day),
        end_datetime=_midnight(layout.last_day + timedelta(days=1)) - timedelta(seconds=1),
        properties=properties(product, layout),
    )
    item.stac_extensions = [
        "https://stac-extensions.github.io/datacube/v2.2.0/schema.json",
        "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
        "https://stac-extensions.github.io/xarray-assets/v1.0.0/schema.json",
    ]
    place = href or (str(store) if is_url(store) else str(Path(store).resolve()))
    extra = {"xarray:open_kwargs": {"engine": "zarr", "chunks": None}}
    asset = pystac.Asset(place, "Zarr", media_type=MEDIA_TYPE, roles=["data"], extra_fields=extra)
    item.add_asset("data", asset)
    for target, title in LICENCES.items():
        if title in product.attrs["license"]:
            item.add_link(pystac.Link("license", target, title=title))
    item.add_link(pystac.Link("cite-as", product.attrs["references"]))
    return item


def _pystac() -> Any:
    """Import pystac, or say how to get it."""
    try:
        import pystac
    except ImportError as error:
        raise ImportError(
            "a STAC item needs pystac: install the package's extra, gssm-cube[stac]"
        ) from error
    return pystac


def item_id(layout: Layout) -> str:
    """Return a name that tells box and days apart: that of the corners' tiles, and the days."""
    last = f"r{layout.first_tile.row + layout.tile_rows - 1:03d}"
    last += f"c{layout.first_tile.col + layout.tile_cols - 1:03d}"
    return f"gssm-{layout.first_tile}-{last}-{layout.first_day}-{layout.last_day}"


def properties(product: "xr.Dataset", layout: Layout) -> dict[str, Any]:
    """Return the item's properties: what it is, its axes and its layers."""
    attrs = product.attrs
    told = {"gssm:forest_digest": attrs.get("forest_digest"), "gssm:history": attrs.get("history")}
    return {
        "title": attrs["title"],
        "description": attrs["summary"],
        "license": "other",
        "proj:code": "EPSG:4326",
        "proj:shape": list(layout.shape),
        "cube:dimensions": dimensions(layout),
        "cube:variables": {str(n): layer(a) for n, a in product.data_vars.items()},
        **{name: value for name, value in told.items() if value},
    }


def dimensions(layout: Layout) -> dict[str, Any]:
    """Return the axes of a product as the datacube extension has them."""
    west, south, east, north = layout.bounds
    step = 1 / layout.grid.pixels_per_degree
    days = [f"{day}T00:00:00Z" for day in (layout.first_day, layout.last_day)]
    space = {"type": "spatial", "reference_system": 4326}
    return {
        "time": {"type": "temporal", "extent": days, "step": "P1D"},
        "lat": {**space, "axis": "y", "extent": [south, north], "step": -step},
        "lon": {**space, "axis": "x", "extent": [west, east], "step": step},
    }


def layer(array: "xr.DataArray") -> dict[str, Any]:
    """Return one layer of a product as the datacube extension has it."""
    said = {"description": array.attrs.get("long_name"), "unit": array.attrs.get("units")}
    return {
        "dimensions": [dim for dim in DIMS if dim in array.dims],
        "type": "data",
        "data_type": np.dtype(array.dtype).name,
        **{name: value for name, value in said.items() if value},
    }


def _midnight(day: date) -> datetime:
    """Return the beginning of a day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def write_item(item: "pystac.Item", location: Location) -> None:
    """Write an item as JSON."""
    write_atomically(location, json.dumps(item.to_dict(include_self_link=False), indent=1))
