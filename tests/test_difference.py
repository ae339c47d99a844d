"""What differs between two products, worked out by hand on one or two tiles."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import Layers, create_product, write_block
from gssm_cube.release.difference import compare_products, statistics

# Two tiles; a window of 366 days from 1 March 2018 and four days of the next.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 3, 1), date(2019, 3, 5), 48)
FILL = -32768


def write(path, layout, values, attrs=None):
    """Write a product whose soil moisture codes are ``values`` (time, lat, lon)."""
    create_product(path, layout, attrs or {})
    for tile in layout.tiles():
        for window in layout.windows():
            part = values[(window.slice, *layout.tile_slices(tile))].astype("int16")
            quality = np.zeros(part.shape, dtype="uint16")
            write_block(path, layout, Block(tile, window), Layers(part, part, quality))
    return path


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Two products of 0.2 m3 m-3 that differ in four known ways."""
    folder = tmp_path_factory.mktemp("diff")
    first = np.full((LAYOUT.days, *LAYOUT.shape), 200)
    second = first.copy()
    second[0, 0, 0] += 10  # 1 March 2018, first tile
    second[366, 0, 0] -= 30  # 2 March 2019, first tile
    first[:, 47, 95] = FILL  # last pixel, second tile: in the second only
    second[5, 1, 50] = FILL  # second tile: in the first only
    first = write(folder / "a.zarr", LAYOUT, first, {"forest_digest": "one"})
    return first, write(folder / "b.zarr", LAYOUT, second, {"forest_digest": "two"})


def test_what_differs_is_counted_by_year(products):
    found = compare_products(*products)
    rows = found.by_year.set_index("year")
    pixels = 48 * 96
    assert rows["compared"].to_dict() == {2018: 306 * (pixels - 1) - 1, 2019: 64 * (pixels - 1)}
    assert rows["changed"].to_dict() == {2018: 1, 2019: 1}
    assert rows["only_first"].to_dict() == {2018: 1, 2019: 0}
    assert rows["only_second"].to_dict() == {2018: 306, 2019: 64}
    assert rows["largest"].to_dict() == {2018: 0.01, 2019: 0.03}
    count = rows.loc[2019, "compared"]
    np.testing.assert_allclose(rows.loc[2019, "mean"], -0.03 / count, atol=1e-9)
    np.testing.assert_allclose(rows.loc[2019, "rms"], 0.03 / np.sqrt(count), atol=1e-9)
    assert rows.loc[2019, "p50"] == 0
    assert found.overall["changed"] == 2 and found.overall["only_second"] == 370


def test_what_differs_is_counted_by_tile(products):
    rows = compare_products(*products, threads=1).by_tile.set_index(["tile", "year"])
    assert rows.loc[("r118c372", 2018), "changed"] == 1
    assert rows.loc["r118c373", "changed"].sum() == 0
    assert rows.loc[("r118c373", 2018), "only_first"] == 1


def test_the_other_way_round_the_signs_turn(products):
    one, other = compare_products(*products), compare_products(*reversed(products))
    assert one.overall["mean"] == -other.overall["mean"]
    assert one.overall["only_first"] == other.overall["only_second"]


def test_a_product_does_not_differ_from_itself(products):
    found = compare_products(products[0], products[0]).overall
    assert (found["changed"], found["only_first"], found["only_second"]) == (0, 0, 0)
    assert (found["rms"], found["largest"]) == (0, 0)


def test_all_of_it_fits_json_and_names_both(products):
    said = json.loads(json.dumps(compare_products(*products).to_dict(), allow_nan=False))
    assert (said["first"]["product"], said["second"]["product"]) == ("a.zarr", "b.zarr")
    assert (said["first"]["forest_digest"], said["second"]["forest_digest"]) == ("one", "two")
    assert len(said["by_tile"]) == 4 and said["overall"]["changed"] == 2


