"""The page of a product without a browser: its maps, series, fields, files and server."""

import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from bokeh.document import Document
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from typer.testing import CliRunner
from view_product import EAST, LAYOUT, NORTH, SOUTH, WEST, write_view_product

from gssm_cube.cli import app
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.grid import Layout, Tile
from gssm_cube.product import create_product, open_product
from gssm_cube.product.overviews import open_overview
from gssm_cube.variables import FILL
from gssm_cube.view import maps
from gssm_cube.view.downloads import answer
from gssm_cube.view.figures import band_outlines
from gssm_cube.view.layers import CLASSES, classify, words_of
from gssm_cube.view.maps import Atlas
from gssm_cube.view.page import Page
from gssm_cube.view.places import Stations, read_pixel
from gssm_cube.view.server import make_server

WHOLE = LAYOUT.bounds
MARCH = 41  # 2 March 2019, a day after the first of the stations


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_view_product(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def atlas(store: Path) -> Atlas:
    return Atlas(store)


@pytest.fixture(scope="module")
def stations(store: Path) -> Stations:
    return Stations(store.with_name("stations.parquet"))


@pytest.fixture
def page(atlas: Atlas, stations: Stations) -> Page:
    return Page(Document(), atlas, stations)


def codes_of(values: np.ndarray) -> np.ndarray:
    """Thousandths, as the store packs them; NaN stays."""
    return np.rint(np.asarray(values, "float64") * 1000)


# ---- maps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["ssm", "ssm_spread"])
def test_a_small_box_is_read_at_1_km_with_the_products_values(store, atlas, layer):
    box = (WEST + 0.1, SOUTH + 0.1, WEST + 0.6, NORTH - 0.1)
    found = atlas.read(layer, MARCH, box)
    expected = open_product(store)[layer].isel(time=MARCH)
    expected = expected.sel(lat=slice(box[3], box[1]), lon=slice(box[0], box[2]))
    assert found.values.shape == expected.shape == (24, 60)
    np.testing.assert_allclose(found.values, expected)
    np.testing.assert_allclose(found.bounds, box)
    assert found.degrees == pytest.approx(1 / 120)


@pytest.mark.parametrize(("most", "degrees"), [(20 * 10, 0.05), (100, 0.1)])
def test_more_than_can_be_read_comes_from_an_overview(store, atlas, monkeypatch, most, degrees):
    monkeypatch.setattr(maps, "MOST_CHUNKS", 1)
    monkeypatch.setattr(maps, "MOST_CELLS", most)
    found = atlas.read("ssm", MARCH, WHOLE)
    np.testing.assert_allclose(found.values, open_overview(store, degrees).ssm[MARCH])
    assert found.degrees == pytest.approx(degrees)
    np.testing.assert_allclose(found.bounds, WHOLE)
    fine = atlas.read("ssm", MARCH, (WEST + 0.01, SOUTH + 0.01, WEST + 0.05, SOUTH + 0.05))
    assert fine.degrees == pytest.approx(1 / 120)


def test_too_many_of_the_coarsest_cells_are_thinned_but_not_for_a_file(store, atlas, monkeypatch):
    monkeypatch.setattr(maps, "MOST_CHUNKS", 1)
    monkeypatch.setattr(maps, "MOST_CELLS", 8)  # of 4 x 8: every second
    coarse = open_overview(store, 0.1).ssm[MARCH]
    found = atlas.read("ssm", MARCH, WHOLE)
    np.testing.assert_allclose(found.values, coarse[::2, ::2])
    assert (found.level, found.step, found.degrees) == (12, 2, pytest.approx(0.1))
    whole = atlas.read("ssm", MARCH, WHOLE, thin=False)
    np.testing.assert_allclose(whole.values, coarse)


@given(
    st.floats(-0.3, 0.9), st.floats(-0.3, 0.6), st.floats(0.001, 1), st.floats(0.001, 1)
)  # fmt: skip
def test_the_cells_read_are_those_that_touch_the_box(atlas, left, down, wide, high):
    box = (WEST + left, NORTH - down - high, WEST + left + wide, NORTH - down)
    found = atlas.read("ssm", 1, box)
    inside = (max(box[0], WEST), max(box[1], SOUTH), min(box[2], EAST), min(box[3], NORTH))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        assert found.values.size == 0
        return
    slack = np.array([inside[0] - found.bounds[0], inside[1] - found.bounds[1],
                      found.bounds[2] - inside[2], found.bounds[3] - inside[3]])  # fmt: skip
    assert (slack > -1e-7).all() and (slack < 1 / 120 + 1e-7).all()


def test_a_large_product_without_overviews_says_how_to_make_them(tmp_path):
    layout = Layout(Tile(10, 10), 2, 2, date(2019, 1, 1), date(2019, 1, 3))  # 8 x 8 degrees
    create_product(tmp_path / "ssm.zarr", layout, {})
    with pytest.raises(ValueError, match=r"\(960, 960\) pixels are too many.*run `gssm overviews"):
        Atlas(tmp_path / "ssm.zarr")


def test_the_gravest_class_is_shown_and_sea_is_none():
    bits = [PRODUCT_FLAGS[n] for n in ("lst_filled", "frozen", "predictor_missing")]
    flags = np.array([0, bits[0], bits[0] | bits[1], bits[1] | bits[2], 0], dtype="uint16")
    codes = np.array([300, 300, FILL, FILL, FILL], dtype="int16")
    names = list(CLASSES)
    found = classify(flags, codes)
    assert [names[int(n)] for n in found[:4]] == [
        "nothing noted", "filled", "frozen or under snow", "a predictor missing",
    ]  # fmt: skip
    assert np.isnan(found[4])
    assert words_of(bits[0] | bits[1]) == "lst filled, frozen"
    assert {f for _, of in CLASSES.values() for f in of} == set(PRODUCT_FLAGS)


# ---- places -----------------------------------------------------------------------------------


def test_a_series_is_the_products_own_with_the_ends_of_its_interval(store, atlas):
    place = read_pixel(atlas, NORTH - 0.2, WEST + 0.3)
    expected = open_product(store).sel(lat=place.lat, lon=place.lon, method="nearest").load()
    for name in ("ssm", "ssm_lower", "ssm_upper", "ssm_spread"):
        np.testing.assert_array_equal(codes_of(place.days[name]), codes_of(expected[name]))
    np.testing.assert_array_equal(place.days["quality"], expected["quality"])
    assert (place.days.index == expected.indexes["time"]).all()
    assert place.days["ssm"].notna().sum() == 60 - 6  # less one frozen day in ten
    assert abs(place.lat - (NORTH - 0.2)) < 0.5 / 120 + 1e-9


def test_stations_within_25_km_come_with_their_distance(stations):
    near = stations.near(NORTH - 0.2, WEST + 0.4)
    # 0.1 deg of longitude at 43.4 deg north; the other station is 0.35 deg away, 28 km.
    assert [other.station for other in near] == ["NET/near"]
    expected = 0.1 * 111.19 * np.cos(np.deg2rad(NORTH - 0.2))
    assert near[0].km == pytest.approx(expected, rel=1e-3)
    assert len(near[0].observed) == 31 and (near[0].observed == 0.2).all()
    assert [other.station for other in stations.near(NORTH - 0.2, WEST + 0.5)] == [
        "NET/near", "NET/far",
    ]  # fmt: skip
    assert stations.near(0.0, 0.0) == [] and Stations(None).near(0.0, 0.0) == []


def test_the_band_breaks_where_days_are_missing():
    time = np.arange("2019-01-01", "2019-01-06", dtype="datetime64[D]").astype("datetime64[ns]")
    lower, upper = (
        np.array([0.1, 0.2, np.nan, 0.3, np.nan]),
        np.array([0.4, 0.5, np.nan, 0.6, np.nan]),
    )
    xs, ys = band_outlines(time, lower, upper)
    assert [list(y) for y in ys] == [
        [0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 0.4, 0.4],
        [0.3, 0.3, 0.3, 0.6, 0.6, 0.6],
    ]
    hours = (xs[0] - time[0]).astype("timedelta64[h]").astype(int)
    assert list(hours) == [-12, 0, 24, 36, 36, 24, 0, -12]
    assert band_outlines(time, np.full(5, np.nan), np.full(5, np.nan)) == ([], [])


# ---- the page ---------------------------------------------------------------------------------


def shown(page: Page) -> np.ndarray:
    """The image on the map, north first."""
    return page.map.image.data["image"][0][::-1]


def test_a_day_that_is_typed_is_shown_everywhere(page, atlas):
    page.day_field.value = "2019-03-02"
    assert page.shown_day == date(2019, 3, 2)
    np.testing.assert_array_equal(shown(page), atlas.read("ssm", MARCH, page.map.box).values)
    assert "2019-03-02" in page.caption.text and "day=2019-03-02" in page.links.text
    page._slid(1551571200000)  # 3 March 2019, milliseconds
    assert page.day_field.value == "2019-03-03"


def test_buttons_step_by_days_and_stop_at_the_ends(page):
    page.set_day(0)
    page.set_day(page.day - 1)
    assert page.day_field.value == "2019-01-20"
    page.set_day(LAYOUT.days)
    assert page.day_field.value == "2019-03-20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "expected year-month-day such as 2019-01-20"),
        ("2021-01-01", "it spans 2019-01-20 to 2019-03-20"),
    ],
)
def test_a_day_that_there_is_not_is_said(page, text, message):
    before = page.day
    page.day_field.value = text
    assert message in page.message.text and page.day == before
    page.day_field.value = str(page.shown_day)
    assert page.message.text == ""


