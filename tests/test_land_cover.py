"""Classes of land cover by legend, and slopes of terrain, worked out by hand."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from gssm_cube.harmonise.terrain import EARTH_RADIUS, steepness
from gssm_cube.sources.land_cover import CLASSES, KNOWN, UNKNOWN, read_classes


def write(path, codes, west=10.0, north=50.0, size=0.1):
    codes = np.asarray(codes, dtype="uint8")
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype="uint8", crs="EPSG:4326", transform=from_origin(west, north, size, size),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    return path


@pytest.mark.parametrize(
    ("legend", "codes"),
    [
        ("esa_cci", [210, 220, 190, 180, 61, 0]),
        ("mcd12q1", [17, 15, 13, 11, 4, 255]),
    ],
)
def test_each_class_is_where_its_code_is(tmp_path, legend, codes):
    path = write(tmp_path / "cover.tif", [codes])
    raster, classes = read_classes(path, legend, (10.0, 49.9, 10.6, 50.0))
    names = ["open_water", "permanent_ice", "urban", "wetland", "dense_forest"]
    assert list(classes) == names
    for place, name in enumerate(names):
        expected = np.zeros((1, 6))
        expected[0, place], expected[0, 5] = 1, np.nan
        np.testing.assert_array_equal(classes[name], expected)
    np.testing.assert_allclose(raster.lon_edges, 10 + 0.1 * np.arange(7))


def test_worldcover_cannot_tell_dense_forest(tmp_path):
    path = write(tmp_path / "cover.tif", [[80, 95, 10]])
    _, classes = read_classes(path, "worldcover", (10.0, 49.9, 10.3, 50.0))
    assert list(classes) == ["open_water", "permanent_ice", "urban", "wetland"]
    assert classes["wetland"].tolist() == [[0, 1, 0]]


def test_a_file_of_another_legend_is_refused(tmp_path):
    path = write(tmp_path / "cover.tif", [[1, 2, 17]])
    with pytest.raises(ValueError, match=r"holds codes \[1, 2, 17\], which the legend 'esa_cci'"):
        read_classes(path, "esa_cci", (10.0, 49.9, 10.3, 50.0))
    with pytest.raises(ValueError, match="legend is 'corine', expected one of"):
        read_classes(path, "corine", (10.0, 49.9, 10.3, 50.0))


def test_a_legend_knows_its_own_classes_once_each():
    for legend, classes in CLASSES.items():
        numbers = [code for codes in classes.values() for code in codes]
        assert len(numbers) == len(set(numbers)) and set(numbers) <= set(KNOWN[legend])
        assert UNKNOWN[legend] not in KNOWN[legend]


def test_a_plane_is_as_steep_as_it_was_tilted():
    lat = 60 - np.arange(5) / 1200
    dy = np.radians(1 / 1200) * EARTH_RADIUS  # m, 92.66
    dx = dy * np.cos(np.radians(lat[2]))
    rows, cols = np.indices((5, 6))
    south, east = steepness(rows * dy * 0.3, lat), steepness(cols * dx * 0.4, lat)
    both = steepness(rows * dy * 0.3 + cols * dx * 0.4, lat)
    np.testing.assert_allclose(south[1:-1, 1:-1], 0.3)
    np.testing.assert_allclose(east[2, 1:-1], 0.4)
    np.testing.assert_allclose(both[2, 1:-1], 0.5)
    assert np.isnan(south[0]).all() and np.isnan(south[:, -1]).all()


def test_the_coast_has_no_slope():
    height = np.ones((5, 5))
    height[:, 3:] = np.nan
    slope = steepness(height, np.zeros(5))
    assert slope[2, 1] == 0 and np.isnan(slope[2, 2]) and np.isnan(slope[2, 3])
