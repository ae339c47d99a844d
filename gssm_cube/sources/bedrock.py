"""Depth to bedrock (Shangguan et al. 2017, doi:10.1002/2016MS000686): BDTICM, cm, 30 arcsec."""

from pathlib import Path

import numpy as np

from gssm_cube.sources.raster import (
    Bounds,
    Raster,
    check_geotiff,
    lattice,
    open_raster,
    read_geotiff,
    sample_lattice,
)

FILE_NAME = "BDTICM_M_1km_ll.tif"
NODATA = int(np.iinfo("int32").min)  # also where a copy does not declare it
MEDIAN = (20, 300_000)  # cm; in metres the median of a region is below 20 nearly everywhere


def find_files(folder: Path) -> Path:
    """Return the GeoTIFF.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it is there twice.
    """
    paths = sorted(folder.rglob(FILE_NAME))
    if not paths:
        raise FileNotFoundError(
            f"no depth to bedrock at {folder / FILE_NAME}; download {FILE_NAME}"
        )
    if len(paths) > 1:
        raise ValueError(
            f"{FILE_NAME} is there twice, keep one of: {paths[0]}, {paths[1]}; remove the other"
        )
    return paths[0]


def check_file(path: Path, bounds: Bounds) -> None:
    """Raise unless a file reaches ``bounds`` and its values are plausible in cm."""
    check_geotiff(path, bounds)
    with open_raster(path) as source:
        values = sample_lattice(source, lattice(bounds), NODATA)
    if values.size and not MEDIAN[0] <= np.median(values) <= MEDIAN[1]:
        raise ValueError(
            f"{path}: the median depth is {np.median(values):g}, expected {MEDIAN[0]} to "
            f"{MEDIAN[1]} cm; is it in another unit?"
        )


def has_land(path: Path, bounds: Bounds) -> bool:
    """Whether any of some cells within ``bounds`` has a depth."""
    with open_raster(path) as source:
        return bool(sample_lattice(source, lattice(bounds), NODATA).size)


def read_depth(path: Path, bounds: Bounds) -> Raster:
    """Read the absolute depth to bedrock, cm.

    Raises
    ------
    ValueError
        As ``raster.read_geotiff``, and if a depth is negative.
    """
    raster = read_geotiff(path, bounds, NODATA)
    negative = int((raster.values < 0).sum())
    if negative:
        raise ValueError(
            f"{path}: {negative} depths are below 0 (lowest {np.nanmin(raster.values):g}), "
            "expected cm below the surface; is the value for missing cells declared?"
        )
    return raster