def test_the_caption_says_what_is_seen(page, monkeypatch):
    assert "pixels of 1 km; grey" in page.caption.text
    monkeypatch.setattr(maps, "MOST_CHUNKS", 1)
    monkeypatch.setattr(maps, "MOST_CELLS", 8)
    page.set_day(5)  # frozen everywhere
    assert "cells of 0.1°, one of 2 shown each way (no value in view" in page.caption.text


def test_what_a_visitor_types_is_never_markup(page):
    page.day_field.value = "<img src=x onerror=alert(1)>"
    assert "<img" not in page.message.text and "&lt;img" in page.message.text


def test_a_click_gives_the_series_of_its_pixel_and_its_stations(page, store):
    page.tap(WEST + 0.4, NORTH - 0.2)
    place = open_product(store).sel(lat=NORTH - 0.2, lon=WEST + 0.4, method="nearest")
    for name, column in {"ssm": "ssm", "ssm_upper": "upper"}.items():
        found = codes_of(page.series.days.data[column])
        np.testing.assert_array_equal(found, codes_of(place[name]))
    assert len(page.series.dots[0].source.data["time"]) == 31
    assert len(page.series.dots[1].source.data["time"]) == 0
    assert "NET/near" in str(page.series.legend.items[2].label)
    assert page.series.figure.visible and "series.csv?lat=" in page.links.text
    assert page.map.place.data["lon"] == [pytest.approx(float(place.lon))]


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        ("", "3", "Give latitude and longitude as numbers"),
        ("0", "0", "lie outside the product"),
        (str(NORTH - 0.2), str(WEST + 0.05), "has no value on any day"),
    ],
)
def test_a_place_without_a_series_is_said(page, lat, lon, message):
    page.lat.value, page.lon.value = lat, lon
    page.ask_place()
    assert message in page.message.text and not page.series.figure.visible


