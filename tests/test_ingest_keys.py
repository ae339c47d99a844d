"""What depends on which day of meteorology."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from gssm_cube.grid import Layout, Tile
from gssm_cube.ingest.inputs import Inputs
from gssm_cube.ingest.keys import FileKeys, climate_keys, in_years, meteo_keys, meteo_runs
from gssm_cube.ingest.meteo import cell_units
from gssm_cube.sources.era5_land import MeteoFile

# Three windows: from 2018-03-01, 2019-03-02 and 2020-03-02 on.
LAYOUT = Layout(Tile(118, 372), 1, 1, date(2018, 3, 1), date(2021, 2, 1), 48)
MONTHS = np.arange("2017-03", "2021-03", dtype="M8[M]")


@pytest.fixture
def keys_of(tmp_path):
    """Keys of the meteorology with monthly files, one of them renewed."""
    for month in MONTHS:
        (tmp_path / f"{month}.nc").touch()

    def keys(renewed=None, lead_days=365):
        if renewed:
            os.utime(tmp_path / f"{renewed}.nc", (1.5e9, 1.5e9))
        files = [
            MeteoFile(
                tmp_path / f"{month}.nc",
                month.astype("M8[h]"),
                (month + 1).astype("M8[h]") - np.timedelta64(1, "h"),
            )
            for month in MONTHS
        ]
        found = Inputs(files, {}, {}, {}, {}, [], Path(), lead_days=lead_days)
        return meteo_keys(FileKeys(LAYOUT, found), cell_units(LAYOUT))

    return keys


@pytest.mark.parametrize(
    ("renewed", "windows"),
    [
        ("2017-04", {"w00", "w01", "w02"}),  # of the lead-in
        ("2018-07", {"w00", "w01", "w02"}),
        ("2019-07", {"w01", "w02"}),
        ("2020-01", {"w01", "w02"}),
        ("2020-12", {"w02"}),
    ],
)
def test_a_day_reaches_its_own_window_and_all_later_ones(keys_of, renewed, windows):
    before, after = keys_of(), keys_of(renewed)
    assert {unit[-3:] for unit in before if before[unit] != after[unit]} == windows


def test_a_longer_lead_in_renews_all_windows(keys_of):
    short, long = keys_of(lead_days=200), keys_of()
    assert all(short[unit] != long[unit] for unit in long)


def test_the_climate_depends_on_the_windows_of_its_years_alone(keys_of):
    before, after = keys_of(), keys_of("2020-12")
    units = cell_units(LAYOUT, windows=False)
    for years, same in (((2018, 2019), True), ((2018, 2020), False)):
        one, other = (climate_keys(keys, units, LAYOUT, years) for keys in (before, after))
        assert (one == other) is same
    years = [(2018, 2018), (2018, 2019)]
    assert len({climate_keys(before, units, LAYOUT, pair)["k00k00"] for pair in years}) == 2


def test_days_of_a_window_are_chosen_by_their_calendar_year():
    first = LAYOUT.windows()[0]
    chosen = in_years(LAYOUT, first, (2019, 2020))
    np.testing.assert_array_equal(LAYOUT.time[first.slice][chosen][0], np.datetime64("2019-01-01"))
    assert chosen.sum() == 60  # to 1 March


def test_later_windows_read_only_their_own_days_and_those_the_index_looks_back():
    # The scratch begins 365 days before the first; window 1 reads from day 365 + 366 - 33 on.
    assert meteo_runs(LAYOUT, "k00k00_w00")[0] == "2017-03-01"
    assert meteo_runs(LAYOUT, "k00k00_w01")[0] == str(np.datetime64("2017-03-01") + 698 // 32 * 32)
