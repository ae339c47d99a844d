"""Tables of stations outside ISMN."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gssm_cube.insitu.quality import Rules
from gssm_cube.insitu.tables import read_table
from gssm_cube.settings import StationRules
from gssm_cube.stations import StationData, gather_stations

ROW = {
    "network": "OWN", "station": "Dike", "lat": 52.1, "lon": 6.5, "time": "2020-01-01",
    "observed": 0.3, "depth_from": 0.05, "depth_to": 0.05,
}  # fmt: skip
NAME = "NET_NET_One_sm_0.05_0.05_P_20200101_20201231.stm"


def write(tmp_path: Path, rows: list[dict[str, Any]], name: str = "own.csv") -> Path:
    table = pd.DataFrame(rows)
    path = tmp_path / name
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


def gather(tmp_path: Path, rows: list[dict[str, Any]], **rules: Any) -> StationData:
    """Merge a table with an archive of one station and one day."""
    lines = ["NET NET One 45.5 0.0 10.0 0.05 0.05 P"]
    lines += [f"2020/01/01 {hour:02d}:00 0.2 G M" for hour in range(24)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"NET/One/{NAME}", "\n".join(lines))
    path = write(tmp_path, rows)
    return gather_stations(tmp_path / "a.zip", Rules(**rules), tables=[path])


def hourly(hours: int, **more: Any) -> list[dict[str, Any]]:
    return [ROW | {"time": f"2020-01-01T{hour:02d}:00"} | more for hour in range(hours)]


def test_a_daily_table_is_merged_with_the_archive(tmp_path: Path) -> None:
    table = gather(tmp_path, [ROW, ROW | {"time": "2020-01-02", "observed": 0.4}]).table
    assert table["station"].tolist() == ["NET/One", "OWN/Dike", "OWN/Dike"]
    np.testing.assert_allclose(table["observed"], [0.2, 0.3, 0.4])
    assert table["hours"].tolist() == [24, 24, 24]


def test_an_hourly_table_needs_its_hours_and_its_flags(tmp_path: Path) -> None:
    data = gather(tmp_path, hourly(18, flag="G"))
    assert data.table.query("network == 'OWN'")["hours"].tolist() == [18]
    data = gather(tmp_path, hourly(17, flag="G"))
    assert data.counts.attrs["without_a_day"] == [
        {"station": "OWN/Dike", "reason": "too few hours a day"}
    ]
    data = gather(tmp_path, hourly(18, flag="D03"))
    assert data.frozen["station"].tolist() == ["OWN/Dike"]


def test_empty_cells_and_9999_are_missing_and_counted(tmp_path: Path) -> None:
    rows = [ROW | {"time": f"2020-01-0{d}", "observed": v} for d, v in ((1, None), (2, -9999))]
    data = gather(tmp_path, [*rows, ROW | {"time": "2020-01-03"}])
    own = data.counts.query("network == 'OWN'").set_index("reason")["rows"].to_dict()
    assert own == {"missing value": 2, "kept": 1}


def test_times_with_an_offset_become_utc(tmp_path: Path) -> None:
    path = write(tmp_path, [ROW | {"time": "2020-01-01T01:00+02:00"}])
    assert read_table(path)["time"].tolist() == [pd.Timestamp("2019-12-31 23:00")]


def test_two_sensors_are_averaged_and_deep_ones_left_out(tmp_path: Path) -> None:
    rows = [ROW | {"sensor": "A"}, ROW | {"sensor": "B", "observed": 0.4}]
    data = gather(tmp_path, [*rows, ROW | {"sensor": "C", "depth_from": 0.2, "depth_to": 0.2}])
    [row] = data.table.query("network == 'OWN'").to_dict("records")
    assert (row["sensors"], row["observed"]) == (2, pytest.approx(0.35))
    assert row["spread"] == pytest.approx(0.1 / np.sqrt(2))
    assert [e["reason"] for e in data.counts.attrs["files"]] == ["depth outside"]


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    rows = [ROW | {"koeppen": "Cfb", "elevation": 12.0}]
    read = [read_table(write(tmp_path, rows, name)) for name in ("own.csv", "own.parquet")]
    pd.testing.assert_frame_equal(*read, check_dtype=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lat": 95}, r"row 3, column lat: found '95.0', expected -90 to 90 \(1 such rows\)"),
        ({"lon": "east"}, "row 3, column lon: found 'east', expected -180 to 180"),
        ({"station": " "}, "row 3, column station: .* expected a name"),
        ({"time": "01.02.2020"}, "row 3, column time: found '01.02.2020', expected ISO 8601"),
        ({"observed": "wet"}, "row 3, column observed: found 'wet', expected a number or nothing"),
        ({"depth_to": 0.01}, "row 3, column depth_to: .* expected a depth not above depth_from"),
        ({"depth_from": 50}, "row 3, column depth_from: found '50.0', expected metres, 0 to 10"),
        ({"colour": "red"}, r"unknown: \['colour'\]"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, [ROW, ROW | changes]))


def test_percent_missing_columns_other_files_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="divide percent by 100"):
        read_table(write(tmp_path, [ROW | {"observed": 30}]))
    with pytest.raises(ValueError, match=r"columns missing: \['lat'\]"):
        read_table(write(tmp_path, [{k: v for k, v in ROW.items() if k != "lat"}]))
    (tmp_path / "own.xlsx").write_text("")
    with pytest.raises(ValueError, match="expected .csv or .parquet"):
        read_table(tmp_path / "own.xlsx")
    with pytest.raises(FileNotFoundError, match="no station table at"):
        read_table(tmp_path / "none.csv")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv is empty, expected a header and rows"):
        read_table(tmp_path / "empty.csv")


def test_settings_name_the_tables() -> None:
    assert StationRules.model_validate({"tables": ["a.csv"]}).tables == (Path("a.csv"),)
