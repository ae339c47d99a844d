"""Intervals: worked by hand, and covering what was not seen."""

import numpy as np
import pandas as pd
import pytest

from gssm_cube.intervals import (
    Calibration,
    calibrate,
    coverage,
    coverage_over_splits,
    least_stations,
)


def constant_errors(*errors: float, days: int = 2, spread: float = 0.0) -> pd.DataFrame:
    """One station for each error, which it makes on all of its days."""
    station = np.repeat(np.arange(len(errors)), days)
    observed = 0.5 + np.tile(np.linspace(-0.1, 0.1, days), len(errors))
    predicted = observed + np.repeat(errors, days)
    return pd.DataFrame(
        {"station": station, "observed": observed, "predicted": predicted, "spread": spread}
    )


def places_like(seed: int, count: int = 40, days: int = 120) -> pd.DataFrame:
    """Places with a bias of their own; where the spread is twice as large, so are the errors."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(count) % 2, 0.05, 0.12)
    station = np.repeat(np.arange(count), days)
    scale = np.hypot(spread, 0.05)
    error = (scale * rng.normal(size=count))[station]
    error += 0.2 * scale[station] * rng.normal(size=station.size)
    return pd.DataFrame(
        {"station": station, "observed": 0.5, "predicted": 0.5 + error, "spread": spread[station]}
    )


def test_nine_stations_give_the_largest_residual_and_nineteen_the_second_largest():
    # Each has the mass 1 / (K + 1): 9/10 is reached by the last of 9, 18/20 by the 18th of 19.
    nine = calibrate(constant_errors(*np.arange(1, 10) / 100))
    assert nine.factor == pytest.approx(0.09 / 0.05)
    nineteen = calibrate(constant_errors(*np.arange(1, 20) / 100))
    assert nineteen.factor == pytest.approx(0.18 / 0.05)
    assert (nine.stations, nineteen.stations) == (9, 19)


def test_the_sign_of_an_error_does_not_matter_and_the_spread_scales_it():
    found = calibrate(constant_errors(*(-np.arange(1, 10) / 100), spread=0.12))
    assert found.factor == pytest.approx(0.09 / 0.13)  # 5, 12, 13
    assert found.half_width(0.12) == pytest.approx(0.09)
    assert found.half_width(0.0) == pytest.approx(0.09 * 5 / 13)


def test_stations_weigh_the_same_however_many_days_they_have():
    short = constant_errors(*np.arange(1, 20) / 100)
    long_record = short[short["station"] == 0].loc[lambda t: t.index.repeat(500)]
    assert calibrate(pd.concat([short, long_record])).factor == calibrate(short).factor


def test_eight_stations_are_too_few_and_the_message_says_how_many_are_needed():
    with pytest.raises(ValueError, match="8 stations cannot calibrate .* 90%, expected at least 9"):
        calibrate(constant_errors(*np.arange(1, 9) / 100))
    assert [least_stations(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    with pytest.raises(ValueError, match="level is 1"):
        calibrate(constant_errors(0.1), level=1)


def test_a_missing_residual_is_refused():
    table = constant_errors(*np.arange(1, 10) / 100)
    with pytest.raises(ValueError, match="1 of 18 residuals are missing"):
        calibrate(table.assign(spread=table["spread"].where(table.index != 3)))


def test_the_bounds_lie_about_the_estimate_and_end_at_no_water():
    lower, upper = Calibration(0.9, 2.0, None, 9).bounds([0.3, 0.05], [0.0, 0.12])
    np.testing.assert_allclose(lower, [0.2, 0.0])
    np.testing.assert_allclose(upper, [0.4, 0.31])


def test_a_constant_bias_widens_the_level_and_not_the_change():
    table = constant_errors(*np.linspace(0.02, 0.2, 19), days=100)
    found = calibrate(table)
    assert found.factor > 3
    assert found.change_factor == pytest.approx(0, abs=1e-12)
    assert coverage(table, found)["change_width"] == pytest.approx(0, abs=1e-12)


def test_stations_without_100_days_have_no_mean_of_their_own():
    found = calibrate(constant_errors(*np.arange(1, 10) / 100, days=99))
    assert found.change_factor is None
    with pytest.raises(ValueError, match="too few stations have 100 days"):
        found.change_half_width([0.1])
    assert "change_width" not in coverage(constant_errors(0.1), found)


def test_coverage_weighs_stations_and_tells_how_they_differ():
    table = constant_errors(0.0, 0.0, 0.0, 0.2)
    uneven = pd.concat([table, table[table["station"] == 3].loc[lambda t: t.index.repeat(50)]])
    found = coverage(uneven, Calibration(0.9, 2.0, None, 9))
    assert found["coverage"] == pytest.approx(0.75)
    assert found["width"] == pytest.approx(0.2)
    assert found["station_coverage"][0] == 0 and found["station_coverage"][-1] == 1


def test_places_that_did_not_calibrate_are_covered_as_often_as_said():
    found = [coverage(places_like(100 + s), calibrate(places_like(s))) for s in range(40)]
    for name in ("coverage", "change_coverage"):
        mean = np.mean([value[name] for value in found])
        assert 0.90 <= mean <= 0.95  # the station to come makes it a little more than 0.9


def test_half_of_the_wanted_level_is_covered_half_of_the_time():
    found = [
        coverage(places_like(100 + s), calibrate(places_like(s), level=0.5))["coverage"]
        for s in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.51, abs=0.04)


def test_divisions_keep_groups_whole_and_cover_the_stations_that_judge():
    table = places_like(3)
    found = coverage_over_splits(table.assign(group=table["station"] // 2), splits=60)
    assert len(found) == 60
    assert (found["stations"] == 8).all()  # a fifth of 20 pairs
    assert found["coverage"].mean() == pytest.approx(0.92, abs=0.03)
    again = coverage_over_splits(table.assign(group=table["station"] // 2), splits=60)
    pd.testing.assert_frame_equal(found, again)


def test_the_constants_are_plain_values_and_come_back():
    found = calibrate(places_like(1))
    assert Calibration(**found.to_dict()) == found
