"""Regions: what a GeoJSON file may hold, and which tiles its polygons touch."""

import json
from datetime import date

import pytest

from gssm_cube.grid import Layout, Tile
from gssm_cube.regions import read_region, touched_tiles

DAY = date(2018, 3, 1)


def box(west, south, east, north):
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def polygon(*edges):
    return {"type": "Polygon", "coordinates": [box(*edges)]}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "region.geojson"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def labels(path, tile_size=480):
    return [str(tile) for tile in touched_tiles(read_region(path), tile_size)]


def test_a_triangle_touches_five_of_the_six_tiles_of_its_box(write):
    # Rows 9 to 11 are 54..42 N, columns 45 and 46 are 0..8 E. The slope is lat = 51.5 - lon: from
    # 4 E on it is below 47.5 N, so that the tile in the north-east is not reached.
    corners = [[0.5, 44.5], [7, 44.5], [0.5, 51], [0.5, 44.5]]
    path = write({"type": "Polygon", "coordinates": [corners]})
    assert labels(path) == ["r009c045", "r010c045", "r010c046", "r011c045", "r011c046"]


def test_a_border_on_a_tile_s_border_touches_only_inside(write):
    assert labels(write(polygon(4, 46, 8, 50))) == ["r010c046"]


def test_borders_in_tenths_are_borders_too(write):
    # Tiles of 0.4 deg, as bounds are covered: 43.2 and 43.6 are not exact in binary.
    path = write(polygon(-32.0, 43.2, -31.2, 43.6))
    covering = Layout.covering((-32.0, 43.2, -31.2, 43.6), DAY, DAY, 48)
    assert labels(path, 48) == [str(tile) for tile in covering.tiles()] == ["r116c370", "r116c371"]


def test_a_collection_is_the_union_of_its_features(write):
    two = {"type": "MultiPolygon", "coordinates": [[box(1, 47, 2, 48)], [box(9, 47, 10, 48)]]}
    features = [feature(two), feature(polygon(-3, 51, -2, 52)), feature(None)]
    path = write({"type": "FeatureCollection", "features": features})
    assert labels(path) == ["r009c044", "r010c045", "r010c047"]


def test_a_hole_of_a_whole_tile_is_not_touched(write):
    ring = {"type": "Polygon", "coordinates": [box(1, 43, 11, 53), box(3.9, 45.9, 8.1, 50.1)]}
    assert "r010c046" not in labels(write(ring)) and "r010c045" in labels(write(ring))


def test_a_crossed_outline_counts_with_both_its_wings(write):
    wings = {"type": "Polygon", "coordinates": [[[1, 47], [7, 49], [7, 47], [1, 49], [1, 47]]]}
    assert labels(write(wings)) == ["r010c045", "r010c046"]


def test_the_whole_globe_is_all_tiles(write):
    tiles = touched_tiles(read_region(write(polygon(-180, -90, 180, 90))))
    assert (len(tiles), tiles[0], tiles[-1]) == (4050, Tile(0, 0), Tile(44, 89))


def test_a_country_on_both_sides_of_180_is_two_polygons(write):
    sides = [[box(177, -19, 180, -16)], [box(-180, -19, -178, -16)]]
    path = write({"type": "MultiPolygon", "coordinates": sides})
    assert labels(path) == ["r026c000", "r026c089", "r027c000", "r027c089"]
    layout = Layout.of_tiles(touched_tiles(read_region(path)), DAY, DAY)
    assert (layout.tile_cols, len(list(layout.tiles()))) == (90, 4)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{not json", "is not GeoJSON that can be read"),
        ("[1, 2]", "is not GeoJSON that can be read"),
        ({"type": "Polygon", "coordinates": [[[1, 2]]]}, "is not GeoJSON that can be read"),
        ({"type": "Point", "coordinates": [1, 2]}, "holds Point, expected Polygon or MultiPolygon"),
        ({"type": "Polygon", "coordinates": []}, "holds no area"),
        ({"type": "FeatureCollection", "features": []}, "holds no area"),
        (polygon(1, 2, 1, 2), "holds no area"),
        (polygon(500_000, 10, 600_000, 20), r"expected -180\.\.180 and -90\.\.90, longitude first"),
        (polygon(1, 80, 2, 95), "80..95 deg north"),
        (polygon(177, -19, 182, -16), "cut what crosses 180 deg into two polygons"),
        (polygon(-179, -19, 179, -16), "an edge of more than 180 deg .* crosses the antimeridian"),
        (polygon(1, 2, 3, 4) | {"crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}},
         "coordinates are urn:ogc:def:crs:EPSG::3857, expected EPSG:4326; reproject"),
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused(write, content, match):
    with pytest.raises(ValueError, match=match):
        read_region(write(content))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no region file .*none.geojson: give a GeoJSON"):
        read_region(tmp_path / "none.geojson")


def test_a_sliver_on_a_tile_border_touches_none(write):
    with pytest.raises(ValueError, match="touches no tile of 4 deg"):
        touched_tiles(read_region(write(polygon(4, 47, 4 + 1e-12, 48))))