def test_zooming_halves_what_is_in_view_round_the_place(page):
    page.tap(WEST + 0.4, NORTH - 0.2)
    west, _, east, _ = page.map.box
    page.zoom(0.5)
    closer = page.map.box
    assert closer[2] - closer[0] == pytest.approx((east - west) / 2)
    assert (closer[0] + closer[2]) / 2 == pytest.approx(page.place.lon)
    page.zoom(2.0)
    assert page.map.box[2] - page.map.box[0] == pytest.approx(east - west)


def test_a_kilometre_is_as_long_north_as_east(page):
    west, south, east, north = page.map.box
    wide, high = page.map.size["inner_width"], page.map.size["inner_height"]
    middle = np.cos(np.deg2rad((south + north) / 2))
    assert (east - west) * middle / wide == pytest.approx((north - south) / high)
    assert west <= WEST and south <= SOUTH + 1e-9 and east >= EAST and north >= NORTH - 1e-9


def test_a_page_that_is_closed_has_no_size_to_fit(page):
    for pixels, kept in ((800, 800), (0, 800)):
        page._resized("inner_width", pixels)
        assert page.map.size["inner_width"] == kept
    page._fit()


def test_quality_has_a_key_and_no_colour_bar(page):
    page.layer.value = "quality"
    assert "frozen or under snow" in page.key.text and not page.map.bar.visible
    assert set(np.unique(shown(page)[np.isfinite(shown(page))])) <= set(range(len(CLASSES)))
    page.layer.value = "ssm_spread"
    assert page.key.text == "" and page.map.bar.visible
    assert page.map.mapper.high == 0.15


# ---- files ------------------------------------------------------------------------------------

BOX = f"{WEST},{SOUTH},{EAST},{NORTH}"


def ask(atlas: Atlas, stations: Stations, name: str, **query: str) -> tuple[str, bytes]:
    return answer(atlas, stations, name, query.__getitem__)


