"""Real archives against counts made with nothing but csv and zipfile, and against NOAA's days."""

import csv
import io
import re
import zipfile
from collections import Counter, defaultdict
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gssm_cube.insitu.quality import Rules
from gssm_cube.stations import gather_stations, read_stations
from gssm_cube.statistics.scores import MIN_STATION_DAYS, score_table, station_table

pytestmark = pytest.mark.real_data

US = "Data_separate_files_header_20190101_20220101_kit.zip"
KITS = {  # stations with a sensor within 5 cm or 2 inches, and such sensors
    US: (129, 167),
    "Data_separate_files_header_20190101_20220101_alldepths_kit.zip": None,
    "Data_separate_files_header_20240825_20250825_kit.zip": None,
    "Data_separate_files_header_20170101_20220101_kit.zip": (12, 12),
    "Data_separate_files_header_20070101_20131231_kit.zip": (5, 5),
}


def texts_of(path: Path) -> dict[str, str]:
    """Data files of a zip or a folder, by name."""
    if path.is_dir():
        return {p.name: p.read_text() for p in sorted(path.rglob("*.stm"))}
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".stm"))
        return {name.split("/")[-1]: archive.read(name).decode("latin-1") for name in names}


def rows_of(text: str) -> list[list[str]]:
    """Words of the lines below the header."""
    lines = io.StringIO(re.sub(r"[\r\n]+", "\n", text))
    rows = list(csv.reader(lines, delimiter=" ", skipinitialspace=True))
    return [row for row in rows[1:] if row]


def frozen_hours(files: dict[str, str]) -> dict[str, set[tuple[str, str]]]:
    """Hours below 0 degC of soil temperature down to 10 cm, by station."""
    frozen = defaultdict(set)
    for name, text in files.items():
        if not (found := re.match(r"(.+)_ts_(\S+?)_(\S+?)_", name)) or float(found[3]) > 0.1:
            continue
        for day, hour, value, flag, *_ in rows_of(text):
            if flag == "G" and -60 <= float(value) < 0:
                frozen[found[1]].add((day, hour[:2]))
    return frozen


def count_by_hand(files: dict[str, str]) -> tuple[Counter, dict[str, int]]:
    """Rows by network and reason without screening, and sensors by station."""
    counts, sensors, frozen = Counter(), Counter(), frozen_hours(files)
    for name, text in files.items():
        found = re.match(r"((\S+?)_\S+)_sm_([\d.]+)_([\d.]+)_", name)
        if not found or float(found[4]) > 0.0508:
            continue
        sensors[found[1]] += 1
        for reason, number in count_sensor(rows_of(text), frozen[found[1]]).items():
            counts[found[2], reason] += number
    return counts, sensors


@cache  # a few years have few stamps, and an archive has each of them for every sensor
def check_stamp(day: str, hour: str) -> None:
    datetime.strptime(f"{day} {hour}", "%Y/%m/%d %H:%M")


def count_sensor(rows: list[list[str]], frozen: set[tuple[str, str]]) -> Counter:
    """Rows of a sensor by reason."""
    counts, days, seen = Counter(), defaultdict(list), set()
    for day, hour, value, flag, *_ in rows:
        check_stamp(day, hour)
        if float(value) == -9999:
            counts["missing value"] += 1
        elif flag != "G" and {"D01", "D02", "D03"} & set(flag.split(",")):
            counts["frozen flag D01-D03"] += 1
        elif flag != "G":
            counts["flag not G"] += 1
        elif not 0 <= float(value) <= 1:
            counts["out of range"] += 1
        elif (day, hour[:2]) in frozen:
            counts["frozen soil"] += 1
        elif (day, hour) in seen:
            counts["duplicate stamp"] += 1
        else:
            seen.add((day, hour))
            days[day].append(hour[:2])
    for hours in days.values():
        counts["kept" if len(set(hours)) >= 18 else "too few hours a day"] += len(hours)
    return counts


@pytest.mark.parametrize("kit", [*KITS, "unpacked_mini"])
def test_all_rows_are_counted_as_they_are_by_hand(real_data: Path, kit: str) -> None:
    path = real_data / "ismn" / kit
    files = texts_of(path)
    expected, sensors = count_by_hand(files)
    data = gather_stations(path, Rules(screening=False))
    found = data.counts.set_index(["network", "reason"])["rows"].to_dict()
    assert found == {key: number for key, number in expected.items() if number}
    assert data.counts.attrs["files_read"] == sum(sensors.values())
    assert len(files) == len(data.counts.attrs["files"]) + sum(sensors.values())
    silent = [e for e in data.counts.attrs["without_a_day"] if e["reason"] != "depth outside"]
    assert data.table["station"].nunique() + len(silent) == len(sensors)
    if KITS.get(kit):
        assert (len(sensors), sum(sensors.values())) == KITS[kit]