def test_a_geotiff_has_the_mean_difference_of_each_pixel(products, tmp_path):
    compare_products(*products, map_path=tmp_path / "d.tif")
    with rasterio.open(tmp_path / "d.tif") as file:
        mean, share = file.read()
        west, _, _, north = LAYOUT.bounds
        np.testing.assert_allclose((file.bounds.left, file.bounds.top), (west, north))
    np.testing.assert_allclose(mean[0, 0], (0.010 - 0.030) / 370, rtol=1e-6)
    np.testing.assert_allclose(share[0, 0], 2 / 370, rtol=1e-6)
    assert np.isnan(mean[47, 95]) and np.isnan(mean).sum() == 1
    assert np.count_nonzero(mean[:47]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d.tif"]


def test_a_picture_is_drawn(products, tmp_path):
    compare_products(*products, map_path=tmp_path / "d.png")
    picture = imread(tmp_path / "d.png")
    assert picture.shape[0] > 200 and np.unique(picture.reshape(-1, 4), axis=0).shape[0] > 3


def test_only_what_both_have_is_compared(products, tmp_path):
    inner = Layout(Tile(118, 373), 1, 1, date(2018, 3, 2), date(2019, 3, 8), 48)
    values = np.full((inner.days, *inner.shape), 207)
    other = write(tmp_path / "c.zarr", inner, values)
    for pair in ((products[1], other), (other, products[1])):
        found = compare_products(*pair)
        assert set(found.by_tile["tile"]) == {"r118c373"}
        assert found.overall["compared"] == 369 * 48 * 48 - 1  # one is missing on 6 March 2018
        assert found.overall["changed"] == found.overall["compared"]
        assert abs(found.overall["mean"]) == abs(found.overall["p05"]) == 0.007
    assert compare_products(products[1], other).overall["only_second"] == 1


def test_tiles_of_another_size_are_compared_pixel_by_pixel(tmp_path):
    coarse = Layout(Tile(59, 186), 1, 1, date(2018, 3, 1), date(2018, 3, 3), 96)
    values = np.arange(3 * 96 * 96).reshape(3, 96, 96) % 900
    fine = replace(LAYOUT, last_day=date(2018, 3, 3))
    one = write(tmp_path / "one.zarr", coarse, values)
    other = write(tmp_path / "other.zarr", fine, values[:, :48])
    for pair in ((one, other), (other, one)):
        found = compare_products(*pair).overall
        assert (found["compared"], found["changed"]) == (3 * 48 * 96, 0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(LAYOUT, first_tile=Tile(110, 372)), "the products do not overlap: they span"),
        (
            replace(LAYOUT, first_day=date(2020, 1, 1), last_day=date(2020, 1, 2)),
            "share no day: 2018-03-01 to 2019-03-05 and 2020-01-01 to 2020-01-02",
        ),
    ],
)
def test_products_that_share_nothing_are_refused(products, tmp_path, other, said):
    create_product(tmp_path / "c.zarr", other, {})
    with pytest.raises(ValueError, match=said):
        compare_products(products[0], tmp_path / "c.zarr")


def test_a_map_of_another_kind_is_refused(products, tmp_path):
    with pytest.raises(ValueError, match=r"'d.gif', expected a name that ends in .tif or .png"):
        compare_products(*products, map_path=tmp_path / "d.gif")


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=60))
def test_measures_are_those_of_the_differences_themselves(codes):
    counts = np.bincount(np.array(codes) + 1000, minlength=2001)
    found = statistics(counts, np.array([0, 0]))
    values = np.array(codes) / 1000
    np.testing.assert_allclose(found["mean"], values.mean(), atol=1e-9)
    np.testing.assert_allclose(found["rms"], np.sqrt((values**2).mean()), atol=1e-9)
    for percentile in (5, 50, 95):
        expected = np.percentile(values, percentile, method="inverted_cdf")
        np.testing.assert_allclose(found[f"p{percentile:02d}"], expected, atol=1e-9)
    assert found["changed"] == np.count_nonzero(values)


def test_measures_of_nothing_are_missing():
    found = statistics(np.zeros(2001, dtype="int64"), np.array([3, 4]))
    assert found["compared"] == 0 and (found["only_first"], found["only_second"]) == (3, 4)
    assert np.isnan(found["mean"]) and np.isnan(found["p95"])
