"""Daily station tables against tiny invented archives and against pure-Python counts."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from station_files import HEADER, STATIC, Reader, hours, member, station_file, tally, write_zip

from gssm_cube.insitu.ismn import parse_file_name, read_sensors
from gssm_cube.insitu.quality import REASONS
from gssm_cube.insitu.station_tables import (
    COLUMNS,
    read_station_counts,
    read_station_table,
    summarise,
    write_stations,
)
from gssm_cube.stations import read_stations

# ---- rows and days ---------------------------------------------------------------------------


def test_a_day_is_the_mean_of_its_hours_and_the_station_is_described(read: Reader) -> None:
    table, counts = read({member(): station_file(hours([0.1] * 12 + [0.3] * 12))})
    assert list(table.columns) == list(COLUMNS)
    row = table.iloc[0]
    assert (row["network"], row["station"]) == ("NET", "NET/One")
    assert (row["lat"], row["lon"]) == (45.5, -3.25)
    assert row["time"] == pd.Timestamp("2020-01-01")
    assert row["observed"] == pytest.approx(0.2)
    assert (row["hours"], row["sensors"]) == (24, 1)
    assert np.isnan(row["spread"]) and np.isnan(row["elevation"])
    assert pd.isna(row["koeppen"]) and pd.isna(row["land_cover"])
    assert table.attrs == {"day": "UTC"}
    assert tally(counts) == {"kept": 24}


def test_the_utc_day_runs_from_the_stamp_00_to_the_stamp_23(read: Reader) -> None:
    rows = hours([0.1] * 24) + hours([0.4] * 24, day="2020/01/02")
    table, _ = read({member(): station_file(rows)})
    np.testing.assert_allclose(table["observed"], [0.1, 0.4])


def test_every_row_has_exactly_one_reason(read: Reader) -> None:
    rows = hours([0.2] * 20)
    rows += [
        "2020/01/01 20:00 -9999 M M",
        "2020/01/01 20:00 -9999 G M",  # the value decides, whatever the flag
        "2020/01/01 21:00 0.2 D03 M",
        "2020/01/01 21:00 0.2 C01,D01 M",
        "2020/01/01 21:00 0.2 D10 M",
        "2020/01/01 21:00 0.2 U M",
        "2020/01/01 21:00 0.2 C01,D09 M",
        "2020/01/01 22:00 1.2 G M",
        "2020/01/01 22:00 -0.01 G M",
        "2020/01/01 03:00 0.9 G M",  # a second 03:00
        "2020/13/01 03:00 0.2 G M",
        "2020/01/01 25:00 0.2 G M",
        "2020/01/01 23:00 wet G M",
        "2020/01/01 23:00",
        "2019/12/31 23:00 0.2 G M",
        "2020/01/02 00:00 0.2 G M",
    ]
    table, counts = read({member(): station_file(rows)}, first_day=date(2020, 1, 1))
    assert tally(counts) == {
        "kept": 20,
        "missing value": 2,
        "frozen flag D01-D03": 2,
        "flag not G": 3,
        "out of range": 2,
        "duplicate stamp": 1,
        "unreadable line": 4,
        "outside the period": 1,
        "too few hours a day": 1,
    }
    others = {"frozen soil", "spike", "constant low", "saturated plateau"}
    assert set(tally(counts)) == set(REASONS) - others
    np.testing.assert_allclose(table["observed"], [0.2])


def test_0_and_1_are_in_range(read: Reader) -> None:
    table, _ = read({member(): station_file(hours([0, 1] * 12))})
    np.testing.assert_allclose(table["observed"], [0.5])


def test_a_good_row_wins_over_a_missing_one_with_the_same_stamp(read: Reader) -> None:
    rows = ["2020/01/01 00:00 -9999 M M", *hours([0.3] * 18)]
    table, counts = read({member(): station_file(rows)})
    assert tally(counts) == {"missing value": 1, "kept": 18}
    assert table["hours"].tolist() == [18]


def test_rows_need_not_be_in_order(read: Reader) -> None:
    rows = hours([0.1] * 24) + hours([0.4] * 24, day="2020/01/02")
    table, _ = read({member(): station_file(rows[::-1])})
    np.testing.assert_allclose(table["observed"], [0.1, 0.4])


def test_18_hours_make_a_day_and_17_do_not(read: Reader) -> None:
    rows = hours([0.2] * 18) + hours([0.2] * 17, day="2020/01/02")
    table, counts = read({member(): station_file(rows)})
    assert table["time"].tolist() == [pd.Timestamp("2020-01-01")]
    assert tally(counts) == {"kept": 18, "too few hours a day": 17}


def test_hours_are_distinct_so_20_minute_rows_do_not_fill_a_day(read: Reader) -> None:
    rows = [f"2020/01/01 {h:02d}:{m:02d} 0.2 G M" for h in range(8) for m in (0, 20, 40)]
    _, counts = read({member(): station_file(rows)})
    assert tally(counts) == {"too few hours a day": 24}
    table, _ = read({member(): station_file(rows)}, minimum_hours=8)
    assert table["hours"].tolist() == [8]


def test_the_period_includes_both_its_days(read: Reader) -> None:
    rows = [row for day in range(1, 5) for row in hours([0.2] * 24, day=f"2020/01/0{day}")]
    table, counts = read(
        {member(): station_file(rows)}, first_day="2020-01-02", last_day=date(2020, 1, 3)
    )
    assert table["time"].dt.day.tolist() == [2, 3]
    assert tally(counts) == {"kept": 48, "outside the period": 48}


# ---- sensors, depths, stations ---------------------------------------------------------------


def test_sensors_are_averaged_day_by_day_with_their_spread(read: Reader) -> None:
    files = {
        member(sensor="A"): station_file(hours([0.1] * 24)),
        member(sensor="B"): station_file(hours([0.3] * 20)),
    }
    table, _ = read(files)
    row = table.iloc[0]
    assert row["observed"] == pytest.approx(0.2)  # of the two days, not of 44 hours
    assert (row["hours"], row["sensors"]) == (20, 2)
    assert row["spread"] == pytest.approx(0.1 * np.sqrt(2))


def test_a_day_that_a_sensor_has_in_two_files_counts_once(read: Reader) -> None:
    again = member().replace("20201231", "20200601")
    files = dict.fromkeys((member(), again), station_file(hours([0.2] * 24)))
    table, counts = read(files)
    assert table["sensors"].tolist() == [1]
    assert tally(counts) == {"kept": 24, "duplicate stamp": 24}


@pytest.mark.parametrize(
    ("depth", "kept"),
    [
        ("0.000000_0.000000", True),
        ("0.025000_0.025000", True),
        ("0.000000_0.050000", True),
        ("0.050800_0.050800", True),  # 2 inches
        ("0.060000_0.060000", False),
        ("0.100000_0.100000", False),
        ("0.000000_0.190000", False),  # cosmic-ray probe
        ("-0.050000_-0.050000", False),
    ],
)
def test_sensors_must_lie_within_the_top_5_cm_or_2_inches(
    read: Reader, depth: str, kept: bool
) -> None:
    table, counts = read({member(depth=depth): station_file(hours([0.2] * 24))})
    assert len(table) == kept
    reasons = [entry["reason"] for entry in counts.attrs["files"]]
    assert reasons == ([] if kept else ["depth outside"])
    assert list(table.columns) == list(COLUMNS)
    assert table["time"].dtype == "datetime64[us]"


def test_another_depth_may_be_asked_for(read: Reader) -> None:
    files = {member(depth="0.100000_0.100000"): station_file(hours([0.2] * 24))}
    assert len(read(files, depth=(0.05, 0.1))[0]) == 1


def test_other_variables_are_left_out_by_name(read: Reader) -> None:
    files = {
        member(): station_file(hours([0.2] * 24)),
        member(variable="ts"): station_file(hours([15.0] * 24)),
    }
    table, counts = read(files)
    assert table["sensors"].tolist() == [1]
    assert counts.attrs["files_read"] == 1
    assert counts.attrs["files"] == [
        {
            "file": member(variable="ts"),
            "network": "NET",
            "station": "NET/One",
            "reason": "not soil moisture",
        }
    ]


def test_the_station_is_named_as_its_folder_whatever_the_header_says() -> None:
    name = parse_file_name("FR_Aqui/A_B/FR-Aqui_FR_Aqui_A_B_sm_0.05_0.05_P_20200101_20200102.stm")
    assert name is not None and name.station == "A_B"
    text = b"FR-Aqui FR_Aqui St._Mary_1_SSW 1.0 2.0 -2.7 0.05 0.05 P\n2020/01/01 00:00 0.2 G M\n"
    sensor = read_sensors(text, name)[0][0]
    assert sensor.station_id == "FR_Aqui/A_B"
    assert sensor.elevation == -2.7  # below the sea is not missing


# ---- damage and errors -----------------------------------------------------------------------


def test_damaged_members_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good, cut, empty = member("One"), member("Two"), member("Three")
    files = {
        good: station_file(hours([0.2] * 24)),
        cut: station_file(hours([0.123456] * 24)),
        empty: HEADER + "\n",
        "NET/strange.stm": "no good data here",
    }
    path = write_zip(tmp_path / "archive.zip", files)
    path.write_bytes(path.read_bytes().replace(b"0.123456", b"0.654321"))  # the CRC is now wrong
    table, counts = read_stations(path)
    assert table["station"].tolist() == ["NET/One"]
    reasons = {entry["file"]: entry["reason"] for entry in counts.attrs["files"]}
    assert set(reasons) == {cut, empty, "NET/strange.stm"}
    assert reasons[cut].startswith("unreadable: Bad CRC-32")
    assert reasons[empty] == "unreadable: there are no rows below the header"
    assert "expected an ISMN header" in reasons["NET/strange.stm"]
    assert all(name in summarise(counts) for name in reasons)


def test_a_damaged_static_file_is_named_and_its_station_kept(tmp_path: Path) -> None:
    static = "NET/One/NET_NET_One_static_variables.csv"
    files = {member(): station_file(hours([0.2] * 24)), static: STATIC}
    path = write_zip(tmp_path / "archive.zip", files)
    path.write_bytes(path.read_bytes().replace(b"Grassland", b"Grossland"))
    table, counts = read_stations(path)
    assert table["koeppen"].isna().all()
    assert [entry["file"] for entry in counts.attrs["files"]] == [static]


@pytest.mark.parametrize("name", ["../evil.stm", "/etc/evil.stm", "NET\\..\\evil.stm", "C:/a.stm"])
def test_members_that_point_outside_are_refused(read: Reader, name: str) -> None:
    with pytest.raises(ValueError, match="points outside the archive"):
        read({member(): station_file(hours([0.2] * 24)), name: "x"})


def test_an_archive_without_soil_moisture_is_one_clear_error(read: Reader) -> None:
    with pytest.raises(ValueError, match="found no readable ISMN soil moisture file"):
        read({member(variable="ts"): station_file(hours([9.0] * 24)), "Readme.txt": "hello"})


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_text("not a zip")
    with pytest.raises(ValueError, match="is not a readable zip"):
        read_stations(tmp_path / "archive.zip")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no ISMN archive at"):
        read_stations(tmp_path / "nowhere.zip")


def test_a_station_off_the_globe_is_unreadable(read: Reader) -> None:
    with pytest.raises(ValueError, match="not on Earth"):
        read({member(): station_file(hours([0.2] * 24), header=HEADER.replace("45.5", "95.5"))})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"depth": (0.05, 0.0)}, "depth is"),
        ({"depth": (-0.1, 0.05)}, "depth is"),
        ({"minimum_hours": 0}, "minimum_hours is 0"),
        ({"minimum_hours": 25}, "minimum_hours is 25"),
        ({"first_day": "2020-01-02", "last_day": "2020-01-01"}, "is before first_day"),
    ],
)
def test_impossible_rules_are_refused(tmp_path: Path, rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_stations(tmp_path, **rules)


def test_progress_counts_the_data_files(read: Reader) -> None:
    seen: list[tuple[int, int]] = []
    files = {member(name): station_file(hours([0.2] * 24)) for name in ("One", "Two")}
    read(files, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


# ---- the table on disk -----------------------------------------------------------------------


def test_table_and_counts_come_back_from_disk_as_they_were(tmp_path: Path, read: Reader) -> None:
    files = {
        member("One"): station_file(hours([0.2] * 24)),
        member("Two"): station_file(hours([0.2] * 24, flag="D04")),
        member("Two", variable="ts"): "x",
    }
    table, counts = read(files)
    write_stations(table, counts, tmp_path / "stations.parquet")
    again = read_station_table(tmp_path / "stations.parquet")
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == {"day": "UTC"}
    losses = read_station_counts(tmp_path / "stations.parquet")
    pd.testing.assert_frame_equal(losses, counts)
    assert losses.attrs == counts.attrs
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["stations.parquet"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="is no station table"):
        read_station_table(tmp_path / "other.parquet")
    with pytest.raises(FileNotFoundError, match="no station table at"):
        read_station_table(tmp_path / "none.parquet")


def test_the_summary_adds_up_by_network(read: Reader) -> None:
    rows = [*hours([0.2] * 24), "2020/01/02 00:00 0.2 D01 M", "2020/01/02 01:00 0.2 D01 M"]
    text = summarise(read({member(): station_file(rows)})[1])
    net = next(line for line in text.splitlines() if "NET" in line)
    assert re.findall(r"\d+", net) == ["26", "24", "2"]  # read, kept, frozen
    assert "Files: 1 read, left out: none" in text