def test_screening_moves_rows_between_reasons_and_loses_none(real_data: Path) -> None:
    path = real_data / "ismn" / "Data_separate_files_header_20240825_20250825_kit.zip"
    with_it, without = (gather_stations(path, Rules(screening=on)) for on in (True, False))
    by_network = [data.counts.groupby("network")["rows"].sum() for data in (with_it, without)]
    pd.testing.assert_series_equal(*by_network)
    kept = [c.counts.query("reason == 'kept'")["rows"].sum() for c in (with_it, without)]
    assert 0.98 * kept[1] < kept[0] <= kept[1]


def test_unusual_elevations_and_classes_are_read(real_data: Path) -> None:
    path = real_data / "ismn" / "Data_separate_files_header_20240825_20250825_kit.zip"
    table, _ = read_stations(path)
    assert table.loc[table["network"] == "REMEDHUS", "elevation"].isna().all()  # -99.9
    assert table["observed"].between(0, 1).all()


def test_replicates_are_averaged(real_data: Path) -> None:
    table, counts = read_stations(real_data / "ismn" / "unpacked_mini")
    assert set(table["station"]) == {"ARM/Morrison", "TxSON/CR1000-5", "USCRN/Avondale-2-N"}
    morrison = table[table["network"] == "ARM"]
    assert morrison["sensors"].max() > 1
    assert morrison.loc[morrison["sensors"] > 1, "spread"].notna().all()
    assert table.groupby("station")["koeppen"].nunique().eq(1).all()
    assert counts["rows"].sum() == 210_623  # lines below the headers, by wc


def test_tahmo_is_left_out_by_name_and_oznet_kept(real_data: Path) -> None:
    path = real_data / "ismn" / "Data_separate_files_header_20170101_20220101_kit.zip"
    table, counts = read_stations(path, last_day="2017-12-31")
    assert set(table["network"]) == {"OZNET"}
    assert table["time"].max() == pd.Timestamp("2017-12-31")
    left_out = {(entry["network"], entry["reason"]) for entry in counts.attrs["files"]}
    assert left_out == {("TAHMO", "depth outside")}
    assert len(counts.attrs["files"]) == 6
    silent = [entry["station"] for entry in counts.attrs["without_a_day"]]
    assert sum(name.startswith("TAHMO/") for name in silent) == 6


def test_pre_2013_files_with_bare_cr_and_flag_u_give_no_day(real_data: Path) -> None:
    path = real_data / "ismn" / "Data_separate_files_header_20070101_20131231_kit.zip"
    table, counts = read_stations(path)
    assert table.empty
    assert counts.attrs["files_read"] == 5  # SCAN at 0.0508 m among them
    reasons = {e["station"]: e["reason"] for e in counts.attrs["without_a_day"]}
    assert len(reasons) == 5 and reasons["MAQU/CST-02"] == "flag not G"


@pytest.mark.parametrize(
    ("archive", "rows", "left_out"),
    [
        ("Data_seperate_files_20170810_20180809.zip", {"FR_Aqui": 52045}, 2),
        ("zip_archives/ceop/Data_seperate_files_20170810_20180809.zip", {}, 2),
        ("zip_archives/header/Data_seperate_files_header_20170810_20180809.zip", {}, 2),
        ("zip_archives/format_header_values/Data_SMOSMANIA.zip", {"SMOSMANIA": 741}, 0),
        ("format_ceop_sep", {"SMOSMANIA": 741}, 0),
        ("format_header_values", {"SMOSMANIA": 741}, 0),
        ("../pytesmo_old_ceop", {"SMOSMANIA": 42}, 3),
    ],
)
def test_official_archives_are_read_in_all_forms(
    real_data: Path, archive: str, rows: dict[str, int], left_out: int
) -> None:
    _, counts = read_stations(real_data / "ismn" / "TUW-GEO_ismn_tests" / archive)
    assert counts.groupby("network")["rows"].sum().to_dict() == rows
    assert len(counts.attrs["files"]) == left_out


def test_a_folder_of_zips_is_read_as_one_archive(real_data: Path) -> None:
    _, counts = read_stations(real_data / "ismn" / "TUW-GEO_ismn_tests" / "zip_archives")
    assert counts.groupby("network")["rows"].sum()["SMOSMANIA"] == 741


