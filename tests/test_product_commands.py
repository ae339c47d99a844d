"""Commands on a product that is there, on the small run's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from gssm_cube.cli import app
from gssm_cube.product import open_product
from gssm_cube.product.climatology import open_climatology
from gssm_cube.product.overviews import open_overview
from gssm_cube.storage.stores import read_layout


def invoke(*words: str | Path, status: int = 0) -> str:
    """Run a command and return what it printed; the status must be as expected."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    return result.output


def test_a_box_of_a_runs_product_is_exported(small_run, tmp_path):
    target = tmp_path / "part.nc"
    box = "-31.9,43.3,-31.5,43.5"
    days = ("--first-day", "2018-06-01", "--last-day", "2018-06-30")
    said = invoke("export", small_run.settings, target, "--box", box, *days)
    assert str(target) in said
    ssm = open_product(small_run.folder / "ssm.zarr").ssm
    expected = ssm.sel(lat=slice(43.5, 43.3), lon=slice(-31.9, -31.5), time="2018-06")
    with xr.open_dataset(target) as opened:
        xr.testing.assert_allclose(opened.ssm, expected)
        assert opened.ssm.notnull().any()


def test_points_are_exported_as_a_table(small_run, tmp_path):
    (tmp_path / "p.csv").write_text("point,lat,lon\na,43.404,-31.604\n")
    target = tmp_path / "series.csv"
    store = small_run.folder / "ssm.zarr"
    invoke("export", store, target, "--points", tmp_path / "p.csv", "--last-day", "2018-03-10")
    expected = open_product(store).ssm.sel(lat=43.404, lon=-31.604, method="nearest")[:10]
    assert len(pd.read_csv(target)) == expected.notnull().sum()


def test_a_climatology_is_described_and_then_skipped(small_run, tmp_path):
    target = tmp_path / "normal.zarr"
    said = invoke("climatology", small_run.settings, "--years", "2018-2019", "--out", target)
    assert "climatology: 2 tiles done, 0 skipped" in said
    again = invoke(
        "climatology", small_run.folder / "ssm.zarr", "--years", "2018-2019", "--out", target
    )
    assert "climatology: 0 tiles done, 2 skipped" in again
    land = open_product(small_run.folder / "ssm.zarr").ssm.notnull().any("time")
    normal = open_climatology(target).ssm_mean.sel(dayofyear=180)
    assert (normal.notnull() == land).all() and land.any()


def test_overviews_are_written_and_then_skipped(small_run, tmp_path):
    run_file = small_run.copy(tmp_path / "run")
    assert "overviews: 62 slabs of six days done, 0 skipped" in invoke("overviews", run_file)
    store = run_file.parent / "ssm.zarr"
    assert "overviews: 0 slabs of six days done, 62 skipped" in invoke("overviews", store)
    fine, coarse = open_product(store).ssm, open_overview(store, 0.05).ssm
    land = fine.coarsen(lat=6, lon=6).max().notnull()
    np.testing.assert_array_equal(coarse.notnull(), land)
    assert "predict: 0 blocks done, 4 skipped" in invoke("predict", run_file)


def test_the_page_gets_the_run_s_product_and_stations(small_run, monkeypatch):
    asked = []

    def serve(store, stations, **options):
        asked.append((store, stations, options["port"], options["browser"]))

    monkeypatch.setattr("gssm_cube.view.serve", serve)
    invoke("view", small_run.settings, "--port", "5006")
    invoke("view", small_run.folder / "ssm.zarr", "--browser")
    invoke("view", small_run.folder / "ssm.zarr", "--stations", "mine.parquet")
    store, table = small_run.folder / "ssm.zarr", small_run.folder / "stations.parquet"
    assert asked == [
        (store, table, 5006, False), (store, table, 0, True),
        (store, Path("mine.parquet"), 0, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x.nc", "--box", "1,2,3"), "box is '1,2,3', expected west,south,east,north"),
        (("x.nc", "--box", "3,2,1,4"), "expected west < east and south < north"),
        (("x.grib",), "the form is '.grib'"),
    ],
)
def test_a_part_that_cannot_be_is_refused(small_run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in invoke("export", small_run.settings, *words, status=1)
    assert list(tmp_path.iterdir()) == []


def test_one_choice_of_places_is_taken(small_run, tmp_path):
    words = ("--box", "1,2,3,4", "--points", tmp_path / "p.csv")
    said = invoke("export", small_run.settings, tmp_path / "x.nc", *words, status=2)
    assert "give one of --box, --region and --points" in said


@pytest.mark.parametrize("years", ["soon", "2020-2001"])
def test_years_must_be_a_span(small_run, years):
    said = invoke("climatology", small_run.settings, "--years", years, status=1)
    assert f"years are '{years}', expected" in said


def test_a_baseline_of_which_the_product_lacks_days_is_told(small_run, tmp_path, caplog):
    store = small_run.folder / "ssm.zarr"
    layout = read_layout(store)
    words = ("climatology", store, "--out", tmp_path / "normal.zarr", "--years")
    with caplog.at_level("WARNING", logger="gssm_cube"):
        invoke(*words, "2001-2030")
    (said,) = caplog.messages
    assert f"has {layout.first_day} to {layout.last_day}, {layout.days} of 10957 days" in said


def test_points_that_are_not_there_are_named(small_run, tmp_path):
    words = ("export", small_run.settings, tmp_path / "x.csv", "--points", tmp_path / "no.csv")
    assert "no.csv: give a CSV with columns lat, lon" in invoke(*words, status=1)
