"""What is normal on a day of the year: numpy's own percentiles, hand-worked days, the store."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from product_files import layers_of

from gssm_cube import blocks
from gssm_cube.grid import Block, Layout
from gssm_cube.product import create_product, open_product, write_block
from gssm_cube.product.climatology import (
    DescribeTile,
    anomaly,
    baseline_days,
    create_climatology,
    describe_product,
    open_climatology,
    percentile,
)
from gssm_cube.product.day_statistics import (
    PERCENTILES,
    day_of_leap_year,
    describe_days,
    rank_values,
)
from gssm_cube.variables import FILL

DAYS = pd.date_range("2001-01-01", "2003-12-31")


def test_the_first_of_march_is_day_61_in_every_year():
    days = ["2019-01-01", "2019-02-28", "2019-03-01", "2020-02-29", "2020-03-01", "2019-12-31"]
    assert day_of_leap_year(pd.to_datetime(days)).tolist() == [1, 59, 61, 60, 61, 366]


def in_window(number: np.ndarray, day: int) -> np.ndarray:
    """Which days lie within 15 days of a day of the year, round the year's end."""
    apart = np.abs(number - day)
    return np.minimum(apart, 366 - apart) <= 15


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 40, 1000]), st.floats(0, 0.9))
def test_statistics_are_those_of_numpy(seed, spread, missing):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, spread, (len(DAYS), 1, 2)).astype("int16")
    codes[rng.random(codes.shape) < missing] = FILL
    number = day_of_leap_year(DAYS)
    found = describe_days(codes, number)
    for day in (1, 15, 60, 200, 366):
        for col in range(2):
            values = codes[in_window(number, day), 0, col]
            values = values[values != FILL] * 0.001
            here = {name: layer[..., day - 1, 0, col] for name, layer in found.items()}
            if values.size < 31:
                assert all(np.all(layer == FILL) for layer in here.values())
                continue
            expected = np.percentile(values, PERCENTILES)
            np.testing.assert_allclose(here["ssm_percentile"] * 1e-4, expected, atol=5.1e-5)
            np.testing.assert_allclose(here["ssm_mean"] * 1e-4, values.mean(), atol=5.1e-5)
            np.testing.assert_allclose(here["ssm_sd"] * 1e-4, values.std(), atol=5.1e-5)


def test_a_damaged_code_is_refused():
    with pytest.raises(ValueError, match="codes reach from -5 to 7, expected 0 to 1023"):
        describe_days(np.array([[[-5]], [[7]]], dtype="int16"), np.array([1, 2]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.05, 0.0),  # drier than all
        (0.10, 0.0),
        (0.15, 25.0),  # half way from 0.1 (0 %) to 0.2 (50 %)
        (0.20, 60.0),  # shared by 50 % and 70 %: their middle
        (0.30, 100.0),
        (0.40, 100.0),
        (np.nan, np.nan),
    ],
)
def test_a_value_is_ranked_between_its_neighbours(value, expected):
    quantiles = np.array([[0.1, 0.2, 0.2, 0.3]], dtype="float32")
    levels = np.array([0, 50, 70, 100], dtype="float32")
    rank = rank_values(np.array([value], dtype="float32"), quantiles, levels)
    np.testing.assert_allclose(rank, [expected], rtol=1e-5)


def test_a_place_without_climatology_has_no_rank():
    quantiles = np.full((1, 2), np.nan, dtype="float32")
    assert np.isnan(rank_values(np.float32([0.2]), quantiles, np.float32([0, 100]))).all()


# ---- the store --------------------------------------------------------------------------------

LAYOUT = Layout.covering((0.0, 0.0, 0.8, 0.4), date(2001, 1, 1), date(2002, 12, 31), 48)


def soil_moisture() -> np.ndarray:
    """A season that is 10 (0.01 m3 m-3) wetter in the second year; the east tile is sea."""
    days = np.arange(LAYOUT.days)
    season = np.where(day_of_leap_year(LAYOUT.time) <= 183, 300, 100) + 10 * (days >= 365)
    codes = np.full((LAYOUT.days, *LAYOUT.shape), FILL, dtype="int16")
    codes[:, :, :48] = season[:, np.newaxis, np.newaxis]
    return codes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("climatology") / "ssm.zarr"
    create_product(path, LAYOUT, {})
    codes = soil_moisture()
    for window in LAYOUT.windows():
        for tile in LAYOUT.tiles():
            block = Block(tile, window)
            part = codes[(window.slice, *LAYOUT.tile_slices(tile))]
            write_block(path, LAYOUT, block, layers_of(part))
            blocks.write_marker(path, "predict", str(block), "key", checksum=blocks.checksum(part))
    return path


@pytest.fixture(scope="module")
def described(store: Path) -> Path:
    target = store.with_name("climatology.zarr")
    status, skipped = describe_product(store, target, (2001, 2002))
    assert (status["pixels"].tolist(), skipped) == ([48 * 48, 0], 0)
    return target


