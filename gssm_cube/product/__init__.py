"""The SSM product: one Zarr store that plain xarray reads; create, write by block, open."""

from gssm_cube.product.point_series import series
from gssm_cube.product.store import (
    FORMAT,
    STAGE,
    Layers,
    create_product,
    open_product,
    write_block,
)

__all__ = ["FORMAT", "STAGE", "Layers", "create_product", "open_product", "series", "write_block"]
