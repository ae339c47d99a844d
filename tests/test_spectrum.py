"""Spikes, drops and plateaus on invented series, flagged where the published rules say so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from gssm_cube.insitu.spectrum import LOW, NOTHING, PLATEAU, SPIKE, _moments, find_artefacts

PERCENT = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def kinds_of(percent: list[float] | np.ndarray, step: int = 1) -> list[int]:
    """Kinds of an hourly series in volume percent."""
    hours = np.datetime64("2020-01-01T00:00", "s") + np.arange(len(percent)) * np.timedelta64(
        step, "h"
    )
    return find_artefacts(hours, np.asarray(percent, dtype="float64") / 100).tolist()


def test_one_hour_that_jumps_and_returns_is_a_spike() -> None:
    for height in (24.0, 16.0):  # up and down by a fifth
        series = [20.0] * 40
        series[20] = height
        assert [i for i, kind in enumerate(kinds_of(series)) if kind == SPIKE] == [20]


def test_a_jump_of_15_percent_or_less_is_none() -> None:
    series = [20.0] * 40
    series[20] = 22.9
    assert SPIKE not in kinds_of(series)


def test_a_noisy_series_has_no_spikes() -> None:
    # Variance 26.1 over mean 15 about each hour: above 1.
    assert SPIKE not in kinds_of([10.0, 20.0] * 20)


def test_rain_that_stays_in_the_soil_is_no_spike() -> None:
    assert set(kinds_of([20.0] * 20 + [24.0] * 20)) == {NOTHING}


def test_low_constant_values_after_a_drop_are_found_until_they_change() -> None:
    series = [20.0] * 20 + [5.0] * 20 + [6.0, 7.5, 9.0, 7.0] * 5
    found = [i for i, kind in enumerate(kinds_of(series)) if kind == LOW]
    assert found == list(range(20, 40))


def test_a_drop_to_zero_starts_a_constant_low_run() -> None:
    found = [i for i, k in enumerate(kinds_of([20.0] * 20 + [0.0] * 15)) if k == LOW]
    assert found == list(range(20, 35))


def test_12_constant_hours_are_too_few_and_a_dry_soil_that_never_dropped_is_none() -> None:
    assert LOW not in kinds_of([20.0] * 20 + [5.0] * 12 + [6.0, 8.0] * 10)
    assert LOW not in kinds_of([5.0] * 60)


def test_a_flat_top_between_rise_and_fall_is_a_plateau() -> None:
    rise, fall = [20.0, 25.0, 30.0], [39.0, 38.0, 36.0, 33.0, 30.0]
    series = [20.0] * 12 + rise + [40.0] * 20 + fall + [25.0] * 10
    found = [i for i, kind in enumerate(kinds_of(series)) if kind == PLATEAU]
    assert found == list(range(15, 35))


def test_a_flat_spell_below_95_percent_of_the_highest_value_is_none() -> None:
    top = [20.0] * 12 + [25.0, 30.0] + [37.0] * 20 + [36.0, 34.0, 30.0] + [25.0] * 10
    assert PLATEAU not in kinds_of([*top, 32.0, 40.0, 32.0, *[25.0] * 13])


def test_a_top_without_a_fall_is_none() -> None:
    assert PLATEAU not in kinds_of([20.0] * 12 + [25.0, 30.0] + [40.0] * 30)


def test_missing_hours_hide_what_they_surround() -> None:
    series = [20.0] * 40
    series[20] = 24.0
    assert SPIKE not in kinds_of(series, step=2)


def test_order_does_not_matter_and_rows_of_an_hour_share_its_kind() -> None:
    minutes = np.arange(0, 40 * 60, 30)
    stamp = np.datetime64("2020-01-01T00:00", "s") + minutes * np.timedelta64(1, "m")
    value = np.where(minutes // 60 == 20, 0.24, 0.2)
    mixed = np.random.default_rng(0).permutation(stamp.size)
    kinds = find_artefacts(stamp[mixed], value[mixed])
    assert sorted(mixed[kinds == SPIKE].tolist()) == [40, 41]


def test_stamps_thousands_of_years_apart_cost_no_memory() -> None:
    stamp = np.array(["0001-01-01T00", "9999-12-31T23"], dtype="datetime64[s]")
    assert find_artefacts(stamp, np.array([0.2, 0.2])).tolist() == [NOTHING, NOTHING]


@pytest.mark.parametrize("size", [0, 1, 2, 12, 13])
def test_short_series_work(size: int) -> None:
    assert kinds_of([20.0] * size) == [NOTHING] * size


@given(
    series=st.lists(PERCENT | st.just(np.nan), max_size=60),
    hours=st.integers(2, 25),
)
def test_the_moments_of_windows_are_numpy_s_own(series, hours):
    variance, mean = _moments(np.array(series), hours)
    windows = np.zeros((0, hours))
    if len(series) >= hours:
        windows = sliding_window_view(np.array(series), hours)
    np.testing.assert_allclose(mean, windows.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(variance, windows.var(axis=1, ddof=1), rtol=0, atol=1e-9)
