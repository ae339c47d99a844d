"""The bridge from VIIRS to MODIS LST: classes, robust lines, thin classes, and its saved form."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.harmonise import bridge
from gssm_cube.harmonise.bridge import Limits, Pairs, apply_bridge, fit_bridge, pixel_classes

FEW = Limits(line_pairs=20, line_days=5, offset_pairs=3, spread=1.0)


def days_of(*parts):
    """Days from (class, viirs, modis) of one day each."""
    days = [
        Pairs(np.array(x, float), np.array(y, float), np.array(c, "int16")) for c, x, y in parts
    ]
    return lambda: iter(days)


def season(number, intercept, slope, days=40, pixels=5, noise=0.0, seed=0):
    """Days of one class on a line, VIIRS from about -10 to 40 degC."""
    rng = np.random.default_rng(seed)
    parts = []
    for day in range(days):
        x = 15 + 20 * np.sin(2 * np.pi * day / days) + rng.uniform(-5, 5, pixels)
        y = intercept + slope * x + noise * rng.standard_normal(pixels)
        parts.append((np.full(pixels, number), x, y))
    return parts


# ---- classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "night", "expected"),
    [
        (-20.0, -22.0, 0),  # mean -21, range 2
        (20.0, 10.0, 3 * 5 + 2),  # mean 15, range 10: on the edge, the upper
        (35.0, 25.0, 5 * 5 + 2),  # mean 30: on the edge
        (50.0, 20.0, 5 * 5 + 4),  # a hot desert
        (-5.0, 5.0, 2 * 5 + 0),  # mean 0, night warmer
        (np.nan, 5.0, -1),
        (5.0, np.nan, -1),
    ],
)
def test_a_pixel_is_classed_by_mean_and_range(day, night, expected):
    found = pixel_classes(np.array([[day]], "float32"), np.array([[night]], "float32"))
    assert found.dtype == np.int16 and found.shape == (1, 1) and found[0, 0] == expected


@given(st.floats(-60, 60), st.floats(-60, 60))
def test_each_class_holds_what_its_bounds_say(day, night):
    number = int(pixel_classes(np.array([day]), np.array([night]))[0])
    row = bridge.class_table().loc[number]
    assert row["mean_from"] <= (day + night) / 2 < row["mean_to"]
    assert row["range_from"] <= day - night < row["range_to"]


def test_there_are_as_many_classes_as_rows():
    assert len(bridge.class_table()) == bridge.class_count() == 30


# ---- the fit ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.floats(-20, 20), st.floats(0.6, 1.4), st.integers(0, 29))
def test_a_known_line_is_recovered(intercept, slope, number):
    table = fit_bridge(days_of(*season(number, intercept, slope)), limits=FEW)
    assert table.loc[number, "kind"] == "line"
    np.testing.assert_allclose(table.loc[number, "intercept"], intercept, atol=1e-6)
    np.testing.assert_allclose(table.loc[number, "slope"], slope, atol=1e-6)
    assert (table.loc[number, "pairs"], table.loc[number, "days"]) == (200, 40)


def test_classes_do_not_mix():
    parts = season(3, -2.0, 0.9) + season(17, 1.5, 1.1)
    table = fit_bridge(days_of(*parts), limits=FEW)
    np.testing.assert_allclose(table.loc[[3, 17], "intercept"], [-2.0, 1.5], atol=1e-6)
    np.testing.assert_allclose(table.loc[[3, 17], "slope"], [0.9, 1.1], atol=1e-6)


def test_missed_clouds_do_not_move_the_line():
    parts = season(8, -2.0, 0.9, days=60, pixels=20)
    rng = np.random.default_rng(1)
    clouded = []
    for number, x, y in parts:
        cold = rng.random(20) < 0.15  # MODIS took a cloud top for ground
        clouded.append((number, x, np.where(cold, y - rng.uniform(10, 40, 20), y)))
    table = fit_bridge(days_of(*clouded), limits=FEW)
    np.testing.assert_allclose(
        table.loc[8, ["intercept", "slope"]].astype(float), [-2.0, 0.9], atol=1e-6
    )
    x, y = (np.concatenate([part[n] for part in clouded]) for n in (1, 2))
    assert abs(np.polyfit(x, y, 1)[1] + 2.0) > 2  # least squares are 2 K and more off


def test_with_noise_the_line_and_its_scale_are_near():
    table = fit_bridge(days_of(*season(8, -2.0, 0.9, days=100, pixels=100, noise=1.5)), limits=FEW)
    # 10,000 pairs: standard errors 0.015 K at the mean and 0.001 of the slope.
    row = table.loc[8]
    np.testing.assert_allclose(row["slope"], 0.9, atol=0.005)
    np.testing.assert_allclose(row["intercept"] + row["slope"] * 15, -2.0 + 0.9 * 15, atol=0.08)
    np.testing.assert_allclose(row["scale"], 1.5, rtol=0.06)


def test_it_is_the_same_fit_to_the_last_bit_each_time():
    days = days_of(*season(8, -2.0, 0.9, noise=1.0), *season(2, 0.0, 1.1, noise=2.0))
    pd.testing.assert_frame_equal(
        fit_bridge(days, limits=FEW), fit_bridge(days, limits=FEW), check_exact=True
    )


def test_a_class_without_overlap_is_reported_and_gives_nothing():
    parts = season(8, -2.0, 0.9) + [([9, 9], [5.0, np.nan], [np.nan, 6.0])] + [([4], [1.0], [2.0])]
    table = fit_bridge(days_of(*parts), limits=FEW)
    assert table.loc[[4, 9], "kind"].tolist() == ["none", "none"]
    assert table.loc[[4, 9], ["intercept", "slope", "scale"]].isna().all(axis=None)
    facts = bridge.summary(table)
    assert facts["classes"] == {"line": 1, "offset": 0, "none": 29}
    assert facts["pairs"] == {"line": 200, "offset": 0, "none": 1}
    assert facts["thin"] == [4] and facts["empty"] == [n for n in range(30) if n not in (4, 8)]
    found = apply_bridge(np.array([[10.0, 10.0]]), np.array([[9, 8]], "int16"), table)
    np.testing.assert_allclose(found, [[np.nan, 7.0]], rtol=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        season(8, -1.25, 1.0, days=3, pixels=5),  # too few pairs
        season(8, -1.25, 1.0, days=4, pixels=100),  # too few days
        [([8] * 5, [20.0, 20.5, 21.0, 20.2, 20.8], [18.75, 19.25, 19.75, 18.95, 19.55])] * 10,
    ],
)
def test_a_class_too_thin_or_narrow_for_a_line_gets_an_offset(parts):
    row = fit_bridge(days_of(*parts), limits=FEW).loc[8]
    assert row["kind"] == "offset" and row["slope"] == 1.0
    np.testing.assert_allclose(row["intercept"], -1.25, atol=1e-9)


def test_a_slope_that_is_no_change_of_sensor_is_not_taken():
    row = fit_bridge(days_of(*season(8, 14.0, 0.1)), limits=FEW).loc[8]
    assert row["kind"] == "offset" and row["slope"] == 1.0


def test_pixels_without_a_class_take_no_part():
    parts = season(8, -2.0, 0.9) + season(-1, 50.0, 1.0)
    table = fit_bridge(days_of(*parts), limits=FEW)
    np.testing.assert_allclose(table.loc[8, "slope"], 0.9, atol=1e-6)
    assert table["pairs"].sum() == 200


def test_pieces_of_any_shape_and_type_give_the_same_line():
    flat = season(8, -2.0, 0.9, pixels=6)
    square = [tuple(np.reshape(v, (2, 3)) for v in part) for part in flat]
    one, two = (fit_bridge(days_of(*parts), limits=FEW) for parts in (flat, square))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_no_overlap_at_all_is_refused():
    with pytest.raises(ValueError, match="no day on which VIIRS and MODIS both saw"):
        fit_bridge(days_of(([8], [np.nan], [1.0])))
    with pytest.raises(ValueError, match="no day on which"):
        fit_bridge(lambda: [])


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"VIIRS is \(2,\), MODIS \(1,\).*expected one shape"):
        fit_bridge(days_of(([8, 8], [1.0, 2.0], [1.0])))


# ---- use and saved form -----------------------------------------------------------------------


@pytest.fixture
def table():
    return fit_bridge(days_of(*season(3, -2.0, 0.9), *season(17, 1.5, 1.1)), limits=FEW)


def test_viirs_is_moved_by_the_line_of_its_pixel(table):
    classes = np.array([[3, 17, 5, -1]], "int16")
    viirs = np.array([[[10.0] * 4], [[np.nan, -10.0, 0.0, 0.0]]])  # (time, lat, lon)
    found = apply_bridge(viirs, classes, table)
    expected = [[[7.0, 12.5, np.nan, np.nan]], [[np.nan, -9.5, np.nan, np.nan]]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32


def test_nothing_but_gaps_works(table):
    nothing = np.full((2, 3, 3), np.nan)
    assert np.isnan(apply_bridge(nothing, np.full((3, 3), 3, "int16"), table)).all()


def test_the_saved_bridge_is_the_same_to_the_last_bit(table):
    night = fit_bridge(days_of(*season(8, 1 / 3, 0.97, noise=1.0)), limits=FEW)
    text = bridge.bridge_to_json({"day": table, "night": night}, ("2012-01-19", "2023-12-31"))
    assert json.loads(text)["fitted_on"] == ["2012-01-19", "2023-12-31"]
    assert "NaN" not in text
    back = bridge.bridge_from_json(text)
    pd.testing.assert_frame_equal(back["day"], table, check_exact=True)
    pd.testing.assert_frame_equal(back["night"], night, check_exact=True)


@pytest.mark.parametrize("change", [{"format": "other 2"}, {"mean_edges": [0.0]}])
def test_a_bridge_of_other_classes_is_refused(table, change):
    text = bridge.bridge_to_json({"day": table, "night": table}, ("2012-01-19", "2012-01-20"))
    with pytest.raises(ValueError, match="the bridge is .* expected .*; fit it anew"):
        bridge.bridge_from_json(json.dumps(json.loads(text) | change))
