"""Seams at tile and window borders: there are none in a whole field, and an offset is found."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.grid import CHUNK_PIXELS, Layout
from gssm_cube.validate.consistency import LIMIT
from gssm_cube.validate.seams import seam_rows, second_differences

LAYOUT = Layout.covering((-32.0, 43.2, -31.2, 44.0), date(2018, 3, 1), date(2019, 6, 1), 48)


@pytest.fixture(scope="module")
def field():
    """Two by two tiles of a hilly, drying and raining world, with a lake."""
    rng = np.random.default_rng(0)
    row, col = np.meshgrid(*(np.arange(2 * CHUNK_PIXELS),) * 2, indexing="ij")
    hills = 0.25 + 0.05 * np.sin(row / 7) * np.cos(col / 5) + rng.normal(0, 0.01, row.shape)
    day = np.arange(LAYOUT.days)
    weather = np.zeros(LAYOUT.days)
    for k in day[1:]:
        weather[k] = 0.9 * weather[k - 1] + 0.03 * (rng.random() < 0.2)
    ssm = hills + weather[:, None, None] + rng.normal(0, 0.005, (LAYOUT.days, *row.shape))
    ssm[:, 10:20, 10:30] = np.nan
    coords = {"time": LAYOUT.time, "lat": LAYOUT.lat, "lon": LAYOUT.lon}
    return xr.DataArray(ssm.astype("float32"), coords, ("time", "lat", "lon"), name="ssm")


def test_a_whole_field_passes_at_tiles_windows_and_changes(field):
    rows = seam_rows(field, LAYOUT, {"sensor": date(2018, 9, 1)}).set_index("kind")
    assert rows.index.tolist() == ["tile", "window", "day of change"]
    assert rows["passed"].all()
    assert (rows["low"] <= rows["usual"]).all() and (rows["usual"] <= rows["high"]).all()
    assert rows.loc["tile", "n"] == 4  # a border in each of two rows and two columns of tiles
    assert rows.loc["window", "n"] == 1


def test_a_tile_that_is_wetter_fails_at_its_borders(field):
    wet = field.copy()
    wet[:, :48, :48] += 0.02
    rows = seam_rows(wet, LAYOUT, {}).set_index("kind")
    # Half of the borders are this tile's, and all of a step of second order is the offset's.
    assert rows.loc["tile", "step"] - rows.loc["tile", "usual"] == pytest.approx(0.01, abs=0.003)
    assert not rows.loc["tile", "passed"] and rows.loc["window", "passed"]


def test_a_window_that_is_wetter_fails_at_its_border(field):
    wet = field.copy()
    wet[366:] += 0.05
    rows = seam_rows(wet, LAYOUT, {}).set_index("kind")
    assert not rows.loc["window", "passed"] and rows.loc["tile", "passed"]
    assert rows.loc["window", "step"] > rows.loc["window", "usual"] + LIMIT


def test_water_alone_has_no_borders(field):
    assert seam_rows(field * np.nan, LAYOUT, {"sensor": date(2018, 9, 1)}).empty


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_straight_line_has_no_second_differences_and_an_offset_is_seen_whole(a, b, offset):
    line = a + b * np.arange(8.0)
    np.testing.assert_allclose(second_differences(line), 0, atol=1e-12)
    line[4:] += offset  # from pixel 3 to pixel 4: entry 2
    np.testing.assert_allclose(second_differences(line)[2], offset, atol=1e-12)


def test_days_outside_of_the_store_are_no_changes(field):
    rows = seam_rows(field, LAYOUT, {"later": date(2030, 1, 1)})
    assert "day of change" not in set(rows["kind"])
    assert isinstance(rows, pd.DataFrame)
