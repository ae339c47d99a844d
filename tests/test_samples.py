"""Samples: the cube's very values at stations, wherever they stand."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gssm_cube.cube import open_cube
from gssm_cube.grid import Grid, Layout, Tile
from gssm_cube.samples import sample_cube
from gssm_cube.sampling.placing import describe_unchosen, place_stations
from gssm_cube.storage.growth import set_attrs
from gssm_cube.storage.stores import open_group
from gssm_cube.variables import PREDICTORS

# (row, column) in the store: corners of tiles, both sides of the border between them, inside.
PLACES = [(0, 0), (0, 47), (0, 48), (47, 47), (47, 48), (47, 95), (30, 60), (31, 60)]
DAYS = ["2018-03-01", "2018-07-09", "2019-03-01", "2019-03-02", "2019-03-05"]  # 366 is 2 March


def stations(small_world, places=PLACES, days=DAYS):
    """Stations off the centres of their pixels, a row a day."""
    layout = small_world.layout
    rng = np.random.default_rng(5)
    shifts = rng.uniform(-0.45, 0.45, (len(places), 2)) / 120
    rows = [
        {
            "network": "NET",
            "station": f"NET/{number}",
            "lat": layout.lat[row] + north,
            "lon": layout.lon[col] + east,
            "time": pd.Timestamp(day),
            "observed": 0.01 * number,
        }
        for number, ((row, col), (north, east)) in enumerate(zip(places, shifts, strict=True))
        for day in days
    ]
    table = pd.DataFrame(rows)
    table.attrs["day"] = "UTC"
    return table


@pytest.fixture(scope="module")
def sampled(small_world):
    # Shuffled: the order of rows must not matter.
    table = stations(small_world).sample(frac=1, random_state=1)
    return sample_cube(small_world.cube, table)


def test_every_feature_is_the_cube_s_value_to_the_last_bit(small_world, sampled):
    dataset = open_cube(small_world.cube)
    assert len(sampled) == len(PLACES) * len(DAYS)
    for _, sample in sampled.iterrows():
        place = dict(lat=sample["station_lat"], lon=sample["station_lon"], method="nearest")
        pixel = dataset.sel(**place).sel(time=sample["time"])
        for name in PREDICTORS:
            expected = np.float32(pixel[name].values)
            found = np.float32(sample[name])
            assert expected.tobytes() == found.tobytes() or np.isnan([expected, found]).all(), name
    assert all(sampled[name].dtype == np.float32 for name in PREDICTORS)
    assert sampled["lst"].notna().sum() >= 3 * len(DAYS)


def test_a_cube_of_nearest_cells_is_sampled_as_it_is_read(small_world, tmp_path):
    copy = Path(shutil.copytree(small_world.cube, tmp_path / "nearest.zarr"))
    shutil.copytree(f"{small_world.cube}.markers", f"{copy}.markers")
    set_attrs(copy, {"upsampling": "nearest"}, "meteo/cells")
    few = stations(small_world, PLACES[4:6], DAYS[:2])
    sampled, dataset = sample_cube(copy, few), open_cube(copy)
    bilinear = sample_cube(small_world.cube, few)
    for _, sample in sampled.iterrows():
        place = dict(lat=sample["station_lat"], lon=sample["station_lon"], method="nearest")
        pixel = dataset.sel(**place).sel(time=sample["time"])
        for name in ("tair", "apei", "evaporation"):
            assert np.float32(pixel[name].values) == np.float32(sample[name]), name
    assert (sampled["tair"] != bilinear["tair"]).any()


def test_rows_know_their_pixel_and_tile(small_world, sampled):
    first = sampled.drop_duplicates("station").set_index("station")
    for number, (row, col) in enumerate(PLACES):
        sample = first.loc[f"NET/{number}"]
        assert sample["pixel"] == (116 * 48 + row) * 43200 + 370 * 48 + col
        assert sample["tile"] == ("r116c370" if col < 48 else "r116c371")
        assert sample["observed"] == pytest.approx(0.01 * number)
        assert sample["lat"] == np.float32(small_world.layout.lat[row])
    assert not [name for name in sampled.columns if name.startswith("_")]


def test_rows_come_in_order_whatever_their_order_was(small_world, sampled):
    assert sampled["station"].is_monotonic_increasing
    again = sample_cube(small_world.cube, stations(small_world))
    pd.testing.assert_frame_equal(again, sampled)


def test_progress_counts_what_is_read_and_the_blocks(small_world):
    told = []
    table = stations(small_world, PLACES[:2])  # both stand in one tile, in two windows
    sample_cube(small_world.cube, table, progress=lambda *state: told.append(state))
    assert told == [
        ("samples, static", 1, 1),
        ("samples, climatology", 1, 1),
        ("samples, composite", 1, 2),
        ("samples, composite", 2, 2),
        ("samples, climate", 1, 1),
        ("samples, meteo", 1, 2),
        ("samples, meteo", 2, 2),
        ("samples, reanalysis", 1, 2),
        ("samples, reanalysis", 2, 2),
        ("samples", 1, 2),
        ("samples", 2, 2),
    ]


def test_days_outside_the_period_are_dropped_and_counted(small_world, caplog):
    days = ["2018-02-28", "2018-03-01", "2019-03-05", "2019-03-06"]
    with caplog.at_level(logging.INFO, "gssm_cube"):
        found = sample_cube(small_world.cube, stations(small_world, [(30, 60)], days))
    assert list(found["time"].dt.strftime("%F")) == ["2018-03-01", "2019-03-05"]
    assert "samples: 2 of 4 station days lie in the cube" in caplog.text


def test_a_table_without_a_day_in_the_period_is_refused(small_world):
    table = stations(small_world, [(30, 60)], ["2017-01-01", "2020-01-01"])
    with pytest.raises(ValueError, match="no station day lies within 2018-03-01 .. 2019-03-05"):
        sample_cube(small_world.cube, table)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (43.6 + 1e-9, -31.5),
        (43.2, -31.5),  # on the south edge: the pixel belongs to the next tile
        (43.2 - 1e-6, -31.5),
        (43.4, -32.0 - 1e-9),
        (43.4, -31.2),  # on the east edge
        (np.nan, -31.5),
        (43.4, np.nan),
        (43.4, 328.5),  # 0..360
    ],
)
def test_a_station_outside_the_cube_is_refused_by_name(small_world, lat, lon):
    table = stations(small_world, PLACES[:2], DAYS[:1])
    table.loc[1, ["lat", "lon"]] = lat, lon
    with pytest.raises(ValueError, match="1 stations lie outside the cube .*: NET/1; enlarge"):
        sample_cube(small_world.cube, table)


def test_places_on_the_north_and_west_edges_belong_to_the_cube(small_world):
    table = stations(small_world, PLACES[:1], DAYS[:1])
    table[["lat", "lon"]] = 43.6, -32.0
    assert place_stations(table, small_world.layout)["pixel"].item() == 116 * 48 * 43200 + 370 * 48


def test_180_east_is_180_west():
    layout = Layout.covering(
        (-180.0, 0.0, -179.6, 0.4), *[pd.Timestamp("2019-01-01").date()] * 2, 48
    )
    table = pd.DataFrame(
        {
            "station": ["a", "b"],
            "lat": [0.2, 0.2],
            "lon": [180.0, -180.0],
            "time": ["2019-01-01"] * 2,
        }
    ).astype({"time": "datetime64[us]"})
    placed = place_stations(table, layout)
    assert placed["pixel"].nunique() == 1
    assert placed["pixel"].iloc[0] == Grid().pixel_of(0.2, -180.0)


def test_another_definition_of_the_day_is_refused(small_world):
    table = stations(small_world, PLACES[:1])
    table.attrs["day"] = "local"
    with pytest.raises(ValueError, match="station days are 'local', days of .* are 'UTC'"):
        sample_cube(small_world.cube, table)


def test_a_choice_of_features_gives_their_columns_and_no_other(small_world, sampled):
    table = stations(small_world)
    for chosen in (["lst"], ["land", "ndvi", "clay"], ["lst_quality", "tair", "lat"]):
        found = sample_cube(small_world.cube, table, features=chosen)
        added = {*PREDICTORS, "lst_quality", "static_filled", "land"}
        assert set(found.columns) & added == set(chosen)
        pd.testing.assert_frame_equal(found, sampled[found.columns])


@pytest.mark.parametrize("chosen", [["lst", "rain"], []])
def test_an_unknown_choice_of_features_is_refused(small_world, chosen):
    with pytest.raises(ValueError, match="expected some of .*lst.*static_filled, land"):
        sample_cube(small_world.cube, stations(small_world), features=chosen)


def test_a_missing_cube_is_named(small_world, tmp_path):
    with pytest.raises(FileNotFoundError, match="no Zarr store at .*nowhere"):
        sample_cube(tmp_path / "nowhere", stations(small_world))


def test_the_layout_s_own_pixels_stand_where_they_are(small_world):
    shifted = replace(
        small_world.layout, first_tile=replace(small_world.layout.first_tile, col=371)
    )
    with pytest.raises(ValueError, match="4 stations lie outside"):
        place_stations(stations(small_world, [(0, 0), (0, 47), (5, 5), (9, 9), (0, 48)]), shifted)


def test_stations_in_tiles_that_are_not_chosen_are_counted_by_name(small_world, tmp_path, caplog):
    # Of the two tiles only the western one is chosen; three of four stations stand in it.
    west = replace(small_world.layout, chosen=(Tile(116, 370),))
    copy = Path(shutil.copytree(small_world.cube, tmp_path / "features.zarr"))
    shutil.copytree(f"{small_world.cube}.markers", f"{copy}.markers")
    root = open_group(copy, "r+")
    root.attrs["gssm_layout"] = west.to_dict()
    table = stations(small_world, PLACES[:4], DAYS[:2])
    with caplog.at_level(logging.WARNING):
        sampled = sample_cube(copy, table)
    counts = sampled.groupby(["station", "tile"]).size().reset_index(name="rows")
    said = describe_unchosen(counts, west)
    assert said.startswith(
        "2 days of 1 stations have no features, for their tiles (r116c371) are not among those of "
        "the run: NET/2; choose these tiles"
    )
    assert said in caplog.text
    assert describe_unchosen(counts, small_world.layout) == ""
