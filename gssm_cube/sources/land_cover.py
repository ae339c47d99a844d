"""Land cover as shares of a place: a raster of classes in EPSG:4326, by one of three legends.

- ``esa_cci``: ESA CCI / C3S land cover, 300 m, Land Cover Classification System (UN-LCCS) codes.
- ``worldcover``: ESA WorldCover, 10 m; a VRT of its tiles.
- ``mcd12q1``: MODIS MCD12Q1, layer LC_Type1 (IGBP), brought to EPSG:4326.

Codes: ESA CCI LC product user guide v2, doi:10.24381/cds.006f2c9a; WorldCover product user manual
v2.0, doi:10.5281/zenodo.7254221; Sulla-Menashe and Friedl, MCD12Q1 user guide,
doi:10.5067/MODIS/MCD12Q1.061.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.raster import Bounds, Raster, read_geotiff
from gssm_cube.variables import Legend

# Dense forest: more than 40 % (CCI "closed"; its evergreen broadleaved class is not split) or
# 60 % (IGBP) of tree crowns. WorldCover's tree cover begins at 10 %: it cannot tell.
CLASSES: dict[Legend, Mapping[str, tuple[int, ...]]] = {
    "esa_cci": {
        "open_water": (210,),
        "permanent_ice": (220,),
        "urban": (190,),
        "wetland": (160, 170, 180),
        "dense_forest": (50, 61, 71, 81),
    },
    "worldcover": {
        "open_water": (80,),
        "permanent_ice": (70,),
        "urban": (50,),
        "wetland": (90, 95),
    },
    "mcd12q1": {
        "open_water": (17,),
        "permanent_ice": (15,),
        "urban": (13,),
        "wetland": (11,),
        "dense_forest": (1, 2, 3, 4, 5),
    },
}
UNKNOWN: dict[Legend, int] = {"esa_cci": 0, "worldcover": 0, "mcd12q1": 255}
KNOWN: dict[Legend, tuple[int, ...]] = {
    "esa_cci": (
        *(10, 11, 12, 20, 30, 40, 50, 60, 61, 62, 70, 71, 72, 80, 81, 82, 90, 100, 110, 120, 121),
        *(122, 130, 140, 150, 151, 152, 153, 160, 170, 180, 190, 200, 201, 202, 210, 220),
    ),
    "worldcover": (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
    "mcd12q1": tuple(range(1, 18)),
}  # fmt: skip


def read_classes(path: Path, legend: Legend, bounds: Bounds) -> tuple[Raster, dict[str, NDArray]]:
    """Return where land cover is known, and what of it is each class of the legend.

    Parameters
    ----------
    path : Path
        GeoTIFF or VRT, one band, EPSG:4326.
    legend : "esa_cci", "worldcover" or "mcd12q1"
    bounds : (west, south, east, north), degrees

    Returns
    -------
    codes : Raster
        NaN where unknown; its edges are those of the classes.
    classes : dict of array (lat, lon), float32
        1 where it is the class, else 0; NaN where unknown.

    Raises
    ------
    ValueError
        If the file does not reach the bounds, or holds codes that the legend does not have.
    """
    if legend not in get_args(Legend):
        raise ValueError(f"legend is {legend!r}, expected one of {get_args(Legend)}")
    codes = read_geotiff(path, bounds, missing=UNKNOWN[legend])
    unknown = np.isnan(codes.values)
    strange = set(map(int, np.unique(codes.values[~unknown]))) - set(KNOWN[legend])
    if strange:
        raise ValueError(
            f"{path} holds codes {sorted(strange)[:5]}, which the legend {legend!r} does not have; "
            "name the legend of this file in the settings"
        )
    classes = {}
    for name, numbers in CLASSES[legend].items():
        layer = np.isin(codes.values, numbers).astype("float32")
        layer[unknown] = np.nan
        classes[name] = layer
    return codes, classes
