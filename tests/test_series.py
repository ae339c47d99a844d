"""Series of many places: the values of plain xarray, each chunk read once."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from product_files import layers_of

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import create_product, open_product, point_series, series, write_block
from gssm_cube.variables import FILL

# Two tiles of 2 x 2 chunks side by side; the second window has 34 days.
LAYOUT = Layout(Tile(59, 186), 1, 2, date(2018, 2, 20), date(2019, 3, 26), 96)
WEST, SOUTH, EAST, NORTH = LAYOUT.bounds


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series") / "ssm.zarr"
    create_product(path, LAYOUT, {})
    rng = np.random.default_rng(0)
    for window in LAYOUT.windows():
        for tile in LAYOUT.tiles():
            codes = rng.integers(0, 600, (window.days, 96, 96)).astype("int16")
            codes[rng.random(codes.shape) < 0.1] = FILL
            write_block(path, LAYOUT, Block(tile, window), layers_of(codes))
    return path


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.999), st.floats(0.001, 1)), min_size=1, max_size=12),
    st.integers(0, 399),
    st.integers(0, 399),
)
def test_series_are_those_of_plain_xarray(store, places, one, other):
    east, north = np.array(places).T
    points = pd.DataFrame(
        {"lon": WEST + east * (EAST - WEST), "lat": SOUTH + north * (NORTH - SOUTH)}
    )
    first, last = sorted([one, other])
    days = [date.fromisoformat(str(LAYOUT.time[n])) for n in (first, last)]
    found = series(store, points, first_day=days[0], last_day=days[1])
    ssm = open_product(store).ssm.isel(time=slice(first, last + 1))
    for number, point in points.iterrows():
        row = LAYOUT.grid.row_of(point.lat) - LAYOUT.row
        col = LAYOUT.grid.col_of(point.lon) - LAYOUT.col
        expected = ssm.isel(lat=int(row), lon=int(col))
        np.testing.assert_allclose(found.ssm.sel(point=number), expected, rtol=1e-6)
        np.testing.assert_allclose(found.pixel_lat.sel(point=number), expected.lat)
        np.testing.assert_array_equal(found.time.values, expected.time.values)


def test_each_chunk_is_read_once(store, monkeypatch):
    seen = []
    read = point_series.read_box

    def counted(array, box):
        seen.append(
            tuple(part.start // size for part, size in zip(box, (366, 48, 48), strict=True))
        )
        return read(array, box)

    monkeypatch.setattr(point_series, "read_box", counted)
    rng = np.random.default_rng(1)
    points = pd.DataFrame(
        {"lat": rng.uniform(SOUTH, NORTH, 300), "lon": rng.uniform(WEST, EAST, 300)}
    )
    series(store, points)
    assert sorted(seen) == [(w, r, c) for w in range(2) for r in range(2) for c in range(4)]


def test_points_keep_their_names_and_order(store):
    points = pd.DataFrame(
        {"lat": [NORTH - 0.1, SOUTH + 0.1], "lon": [WEST + 1, WEST + 0.2]}, ["b", "a"]
    )
    found = series(store, points)
    assert found.point.values.tolist() == ["b", "a"]
    assert found.ssm.dtype == np.float32 and found.ssm.attrs["units"] == "m3 m-3"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"lat": [NORTH + 0.1], "lon": [WEST]}, "1 of 1 points lie outside the product, such as 0"),
        ({"lat": [np.nan], "lon": [WEST]}, "1 of 1 points lie outside"),
        ({"latitude": [0], "lon": [0]}, r"points lack \['lat'\]"),
    ],
)
def test_a_point_outside_is_refused(store, points, message):
    with pytest.raises(ValueError, match=message):
        series(store, pd.DataFrame(points))


def test_a_period_outside_is_refused(store):
    points = pd.DataFrame({"lat": [NORTH - 0.1], "lon": [WEST + 0.1]})
    with pytest.raises(ValueError, match="no day from 2020-01-01 to 2019-03-26 is in the product"):
        series(store, points, first_day=date(2020, 1, 1))
