"""Costs of a run from its plan: worked by hand, and beside what a small run then took."""

from io import StringIO

import pytest
from rich.console import Console

from gssm_cube.costs import forecast as module
from gssm_cube.costs.calibration import machine_speed
from gssm_cube.costs.forecast import (
    describe_hours,
    forecast,
    forecast_table,
    outcome,
    outcome_table,
)
from gssm_cube.plan import core_hours, plan_run
from gssm_cube.settings import read_settings


@pytest.fixture(scope="module")
def settings(small_run):
    return read_settings(small_run.settings)


@pytest.fixture(scope="module")
def plan(settings):
    return plan_run(settings)


def text_of(table):
    console = Console(file=StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_a_machine_twice_as_fast_takes_half_the_core_hours(settings, plan):
    once, twice = (forecast(settings, plan, speed).core_hours for speed in (1.0, 2.0))
    assert once == core_hours(settings, plan)
    assert twice == {name: spent / 2 for name, spent in once.items()}


def test_wall_time_falls_with_cores_until_every_block_has_one():
    costs = module.Forecast({"LST": 6.0, "prediction": 2.0}, 0, 0, 0)
    assert [costs.hours(cores, blocks=4) for cores in (1, 2, 4, 64)] == [8.0, 4.0, 2.0, 2.0]


def test_objects_of_cube_and_product_are_those_on_disk(settings, plan):
    found = forecast(settings, plan, 1.0)
    chunks = [path for path in settings.cube.rglob("c/**/*") if path.is_file()]
    coordinates = [path for path in chunks if path.parts[-3] in ("time", "lat", "lon")
                   or path.parts[-3].startswith("cell_")]  # fmt: skip
    real = len(chunks) - len([path for path in coordinates if path.parent.name == "c"])
    assert found.cube_objects == pytest.approx(real, rel=0.25)
    assert found.product_objects == outcome(settings)["product_objects"] == 4


def test_requests_follow_from_the_features_of_the_forest(settings, plan):
    lean = settings.training.model_copy(update={"preset": "zhang2021"})
    one = forecast(settings.model_copy(update={"training": lean}), plan, 1.0).requests
    # Shards: clay sand silt porosity; lst lst_diff; ndvi evi of two years; flags: land, filled, of
    # days, of two years of composites. Cells: api tair_7d swe and the climate. Markers: static,
    # climatology, days, two years, weather, climate. Metadata: the cube and its composites' days
    # twice, the product. Written: three layers, each looked at, and a marker.
    assert one == 4 * ((4 + 2 + 4) + 5 + (3 + 1) + 7 + 5 + 7)


def test_the_speed_of_this_machine_is_positive_and_known_within_a_factor():
    first, second = machine_speed(), machine_speed()
    assert 0.02 < first < 50 and 0.2 < first / second < 5


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.001, "4 s"), (0.5, "30 min"), (7.6, "8 h"), (240, "10.0 days")],
)
def test_a_time_reads_well(hours, text):
    assert describe_hours(hours) == text


def test_the_tables_say_what_was_planned_and_what_it_took(settings, plan):
    found = forecast(settings, plan, 1.0)
    said = text_of(forecast_table(found, plan.blocks, plan.predict_memory))
    assert "wall time, 1 cores" in said and "prediction, core-hours" in said
    assert "wall time, 8 cores" not in said  # four blocks
    real = outcome(settings)
    assert (real["blocks"], real["prediction_hours"] > 0) == (4, True)
    rows = text_of(outcome_table(plan, found, real)).splitlines()
    assert any("blocks" in row and row.count("4") == 2 for row in rows)
