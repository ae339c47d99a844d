"""The days of stations: sensors averaged, spooled, written part by part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from station_files import HEADER, hours, member, station_file, write_zip

from gssm_cube import stations
from gssm_cube.insitu import station_days
from gssm_cube.insitu.quality import DAYS, FROZEN_DAYS, Rules
from gssm_cube.insitu.station_days import Spool, average_sensors, join_frozen
from gssm_cube.insitu.station_tables import (
    read_frozen_days,
    read_station_counts,
    read_station_parts,
    read_station_table,
)
from gssm_cube.stations import gather_stations, write_archive


def days_of(*rows: tuple[int, float, int, int]) -> np.ndarray:
    """Days of a sensor: day of January 2020, mean, hours, rows."""
    made = [(np.datetime64("2020-01-01") + day - 1, *rest) for day, *rest in rows]
    return np.array(made, DAYS)


def test_a_station_is_the_mean_of_its_sensors_and_keeps_their_spread() -> None:
    first = days_of((1, 0.1, 24, 24), (2, 0.2, 20, 40))
    second = days_of((2, 0.4, 24, 24), (5, 0.3, 18, 18))
    days, repeated = average_sensors([0, 1], [first, second])
    assert repeated == 0
    assert days["time"].astype("str").tolist() == ["2020-01-01", "2020-01-02", "2020-01-05"]
    np.testing.assert_allclose(days["observed"], [0.1, 0.3, 0.3])
    np.testing.assert_allclose(days["spread"], [np.nan, 0.1 * np.sqrt(2), np.nan])
    assert days["hours"].tolist() == [24, 20, 18]
    assert days["sensors"].tolist() == [1, 2, 1]


def test_of_a_sensor_s_day_in_two_files_the_first_counts() -> None:
    first, second = days_of((3, 0.1, 24, 24)), days_of((3, 0.5, 24, 48), (4, 0.5, 24, 24))
    days, repeated = average_sensors([0, 0], [first, second])
    assert repeated == 48
    assert days["observed"].tolist() == [0.1, 0.5]
    assert days["sensors"].tolist() == [1, 1]


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 3), st.floats(0, 1), st.integers(1, 24)),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_days_of_any_sensors_are_those_of_pandas(rows: list[tuple[int, int, float, int]]) -> None:
    table = pd.DataFrame(rows, columns=["day", "sensor", "observed", "hours"])
    groups = [(number, group) for number, group in table.groupby("sensor")]
    pieces = [
        days_of(*((r.day, r.observed, r.hours, r.hours) for r in group.itertuples()))
        for _, group in groups
    ]
    days, _ = average_sensors([number for number, _ in groups], pieces)
    expected = table.groupby("day").agg(
        observed=("observed", "mean"), hours=("hours", "min"), sensors=("sensor", "size"),
        spread=("observed", "std"),
    )  # fmt: skip
    for name in expected:
        np.testing.assert_allclose(days[name], expected[name], atol=1e-12)


def test_frozen_days_take_the_most_frozen_hours_of_any_sensor() -> None:
    day = np.datetime64("2020-01-01")
    first = np.array([(day, 3, 24), (day + 2, 1, 5)], FROZEN_DAYS)
    second = np.array([(day, 8, 12)], FROZEN_DAYS)
    found = join_frozen([first, second, np.empty(0, FROZEN_DAYS)])
    assert found.tolist() == [(day.item(), 8, 24), ((day + 2).item(), 1, 5)]
    assert join_frozen([np.empty(0, FROZEN_DAYS)]).size == 0


@pytest.mark.parametrize("in_memory", [1, 2**20])
def test_a_spool_gives_back_what_it_got(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(station_days, "IN_MEMORY", in_memory)
    arrays = [days_of((1, 0.1, 2, 3)), np.empty(0, FROZEN_DAYS), days_of((2, 0.2, 3, 4))]
    with Spool() as spool:
        spans = [spool.put(array) for array in arrays]
        for span, array in reversed(list(zip(spans, arrays, strict=True))):
            np.testing.assert_array_equal(spool.get(span), array)


# ---- part by part -----------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three stations, one of them without a day, one with frost."""
    frozen = [*hours([0.3] * 24), *hours([0.1] * 24, "2020/01/02", "D01")]
    files = {
        member("One"): station_file(hours([0.2] * 24)),
        member("Silent"): station_file(hours([0.2] * 24, flag="D04")),
        member("Two"): station_file(frozen),
    }
    return write_zip(tmp_path / "archive.zip", files)


@pytest.mark.parametrize("rows", [1, 100])
def test_an_archive_written_in_parts_is_the_one_in_memory(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    expected = gather_stations(archive)
    monkeypatch.setattr(stations, "PART_ROWS", rows)
    path = tmp_path / "stations.parquet"
    counts = write_archive(archive, path)
    pd.testing.assert_frame_equal(counts, expected.counts)
    assert counts.attrs == expected.counts.attrs == read_station_counts(path).attrs
    assert (counts.attrs["stations"], counts.attrs["days"]) == (2, 2)
    table = read_station_table(path)
    pd.testing.assert_frame_equal(table, expected.table)
    assert table.attrs == {"day": "UTC"}
    pd.testing.assert_frame_equal(read_frozen_days(path), expected.frozen)
    parts = [part["station"].tolist() for part in read_station_parts(path)]
    both = ["NET/One", "NET/Two"]
    assert [names for names in parts if names] == (
        [[name] for name in both] if rows == 1 else [both]
    )
    pd.testing.assert_frame_equal(gather_stations(archive).table, expected.table)


def test_an_archive_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {member(): HEADER + "\n"})
    with pytest.raises(ValueError, match="found no readable ISMN soil moisture file"):
        write_archive(path, tmp_path / "stations.parquet", Rules())
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_an_archive_without_any_day_is_an_empty_table(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {member(): station_file(hours([0.2] * 24, flag="C01"))})
    counts = write_archive(path, tmp_path / "stations.parquet", Rules(day="local"))
    table = read_station_table(tmp_path / "stations.parquet")
    assert table.empty and table.attrs == {"day": "local"}
    assert table.dtypes.equals(gather_stations(path).table.dtypes)
    assert counts.attrs["without_a_day"] == [{"station": "NET/One", "reason": "flag not G"}]
