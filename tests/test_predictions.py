"""Predictions in a file: what is written comes back, and a report of parts is that of the whole."""

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import xarray as xr

from gssm_cube.plots import figures
from gssm_cube.report import coverage_of, skill_of_parts, station_skill
from gssm_cube.skill import predictions
from gssm_cube.skill.predictions import Predictions, write_predictions


def station(name: str, days: int, lat: float) -> pd.DataFrame:
    rng = np.random.default_rng(sum(map(ord, name)))
    observed = rng.uniform(0.05, 0.45, days)
    return pd.DataFrame({
        "station": name, "lat": lat, "lon": 20.0,
        "time": pd.date_range("2020-01-01", periods=days), "observed": observed,
        "predicted": np.abs(observed + rng.normal(0, 0.04, days)), "spread": 0.1, "fold": 1,
    })  # fmt: skip


@pytest.fixture
def held():
    """Two splits; the second has some days of two of the stations."""
    stations = [station("a", 130, 1.0), station("b", 120, 2.0), station("c", 30, 3.0)]
    return {"new_stations": stations, "new_years": [stations[1][5:60], stations[2][3:9]]}


@pytest.fixture
def file(held, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "PART_ROWS", 100)
    write_predictions(tmp_path / "predictions.parquet", held)
    return tmp_path / "predictions.parquet"


def table_of(held) -> pd.DataFrame:
    frames = [days.assign(split=split) for split, parts in held.items() for days in parts]
    return pd.concat(frames, ignore_index=True)[predictions.COLUMNS]


def test_what_is_written_comes_back_and_parts_are_whole_stations(file, held):
    pd.testing.assert_frame_equal(pd.read_parquet(file), table_of(held))
    found = Predictions(file)
    assert len(found) == 341 and found.columns == predictions.COLUMNS
    assert [set(part["station"]) for part in found] == [{"a"}, {"b"}, {"c"}, {"b", "c"}]
    assert pyarrow.parquet.ParquetFile(file).num_row_groups == 4
    assert not list(file.parent.glob("*.partial"))


def test_a_place_is_read_from_all_splits(file, held):
    table = table_of(held)
    for source in (Predictions(file), Predictions(table)):
        days = source.at("b", 2.0, 20.0)
        expected = table[table["station"] == "b"]
        pd.testing.assert_frame_equal(days.reset_index(drop=True), expected.reset_index(drop=True))
        assert source.at("b", 1.0, 20.0).empty


def test_figures_and_skill_of_parts_are_those_of_the_whole_table(file, held):
    table = table_of(held)
    own = table[table["split"] == "new_stations"]
    parts = Predictions(file).of_split("new_stations")
    assert figures.png(figures.density(parts)) == figures.png(figures.density(own))
    pd.testing.assert_frame_equal(skill_of_parts(parts), station_skill(own))
    assert skill_of_parts([own[:5], own[200:205]]).empty  # too few days


def test_hexagons_count_every_pair_once(held):
    table = pd.concat(held["new_stations"])
    (axes, _) = figures.density(table).axes
    counts = np.asarray(axes.collections[0].get_array())
    assert counts.sum() == len(table) and counts.min() >= 1
    # Matplotlib's own count of the same pairs in the same hexagons.
    top = axes.get_xlim()[1]
    own = axes.hexbin(table["observed"], table["predicted"], gridsize=45, mincnt=1,
                      extent=(0, top, 0, top))  # fmt: skip
    np.testing.assert_array_equal(own.get_array(), counts)
    np.testing.assert_array_equal(own.get_offsets(), axes.collections[0].get_offsets())


def test_days_of_a_place_are_counted_once_over_parts_and_splits(file, held):
    # The area ends south of c, the period is of 100 days.
    ssm = xr.DataArray(
        np.zeros((100, 3, 2)), {"time": pd.date_range("2020-01-11", periods=100),
        "lat": [2.5, 1.5, 0.5], "lon": [19.5, 20.5]}, ("time", "lat", "lon"), name="ssm",
    )  # fmt: skip
    for source in (Predictions(file), Predictions(table_of(held))):
        found = coverage_of(source, ssm)
        assert found.index.tolist() == [("a", 1.0, 20.0), ("b", 2.0, 20.0)]
        assert found["held_out"].tolist() == [100, 100]
        assert found["days"].tolist() == [100, 100]
    years = coverage_of([days.assign(split="new_years") for days in held["new_years"]], ssm)
    assert years.loc[("b", 2.0, 20.0)].tolist() == [0, 50]  # 11 January to 29 February
