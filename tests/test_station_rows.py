"""Complete rows on disk: the same rows, in the same order, as a table in memory has."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm_cube.sampling.sample_store import FORMAT, MANIFEST, open_samples, read_sample_parts
from gssm_cube.skill import station_rows
from gssm_cube.skill.station_rows import StationRows, rows_of_store, rows_of_table
from gssm_cube.skill.trials import COLUMNS, complete_samples

FEATURES = ("wet", "clay")


def station(name: str, tile: str, days: int, lat: float = 10.0) -> pd.DataFrame:
    """Days of a station, the first and every tenth after it without a feature."""
    rng = np.random.default_rng(sum(map(ord, name)))
    wet = rng.normal(size=days).astype("float32")
    wet[::10] = np.nan
    return pd.DataFrame({
        "station": name, "tile": tile, "station_lat": lat, "station_lon": 20.0,
        "time": pd.date_range("2019-12-30", periods=days), "wet": wet,
        "clay": np.float32(rng.uniform(5, 60)), "observed": rng.random(days), "network": "net",
        "koeppen": None, "swvl1": rng.random(days).astype("float32"), "unused": 1.0,
    })  # fmt: skip


def write_samples(folder: Path, tables: list[pd.DataFrame]) -> Path:
    """Write samples as the stage does: a file for each tile and calendar year."""
    files = []
    for (year, tile), rows in pd.concat(tables).groupby(
        [pd.concat(tables)["time"].dt.year, "tile"], sort=True
    ):
        name = f"window={year - 2019:02d}/{tile}.parquet"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(folder / name, index=False)
        files.append(name)
    about = {"format": FORMAT, "day": "UTC", "files": files}
    (folder / MANIFEST).write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """Four stations in two tiles, whose names are not in the order of the tiles."""
    tables = [
        *(station("b", "r1", 40), station("d", "r1", 25, 10.01)),
        *(station("a", "r2", 30, 12.0), station("c", "r2", 35, 12.3)),
    ]
    return write_samples(tmp_path_factory.mktemp("stored") / "samples", tables)


@pytest.fixture(params=[1, 60, 10_000])
def part_rows(request, monkeypatch) -> int:
    """Rows of a part: a station each, some stations, all."""
    monkeypatch.setattr(station_rows, "PART_ROWS", request.param)
    return request.param


def whole(rows: StationRows, read) -> pd.DataFrame:
    """All parts under one another, by the number of the row."""
    return pd.concat([read(number) for number in rows.numbers])


def test_parts_of_samples_are_whole_stations_and_all_rows(samples):
    wanted = ["station", "time", "wet"]
    parts = list(read_sample_parts(samples, columns=wanted, optional=["koeppen"], most_rows=45))
    assert [sorted(set(part["station"])) for part in parts] == [["b"], ["d"], ["a"], ["c"]]
    together = read_sample_parts(samples, columns=wanted, most_rows=65)
    assert [sorted(set(part["station"])) for part in together] == [["b", "d"], ["a", "c"]]
    found = pd.concat(parts).sort_values(["station", "time"]).reset_index(drop=True)
    expected = open_samples(samples, columns=wanted, optional=["koeppen"])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_rows_of_a_store_are_those_of_its_table_in_the_same_order(samples, tmp_path, part_rows):
    rows = rows_of_store(samples, FEATURES, tmp_path)
    table = open_samples(samples)
    known = complete_samples(table, FEATURES, COLUMNS, least=2)
    assert (len(rows), rows.read) == (len(known.table), len(table)) == (116, 130)
    assert list(rows.stations["station"]) == ["a", "b", "c", "d"]
    assert len(rows.numbers) == {1: 4, 60: 3, 10_000: 1}[part_rows]
    about = whole(rows, rows.about)
    assert about.index.tolist() == list(range(116))
    pd.testing.assert_frame_equal(about[list(known.places)], known.places, check_dtype=False)
    np.testing.assert_array_equal(about["swvl1"], known.more["swvl1"])
    assert about["koeppen"].isna().all() and "unused" not in about
    values = whole(rows, lambda number: rows.values(number, FEATURES[::-1]))
    np.testing.assert_array_equal(values, known.table[list(FEATURES[::-1])])
    np.testing.assert_array_equal(rows.days, np.unique(known.places["time"]).astype("M8[D]"))


def test_infinite_values_are_named_before_anything_is_fitted(samples):
    table = open_samples(samples)
    table["observed"] = table["observed"].where(table["observed"].isna(), np.inf)
    with pytest.raises(ValueError, match=r"infinite values \(rows by column: {'observed': 116}\)"):
        complete_samples(table, FEATURES, COLUMNS, least=2)


def test_a_matrix_to_train_on_has_the_chosen_rows_in_float32_by_column(samples, tmp_path):
    rows = rows_of_store(samples, FEATURES, tmp_path)
    known = complete_samples(open_samples(samples), FEATURES, COLUMNS, least=2)
    chosen = np.arange(116) % 3 == 1
    table, target = rows.training(chosen, FEATURES)
    pd.testing.assert_frame_equal(
        table, known.table.loc[chosen, list(FEATURES)].reset_index(drop=True)
    )
    np.testing.assert_array_equal(target, known.table["observed"][chosen])
    assert (table.dtypes == "float32").all() and table.to_numpy().flags.f_contiguous


def test_rows_keep_their_numbers_in_a_table_of_any_order(samples, tmp_path, part_rows):
    table = open_samples(samples).sample(frac=1, random_state=5).reset_index(drop=True)
    moved = (table["station"] == "c") & (table["time"] > "2020-01-10")
    table.loc[moved, "station_lat"] += 3.0
    known = complete_samples(table, FEATURES, COLUMNS, least=2)
    rows = rows_of_table(known, tmp_path)
    about = whole(rows, rows.about)
    assert list(dict.fromkeys(about["station"])) == ["a", "b", "c", "d"]
    pd.testing.assert_frame_equal(about.sort_index()[list(known.places)], known.places)
    chosen = about.sort_index()["observed"].to_numpy() > 0.5
    found, target = rows.training(chosen, FEATURES)
    np.testing.assert_array_equal(found, known.table[list(FEATURES)][chosen])
    np.testing.assert_array_equal(target, known.table["observed"][chosen])
    assert rows.sites.sort_values(["station", "lat"])["rows"].sum() == len(rows)
    by_row = rows.spread(rows.sites["lat"].to_numpy())  # c has two sites
    np.testing.assert_array_equal(by_row, known.places["lat"])
    late = rows.since(np.datetime64("2020-01-05"))
    np.testing.assert_array_equal(late, known.places["time"] >= "2020-01-05")


def test_the_position_of_the_station_stands_in_for_that_of_the_pixel(samples, tmp_path):
    table = open_samples(samples).assign(lat=99.0)
    rows = rows_of_table(complete_samples(table, ["lat", "wet"], COLUMNS, least=2), tmp_path)
    assert set(rows.values(0, ["lat"])["lat"]) == {99.0}
    placed = rows.with_position()
    expected = whole(rows, rows.about)[["lon", "lat"]].astype("float32")
    found = whole(placed, lambda number: placed.values(number, ["lon", "lat"]))
    np.testing.assert_array_equal(found, expected)
    trained = placed.training(np.ones(len(rows), bool), ["lat"])[0]
    np.testing.assert_array_equal(trained["lat"], expected["lat"])


def test_too_few_complete_rows_and_a_station_in_two_tiles_are_refused(samples, tmp_path):
    with pytest.raises(ValueError, match="116 of 130 rows have all of the features .* least 200"):
        rows_of_store(samples, FEATURES, tmp_path / "few", least=200)
    twice = [station("a", "r1", 20), station("a", "r2", 20, 12.0)]
    folder = write_samples(tmp_path / "samples", twice)
    with pytest.raises(ValueError, match="station 'a' lies in several tiles"):
        rows_of_store(folder, FEATURES, tmp_path / "twice")