def test_any_number_of_processes_gives_the_same_tables(real_data: Path) -> None:
    path = real_data / "ismn" / "Data_separate_files_header_20240825_20250825_kit.zip"
    one, two = (gather_stations(path, processes=number) for number in (1, 2))
    for name in ("table", "counts", "frozen"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name), check_exact=True)
        assert getattr(one, name).attrs == getattr(two, name).attrs
    assert not one.frozen.empty


def noaa_days(real_data: Path) -> pd.DataFrame:
    """NOAA's own daily 5 cm values, by the ISMN name of the station."""
    noaa = pd.read_parquet(real_data / "tables" / "uscrn_daily_2020_kit.parquet")
    noaa = noaa.dropna(subset=["ismn_station", "soil_moisture_5_daily"])
    station = "USCRN/" + noaa["ismn_station"].astype("str").str.replace("_", "-")
    noaa = noaa.assign(station=station, time=noaa["lst_date"].astype("datetime64[us]"))
    return noaa.rename(columns={"soil_moisture_5_daily": "noaa"})[["station", "time", "noaa"]]


def days_beside_noaa(real_data: Path, **rules: Any) -> pd.DataFrame:
    """Days of 2020 that both have: NOAA's as ``observed``, ours as ``predicted``."""
    rules |= {"first_day": "2020-01-01", "last_day": "2020-12-31"}
    data = gather_stations(real_data / "ismn" / US, Rules(**rules))
    assert data.table.attrs == {"day": rules.get("day", "UTC")}
    ours = data.table[["station", "time", "observed"]].rename(columns={"observed": "predicted"})
    noaa = noaa_days(real_data).rename(columns={"noaa": "observed"})
    return ours.merge(noaa, on=["station", "time"])


def test_local_daily_means_are_noaas_own(real_data: Path) -> None:
    days = days_beside_noaa(real_data, day="local")
    scored = score_table(days)["stations"]  # of at least 100 days, as all scores of this project
    assert (scored["count"], scored["left_out"]) == (63, 12)
    assert scored["r"] >= 0.999  # 0.9994
    assert scored["rmse"] <= 0.003  # 0.0023
    every = score_table(days, min_days=1)["stations"]
    assert every["count"] == 75
    assert every["r"] >= 0.999  # 0.9993
    assert every["rmse"] <= 0.0035  # 0.0033


def test_stations_of_too_few_days_lack_ismn_s_values_and_not_hours(real_data: Path) -> None:
    # Of all twelve the archive holds -9999 for most of 2020, where NOAA has values.
    few, hourly = (
        days_beside_noaa(real_data, day="local", minimum_hours=hours).groupby("station").size()
        for hours in (18, 1)
    )
    few = few[few < MIN_STATION_DAYS]
    assert len(few) == 12
    assert (hourly[few.index] < MIN_STATION_DAYS).sum() == 10
    noaa = noaa_days(real_data).groupby("station").size()
    assert (noaa[few.index] >= 125).all() and noaa[few.index].median() == 327


def test_a_third_of_the_stations_have_an_offset_that_comes_and_goes(real_data: Path) -> None:
    # In spells of weeks, between which the days are NOAA's to its last digit: so it is neither
    # the definition of the day nor a flag. NOAA's day is a mean of up to three probes; likely the
    # two archives took other probes in those spells.
    days = days_beside_noaa(real_data, day="local")
    days["error"] = days["predicted"] - days["observed"]
    groups = days[days.groupby("station")["time"].transform("size") >= MIN_STATION_DAYS]
    bias = groups.groupby("station")["error"].mean()
    assert (bias.abs() > 0.003).sum() == 22
    for station in ("USCRN/Bronte-11-NNE", "USCRN/Merced-23-WSW"):
        error = days.loc[days["station"] == station, "error"].abs()
        assert (error <= 0.0006).sum() >= 100 and (error > 0.003).sum() >= 100


def test_of_whole_local_days_many_are_noaas_to_its_last_digit(real_data: Path) -> None:
    # NOAA gives three decimals: a rounded mean is off by 0.001 / sqrt(12) = 0.0003.
    days = days_beside_noaa(real_data, day="local", minimum_hours=24)
    scored = score_table(days)["stations"]
    assert scored["count"] == 61
    assert (station_table(days)["rmse"] <= 0.0005).sum() >= 25
    assert scored["rmse"] <= 0.0013 and scored["r"] >= 0.9998


def test_utc_days_are_not_quite_noaas(real_data: Path) -> None:
    scored = score_table(days_beside_noaa(real_data))["stations"]
    assert scored["count"] == 64
    assert 0.99 < scored["r"] < 0.994  # 0.992
    assert 0.007 < scored["rmse"] < 0.009  # 0.0082
