"""The memory of water: by hand, day by day, and cut into windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.harmonise.memory import (
    LOOK_BACK_DAYS,
    MEANS,
    RECURSIVE,
    SUMS,
    initial_state,
    memory_features,
    moving_sum,
    potential_evaporation,
    remember,
    spin_up,
)
from gssm_cube.variables import names_of

NAN = np.nan


def series(rain, tair=15.0, pet=0.0, **start):
    """Features of one cell from an empty state, but for what ``start`` says."""
    rain = np.asarray(rain, dtype="float64")
    state = initial_state(())._replace(
        bucket_20=np.zeros(()), bucket_50=np.zeros(()), bucket_150=np.zeros(())
    )
    state = state._replace(**{name: np.asarray(float(value)) for name, value in start.items()})
    return remember(*map(np.array, np.broadcast_arrays(rain, tair, pet)), state)


# ---- by hand ----------------------------------------------------------------------------------


def test_snow_falls_below_0_degrees_and_melts_3_mm_a_degree():
    features, state = series([5.0, 10.0, 0.0, 2.0, 0.0], [-1.0, -0.1, 1.0, 3.0, 3.0])
    # 5, 15; melt 3: 12; melt 9 and rain 2: 3; the rest melts.
    np.testing.assert_allclose(features["swe"], [5.0, 15.0, 12.0, 3.0, 0.0])
    # What was liquid: 0, 0, 3, 2 + 9, 3 mm, all of it in a bucket that does not drain.
    np.testing.assert_allclose(150 * features["bucket_150"], [0, 0, 3, 14, 17], rtol=1e-6)
    assert state.swe == 0.0


def test_snow_stops_growing_at_1000_mm():
    features, _ = series([30.0, 30.0], -5.0, swe=980.0)
    np.testing.assert_array_equal(features["swe"], [1000.0, 1000.0])


def test_the_surplus_is_a_weighted_mean_of_rain_less_half_the_demand():
    features, state = series([10.0, 0.0, 4.0], pet=[2.0, 4.0, 0.0])
    # P - PET / 2 is 9, -2, 4.
    slow = [9.0, 0.98 * 9 - 2, 0.98 * (0.98 * 9 - 2) + 4]
    fast = [9.0, 0.91 * 9 - 2, 0.91 * (0.91 * 9 - 2) + 4]
    np.testing.assert_allclose(features["surplus_50d"], 0.02 * np.array(slow), rtol=1e-6)
    np.testing.assert_allclose(features["surplus_11d"], 0.09 * np.array(fast), rtol=1e-6)
    assert state.surplus_50d == pytest.approx(slow[-1])


def test_steady_rain_draws_the_surplus_to_its_own_amount():
    features, _ = series(np.full(2000, 3.0), pet=2.0)
    assert features["surplus_11d"][-1] == pytest.approx(2.0, rel=1e-5)
    assert features["surplus_50d"][-1] == pytest.approx(2.0, rel=1e-5)


def test_wetness_fades_faster_the_more_can_evaporate():
    features, _ = series([20.0, 0.0, 1.0], pet=[3.0, 5.5, 0.0])
    for name, rate in (("wetness_slow", 0.015), ("wetness_fast", 0.03)):
        second = 20.0 * np.exp(-rate * 6.0)
        third = second * np.exp(-rate * 0.5) + 1.0
        np.testing.assert_allclose(features[name], [20.0, second, third], rtol=1e-6)


def test_a_bucket_fills_evaporates_and_drains_in_this_order():
    features, state = series([100.0, 0.0, 0.0], pet=[2.0, 2.0, 40.0])
    # Of 20 mm: full, 2 evaporate freely, 0.15 (18 - 14) = 0.6 drain: 17.4; then 15.4 - 0.21 =
    # 15.19; then the demand of 40 takes all.
    np.testing.assert_allclose(20 * features["bucket_20"], [17.4, 15.19, 0.0], rtol=1e-6)
    assert state.bucket_20 == 0.0
    # Of 150 mm, 100 lie below 105: 98; 98 / 105 of the demand, and so on; nothing drains.
    water = [100 - 2 * 100 / 105]
    water.append(water[0] - 2 * water[0] / 105)
    water.append(water[1] - 40 * water[1] / 105)
    np.testing.assert_allclose(150 * features["bucket_150"], water, rtol=1e-6)


def test_memory_starts_without_snow_and_with_half_full_buckets():
    state = initial_state((2,))
    assert [float(values[0]) for values in state[:8]] == [0, 0, 0, 0, 0, 10, 25, 75]
    assert np.isnan(state.tair).all() and np.isnan(state.pet).all()


# ---- days that lack something -----------------------------------------------------------------


def test_a_day_without_rain_is_missing_itself_and_counts_as_dry_afterwards():
    features, _ = series([10.0, NAN, 5.0], pet=2.0)
    dry, _ = series([10.0, 0.0, 5.0], pet=2.0)
    for name in RECURSIVE:
        assert np.isnan(features[name][1])
        np.testing.assert_array_equal(features[name][[0, 2]], dry[name][[0, 2]], err_msg=name)


def test_a_day_without_temperature_takes_that_of_the_day_before():
    features, _ = series([0.0, 6.0, 5.0], tair=[-3.0, NAN, -1.0], pet=[0.5, NAN, 0.2])
    lasting, _ = series([0.0, 6.0, 5.0], tair=[-3.0, -3.0, -1.0], pet=[0.5, 0.5, 0.2])
    assert np.isnan(features["swe"][1]) and features["swe"][2] == 11.0
    for name in RECURSIVE:
        np.testing.assert_array_equal(features[name][[0, 2]], lasting[name][[0, 2]], err_msg=name)


def test_before_the_first_temperature_all_is_rain_and_nothing_evaporates():
    features, _ = series([8.0, 0.0], tair=[NAN, 10.0], pet=[NAN, 0.0])
    assert np.isnan(features["wetness_slow"][0])
    assert features["wetness_slow"][1] == pytest.approx(8.0 * np.exp(-0.015 * 0.5))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"precipitation has shape \(3, 2\).*state \(3,\)"):
        remember(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2)), initial_state((3,)))


# ---- sums -------------------------------------------------------------------------------------


def test_a_moving_sum_begins_with_the_first_whole_one_and_counts_what_is_there():
    total, count = moving_sum(np.array([1.0, 2.0, NAN, 4.0]), 3)
    np.testing.assert_array_equal(total, [3.0, 6.0])
    np.testing.assert_array_equal(count, [2, 2])
    assert moving_sum(np.ones(2), 3)[0].shape == (0,)


# ---- all together -----------------------------------------------------------------------------


def weather_of(seed, days=120, gaps=0.03):
    rng = np.random.default_rng(seed)
    tair = rng.normal(3, 8, (days, 2))
    swing = rng.gamma(4, 1, (days, 2))
    rain = np.where(rng.random((days, 2)) < 0.4, rng.gamma(0.5, 12, (days, 2)), 0)
    found = {"precipitation": rain, "tair": tair, "tmin": tair - swing, "tmax": tair + swing}
    for values in found.values():
        values[rng.random((days, 2)) < gaps] = NAN
    return found


def part(weather, *slices):
    return {name: values[slices] for name, values in weather.items()}


DAYS = np.arange("2019-01-01", "2019-05-01", dtype="M8[D]")
LAT = np.array([45.0, -20.0])


@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(30, 119), max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_cut_into_windows_gives_the_bits_of_one_go(seed, cuts):
    weather = weather_of(seed)
    start = initial_state((2,))
    whole, end = memory_features(weather, DAYS, LAT, start)
    edges = [LOOK_BACK_DAYS, *sorted(cuts), len(DAYS)]
    state, pieces = start, []
    for first, stop in zip(edges[:-1], edges[1:], strict=True):
        days = slice(first - LOOK_BACK_DAYS, stop)
        piece, state = memory_features(part(weather, days), DAYS[days], LAT, state)
        pieces.append(piece)
    for name, values in whole.items():
        joined = np.concatenate([piece[name] for piece in pieces])
        np.testing.assert_array_equal(joined.view("uint32"), values.view("uint32"), err_msg=name)
    for name, found, expected in zip(state._fields, state, end, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert found.dtype == np.float64


def test_a_state_that_was_given_is_not_changed():
    state = initial_state((2,))
    memory_features(weather_of(1), DAYS, LAT, state)
    np.testing.assert_array_equal(np.stack(state), np.stack(initial_state((2,))))


def test_the_features_are_those_of_the_table_and_missing_together():
    weather = weather_of(2)
    features, _ = memory_features(weather, DAYS, LAT, initial_state((2,)))
    assert set(features) == set(names_of("meteo")) - {"apei", "api", "evaporation", "tair"}
    lacking = np.isnan([values[LOOK_BACK_DAYS:] for values in weather.values()]).any(axis=0)
    assert 0 < lacking.sum() < lacking.size
    for name in (*RECURSIVE, *SUMS, *MEANS):
        np.testing.assert_array_equal(np.isnan(features[name]), lacking, err_msg=name)


def test_sums_and_means_are_of_the_days_up_to_this_one():
    weather = weather_of(3, gaps=0.0)
    features, _ = memory_features(weather, DAYS, LAT, initial_state((2,)))
    rain, tair = weather["precipitation"], weather["tair"]
    np.testing.assert_allclose(features["rain_3d"][5], rain[32:35].sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(features["rain_30d"][0], rain[:30].sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(features["tair_7d"][-1], tair[-7:].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(features["tair_30d"][3], tair[3:33].mean(axis=0), rtol=1e-5)


# ---- spin-up ----------------------------------------------------------------------------------


def year_and_more(days):
    weather = weather_of(4, days)
    return weather, np.datetime64("2018-01-01") + np.arange(days)


def test_a_lead_in_of_a_year_is_run_once():
    weather, days = year_and_more(400)
    found = spin_up(weather, days, LAT, 365)
    whole, state = part(weather, slice(365)), initial_state((2,))
    whole = {n: np.concatenate([np.zeros((29, 2)), v]) for n, v in whole.items()}
    lead = np.concatenate([days[:29] - 29, days[:365]])
    _, expected = memory_features(whole, lead, LAT, state)
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_a_shorter_lead_in_follows_on_its_first_year():
    weather, days = year_and_more(500)
    longer = {n: np.concatenate([v[:365], v[:100]]) for n, v in weather.items()}
    expected = spin_up(longer, np.concatenate([days[:365], days[:100]]), LAT, 465)
    found = spin_up(weather, days, LAT, 100)
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_after_a_year_it_is_all_but_forgotten_how_memory_began():
    weather, days = year_and_more(365)
    rain, tair = weather["precipitation"], weather["tair"]
    pet = potential_evaporation(weather, days, LAT)
    wet = initial_state((2,))._replace(surplus_50d=np.full(2, 100.0), bucket_50=np.full(2, 50.0))
    _, found = remember(rain, tair, pet, wet)
    expected = spin_up(weather, days, LAT, 365)
    left = found.surplus_50d - expected.surplus_50d
    np.testing.assert_allclose(left, 100 * 0.98**365, rtol=1e-6)  # 0.06 of 100 mm
    np.testing.assert_allclose(found.bucket_50, expected.bucket_50, atol=1e-3)
