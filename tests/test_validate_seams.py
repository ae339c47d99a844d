"""Seams at tile and window borders: what is there is found, what cannot be seen is not denied."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.grid import CHUNK_PIXELS, Layout
from gssm_cube.validate.seams import NEIGHBOURS, WHOLE, seam_rows, second_differences
from gssm_cube.validate.steps import LIMIT, judge_steps, outcome_of

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


def control_of(field):
    """Return what makes the estimates of a field again, borders or not."""
    return lambda days, rows, cols: field.values[days, rows, cols]


def judged(ssm, field=None):
    control = None if field is None else control_of(field)
    return seam_rows(ssm, LAYOUT, {}, control=control).set_index(["kind", "against"])


def test_a_whole_field_fails_nowhere_and_says_what_it_could_not_have_seen(field):
    rows = seam_rows(field, LAYOUT, {"sensor": date(2018, 9, 1)}).set_index("kind")
    assert rows.index.tolist() == ["tile", "window", "day of change"]
    assert (rows["outcome"] != "fail").all() and (rows["low"] == 0).all()
    assert (rows["high"] <= 2.5 * rows["detectable"]).all()
    assert rows.loc["tile", "n"] == 4  # a border in each of two rows and two columns of tiles
    assert rows.loc["window", "n"] == 1
    # All of this world has one weather: a day's rain hides steps far above the limit.
    assert rows.loc["window", "outcome"] == "cannot tell"
    assert rows.loc["window", "detectable"] > 5 * LIMIT


def test_beside_the_same_without_borders_a_whole_field_passes_and_steps_of_a_code_show(field):
    rows = judged(field, field)
    assert rows.index.tolist() == [
        (kind, against) for against in (NEIGHBOURS, WHOLE) for kind in ("tile", "window")
    ]
    exact = rows.xs(WHOLE, level="against")
    assert exact["outcome"].tolist() == ["pass", "pass"]
    assert (exact[["step", "high", "detectable"]] < 1e-6).all(axis=None)
    wet = field.copy()
    wet[:, :48, :48] += 0.003  # half of the borders are this tile's: root mean square 0.0021
    wet[366:] += 0.003
    exact = judged(wet, field).xs(WHOLE, level="against")
    np.testing.assert_allclose(exact["step"], [0.003 / np.sqrt(2), 0.003], rtol=1e-3)
    assert exact["outcome"].tolist() == ["fail", "fail"]
    wet = field.copy()
    wet[366:] += 0.001
    window = judged(wet, field).loc[("window", WHOLE)]
    assert window["outcome"] == "pass"
    np.testing.assert_allclose(window[["step", "low", "high"]].astype(float), 0.001, rtol=1e-2)


def test_a_tile_that_is_wetter_fails_at_its_borders(field):
    wet = field.copy()
    wet[:, :48, :48] += 0.05
    rows = judged(wet)
    tile = rows.loc[("tile", NEIGHBOURS)]
    # Half of the borders are this tile's, and all of a step of second order is the offset's.
    assert tile["step"] == pytest.approx(0.05 / np.sqrt(2), abs=0.005)
    assert tile["low"] < tile["step"] < tile["high"] and tile["outcome"] == "fail"
    assert rows.loc[("window", NEIGHBOURS), "outcome"] == "cannot tell"


def test_a_window_that_is_wetter_fails_at_its_border(field):
    wet = field.copy()
    wet[366:] += 0.08
    rows = judged(wet)
    window = rows.loc[("window", NEIGHBOURS)]
    assert window["outcome"] == "fail" and window["low"] > LIMIT
    assert window["low"] < 0.08 < window["high"]
    assert rows.loc[("tile", NEIGHBOURS), "outcome"] != "fail"


# ---- sizes of steps ---------------------------------------------------------------------------


def borders(rng, count, step, noise, near=60):
    """Borders with steps of either sign among normal neighbours."""
    signs = rng.choice([-1, 1], count)
    seen = step * signs + rng.normal(0, noise, count)
    return [(float(at), rng.normal(0, noise, near)) for at in seen]


@pytest.mark.parametrize(("count", "step"), [(1, 0.0), (1, 0.01), (20, 0.0), (20, 0.004)])
def test_the_interval_holds_the_true_step_in_about_19_of_20_worlds(count, step):
    rng = np.random.default_rng(count)
    found = [judge_steps(borders(rng, count, step, 0.005), rng) for _ in range(200)]
    held = np.mean([world.low <= step <= world.high for world in found])
    assert held >= 0.90  # 0.95 less three times its own error, and 60 neighbours are not all
    if step == 0:
        assert np.mean([world.low == 0 for world in found]) >= 0.92


def test_the_detectable_step_is_seen_in_four_of_five_worlds():
    rng = np.random.default_rng(0)
    size = np.median([judge_steps(borders(rng, 20, 0, 0.005), rng).detectable for _ in range(20)])
    found = [judge_steps(borders(rng, 20, size, 0.005), rng) for _ in range(200)]
    assert 0.70 <= np.mean([world.low > 0 for world in found]) <= 0.90


def test_a_step_below_the_usual_is_not_lost_as_in_a_mean_of_sizes():
    """Of 2,000 borders with steps of half the usual size the mean size grows by an eighth only."""
    rng = np.random.default_rng(1)
    found = judge_steps(borders(rng, 2000, 0.003, 0.006), rng)
    assert found.step == pytest.approx(0.003, rel=0.15) and found.outcome == "fail"
    assert found.usual == pytest.approx(0.006, rel=0.05)


def test_a_border_that_happens_to_be_quiet_does_not_pass_what_it_could_not_have_seen():
    """Two borders without any step, among neighbours of 0.015: nothing is shown of 0.002."""
    rng = np.random.default_rng(3)
    found = judge_steps([(0.0, rng.normal(0, 0.015, 100)) for _ in range(2)], rng)
    assert found.step == found.low == 0 and found.high > 0.015
    assert found.outcome == "cannot tell"


@given(st.floats(-0.01, 0.01), st.floats(0, 0.01))
def test_an_outcome_is_told_by_the_whole_interval(low, width):
    high = low + width
    outcome = outcome_of(low, high)
    within = abs(low) < LIMIT and abs(high) < LIMIT
    beyond = low >= LIMIT or high <= -LIMIT
    assert (outcome == "pass") == within and (outcome == "fail") == beyond
    assert outcome_of(-high, -low) == outcome


def test_without_an_interval_nothing_is_told():
    assert outcome_of(np.nan, np.nan) == "cannot tell"


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
