"""Global surface soil moisture at 1 km, daily, from provider files to a Zarr cube."""

from importlib.metadata import version

__version__ = version("gssm-cube")
