"""Potential evaporation against the worked examples of FAO-56."""

import numpy as np
import pytest

from gssm_cube.harmonise.potential_evaporation import extraterrestrial_radiation, hargreaves


def day(text):
    return np.array([text], dtype="M8[D]")


@pytest.mark.parametrize(
    ("when", "lat", "expected"),
    [
        ("2019-09-03", -20.0, 32.2),  # example 8
        ("2019-07-15", 45.0 + 43 / 60, 40.6),  # Lyon, example 20: 16.55 mm
        ("2019-04-15", 13.0 + 44 / 60, 38.06),  # Bangkok, example 17
    ],
)
def test_radiation_is_that_of_the_worked_examples(when, lat, expected):
    assert extraterrestrial_radiation(day(when), lat)[0] == pytest.approx(expected, abs=0.06)


def test_the_polar_night_is_dark_and_the_polar_day_is_bright():
    days = np.array(["2019-01-01", "2019-06-21"], dtype="M8[D]")
    dark, bright = extraterrestrial_radiation(days, np.array([80.0, 90.0, -90.0])).T[0]
    assert dark == 0.0 and bright > 40
    assert np.isfinite(extraterrestrial_radiation(days, np.array([90.0, -90.0]))).all()


def test_hargreaves_gives_5_mm_in_lyon_in_july():
    # FAO-56 eq. 52 by hand: 0.0023 (20.7 + 17.8) sqrt(11.8) 0.408 x 40.55.
    found = hargreaves(np.array(14.8), np.array(26.6), np.array(40.55))
    assert found == pytest.approx(5.03, abs=0.005)


def test_nothing_evaporates_below_minus_17_8_degrees_or_without_a_swing():
    low, high = np.array([-30.0, 10.0, 12.0, np.nan]), np.array([-20.0, 10.0, 10.0, 10.0])
    np.testing.assert_array_equal(hargreaves(low, high, np.full(4, 20.0)), [0, 0, 0, np.nan])
