"""The SSM product: one Zarr store that plain xarray reads; create, write by block, open."""

from gssm_cube.product.store import FORMAT, create_product, interval, open_product, write_block

__all__ = ["FORMAT", "create_product", "interval", "open_product", "write_block"]
