"""Daily totals and the antecedent index: by hand, against a plain loop, on real ERA5."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.harmonise.water import (
    apei,
    check_running_total,
    check_units,
    clip_precipitation,
    daily_totals,
    evaporation_mm,
    precipitation_mm,
)


def daily(values, units="mm", name="precipitation", start="2019-01-01"):
    values = np.asarray(values, dtype="float64").reshape(len(values), 1, 1)
    days = (np.datetime64(start) + np.arange(len(values))).astype("datetime64[ns]")
    coords = {"time": days, "lat": [45.0], "lon": [5.0]}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name, {"units": units})


def hourly(stamps, values):
    time = np.asarray(stamps, dtype="datetime64[ns]")
    return xr.DataArray(values, {"time": time}, ("time",), "tp", {"units": "m"})


def index_by_loop(surplus, decay, window_days):
    index = np.full(surplus.size, np.nan)
    for day in range(window_days - 1, surplus.size):
        index[day] = sum(decay**lag * surplus[day - lag] for lag in range(window_days))
    return index


@pytest.fixture
def dry():
    return daily(np.zeros(70))


@pytest.fixture
def two_days():
    """01 UTC of 1 January to 00 UTC of 3 January: 1 mm an hour, then 2 mm an hour."""
    stamps = np.arange("2019-01-01T01", "2019-01-03T01", dtype="datetime64[h]")
    hours = np.arange(1.0, 25.0)
    return hourly(stamps, np.r_[hours, 2 * hours])


# ---- daily totals -----------------------------------------------------------------------------


def test_the_total_of_a_day_is_stamped_at_the_next_midnight(two_days):
    totals = daily_totals(two_days)
    np.testing.assert_array_equal(totals, [24.0, 48.0])
    expected = np.array(["2019-01-01", "2019-01-02"], dtype="datetime64[D]")
    np.testing.assert_array_equal(totals["time"].values, expected)
    assert totals.attrs["units"] == "m"


def test_a_first_stamp_at_midnight_closes_the_day_before():
    stamps = np.arange("2019-01-01T00", "2019-01-02T01", dtype="datetime64[h]")
    totals = daily_totals(hourly(stamps, np.r_[7.0, np.arange(1.0, 25.0)]))
    np.testing.assert_array_equal(totals, [7.0, 24.0])
    assert totals["time"].values[0] == np.datetime64("2018-12-31")


def test_a_missing_midnight_leaves_its_day_missing(two_days):
    midnight = two_days["time"] == np.datetime64("2019-01-02T00")
    np.testing.assert_array_equal(daily_totals(two_days[~midnight]), [np.nan, 48.0])
    np.testing.assert_array_equal(daily_totals(two_days[:-1]), [24.0, np.nan])


def test_days_without_any_stamp_stay_on_the_axis(two_days):
    later = two_days.assign_coords(time=two_days["time"] + np.timedelta64(3, "D"))
    totals = daily_totals(xr.concat([two_days, later], "time"))
    np.testing.assert_array_equal(totals, [24.0, 48.0, np.nan, 24.0, 48.0])


def test_totals_are_lazy_when_the_hours_are(two_days):
    lazy = daily_totals(two_days.chunk(time=24))
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, [24.0, 48.0])


@pytest.mark.parametrize(
    ("stamps", "found"),
    [
        (["2019-01-01T00", "2019-01-01T00"], "2019-01-01T00"),
        (["2019-01-01T01", "2019-01-01T00"], "2019-01-01T00"),
        (["2019-01-01T00:00", "2019-01-01T00:30"], "2019-01-01T00:30"),
    ],
)
def test_stamps_that_repeat_fall_or_split_hours_are_refused(stamps, found):
    with pytest.raises(ValueError, match=f"found {found}.* expected whole hours that rise"):
        daily_totals(hourly(stamps, [1.0, 2.0]))


def test_no_stamp_at_all_is_refused():
    with pytest.raises(ValueError, match="no stamp"):
        daily_totals(hourly([], np.empty(0)))


# ---- the index --------------------------------------------------------------------------------


def test_one_wet_day_fades_and_leaves_after_34_days(dry):
    rain = dry.copy()
    rain[0] = 10.0
    index = apei(rain, dry).isel(lat=0, lon=0)
    assert index[:33].isnull().all()
    np.testing.assert_allclose(index[33], 10.0 * 0.91**33)
    np.testing.assert_allclose(index[34:], 0.0)


def test_steady_evaporation_draws_the_index_to_the_geometric_sum(dry):
    index = apei(dry, daily(np.full(70, 2.0)))
    np.testing.assert_allclose(index[33:], -2.0 * (1 - 0.91**34) / 0.09)


def test_the_index_is_that_of_a_plain_loop():
    rng = np.random.default_rng(3)
    rain, loss = rng.gamma(0.3, 10.0, 90), rng.normal(2.0, 1.0, 90)
    index = apei(daily(rain), daily(loss), decay=0.8, window_days=7)
    np.testing.assert_allclose(index.squeeze(), index_by_loop(rain - loss, 0.8, 7))


@given(seed=st.integers(0, 2**32 - 1), start=st.integers(0, 40), days=st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_33_days_of_lead_in_give_the_bits_of_the_full_series(seed, start, days):
    rng = np.random.default_rng(seed)
    rain, loss = (daily(rng.gamma(0.5, 5.0, 120)).astype("float32") for _ in range(2))
    part = slice(start, start + 33 + days)
    full, window = apei(rain, loss), apei(rain[part], loss[part])
    np.testing.assert_array_equal(window[33:], full[start + 33 : start + 33 + days])


def test_a_missing_day_empties_the_34_days_that_hold_it(dry):
    rain = dry.copy()
    rain[34] = np.nan
    missing = apei(rain, dry).isnull().squeeze().values
    np.testing.assert_array_equal(np.flatnonzero(missing), np.r_[0:33, 34:68])


def test_a_series_shorter_than_the_window_is_missing(dry):
    assert apei(dry[:33], dry[:33]).isnull().all()


def test_lazy_equals_eager_and_chunks_survive(dry):
    rng = np.random.default_rng(5)
    wide = dry.isel(lat=[0, 0, 0], lon=[0, 0]).assign_coords(lat=[3.0, 2.0, 1.0], lon=[1.0, 2.0])
    rain = wide.copy(data=rng.gamma(0.5, 5.0, wide.shape)).astype("float32")
    lazy = apei(rain.chunk(lat=1), wide.astype("float32").chunk(lat=1))
    assert lazy.chunks == rain.chunk(lat=1).chunks
    assert lazy.dtype == np.float32 and lazy.dims == ("time", "lat", "lon")
    xr.testing.assert_identical(lazy.compute(), apei(rain, wide.astype("float32")))


def test_the_index_carries_the_names_of_the_table(dry):
    index = apei(dry, dry)
    assert index.name == "apei" and index.attrs["units"] == "mm"


def test_other_units_are_refused(dry):
    with pytest.raises(ValueError, match="tp: units are 'm', expected 'mm'"):
        apei(daily(np.zeros(40), "m", "tp"), dry)
    with pytest.raises(ValueError, match="units are 'missing'"):
        check_units(dry.drop_attrs(), "mm")


def test_different_days_are_refused(dry):
    with pytest.raises(ValueError, match="different grids or days"):
        apei(dry, daily(np.zeros(70), start="2019-01-02"))


def test_different_dims_are_refused(dry):
    with pytest.raises(ValueError, match="transpose one of them"):
        apei(dry, dry.transpose("lat", "lon", "time"))


def test_a_gap_in_the_axis_is_refused(dry):
    holed = dry.isel(time=[*range(40), *range(41, 70)])
    with pytest.raises(ValueError, match="2019-02-11 follows 2019-02-09"):
        apei(holed, holed)


def test_packing_noise_is_clipped_and_missing_stays_missing():
    clipped = clip_precipitation(daily([-1e-5, 0.0, 3.0, np.nan]))
    np.testing.assert_array_equal(clipped.squeeze(), [0.0, 0.0, 3.0, np.nan])
    assert clipped.attrs["units"] == "mm"


def test_three_wet_days_in_a_row_add_with_their_own_weights(dry):
    rain = dry.copy()
    rain[40:43, 0, 0] = [10.0, 0.0, 5.0]
    index = apei(rain, dry).squeeze()
    by_hand = [10.0, 9.1, 8.281 + 5.0, 0.91 * 13.281]
    np.testing.assert_allclose(index[40:44], by_hand)


def test_a_window_of_days_begins_with_the_rain_of_33_days_before():
    rain = daily(np.r_[100.0, np.zeros(66)])  # day 0, then 66 dry days
    none = daily(np.zeros(67))
    index = apei(rain, none).squeeze()
    np.testing.assert_allclose(index[33], 100 * 0.91**33)  # 4.45 mm: the oldest day counts
    assert index[34] == 0.0
    later = apei(rain[1:], none[1:]).squeeze()
    assert later[:33].isnull().all() and later[33] == 0.0


def test_totals_become_mm_and_noise_is_counted():
    totals = daily([-1e-6, 0.0, 0.0125, np.nan], "m", "tp")
    rain, clipped = precipitation_mm(totals)
    np.testing.assert_allclose(rain.squeeze(), [0.0, 0.0, 12.5, np.nan])
    assert clipped == 1 and rain.attrs["units"] == "mm"


def test_evaporation_turns_upward_and_dew_is_kept():
    upward = evaporation_mm(daily([-0.004, 0.0002, np.nan], "m", "e"))
    np.testing.assert_allclose(upward.squeeze(), [4.0, -0.2, np.nan])


@pytest.mark.parametrize(("value", "span"), [(-0.0011, "-1.1 to -1.1"), (2.5, "2500 to 2500")])
def test_totals_that_no_packing_explains_are_refused(value, span):
    with pytest.raises(ValueError, match=f"spans {span} mm, expected -1 to 2000"):
        precipitation_mm(daily([value, np.nan], "m", "tp"))


def test_evaporation_in_mm_under_the_name_of_m_is_refused():
    with pytest.raises(ValueError, match="evaporation spans 4000 to 4000 mm, expected -100 to 100"):
        evaporation_mm(daily([-4.0], "m", "e"))


def test_a_total_that_falls_before_midnight_is_an_amount_an_hour(two_days):
    check_running_total(two_days / 1000)
    fallen = two_days.copy()
    fallen[23] = fallen[22] - 0.001
    with pytest.raises(ValueError, match="falls by 1 mm within the last hour of a day"):
        check_running_total(fallen)


@pytest.mark.real_data
def test_real_noise_is_counted_and_real_condensation_kept(real_data):
    path = real_data / "grids" / "era5" / "daily_surface_cancities_1990-1993.nc"
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        metres = dataset[["pr", "evspsblpot"]].load() * 86.4  # kg m-2 s-1 to m d-1
    rain, clipped = precipitation_mm(metres["pr"])
    assert clipped == 234 and float(rain.min()) == 0.0
    assert int((evaporation_mm(-metres["evspsblpot"]) < 0).sum()) == 74


@pytest.mark.real_data
def test_real_era5_noise_is_clipped_and_the_index_is_that_of_a_loop(real_data):
    path = real_data / "grids" / "era5" / "daily_surface_cancities_1990-1993.nc"
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        flux = dataset[["pr", "evspsblpot"]].load().transpose("time", "location")
    rain, loss = ((flux[name] * 86400.0).assign_attrs(units="mm") for name in ("pr", "evspsblpot"))
    clipped = clip_precipitation(rain)
    assert int((rain < 0).sum()) == 234 and float(clipped.min()) == 0.0
    index = apei(clipped, loss)
    for place in range(index.sizes["location"]):
        surplus = (clipped - loss).values[:, place].astype("float64")
        expected = index_by_loop(surplus, 0.91, 34)
        np.testing.assert_allclose(index[:, place], expected, rtol=1e-5, atol=1e-4)
