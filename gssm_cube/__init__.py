"""Global surface soil moisture at 1 km, daily, from provider files to a Zarr cube."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gssm_cube.cube import open_cube
    from gssm_cube.product import open_product

__version__ = version("gssm-cube")
__all__ = ["__version__", "open_cube", "open_product"]

_HOME = {"open_cube": "cube", "open_product": "product"}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first asked for: ``import gssm_cube`` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
