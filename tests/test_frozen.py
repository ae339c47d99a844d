"""The rule of frozen ground against what stations measured, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "frozen.py"

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def found(real_data, tmp_path_factory):
    target = tmp_path_factory.mktemp("frozen") / "found.json"
    archive = real_data / "ismn/Data_separate_files_header_20240825_20250825_kit.zip"
    table = real_data / "tables/uscrn_daily_2020_kit.parquet"
    command = [sys.executable, SCRIPT, archive, table, "--json", target]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return json.loads(target.read_text())


def test_the_rule_beats_the_day_s_temperature_where_soil_temperature_is_known(found):
    known = found["soil"]
    assert (known["days"], known["frozen_days"]) == (27064, 2062)
    rule, day = (known["rules"][name] for name in ("rule", "the day below 0 degC"))
    assert rule["hit_rate"] > 0.9 > day["hit_rate"]
    assert rule["false_alarm_rate"] < day["false_alarm_rate"]
    assert rule["success"] > day["success"]


def test_few_flagged_days_have_an_air_temperature_and_the_rule_raises_no_false_alarm(found):
    flagged = found["ISMN flags"]
    assert (flagged["stations"], flagged["frozen_days"], flagged["frozen_stations"]) == (6, 35, 3)
    assert flagged["rules"]["rule"]["false_alarm_rate"] == 0
