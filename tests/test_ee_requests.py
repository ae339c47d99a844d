"""Requests within Earth Engine's limits: arithmetic by hand, and for any box."""

import ast
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.costs.request_costs import cost_of, costs, naive_cost
from gssm_cube.download import earthengine_orders, orders
from gssm_cube.download.downloads import RemoteSources
from gssm_cube.grid import Layout
from gssm_cube.sources import earthengine
from gssm_cube.sources.ee_requests import (
    MOST_BANDS,
    MOST_BYTES,
    MOST_SIDE,
    Band,
    PixelGrid,
    Request,
    batches,
    images_at_once,
    pieces,
    row_slabs,
    without_gaps,
)

FLOAT, CODE = Band("a", "float32", -9999), Band("b", "uint8", 0)
GRID = PixelGrid("EPSG:4326", (-180.0, 90.0), (0.1, 0.1))
ASSETS = {
    "era5_land": "ECMWF/ERA5_LAND/DAILY_AGGR",
    "mod11a1": "MODIS/061/MOD11A1",
    "mod13a2": "MODIS/061/MOD13A2",
    "soilgrids": "projects/soilgrids-isric",
    "merit_hydro": "MERIT/Hydro/v1_0_1",
    "wtd": "projects/someone/assets/wtd",
    "bedrock": "projects/someone/assets/bedrock",
}


@st.composite
def boxes(draw, most=3_000):
    """A box of a map, sometimes wide."""
    row, col = (draw(st.integers(0, 10**6)) for _ in range(2))
    height, width = draw(st.integers(1, most)), draw(st.integers(1, 12 * most))
    return range(row, row + height), range(col, col + width)


def fits(box, bands, images=1):
    rows, cols = box
    request = Request("x", tuple(bands), GRID, rows, cols, (np.datetime64("2019-01-01"),) * images)
    masks = len(rows) * len(cols) * request.band_count
    return (
        request.bytes + masks <= MOST_BYTES
        and request.band_count <= MOST_BANDS
        and max(request.shape) <= MOST_SIDE
    )