def test_a_store_describes_each_place(described):
    normal = open_climatology(described)
    assert normal.sizes == {"percentile": 13, "dayofyear": 366, "lat": 48, "lon": 96}
    june = normal.sel(dayofyear=150).isel(lat=7, lon=9)
    np.testing.assert_allclose(june.ssm_mean, 0.305, atol=1e-6)
    np.testing.assert_allclose(june.ssm_sd, 0.005, atol=1e-6)
    np.testing.assert_allclose(june.ssm_percentile.sel(percentile=[0, 100]), [0.30, 0.31])
    assert normal.ssm_mean.isel(lon=slice(48, None)).isnull().all()  # the sea


def test_departures_and_percentiles_are_lazy_and_those_of_the_day(store, described):
    ssm, normal = open_product(store).ssm, open_climatology(described)
    part = ssm.sel(time=["2001-06-01", "2002-06-01"]).isel(lat=slice(0, 5), lon=slice(3, 60))
    departure, rank = anomaly(part, normal), percentile(part, normal)
    assert departure.chunks and rank.chunks
    assert departure.dims == rank.dims == ("time", "lat", "lon")
    np.testing.assert_allclose(departure[:, 2, 3], [-0.005, 0.005], atol=1e-6)
    # 31 dry and 31 wet days: 0.30 is shared by 0 to 30 %, its middle is 15; 0.31 by 70 to 100 %.
    np.testing.assert_allclose(rank[:, 2, 3], [15.0, 85.0], atol=0.01)
    assert departure[:, :, -1].isnull().all() and rank[:, :, -1].isnull().all()


def test_a_series_of_one_place_works_as_well(store, described):
    series = open_product(store).ssm.isel(lat=1, lon=1).sel(time="2002")
    departure = anomaly(series, open_climatology(described)).compute()
    assert departure.dims == ("time",) and departure.sizes["time"] == 365
    inside = departure.sel(time=slice("2002-01-20", "2002-06-10"))
    np.testing.assert_allclose(inside, 0.005, atol=1e-6)


def test_chunks_of_the_asker_are_kept(store, described):
    ssm = open_product(store, chunks={"time": 100, "lat": 24, "lon": 24}).ssm
    rank = percentile(ssm, open_climatology(described))
    assert rank.chunks == ssm.chunks
    eager = percentile(ssm.isel(lat=slice(0, 3), lon=[2]), open_climatology(described))
    xr.testing.assert_equal(rank.isel(lat=slice(0, 3), lon=[2]).compute(), eager.compute())


def test_a_place_outside_is_refused(described):
    far = xr.DataArray(
        [[[0.1]]], {"time": [np.datetime64("2001-01-01")], "lat": [50.0], "lon": [0.1]},
        ("time", "lat", "lon"), "ssm",
    )  # fmt: skip
    with pytest.raises(ValueError, match="the climatology does not cover all places of ssm"):
        anomaly(far, open_climatology(described))


def test_described_tiles_are_skipped_until_their_soil_moisture_changes(store, described, tmp_path):
    assert describe_product(store, described, (2001, 2002))[1] == 2
    block = f"{next(LAYOUT.tiles())}_w00"
    kept = blocks.read_marker(store, "predict", block)
    try:
        blocks.write_marker(store, "predict", block, "key", checksum="other")
        status, skipped = describe_product(store, described, (2001, 2002))
    finally:
        blocks.write_marker(store, "predict", block, "key", checksum=kept["checksum"])
    assert (len(status), skipped) == (1, 1)


def test_days_after_the_baseline_leave_a_climatology_as_it_is(store, described):
    longer = replace(LAYOUT, last_day=date(2004, 12, 31))
    create_climatology(described, longer, (2001, 2002))
    days, tile = baseline_days(LAYOUT, (2001, 2002)), str(next(LAYOUT.tiles()))
    keys = {DescribeTile(store, described, layout, days).key(tile) for layout in (LAYOUT, longer)}
    assert len(keys) == 1
    with pytest.raises(ValueError, match="describes the years"):
        create_climatology(described, replace(longer, first_day=date(2001, 1, 2)), (2001, 2002))


def test_other_years_need_another_place(store, described):
    with pytest.raises(ValueError, match=r"describes the years \[2001, 2002\]"):
        describe_product(store, described, (2001, 2001))


def test_a_baseline_counts_only_days_that_are_there():
    assert baseline_days(LAYOUT, (1990, 2001)) == slice(0, 365)
    with pytest.raises(ValueError, match="no day of 1990 to 2000 is in the product"):
        baseline_days(LAYOUT, (1990, 2000))


def test_a_product_is_no_climatology(store):
    with pytest.raises(ValueError, match="is not a climatology"):
        open_climatology(store)