@pytest.mark.parametrize("layer", ["ssm", "quality"])
def test_a_map_as_geotiff_holds_the_products_codes(store, atlas, stations, tmp_path, layer):
    name, content = ask(atlas, stations, "map.tif", layer=layer, day="2019-03-02", box=BOX)
    assert name == f"{layer}_2019-03-02.tif"
    (tmp_path / name).write_bytes(content)
    plain = xr.open_zarr(store, chunks=None, consolidated=False, mask_and_scale=False)
    codes = plain[layer][MARCH].values
    with rasterio.open(tmp_path / name) as image:
        values = image.read(1)
        np.testing.assert_allclose(image.bounds, WHOLE)
        assert (image.crs.to_epsg(), image.descriptions) == (4326, (f"{layer} 2019-03-02",))
        assert image.nodata == (65535 if layer == "ssm" else None)
    np.testing.assert_array_equal(
        values, np.where(codes == FILL, np.int32(65535), codes) if layer == "ssm" else codes
    )


@pytest.mark.parametrize("layer", ["ssm", "ssm_spread", "quality"])
def test_a_map_as_png_is_a_picture(atlas, stations, layer):
    _, content = ask(atlas, stations, "map.png", layer=layer, day="2019-03-02", box=BOX)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[k : k + 4], "big") for k in (16, 20))
    assert width > 800 and height > 300


def test_a_series_as_csv_has_the_days_in_view_and_the_stations(store, atlas, stations, tmp_path):
    place = {"lat": str(NORTH - 0.2), "lon": str(WEST + 0.4)}
    days = {"first_day": "2019-02-27", "last_day": "2019-03-05"}
    _, content = ask(atlas, stations, "series.csv", **place, **days)
    (tmp_path / "s.csv").write_bytes(content)
    table = pd.read_csv(tmp_path / "s.csv", index_col="time")
    assert list(table.index) == [str(d)[:10] for d in pd.date_range("2019-02-27", "2019-03-05")]
    expected = open_product(store).sel(lat=NORTH - 0.2, lon=WEST + 0.4, method="nearest")
    expected = expected.sel(time=slice("2019-02-27", "2019-03-05"))
    np.testing.assert_allclose(table["ssm"], expected.ssm, atol=1e-7)
    np.testing.assert_allclose(table["ssm_lower"], expected.ssm_lower, atol=1e-7)
    np.testing.assert_array_equal(table["quality"], expected.quality)
    assert table["observed NET/near"].notna().tolist() == [False] * 2 + [True] * 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"layer": "rain", "day": "2019-03-02", "box": BOX}, "layer is 'rain', expected one of"),
        ({"layer": "ssm", "day": "2030-03-02", "box": BOX}, "no day from 2030-03-02"),
        ({"layer": "ssm", "day": "2019-03-02", "box": "0,0,1,1"}, "nothing in this box"),
    ],
)
def test_a_file_of_what_there_is_not_is_refused(atlas, stations, query, message):
    with pytest.raises(ValueError, match=message):
        ask(atlas, stations, "map.tif", **query)


# ---- the server -------------------------------------------------------------------------------


def test_the_server_answers_this_machine_alone_and_says_what_is_wrong(store):
    server = make_server(store, store.with_name("stations.parquet"))
    server.start()
    address = f"http://localhost:{server.port}/"

    def get(path: str, host: str | None = None) -> tuple[int, bytes]:
        headers = {"Host": host} if host else {}
        request = HTTPRequest(address + path, headers=headers)
        try:
            answered = server.io_loop.run_sync(lambda: AsyncHTTPClient().fetch(request))
        except HTTPClientError as error:
            return error.code, error.response.body if error.response else b""
        return answered.code, answered.body

    try:
        code, body = get("")
        assert code == 200 and b"A small world" in body and b"//cdn" not in body
        query = f"download/map.tif?layer=ssm&day=2019-03-02&box={BOX}"
        assert get(query)[1][:4] in (b"II*\x00", b"MM\x00*")
        assert get(query, "evil.example")[0] == 403
        code, body = get(f"download/map.tif?layer=rain&day=2019-03-02&box={BOX}")
        assert code == 400 and b"layer is 'rain'" in body
        assert get("download/../../etc/passwd")[0] == 404
        with pytest.raises(RuntimeError, match=f"port {server.port} is taken"):
            make_server(store, port=server.port)
    finally:
        server.stop()
        server.io_loop.close()


def test_without_bokeh_the_command_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    said = CliRunner().invoke(app, ["view", str(store)], env={"COLUMNS": "300"})
    assert said.exit_code == 1
    assert (
        "the viewer needs Bokeh, which is not installed: pip install 'gssm-cube[view]'"
        in said.output
    )


def test_a_product_that_is_not_there_is_said(tmp_path):
    said = CliRunner().invoke(app, ["view", str(tmp_path / "no.zarr")], env={"COLUMNS": "300"})
    assert said.exit_code == 1 and "no Zarr store at" in said.output
