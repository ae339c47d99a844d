"""Depth to bedrock (Shangguan et al. 2017, doi:10.1002/2016MS000686): BDTICM, cm, 30 arcsec."""

from pathlib import Path

from gssm_cube.sources.raster import Bounds, Raster, read_geotiff

FILE_NAME = "BDTICM_M_1km_ll.tif"


def find_files(folder: Path) -> Path:
    """Return the GeoTIFF.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no depth to bedrock at {path}: download {FILE_NAME}")
    return path


def read_depth(path: Path, bounds: Bounds) -> Raster:
    """Read the absolute depth to bedrock, cm."""
    return read_geotiff(path, bounds)
