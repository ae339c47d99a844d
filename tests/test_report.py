"""The report: what its figures show, what its page says, and the notebook of the product."""

import base64
import io
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.image import imread
from nbclient import NotebookClient
from product_files import layers_of
from xarray.backends import BackendArray
from xarray.core import indexing

import gssm_cube
from gssm_cube.grid import Block, Grid, Layout
from gssm_cube.plots import figures
from gssm_cube.product import create_product, write_block
from gssm_cube.report import (
    at_place,
    best_series,
    mean_map,
    station_series,
    station_skill,
    write_report,
)
from gssm_cube.skill.predictions import Predictions
from gssm_cube.skill.score_rows import score_rows, stratum_rows
from gssm_cube.variables import SSM

DAYS = 120
FIGURES = ("density", "station_r", "station_bias", "importance", "mean_ssm", "series")


@pytest.fixture(scope="module")
def layout():
    # One tile of 48 x 48 pixels, 0.4 x 0.4 deg, near Maqu.
    return Layout.covering((102.0, 33.6, 102.4, 34.0), date(2017, 5, 1), date(2017, 8, 28), 48)


def field(layout, name, values):
    coords = {"time": layout.time, "lat": layout.lat, "lon": layout.lon}
    return xr.Dataset({name: (("time", "lat", "lon"), values)}, coords)


@pytest.fixture(scope="module")
def rain(layout):
    rng = np.random.default_rng(0)
    series = np.zeros(layout.days)
    for day in range(1, layout.days):
        series[day] = 0.91 * series[day - 1] + rng.gamma(0.2, 12.0) - 2.0
    return series


@pytest.fixture(scope="module")
def cube(layout, rain):
    return field(layout, "apei", np.broadcast_to(rain[:, None, None], (DAYS, 48, 48)))


@pytest.fixture(scope="module")
def product(layout, rain):
    slope = np.hypot(*np.meshgrid(np.arange(48), np.arange(48))) / 500
    ssm = 0.18 + slope + 0.002 * rain[:, None, None].clip(-40, 80)
    ssm[:, 30:, :9] = np.nan  # a lake
    return field(layout, "ssm", ssm.astype("float32"))


@pytest.fixture(scope="module")
def stations():
    return pd.DataFrame(
        {
            "station": ["NST_05", "NST_06", "NST_07", "CST_01"],
            "network": "MAQU",
            "lat": [33.8771, 33.75, 33.65, 33.93],
            "lon": [102.1234, 102.3, 102.35, 102.2],
            "days": [DAYS, DAYS, DAYS, 12],
        }
    )


def predictions_at(station, rain, split, bias, days=DAYS):
    rng = np.random.default_rng(len(station.station) + days)
    observed = 0.22 + 0.002 * rain[:days].clip(-40, 80)
    columns = {"station": station.station, "lat": station.lat, "lon": station.lon}
    columns |= {"time": pd.date_range("2017-05-01", periods=days), "observed": observed}
    predicted = observed + bias + rng.normal(0, 0.02, days)
    return pd.DataFrame(columns | {"predicted": predicted, "split": split})


