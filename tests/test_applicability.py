"""The dissimilarity index, worked by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gssm_cube.skill.applicability import (
    Reference,
    constant_in_place,
    dissimilarity_layer,
    overview_layer,
    reference_of,
)

IMPORTANCE = pd.Series({"wet": 0.5, "clay": 0.3, "elevation": 0.2, "same": 0.1})


@pytest.fixture
def samples() -> pd.DataFrame:
    """Three stations, two days each; `wet` changes, `same` is everywhere the same."""
    return pd.DataFrame({
        "station": ["a", "a", "b", "b", "c", "c"],
        "wet": [1.0, 2, 3, 4, 5, 6],
        "clay": [10.0, 10, 20, 20, 30, 30],
        "elevation": [0.0, 0, 300, 300, 0, 0],
        "same": 7.0,
    })  # fmt: skip


@pytest.fixture
def reference(samples) -> Reference:
    return reference_of(samples, IMPORTANCE)


def test_only_what_is_constant_in_place_and_differs_between_places_counts(samples, reference):
    assert constant_in_place(samples, IMPORTANCE.index) == ["clay", "elevation", "same"]
    assert reference.names == ("clay", "elevation")
    assert reference.stations == ("a", "b", "c")


def test_the_index_by_hand(reference):
    # Deviations: clay sqrt(200 / 3), elevation sqrt(20000); times the importance .3 and .2.
    x, y = 0.3 * 10 / np.sqrt(200 / 3), 0.2 * 300 / np.sqrt(20000)
    unit = (2 * np.hypot(x, y) + 2 * x) / 3
    assert reference.unit == pytest.approx(unit)
    found = reference.dissimilarity([[10, 0], [20, 0], [50, 0], [np.nan, 0]])
    np.testing.assert_allclose(found, [0, min(x, y) / unit, 2 * x / unit, np.nan], atol=1e-12)


def test_a_held_out_station_is_measured_from_the_others(reference):
    a, b, c = reference.points
    expected = np.array([np.linalg.norm(a - b), np.linalg.norm(b - c), np.linalg.norm(c - b)])
    np.testing.assert_allclose(reference.held_out([0, 1, 0]), expected / reference.unit)


def test_units_of_a_predictor_do_not_matter_and_its_importance_does(samples, reference):
    feet = reference_of(samples.assign(elevation=samples["elevation"] * 3.28), IMPORTANCE)
    np.testing.assert_allclose(
        feet.dissimilarity([[35, 3280.0]]), reference.dissimilarity([[35, 1000.0]])
    )
    flat = reference_of(samples, IMPORTANCE.replace(0.2, 0.0))
    assert flat.names == ("clay",)


def test_the_layer_is_the_index_of_each_pixel_lazy_or_not(reference):
    rng = np.random.default_rng(1)
    shape = {"lat": 4, "lon": 5}
    features = xr.Dataset({
        "clay": (("lat", "lon"), rng.uniform(0, 60, (4, 5))),
        "elevation": (("lon", "lat"), rng.uniform(0, 900, (5, 4))),  # any order of dims
    })  # fmt: skip
    features["clay"][1, 2] = np.nan
    layer = dissimilarity_layer(reference, features)
    assert layer.dims == ("lat", "lon") and layer.sizes == shape and layer.dtype == "float32"
    assert np.isnan(layer[1, 2]) and layer.isnull().sum() == 1
    one = features.isel(lat=3, lon=4)
    expected = reference.dissimilarity([[float(one["clay"]), float(one["elevation"])]])
    assert float(layer[3, 4]) == pytest.approx(expected[0], rel=1e-6)
    lazy = dissimilarity_layer(reference, features.chunk(lat=2))
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), layer)
    assert "not an estimate of error" in layer.attrs["comment"]


def test_a_layer_that_changes_in_time_is_refused(reference):
    features = xr.Dataset({"clay": (("time", "lat", "lon"), np.zeros((1, 2, 2)))})
    with pytest.raises(ValueError, match=r"clay has dims \('time', 'lat', 'lon'\), expected"):
        dissimilarity_layer(reference, features)


def test_one_station_or_nothing_constant_gives_no_reference(samples):
    assert reference_of(samples[:2], IMPORTANCE) is None
    assert reference_of(samples, IMPORTANCE[["wet", "same"]]) is None


def test_a_reference_comes_back_from_json(reference):
    again = Reference.from_dict(json.loads(json.dumps(reference.to_dict())))
    place = [[25.0, 100.0]]
    assert again.dissimilarity(place) == reference.dissimilarity(place)
    assert (again.names, again.stations) == (reference.names, reference.stations)


def test_an_overview_has_every_pixel_of_a_small_run_and_every_nth_of_a_large_one(reference):
    rng = np.random.default_rng(4)
    features = xr.Dataset(
        {name: (("lat", "lon"), rng.uniform(0, 50, (7, 10))) for name in ("clay", "elevation")}
    )
    whole = dissimilarity_layer(reference, features)
    said = reference.to_dict()
    xr.testing.assert_identical(overview_layer(said, features), whole)
    every_third = overview_layer(said, features, largest=4)
    xr.testing.assert_identical(every_third, whole[1::3, 1::3])
    assert overview_layer(None, features) is None


def test_a_position_that_is_a_predictor_is_spread_over_the_other_axis(samples):
    placed = samples.assign(lat=samples["clay"] - 10)
    reference = reference_of(placed, pd.Series({"clay": 0.5, "lat": 0.5}))
    features = xr.Dataset({"clay": (("lat", "lon"), np.full((2, 3), 10.0))}, {"lat": [0.0, 40.0]})
    layer = dissimilarity_layer(reference, features)
    np.testing.assert_allclose(layer[0], 0, atol=1e-12)
    assert (layer[1] > 0).all()
