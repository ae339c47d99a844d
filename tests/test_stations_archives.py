"""Archives as they come: zips in folders, damage, bombs, names that clash; days and frost."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm_cube.insitu import archive as archives
from gssm_cube.insitu.archive import open_archive
from gssm_cube.insitu.lines import read_lines
from gssm_cube.insitu.quality import Rules, day_shift
from gssm_cube.insitu.station_tables import read_frozen_days, summarise, write_stations
from gssm_cube.stations import StationData, gather_stations

HEADER = "NET NET One {lat} {lon} 10.0 0.05 0.05 Probe"


def member(network: str = "NET", station: str = "One", variable: str = "sm", n: int = 0) -> str:
    name = f"{network}_{network}_{station}_{variable}_0.050000_0.050000_P{n}_20200101_20201231.stm"
    return f"{network}/{station}/{name}"


def day_of(
    values: list[float], *, day: str = "2020/01/01", flag: str = "G", lat: Any = 45.5, lon: Any = 0
) -> str:
    rows = [f"{day} {hour:02d}:00 {value} {flag} M" for hour, value in enumerate(values)]
    return "\n".join([HEADER.format(lat=lat, lon=lon), *rows]) + "\n"


def zip_of(path: Path, files: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def gather(tmp_path: Path, files: dict[str, Any], **rules: Any) -> StationData:
    return gather_stations(zip_of(tmp_path / "a.zip", files), Rules(**rules))


WET = day_of([0.2] * 24)


def test_zips_in_a_folder_are_read_beside_plain_files(tmp_path: Path) -> None:
    zip_of(tmp_path / "first.zip", {member(): WET})
    plain = tmp_path / member(station="Two")
    plain.parent.mkdir(parents=True)
    plain.write_text(WET)
    with open_archive(tmp_path) as members:
        assert sorted(members) == [member(station="Two"), f"first.zip/{member()}"]
    assert gather_stations(tmp_path).table["station"].tolist() == ["NET/One", "NET/Two"]


def test_a_day_that_two_zips_of_a_folder_hold_counts_once(tmp_path: Path) -> None:
    for name in ("first.zip", "second.zip"):
        zip_of(tmp_path / name, {member(): WET})
    data = gather_stations(tmp_path)
    assert data.table["sensors"].tolist() == [1]
    assert data.counts.set_index("reason")["rows"].to_dict() == {"kept": 24, "duplicate stamp": 24}


def test_a_bomb_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    bomb = day_of([0.2] * 24) + " " * 2**21
    data = gather(tmp_path, {member(): WET, member(station="Two"): bomb})
    [entry] = data.counts.attrs["files"]
    assert entry["station"] == "NET/Two"
    assert "inflates" in entry["reason"] and "expected at most 200" in entry["reason"]
    assert data.table["station"].tolist() == ["NET/One"]
    assert member(station="Two") in summarise(data.counts)


def test_a_member_that_understates_its_size_is_cut_there_and_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {member(): WET, member(station="Two"): WET + "#" * 9999})
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(member(station="Two")).file_size
    data = path.read_bytes()
    known = size.to_bytes(4, "little")
    assert data.count(known) == 2  # in its own header and in the directory
    path.write_bytes(data.replace(known, (100).to_bytes(4, "little")))
    found = gather_stations(path)
    [entry] = found.counts.attrs["files"]
    assert entry["station"] == "NET/Two" and "Bad CRC-32" in entry["reason"]
    assert found.table["station"].tolist() == ["NET/One"]


def test_a_cut_stream_is_named(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {member(): WET, member(station="Two"): WET})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member(station="Two"))
    data = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    data[start : start + 8] = b"\xff" * 8  # no deflate block begins so
    path.write_bytes(data)
    [entry] = gather_stations(path).counts.attrs["files"]
    assert entry["station"] == "NET/Two" and "cannot be inflated" in entry["reason"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_member_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 2000)
    long = day_of([0.2] * 24) + day_of([0.2] * 24)[30:] * 4
    files = {member(): WET, member(station="Two"): long}
    for name, text in files.items():
        (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / name).write_text(text)
    path = zip_of(tmp_path / "a.zip", files) if zipped else tmp_path / "plain"
    data = gather_stations(path)
    [entry] = data.counts.attrs["files"]
    assert "MB large, expected at most" in entry["reason"]
    assert data.table["station"].tolist() == ["NET/One"]


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    data = gather(tmp_path, {member(): WET, member(station="Two"): ""})
    assert [e["reason"] for e in data.counts.attrs["files"]] == ["unreadable: the file is empty"]
    assert data.counts.attrs["without_a_day"] == [{"station": "NET/Two", "reason": "unreadable"}]


def test_a_decimal_comma_in_a_header_is_a_decimal_point(tmp_path: Path) -> None:
    table = gather(tmp_path, {member(): day_of([0.2] * 24, lat="45,25", lon="-3,5")}).table
    assert table[["lat", "lon"]].iloc[0].tolist() == [45.25, -3.5]


def test_a_value_with_a_decimal_comma_is_unreadable_and_counted(tmp_path: Path) -> None:
    text = WET + "2020/01/02 00:00 0,2 G M\n"
    counts = gather(tmp_path, {member(): text}).counts.set_index("reason")["rows"]
    assert counts.to_dict() == {"kept": 24, "unreadable line": 1}


def test_one_name_in_two_networks_is_two_stations(tmp_path: Path) -> None:
    other = WET.replace("NET NET", "OWN OWN")
    table = gather(tmp_path, {member(): WET, member("OWN"): other}).table
    assert table["station"].tolist() == ["NET/One", "OWN/One"]


def test_one_name_at_two_places_of_a_network_is_two_stations(tmp_path: Path) -> None:
    moved = day_of([0.4] * 24, lat=46.5)
    table = gather(tmp_path, {member(n=0): WET, member(n=1): moved}).table
    assert table["station"].tolist() == ["NET/One", "NET/One (46.5000, 0.0000)"]
    np.testing.assert_allclose(table["observed"], [0.2, 0.4])


def test_rounded_coordinates_do_not_part_a_station(tmp_path: Path) -> None:
    near = day_of([0.4] * 24, lat=45.504)
    table = gather(tmp_path, {member(n=0): WET, member(n=1): near}).table
    assert table["sensors"].tolist() == [2]


# ---- the day ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lon", "hours"), [(0.0, -0.5), (7.4, -0.5), (7.6, 0.5), (-105.0, -7.5), (179.9, 11.5)]
)
def test_the_local_day_follows_the_longitude(lon: float, hours: float) -> None:
    assert day_shift(lon, "local") == np.timedelta64(int(hours * 60), "m")
    assert day_shift(lon, "UTC") == np.timedelta64(0)


def test_a_local_day_has_the_stamps_that_close_its_hours(tmp_path: Path) -> None:
    # At 105 W the day of 1 January runs from 07:00 to 07:00 UTC: stamps 08:00 to 07:00.
    first = day_of([0.1] * 8 + [0.3] * 16, lon=-105.0)
    second = day_of([0.3] * 8 + [0.5] * 16, day="2020/01/02").split("\n", 1)[1]
    data = gather(tmp_path, {member(): first + second}, day="local", screening=False)
    assert data.table["time"].tolist() == [pd.Timestamp("2020-01-01")]
    assert data.table["hours"].tolist() == [24]
    assert data.table["observed"].tolist() == [pytest.approx(0.3)]
    assert data.table.attrs == {"day": "local"}


def test_an_unknown_day_is_refused() -> None:
    with pytest.raises(ValueError, match="day is 'solar', expected 'UTC' or 'local'"):
        Rules(day="solar")  # type: ignore[arg-type]


# ---- frozen soil --------------------------------------------------------------------------


def test_frozen_days_are_set_aside_with_their_hours(tmp_path: Path) -> None:
    rows = WET.splitlines()
    rows[1:13] = [row.replace(" G ", " C01,D01 ") for row in rows[1:13]]
    data = gather(tmp_path, {member(): "\n".join(rows)}, minimum_hours=12)
    [day] = data.frozen.to_dict("records")
    assert (day["station"], day["frozen_hours"], day["hours"]) == ("NET/One", 12, 24)
    assert day["frozen"]
    assert data.table["hours"].tolist() == [12]  # the other hours are still a day


def test_soil_temperature_below_zero_freezes_the_hour(tmp_path: Path) -> None:
    cold = day_of([-0.1] * 5 + [-9999] + [0.0] * 18)
    data = gather(tmp_path, {member(): WET, member(variable="ts"): cold})
    counts = data.counts.set_index("reason")["rows"].to_dict()
    assert counts == {"kept": 19, "frozen soil": 5}
    assert data.frozen[["frozen_hours", "hours", "frozen"]].values.tolist() == [[5, 24, False]]


def test_a_damaged_temperature_file_is_named_and_the_moisture_kept(tmp_path: Path) -> None:
    data = gather(tmp_path, {member(): WET, member(variable="ts"): "nothing"})
    reasons = [entry["reason"].split(":")[0] for entry in data.counts.attrs["files"]]
    assert reasons == ["not soil moisture", "unreadable"]
    assert len(data.table) == 1


def test_frozen_days_lie_beside_the_table_on_disk(tmp_path: Path) -> None:
    data = gather(tmp_path, {member(): day_of([0.2] * 24, flag="D03")})
    path = tmp_path / "stations.parquet"
    write_stations(data.table, data.counts, path, data.frozen)
    again = read_frozen_days(path)
    pd.testing.assert_frame_equal(again, data.frozen)
    assert again["frozen_hours"].tolist() == [24]
    with pytest.raises(FileNotFoundError, match="no frozen days at"):
        read_frozen_days(tmp_path / "other.parquet")
    [silent] = data.counts.attrs["without_a_day"]
    assert silent == {"station": "NET/One", "reason": "frozen flag D01-D03"}
    assert "NET/One (frozen flag D01-D03)" in summarise(data.counts)


# ---- lines --------------------------------------------------------------------------------


def test_words_that_are_no_plain_numbers_dates_or_hours_cost_their_line_only() -> None:
    text = (
        b"2020/02/29 23:59 0.25 G\n2019/02/29 00:00 1e-2 G\r\n"
        b"2020/1/01 00:00 +0.5 D01,D03\n\n2020/01/01 24:00 nan \xe9\n1969/12/31 23:00 -9999 M"
    )
    rows = read_lines(text, (0, 1, 2, 3, -1))
    assert rows.stamp[0] == np.datetime64("2020-02-29T23:59")
    assert np.isnat(rows.stamp).tolist() == [False, True, True, True, False]
    assert rows.stamp[4] == np.datetime64("1969-12-31T23:00")
    np.testing.assert_array_equal(rows.value, [0.25, 0.01, 0.5, np.nan, -9999.0])
    assert [rows.flags[number] for number in rows.flag] == ["G", "G", "D01,D03", "?", "M"]


def test_numbers_are_those_that_python_reads() -> None:
    words = [f"{number:.{digits}f}" for digits in range(7) for number in (0.1, 0.3, 12.345678, -7)]
    words += ["0.12345678901234567", "123456789012345678", ".5", "5."]
    text = "\n".join(f"2020/01/01 00:00 {word} G" for word in words).encode()
    found = read_lines(text, (0, 1, 2, 3, -1)).value.tolist()
    assert found == [float(word) for word in words]


def test_a_flag_is_g_only_if_it_is_exactly_that() -> None:
    words = ["G", "G,D01", "GG", "g", "H", "D01,D02,D03,D04,D05,D06,D07", "G", ""]
    text = "\n".join(f"2020/01/01 00:00 0.2 {word}" for word in words).encode()
    rows = read_lines(text, (0, 1, 2, 3, -1))
    assert [rows.flags[number] for number in rows.flag] == words
    assert rows.has_flag("G").tolist() == [True, *5 * [False], True, False]


def test_more_flags_than_a_file_can_have_are_unreadable_and_cost_no_other() -> None:
    words = [f"X{number}" for number in range(5000)] + ["X7"]
    text = "\n".join(f"2020/01/01 00:00 0.2 {word}" for word in words).encode()
    rows = read_lines(text, (0, 1, 2, 3, -1))
    found = [rows.flags[number] for number in rows.flag]
    assert found[:4095] == words[:4095] and found[-1] == "X7"
    assert set(found[4095:-1]) == {""}


@pytest.mark.parametrize("day", ["0001/01/01", "1900/03/01", "2000/02/29", "2400/12/31"])
def test_dates_of_all_centuries_are_numpys(day: str) -> None:
    rows = read_lines(f"{day} 12:30 0.2 G".encode(), (0, 1, 2, 3, -1))
    expected = np.datetime64(day.replace("/", "-") + "T12:30", "s")
    assert rows.stamp[0] == expected
