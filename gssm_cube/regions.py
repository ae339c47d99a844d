"""From a region on the map, a GeoJSON file, to the tiles that it touches."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from gssm_cube.grid import Grid, Tile, check_tile_size

# RFC 7946 knows WGS 84 only; older files may still name it.
WGS84 = ("CRS84", "EPSG::4326", "EPSG:4326")
ROUNDING = 1e-9  # of a tile: degrees are not exact in binary


def read_region(path: Path) -> shapely.Geometry:
    """Return the polygons of a GeoJSON file as one geometry, degrees.

    Parameters
    ----------
    path : Path
        A Polygon or MultiPolygon, a Feature of one, or a FeatureCollection; EPSG:4326.

    Raises
    ------
    ValueError
        If it cannot be read, holds no polygon, is in other coordinates, or crosses 180 deg.
    """
    try:
        content = json.loads(path.read_text())
        polygons = [shape(part) for part in _geometries(content)]
    except FileNotFoundError as error:
        raise ValueError(f"no region file {path}: give a GeoJSON of polygons") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is not GeoJSON that can be read: {error}") from error
    except shapely.errors.ShapelyError as error:
        raise ValueError(f"{path} is not GeoJSON that can be read: {error}") from error
    _check_system(content, path)
    _check_polygons(polygons, path)
    return shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])


def _geometries(content: Any) -> list[dict[str, Any]]:
    """Return all geometries of a GeoJSON object."""
    if content["type"] == "FeatureCollection":
        return [part for feature in content["features"] for part in _geometries(feature)]
    if content["type"] == "Feature":
        return [] if content["geometry"] is None else [content["geometry"]]
    return [content]


def _check_system(content: dict[str, Any], path: Path) -> None:
    """Raise if the file names another coordinate system."""
    name = str((content.get("crs") or {}).get("properties", {}).get("name", WGS84[0]))
    if not name.endswith(WGS84):
        raise ValueError(f"{path}: coordinates are {name}, expected EPSG:4326; reproject the file")


def _check_polygons(polygons: list[Any], path: Path) -> None:
    """Raise unless there are polygons in degrees, none across 180 deg."""
    kinds = sorted({polygon.geom_type for polygon in polygons} - {"Polygon", "MultiPolygon"})
    if kinds:
        raise ValueError(f"{path} holds {', '.join(kinds)}, expected Polygon or MultiPolygon")
    if not any(shapely.make_valid(polygon).area > 0 for polygon in polygons):
        raise ValueError(f"{path} holds no area: give at least one polygon that is not empty")
    west, south, east, north = shapely.total_bounds(polygons)
    if not (-180 <= west and east <= 180 and -90 <= south and north <= 90):
        raise ValueError(
            f"{path} spans {west:g}..{east:g} deg east and {south:g}..{north:g} deg north, "
            "expected -180..180 and -90..90, longitude first; cut what crosses 180 deg into two "
            "polygons, one on either side"
        )
    if max(_longest_step(polygon) for polygon in polygons) > 180:
        raise ValueError(
            f"{path} has an edge of more than 180 deg of longitude: it crosses the antimeridian; "
            "cut it there into two polygons, one on either side"
        )


def _longest_step(polygon: Any) -> float:
    """Largest step of longitude between neighbours; the full 360 deg of a whole globe are none."""
    rings = [ring for part in shapely.get_parts(polygon) for ring in (part.exterior,)]
    steps = [np.abs(np.diff(shapely.get_coordinates(ring)[:, 0])) for ring in rings]
    every = np.concatenate([*steps, np.zeros(1)])
    return float(np.where(every == 360, 0, every).max())


def touched_tiles(
    region: shapely.Geometry, tile_size: int = 480, grid: Grid | None = None
) -> list[Tile]:
    """Return the tiles that share area with a region, row by row.

    Whole tiles are worked on: pixels outside the region but inside a touched tile as well.

    Raises
    ------
    ValueError
        If there is none.
    """
    grid = grid or Grid()
    check_tile_size(tile_size, grid)
    step = tile_size / grid.pixels_per_degree
    west, south, east, north = region.bounds
    rows = np.arange(int((90 - north) / step), int(np.ceil((90 - south) / step)))
    cols = np.arange(int((west + 180) / step), int(np.ceil((east + 180) / step)))
    row, col = (axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij"))
    inset = ROUNDING * step
    left, top = col * step - 180, 90 - row * step
    boxes = shapely.box(left + inset, top - step + inset, left + step - inset, top - inset)
    shapely.prepare(region)
    touched = shapely.intersects(region, boxes)
    tiles = [Tile(int(r), int(c)) for r, c in zip(row[touched], col[touched], strict=True)]
    if not tiles:
        raise ValueError(f"the region within {region.bounds} touches no tile of {step:g} deg")
    return tiles