@given(st.lists(boxes(), min_size=1, max_size=3), st.sampled_from([(FLOAT,), (FLOAT, CODE)]))
def test_pieces_fit_and_hold_each_wanted_place_once(wanted, bands):
    origin = min(box[0].start for box in wanted), min(box[1].start for box in wanted)
    near = [  # brought together, so that their hull is one map
        (range(origin[0] + i, origin[0] + i + len(r)), range(origin[1], origin[1] + len(c)))
        for i, (r, c) in enumerate(wanted)
    ]
    found = pieces(near, bands)
    assert all(fits(box, bands) for box in found)
    for rows, cols in near:
        for row, col in ((rows[0], cols[0]), (rows[-1], cols[-1]), (rows[len(rows) // 2], cols[0])):
            assert sum(row in part[0] and col in part[1] for part in found) == 1


@given(boxes(), st.integers(1, 24))
def test_slabs_fit_and_hold_each_row_once(box, images):
    if len(box[1]) > MOST_SIDE:
        with pytest.raises(ValueError, match="do not fit in one request"):
            list(row_slabs(box, (FLOAT,), images))
        return
    slabs = list(row_slabs(box, (FLOAT,), images))
    assert all(fits(slab, (FLOAT,), images) and slab[1] == box[1] for slab in slabs)
    assert [row for rows, _ in slabs for row in rows] == list(box[0])


def test_a_full_tile_of_modis_takes_three_days_a_request():
    tile = range(1200), range(1200)  # two uint16, two uint8 and four masks a pixel: 14.4 MB a day
    bands = (Band("d", "uint16", 0), CODE, Band("n", "uint16", 0), CODE)
    assert images_at_once(tile, bands) == 3
    assert images_at_once((range(10), range(10)), bands) == 256  # 1,024 bands


def test_days_of_hours_are_never_cut():
    assert images_at_once((range(2), range(2)), (FLOAT,) * 3, 24) == 336  # 14 days, 1,008 bands
    assert images_at_once((range(1800), range(3600)), (FLOAT,) * 3, 24) == 24


def test_stamps_are_cut_in_groups_and_at_gaps():
    days = tuple(np.arange("2019-01-01", "2019-01-08", dtype="M8[D]"))
    assert [len(group) for group in batches(days, 3)] == [3, 3, 1]
    with_gap = (*days[:2], *days[3:])
    assert list(without_gaps(with_gap, np.timedelta64(1, "D"))) == [days[:2], days[3:]]
    assert list(without_gaps((), np.timedelta64(1, "D"))) == []


def test_a_box_in_degrees_is_rows_and_columns_from_the_corner():
    assert GRID.box((-179.95, 89.8, -179.8, 89.95)) == (range(2), range(2))
    assert GRID.corner_of((range(3, 5), range(7, 9))) == pytest.approx((-179.3, 89.7))


# ---- of a run ---------------------------------------------------------------------------------


def test_requests_of_a_tile_year_are_those_worked_by_hand(tmp_path):
    # 42..46 N, 4..0 W, 366 days; ERA5-Land 41 x 41 cells, five bands of 731 days: 204 days a time;
    # two of the soil of 366 days: once.
    layout = Layout.covering((-4, 42, 0, 46), date(2019, 1, 1), date(2020, 1, 1))
    found = {cost.source: cost for cost in costs(RemoteSources(ASSETS, layout, tmp_path))}
    assert found["era5_land"].requests == 4 + 1
    assert found["era5_land"].bytes == 41 * 41 * 4 * (5 * 731 + 2 * 366)
    # 480 rows; columns from 4 W at 42 N to 0: 4 x 120 x cos(42) = 357; ten bytes: 29 days a time.
    assert found["mod11a1"].bytes == 480 * 357 * 6 * 366
    assert found["mod11a1"].requests == -(-366 // 29)
    assert found["wtd"].requests == found["bedrock"].requests == found["soilgrids"].requests == 1
    naive = naive_cost(layout, 1)
    assert naive.bytes == 480 * 480 * 18 * 4 * 366
    assert naive.requests == 183  # two days a time
    daily = sum(found[name].requests for name in ("era5_land", "mod11a1", "mod13a2"))
    assert naive.requests > 9 * daily


def test_hours_of_soil_are_those_of_the_own_days_21_days_a_time(tmp_path):
    layout = Layout.covering((-4, 42, 0, 46), date(2019, 1, 1), date(2020, 1, 1))
    asset = {"era5_land": "ECMWF/ERA5_LAND/HOURLY"}
    with_soil = (partial(earthengine_orders.deliveries, soil=soil) for soil in (True, False))
    both, weather = (
        costs(RemoteSources(asset, layout, tmp_path, orders=ordered))[0] for ordered in with_soil
    )
    # 1,024 bands are 14 days of 72, and 21 days of 48; weather has a year before, and a day after.
    assert (weather.requests, both.requests) == (-(-732 // 14), -(-732 // 14) + -(-366 // 21))
    assert both.bytes - weather.bytes == 41 * 41 * 4 * 48 * 366
    stamps = [str(orders.soil_stamps(layout, hourly=True)[place]) for place in (0, -1)]
    assert stamps == ["2019-01-01T00", "2020-01-01T23"]


def test_a_single_day_of_soil_is_a_file(tmp_path):
    layout = Layout.covering((-4, 42, 0, 46), date(2019, 7, 1), date(2019, 7, 1))
    found = list(earthengine_orders.deliveries("era5_land", ASSETS["era5_land"], layout, tmp_path))
    assert found[-1].files[0].name == "era5_land_soil_daily_20190701_20190701.nc"
    assert [band.name for band in found[-1].requests[0].bands] == [
        "volumetric_soil_water_layer_1", "soil_temperature_level_1",
    ]  # fmt: skip


def test_a_global_day_of_meteorology_takes_three_requests():
    layout = Layout.covering((-180, -62, 180, 86), date(2019, 7, 1), date(2019, 7, 1))
    box = orders.cell_box(layout)
    assert [len(span) for span in box] == [1481, 3600]  # 180 E is 180 W
    bands = [Band(name, "float32", 0) for name, *_ in earthengine_orders.METEO_BANDS["DAILY_AGGR"]]
    assert len(list(row_slabs(box, bands, 1))) == 3


def test_compute_is_so_much_a_band_and_a_value():
    stamps = tuple(np.arange("2019-01-01", "2019-01-11", dtype="M8[D]"))
    request = Request("x", (FLOAT, CODE), GRID, range(100), range(50), stamps)
    # 20 bands at 0.02 s, 100,000 values at 10 million a second
    assert cost_of("x", [request]).compute_hours == pytest.approx((0.4 + 0.01) / 3600)


def test_another_region_or_asset_has_its_own_folder(tmp_path):
    layouts = [
        Layout.covering(bounds, date(2019, 1, 1), date(2019, 1, 2))
        for bounds in ((-4, 42, 0, 46), (-8, 42, 0, 46))
    ]
    folders = {
        orders.folder_of(Path("ee"), "era5_land", asset, layout)
        for asset in ("ECMWF/ERA5_LAND/HOURLY", "ECMWF/ERA5_LAND/DAILY_AGGR")
        for layout in layouts
    }
    assert len(folders) == 4


def test_terrain_beyond_180_east_is_asked_at_180_west():
    layout = Layout.covering((176, 42, 180, 46), date(2019, 1, 1), date(2019, 1, 1))
    found = earthengine_orders.deliveries("merit_hydro", ASSETS["merit_hydro"], layout, Path("ee"))
    tiles = {delivery.files[0].name[:7]: delivery.requests for delivery in found}
    assert {"n40e175", "n45e175", "n40w180"} <= set(tiles)
    assert all(request.cols.start == 0 for request in tiles["n40w180"])
    assert max(r.cols.stop for requests in tiles.values() for r in requests) <= 432_000


def test_the_client_is_imported_only_when_it_is_needed():
    tree = ast.parse(Path(earthengine.__file__).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    text = " ".join(ast.unparse(node) for node in imports)
    assert "numpy" in text
    assert not {"ee", "google", "requests", "httplib2"} & set(text.replace(".", " ").split())