@pytest.fixture(scope="module")
def predictions(stations, rain):
    rows = list(stations.itertuples())
    return pd.concat(
        [predictions_at(row, rain, "new_stations", 0.04 * row.Index - 0.06) for row in rows[:3]]
        + [predictions_at(rows[3], rain, "random_rows", 0.0, days=12)],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def scores():
    medians = {
        "count": 3,
        "left_out": 1,
        "rmse": 0.0611,
        "ubrmse": 0.0321,
        "bias": 0.0123,
        "r": 0.7,
    }
    pooled = {"n": 12360, "rmse": 0.0786, "ubrmse": 0.0512, "bias": -0.0147, "r": 0.752}
    return {
        "new_stations": pooled
        | {"stations": medians, "baseline": {"mean_of_training": {"rmse": 0.1042}}},
        "new_years": {"skipped": "all days lie in one <year>"},
        "random_rows": {"label": "comparison only", "n": 99, "rmse": 0.0355, "ubrmse": 0.0354}
        | {"bias": 0.0, "r": None, "stations": {"count": None}},
        "rows": {"read": 14000, "dropped": 1640, "kept": 12360},
        "forest": {"trees": 20, "bag": 0.5, "features": ["apei", "ndvi"]},
    }


@pytest.fixture(scope="module")
def importance():
    values = {"apei": 0.31, "evaporation": 0.2, "lon": 0.12, "ndvi": 0.07, "dtb": 0.03, "ti": 0.02}
    return pd.Series(values, name="mean decrease in impurity")


@pytest.fixture(scope="module")
def page(tmp_path_factory, scores, predictions, importance, stations, product, cube):
    facts = {"period": "2017-05-01 to 2017-08-28", "forest hash": "9f3a" * 16, "note": "a < b"}
    path = tmp_path_factory.mktemp("run") / "report" / "report.html"
    return write_report(
        path, title="Maqu & around", scores=scores, predictions=predictions,
        importance=importance, stations=stations, product=product, cube=cube, facts=facts,
    )  # fmt: skip


class Page(HTMLParser):
    """Collect table rows and every attribute that could load something."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.images, self.cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[name] for name in ("src", "href", "srcset", "data") if name in attrs]
        if tag == "img":
            self.images.append(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page.read_text(encoding="utf-8"))


def row_of(parsed, name):
    (row,) = (row for row in parsed.rows if row and row[0].startswith(name))
    return row


# ---- the numbers behind the figures ---------------------------------------------------------


def test_the_mean_map_is_the_mean_of_the_days_that_have_a_value(layout):
    values = np.full((3, 48, 48), np.nan, dtype="float32")
    values[:, 0, 0] = 0.1, 0.2, 0.6
    values[:, 0, 1] = 0.3, np.nan, 0.5
    ssm = field(layout, "ssm", np.full((DAYS, 48, 48), np.nan, "float32"))["ssm"][:3].copy()
    mean = mean_map(ssm.copy(data=values))
    np.testing.assert_allclose(mean[0, :2], [0.3, 0.4], rtol=1e-6)
    assert int(mean.notnull().sum()) == 2


class Recorder(BackendArray):
    """A lazy array whose day d holds d, and which remembers how much was read at once."""

    def __init__(self, shape):
        self.shape, self.dtype, self.read = shape, np.dtype("float32"), []

    def __getitem__(self, key):
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self.values)

    def values(self, key):
        days = np.arange(self.shape[0], dtype="float32")[:, None, None]
        values = np.broadcast_to(days, self.shape)[key]
        self.read.append(values.shape)
        return values


def test_the_mean_map_joins_windows_and_tiles_and_holds_one_piece_at_a_time():
    # 400 days cross a window, 500 columns cross a piece; the mean of 0..399 is 199.5.
    recorder = Recorder((400, 3, 500))
    coords = {"lat": [2.0, 1.0, 0.0], "lon": np.arange(500.0)}
    lazy = indexing.LazilyIndexedArray(recorder)
    ssm = xr.DataArray(xr.Variable(("time", "lat", "lon"), lazy), coords)
    np.testing.assert_array_equal(mean_map(ssm), np.full((3, 500), 199.5, "float32"))
    assert sorted(recorder.read) == [(days, 3, n) for days in (34, 366) for n in (20, 240, 240)]


def test_a_large_area_is_shown_by_every_nth_pixel(product):
    coarse = mean_map(product["ssm"], largest=16)
    assert coarse.attrs["step"] == 3
    expected = product["ssm"].mean("time")[1::3, 1::3]
    assert coarse.shape == (16, 16)
    np.testing.assert_allclose(coarse, expected, rtol=1e-5)
    np.testing.assert_array_equal(coarse["lat"], expected["lat"])


def test_a_station_needs_enough_days_for_a_score_of_its_own():
    observed, predicted = [0.1, 0.2, 0.3], [0.2, 0.2, 0.5]
    table = pd.DataFrame({"observed": observed, "predicted": predicted, "lat": 1.0, "lon": 2.0})
    table["station"] = "long"
    both = pd.concat([table, table[:2].assign(station="short")])
    skill = station_skill(both, min_days=3).set_index("station")
    assert list(skill.index) == ["long"]
    # bias (0.1 + 0 + 0.2) / 3; r = 0.03 / sqrt(0.02 * 0.06)
    np.testing.assert_allclose(skill.loc["long", "bias"], 0.1)
    np.testing.assert_allclose(skill.loc["long", "r"], np.sqrt(3) / 2)


def numbered(layout):
    numbers = np.arange(48 * 48, dtype="float32").reshape(1, 48, 48)
    return field(layout, "ssm", np.repeat(numbers, DAYS, axis=0))["ssm"]


@pytest.mark.parametrize(
    ("lat", "lon", "row", "col"),
    [
        (33.9999, 102.0001, 0, 0),  # north-west corner
        (33.6001, 102.3999, 47, 47),
        (33.8771, 102.1234, 14, 14),  # (34 - 33.8771) * 120 = 14.7; 0.1234 * 120 = 14.8
        (33.75, 102.25, 30, 30),  # on a corner of four pixels: the south-eastern, as on the grid
    ],
)
def test_the_series_is_that_of_the_pixel_that_holds_the_station(layout, lat, lon, row, col):
    assert at_place(numbered(layout), lat, lon)[0] == row * 48 + col


def test_a_place_outside_the_area_is_an_error(layout):
    with pytest.raises(ValueError, match=r"ssm: no pixel at 40.0000 N 102.1000 E"):
        at_place(numbered(layout), 40.0, 102.1)


def test_the_series_holds_all_days_and_tells_held_out_from_product(layout, cube, rain):
    days = pd.DataFrame(
        {
            "station": "NST_05",
            "lat": 33.8771,
            "lon": 102.1234,
            "time": pd.to_datetime(["2017-05-03", "2017-05-05", "2017-05-05"]),
            "observed": [0.3, 0.4, 0.4],
            "predicted": [0.31, 0.42, 0.41],
            "split": ["new_stations", "random_rows", "new_stations"],
        }
    )
    table = station_series(days, numbered(layout).to_dataset(), cube)
    assert list(table.index.strftime("%m-%d")) == ["05-03", "05-04", "05-05"]
    np.testing.assert_array_equal(table["observed"], [0.3, np.nan, 0.4])
    np.testing.assert_array_equal(table["held_out"], [0.31, np.nan, 0.41])
    np.testing.assert_array_equal(table["product"], [14 * 48 + 14] * 3)
    np.testing.assert_allclose(table["apei"], rain[2:5])


def test_the_series_is_of_a_station_that_has_a_product(predictions, product, cube):
    place, table = best_series(Predictions(predictions), product, cube)
    assert place[0] in {"NST_05", "NST_06", "NST_07"}  # CST_01 has 12 days only
    lake = product.where(product["lat"] < 33.7)  # NST_07 alone is left
    place, table = best_series(Predictions(predictions), lake, cube)
    assert place[0] == "NST_07"
    assert table["product"].notna().all()
    assert best_series(Predictions(predictions), product.where(False), cube) is None


# ---- the files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_a_png_of_sensible_size_and_not_empty(page, name):
    image = imread(page.parent / "figures" / f"{name}.png")
    height, width = image.shape[:2]
    assert 700 < width < 1300
    assert 250 < height < 1300
    inked = (image[..., :3].min(axis=2) < 0.9).mean()
    assert 0.01 < inked < 0.9


def test_no_other_figure_lies_beside_the_page(page):
    files = {file.stem for file in (page.parent / "figures").iterdir()}
    assert files == set(FIGURES)


def test_the_page_holds_the_very_figures_and_loads_nothing_else(page, parsed):
    text = page.read_text(encoding="utf-8")
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert parsed.links
    assert all(link.startswith("data:") for link in parsed.links)
    heads = [base64.b64decode(image["src"].split(",")[1]) for image in parsed.images]
    files = [(page.parent / "figures" / f"{name}.png").read_bytes() for name in FIGURES]
    assert heads == files


def test_each_image_has_words_for_those_who_cannot_see_it(parsed):
    assert all(len(image["alt"]) > 20 for image in parsed.images)
    assert "360 station-days" in parsed.images[0]["alt"]


def test_the_same_figure_gives_the_same_bytes(importance):
    first, second = (figures.png(figures.importance_bars(importance)) for _ in range(2))
    assert first == second
    assert imread(io.BytesIO(first)).shape[2] == 4


# ---- the words and numbers of the page ------------------------------------------------------


def test_the_table_gives_the_scores_as_they_are(parsed):
    pooled = ["0.0786", "0.0512", "-0.0147", "0.752", "12,360"]
    medians = ["0.0611", "0.0321", "0.0123", "0.700", "3", "1"]
    assert row_of(parsed, "New stations")[1:] == pooled + medians
    assert row_of(parsed, "Mean of the training stations")[1] == "0.1042"


def test_a_score_that_does_not_exist_is_a_dash_and_not_a_zero(parsed):
    cells = row_of(parsed, "Random rows")[1:]
    assert cells == ["0.0355", "0.0354", "0.0000", "–", "99"] + ["–"] * 6


def test_a_skipped_split_shows_its_reason_and_markup_in_it_is_harmless(page, parsed):
    assert row_of(parsed, "New years")[1:] == ["skipped: all days lie in one <year>"]
    assert "one &lt;year&gt;" in page.read_text(encoding="utf-8")


def test_random_rows_come_last_greyed_and_labelled(page, parsed):
    names = [row[0] for row in parsed.rows if len(row) in (2, 12)]
    assert names[-1].endswith("comparison only")
    text = page.read_text(encoding="utf-8")
    assert text.index('<tr class="grey">') < text.index("Random rows ")
    assert text.count('class="grey"') == 1


def test_the_facts_the_forest_and_the_counts_are_on_the_page(parsed):
    assert row_of(parsed, "forest hash")[1] == "9f3a" * 16
    assert row_of(parsed, "scored forest: features")[1].strip() == "apei, ndvi"
    assert row_of(parsed, "station-days kept")[1] == "12,360"


def test_the_synthetic_truth_has_its_row_before_the_random_rows(scores):
    rows = score_rows(scores | {"truth": {"n": 5, "rmse": 0.01234}})
    assert [row["name"] for row in rows[-2:]] == ["Synthetic truth", "Random rows"]
    assert rows[-2]["cells"][0] == "0.0123"


def test_the_days_that_were_held_out_as_new_years_are_named(scores):
    days = ["2020-03-01", "2021-02-28"]
    rows = score_rows(scores | {"new_years": {"n": 365, "rmse": 0.04, "days": days}})
    (note,) = (row["note"] for row in rows if row["name"] == "New years")
    assert note.endswith("; here 2020-03-01 to 2021-02-28")


def test_the_true_error_stands_beside_the_estimated_one_with_the_interval_s_coverage(
    tmp_path, scores, predictions, importance, stations, product, cube
):
    truth = {"n": 5, "rmse": 0.0412, "coverage": 0.934, "width": 0.151}
    path = write_report(
        tmp_path / "report.html", title="t", scores=scores | {"truth": truth}, facts={},
        predictions=predictions, importance=importance, stations=stations, product=product,
        cube=cube,
    )  # fmt: skip
    text = " ".join(path.read_text(encoding="utf-8").split())
    assert "RMSE 0.0412 m³ m⁻³, where the new stations said 0.0786." in text
    assert "covers 93.4 % of all pixel-days, 0.151 m³ m⁻³ wide" in text


def test_every_baseline_has_a_row_after_the_score_that_it_stands_beside():
    beside = {"swvl1": {"n": 9, "rmse": 0.07}, "mean_of_training": {"n": 9, "rmse": 0.1}}
    rows = score_rows({
        "new_stations": {"n": 9, "rmse": 0.05, "baseline": beside},
        "new_years": {"n": 9, "rmse": 0.04, "baseline": {"climatology": {"n": 9, "rmse": 0.08}}},
    })  # fmt: skip
    assert [(row["name"], row["cells"][0]) for row in rows] == [
        ("New stations", "0.0500"),
        ("Mean of the training stations", "0.1000"),
        ("ERA5-Land soil moisture", "0.0700"),
        ("New years", "0.0400"),
        ("Climatology of the training stations", "0.0800"),
    ]


def test_strata_are_rows_with_their_interval_and_count():
    score = {"n": 700, "rmse": 0.06, "ubrmse": 0.05, "bias": 0.01, "r": 0.8}
    score |= {
        "interval": {"rmse": [0.05, 0.071]},
        "stations": {"count": 3, "ubrmse": 0.03, "r": 0.9},
    }
    (row,) = stratum_rows({"strata": {"koeppen": {"Cfb": score}, "network": {}}})
    assert row["name"] == "climate Cfb"
    assert row["cells"] == [
        *("0.0600", "0.050–0.071", "0.0500", "0.0100", "0.800", "700", "0.0300", "0.900", "3"),
    ]


def test_a_run_without_held_out_stations_says_so_and_has_no_score_figures(
    tmp_path, predictions, importance, stations, product, cube
):
    known = predictions.assign(split="random_rows")
    path = write_report(
        tmp_path / "report.html", title="t", scores={}, predictions=known, importance=importance,
        stations=stations, product=product, cube=cube, facts={},
    )  # fmt: skip
    text = path.read_text(encoding="utf-8")
    assert "No station was held out in this run" in text
    assert {image.stem for image in (tmp_path / "figures").iterdir()} == set(FIGURES[3:])
    assert "the orange line" not in text


def test_a_missing_column_is_named(predictions, importance, stations, product, cube, tmp_path):
    with pytest.raises(ValueError, match=r"predictions: columns \['split'\] are missing"):
        write_report(
            tmp_path / "report.html", title="t", scores={}, importance=importance, facts={},
            predictions=predictions.drop(columns="split"), stations=stations, product=product,
            cube=cube,
        )  # fmt: skip


def test_matplotlib_is_left_as_it_was(importance):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.png(figures.importance_bars(importance))
    assert dict(matplotlib.rcParams) == before


def test_a_map_lies_where_its_pixels_are_whichever_way_latitude_runs(product):
    mean = mean_map(product["ssm"])
    for one in (mean, mean[::-1]):
        axes = figures.ssm_map(one).axes[0]
        image = axes.images[0]
        np.testing.assert_allclose(image.get_extent(), [102.0, 102.4, 33.6, 34.0])
        north = image.get_array()[0 if image.origin == "upper" else -1]
        np.testing.assert_array_equal(north, mean.sel(lat=Grid().lat(6720)))


# ---- the notebook of the product --------------------------------------------------------------

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "04_use_the_product.ipynb"


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(gssm_cube, "open_product"), reason="there is no open_product yet")
def test_the_notebook_runs_and_finds_the_skill_worked_by_hand(
    tmp_path, monkeypatch, layout, product, stations
):
    store = tmp_path / "ssm.zarr"
    create_product(store, layout, {})
    (tile,), (window,) = layout.tiles(), layout.windows()
    codes = SSM.packing.encode(product["ssm"])
    write_block(store, layout, Block(tile, window), layers_of(codes))
    # The station observes 0.03 m3 m-3 less than the pixel that holds it, rounded as it is stored.
    pixel = at_place(product["ssm"], *stations.loc[0, ["lat", "lon"]]).to_numpy()
    table = pd.DataFrame([stations.loc[0]] * DAYS).drop(columns="days")
    table = table.assign(time=product["time"].to_numpy(), observed=pixel.round(3) - 0.03)
    table.to_parquet(tmp_path / "stations.parquet")
    monkeypatch.setenv("GSSM_PRODUCT", str(store))
    monkeypatch.setenv("GSSM_STATIONS", str(tmp_path / "stations.parquet"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    (cell,) = (cell for cell in notebook.cells if cell.id == "compare")
    words = cell.outputs[0]["data"]["text/plain"].split()
    assert dict(zip(words[:8:2], words[1:8:2], strict=True)) == {
        "days": "120.00", "r": "1.00", "rmse": "0.03", "bias": "0.03",
    }  # fmt: skip
