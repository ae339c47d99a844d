"""What the product says of itself: CF cell bounds, and ACDD attributes for catalogues.

Attribute Convention for Data Discovery 1.3, https://wiki.esipfed.org/ACDD_1.3
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.grid import Layout
from gssm_cube.storage.stores import codec

CONVENTIONS = "CF-1.11, ACDD-1.3"
TITLE = "Surface soil moisture, daily, 1 km"
LICENCE = (
    "CC-BY-NC 4.0 or ODbL 1.0, which MERIT Hydro, one of the sources, hands on; the code is MIT"
)


def discovery_attrs(layout: Layout) -> dict[str, Any]:
    """Return the global attributes that catalogues look for.

    Parameters
    ----------
    layout : Layout
        Box and period of the store.
    """
    step = f"{1 / layout.grid.pixels_per_degree:.6f} degree"
    return {
        "Conventions": CONVENTIONS,
        "title": TITLE,
        "summary": (
            "Volumetric soil moisture of the upper 5 cm as daily means (UTC), by regression trees "
            "trained at in-situ stations (ISMN) on weather and its memory (ERA5-Land), temperature "
            "of the land's surface and vegetation (MODIS, VIIRS), soil, terrain and groundwater. "
            "Scores by stations, years and rows that were held out are in `scores`."
        ),
        "keywords": (
            "EARTH SCIENCE > LAND SURFACE > SOILS > SOIL MOISTURE/WATER CONTENT, "
            "EARTH SCIENCE > TERRESTRIAL HYDROSPHERE > SURFACE WATER"
        ),
        "keywords_vocabulary": "GCMD Science Keywords",
        "standard_name_vocabulary": "CF Standard Name Table v93",
        "source": "gssm_cube: regression trees on ERA5-Land, MODIS, SoilGrids, MERIT Hydro, ISMN",
        "references": "https://doi.org/10.1038/s41597-023-02011-7",
        "processing_level": "4",
        "cdm_data_type": "Grid",
        "license": LICENCE,
        "geospatial_vertical_min": 0.0,
        "geospatial_vertical_max": 0.05,
        "geospatial_vertical_units": "m",
        "geospatial_vertical_positive": "down",
        **coverage_attrs(layout.bounds, layout.first_day, layout.last_day),
        "geospatial_lat_resolution": step,
        "geospatial_lon_resolution": step,
    }


def coverage_attrs(
    bounds: tuple[float, float, float, float], first_day: date, last_day: date
) -> dict[str, Any]:
    """Return the global attributes of where and when, for a product or a part of it.

    Parameters
    ----------
    bounds : (west, south, east, north), degrees
        Edges of the pixels.
    first_day, last_day : date
        Both included.
    """
    west, south, east, north = (round(float(edge), 9) for edge in bounds)
    box = [(north, west), (north, east), (south, east), (south, west), (north, west)]
    return {
        "geospatial_bounds": f"POLYGON (({', '.join(f'{lat:g} {lon:g}' for lat, lon in box)}))",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lon_units": "degrees_east",
        "time_coverage_start": f"{first_day}T00:00:00Z",
        "time_coverage_end": f"{last_day + timedelta(days=1)}T00:00:00Z",
        "time_coverage_duration": f"P{(last_day - first_day).days + 1}D",
        "time_coverage_resolution": "P1D",
    }


def write_bounds(group: zarr.Group, layout: Layout) -> None:
    """Write the edges of pixels and days, and name them in the coordinates' attributes."""
    half = 0.5 / layout.grid.pixels_per_degree
    edges = {
        "lat": np.stack([layout.lat + half, layout.lat - half], axis=1),
        "lon": np.stack([layout.lon - half, layout.lon + half], axis=1),
        "time": day_edges(np.arange(layout.days)),
    }
    for name, values in edges.items():
        _write_edges(group, f"{name}_bounds", name, values)


def day_edges(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where days begin and end, (day, 2)."""
    return days[:, np.newaxis] + np.array([0, 1])


def _write_edges(group: zarr.Group, name: str, axis: str, values: NDArray[Any]) -> None:
    """Write one pair of edges a cell; what they bound says their units."""
    group.create_array(
        name, data=values, dimension_names=(axis, "bounds"), compressors=[codec()]
    )  # fmt: skip
    group[axis].attrs["bounds"] = name
