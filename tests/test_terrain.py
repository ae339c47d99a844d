"""The topographic index: worked by hand, distances against pyproj, widths by geometry."""

import numpy as np
import pyproj
import pytest

from gssm_cube.harmonise.terrain import EARTH_RADIUS, NEIGHBOURS, topographic_index

STEP = 1 / 1200
DY = np.pi / 180 * STEP * EARTH_RADIUS


def one_cell(code, *, lat=60.0, drop=10.0, area=2.0, **options):
    """The index and flag of the middle of 3 x 3 cells, all neighbours lower by ``drop``."""
    elevation = np.full((3, 3), 100.0 - drop, dtype="float32")
    elevation[1, 1] = 100.0
    direction = np.full((3, 3), code, dtype="uint8")
    lats = lat + STEP * np.array([1, 0, -1])
    ti, floored = topographic_index(elevation, np.full((3, 3), area), direction, lats, **options)
    return ti[1, 1], floored[1, 1]


@pytest.mark.parametrize(
    ("code", "distance", "width"),
    [
        (1, 0.5, 1.0),  # east at 60 N: half as far as northward, across dy
        (16, 0.5, 1.0),
        (4, 1.0, 0.5),  # south: across dx
        (64, 1.0, 0.5),
        (2, np.sqrt(1.25), 1 / np.sqrt(1.25)),
        (8, np.sqrt(1.25), 1 / np.sqrt(1.25)),
        (32, np.sqrt(1.25), 1 / np.sqrt(1.25)),
        (128, np.sqrt(1.25), 1 / np.sqrt(1.25)),
    ],
)
def test_distance_and_width_follow_the_direction_at_60_north(code, distance, width):
    ti, floored = one_cell(code, drop=10.0, area=2.0)
    expected = np.log(2e6 / (width * DY) / (10.0 / (distance * DY)))
    np.testing.assert_allclose(ti, expected, rtol=1e-6)
    assert not floored


def test_a_diagonal_at_the_equator_is_as_wide_as_the_cells_diagonal_projected():
    ti, _ = one_cell(2, lat=0.0)
    width, distance = np.sqrt(2) * DY, np.sqrt(2) * DY
    np.testing.assert_allclose(ti, np.log(2e6 / width / (10.0 / distance)), rtol=1e-6)


@pytest.mark.parametrize("code", list(NEIGHBOURS))
def test_slope_distances_agree_with_great_circles(code):
    lat = 52.0
    ti, _ = one_cell(code, lat=lat, flow_width="cell")
    width = DY * np.sqrt(np.cos(np.radians(lat)))
    distance = np.exp(ti) * width * 10.0 / 2e6
    down, right = NEIGHBOURS[code]
    sphere = pyproj.Geod(a=EARTH_RADIUS, b=EARTH_RADIUS)
    expected = sphere.inv(5.0, lat, 5.0 + right * STEP, lat - down * STEP)[2]
    np.testing.assert_allclose(distance, expected, rtol=2e-5)


def test_each_direction_looks_at_its_own_neighbour():
    elevation = np.arange(9, dtype="float32").reshape(3, 3) * 10
    lats = STEP * np.array([1, 0, -1])
    drops = {32: 40, 64: 30, 128: 20, 16: 10}  # the cells that lie lower than the middle
    for code, (down, right) in NEIGHBOURS.items():
        direction = np.full((3, 3), 247, "uint8")
        direction[1, 1] = code
        ti, floored = topographic_index(elevation, np.ones((3, 3)), direction, lats)
        slope = drops.get(code, 0) / (np.hypot(down, right) * DY)
        width = DY * (np.sqrt(2) if down and right else 1.0)
        np.testing.assert_allclose(ti[1, 1], np.log(1e6 / width / max(slope, 0.001)), rtol=1e-6)
        assert floored[1, 1] == (code not in drops)
        assert np.isnan(ti).sum() == 8


@pytest.mark.parametrize("drop", [0.0, -3.0, 0.04])
def test_flats_and_rises_get_the_minimum_slope_and_are_counted(drop):
    ti, floored = one_cell(4, lat=0.0, drop=drop)
    np.testing.assert_allclose(ti, np.log(2e6 / DY / 0.001), rtol=1e-6)
    assert floored


def test_the_minimum_slope_is_an_argument():
    gentle, steep = (one_cell(4, drop=0.0, minimum_slope=slope)[0] for slope in (0.001, 0.01))
    np.testing.assert_allclose(gentle - steep, np.log(10), rtol=1e-5)


@pytest.mark.parametrize("code", [0, 255])
def test_mouths_and_sinks_drain_over_the_mean_width_at_the_minimum_slope(code):
    ti, floored = one_cell(code)
    np.testing.assert_allclose(ti, np.log(2e6 / (0.75 * DY) / 0.001), rtol=1e-6)
    assert floored


def test_signed_codes_mean_what_unsigned_ones_do():
    elevation, area = np.full((1, 3), 5.0), np.ones((1, 3))
    signed = np.array([[-1, -9, 0]], dtype="int8")
    unsigned = np.array([[255, 247, 0]], dtype="uint8")
    first, second = (topographic_index(elevation, area, d, [0.0])[0] for d in (signed, unsigned))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.isnan(first), [[False, True, False]])


def test_sea_and_cells_that_drain_out_of_sight_are_missing():
    elevation = np.array([[10.0, 5.0, -9999.0, 7.0]])
    direction = np.array([[1, 1, 1, 1]], dtype="uint8")
    ti, floored = topographic_index(elevation, np.ones((1, 4)), direction, [10.0])
    # second drains into the sea, third is sea, fourth drains out of the array
    np.testing.assert_array_equal(np.isnan(ti), [[False, True, True, True]])
    assert not floored.any()


def test_cells_without_upstream_area_are_missing():
    ti, floored = one_cell(0, area=-9999.0)
    assert np.isnan(ti) and not floored


def test_rows_from_the_south_are_refused():
    square = np.zeros((2, 2))
    with pytest.raises(ValueError, match="expected north first"):
        topographic_index(square, square, square, [0.0, 1.0])


def test_unknown_directions_are_refused():
    square = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"codes \[3\]"):
        topographic_index(square, square, square * 3, [1.0, 0.0])


def test_layers_of_different_boxes_are_refused():
    with pytest.raises(ValueError, match="read the three layers over the same box"):
        topographic_index(np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 2)), [1.0, 0.0])


def test_an_unknown_width_rule_is_refused():
    with pytest.raises(ValueError, match="'projected' or 'cell'"):
        one_cell(1, flow_width="quinn")
