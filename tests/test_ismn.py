"""The forms in which ISMN delivers, their line ends and their static variables."""

from pathlib import Path

import pandas as pd
import pytest
from station_files import (
    STATIC,
    STATIC_HEADING,
    Reader,
    hours,
    member,
    station_file,
    tally,
)

from gssm_cube.insitu.ismn import read_static
from gssm_cube.stations import read_stations

# ---- forms and line ends ---------------------------------------------------------------------

TWICE = "{day} {hour:02d}:00 {day} {hour:02d}:00 NET NET Narbonne 43.15 2.95 112.0 "
CEOP = TWICE + "0.05 0.05 {value} G M"
OLD = TWICE + "- {depth} 9.5 U {value} G"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", " \r", "\n\r"])
def test_all_line_ends_give_the_same_table(read: Reader, end: str) -> None:
    table, counts = read({member(): station_file(hours([0.2] * 24), end=end)})
    assert tally(counts) == {"kept": 24}
    assert table["observed"].tolist() == [pytest.approx(0.2)]


def test_padded_columns_and_a_missing_provider_flag_are_read(read: Reader) -> None:
    rows = [f"2020/01/01 {hour:02d}:00   0.2140 G      " for hour in range(24)]
    assert tally(read({member(): station_file(rows, end="\r")})[1]) == {"kept": 24}


def test_ceop_in_separate_files_is_read(read: Reader) -> None:
    lines = [CEOP.format(day="2020/01/01", hour=hour, value=0.25) for hour in range(24)]
    table, counts = read({member(station="Narbonne"): "\r\n".join(lines)})
    assert tally(counts) == {"kept": 24}
    assert table["observed"].tolist() == [0.25]
    assert table["elevation"].tolist() == [112.0]


def test_a_combined_ceop_file_is_split_by_depth(read: Reader) -> None:
    depths = {0.05: 0.2, 0.10: 0.4}
    lines = [
        OLD.format(day="2020/01/01", hour=hour, depth=depth, value=value)
        for hour in range(24)
        for depth, value in depths.items()
    ]
    table, counts = read({"NET/NET_NET_NBN_20100304_20130801.stm": "\r".join(lines)})
    assert table["station"].tolist() == ["NET/Narbonne"]
    assert table["observed"].tolist() == [pytest.approx(0.2)]
    assert tally(counts) == {"kept": 24}
    assert [entry["reason"] for entry in counts.attrs["files"]] == ["depth outside"]


def test_a_folder_gives_what_the_zip_gives(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "unpacked" / member()
    path.parent.mkdir(parents=True)
    path.write_text(station_file(hours([0.2] * 24)))
    folder, _ = read_stations(tmp_path / "unpacked")
    zipped, _ = read({member(): station_file(hours([0.2] * 24))})
    pd.testing.assert_frame_equal(folder, zipped)


def test_a_stray_byte_costs_nothing_but_its_own_flag(read: Reader) -> None:
    text = station_file(hours([0.2] * 24)).encode() + b"2020/01/02 00:00 0.2 G\xff M\n"
    assert tally(read({member(): text})[1]) == {"kept": 24, "flag not G": 1}


# ---- static variables ------------------------------------------------------------------------


@pytest.mark.parametrize("heading", ["", STATIC_HEADING])
def test_classes_come_from_the_newest_maps_with_or_without_a_heading(heading: str) -> None:
    found = read_static((heading + STATIC).encode("latin-1"))
    assert found == {"koeppen": "Cfa", "land_cover": "Grassland"}


def test_a_masked_climate_class_is_unknown() -> None:
    text = b"climate classification;;;;masked;No record;koeppen_geiger_2007;;;;;;;\n"
    assert read_static(text) == {"koeppen": None, "land_cover": None}


def test_each_station_has_its_own_classes_and_a_missing_file_leaves_them_unknown(
    read: Reader,
) -> None:
    day = station_file(hours([0.2] * 24))
    static = "NET/One/NET_NET_One_static_variables.csv"
    table, _ = read({member("One"): day, member("Two"): day, static: STATIC})
    table = table.set_index("station")
    assert table.loc["NET/One", "land_cover"] == "Grassland"
    assert table["land_cover"].isna().tolist() == [False, True]
