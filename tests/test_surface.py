"""Static layers of a product, and what the recommended mask makes of them."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from tests_of_commands import invoke

from gssm_cube import cube
from gssm_cube.product import open_product
from gssm_cube.release.surface import Origins, SurfaceTile, edges_of, steep_share, write_surface
from gssm_cube.settings import read_settings
from gssm_cube.sources import merit_hydro
from gssm_cube.storage.growth import begin_growth
from gssm_cube.storage.stores import read_layout


@pytest.fixture(scope="module")
def run_file(small_run, tmp_path_factory):
    """A run with a land cover: water in the west, town in the east, a wetland strip, one gap."""
    folder = tmp_path_factory.mktemp("surface")
    path = small_run.copy(folder / "run")
    layout = read_layout(path.parent / "ssm.zarr")
    west, _, _, north = layout.bounds
    codes = np.full((48 * 3, 96 * 3), 130, dtype="uint8")  # three cells a pixel: grassland
    codes[:, : 3 * 20] = 210
    codes[:, 3 * 90 :] = 190
    codes[1::3, 3 * 40 : 3 * 50] = 180  # a third of each pixel
    codes[:, 3 * 60] = 0
    with rasterio.open(
        folder / "cover.tif", "w", driver="GTiff", height=144, width=288, count=1, dtype="uint8",
        crs="EPSG:4326", transform=from_origin(west, north, 1 / 360, 1 / 360),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    cover = f'[surface]\nland_cover = "{folder / "cover.tif"}"\nlegend = "esa_cci"\n'
    path.write_text(path.read_text().replace("[training]", cover + "[training]"))
    invoke("surface", path)
    return path


@pytest.fixture(scope="module")
def product(run_file):
    return open_product(run_file.parent / "ssm.zarr").load()


def test_shares_of_land_cover_are_those_of_its_cells(run_file, product):
    land = cube.open_cube(run_file.parent / "features.zarr")["land"].values == 1
    water = np.zeros(land.shape)
    water[:, :20] = 1
    np.testing.assert_allclose(product["open_water"].values[land], water[land], atol=1e-6)
    wetland = product["wetland"].values[:, 40:50]
    assert np.allclose(wetland[land[:, 40:50]], 0.33, atol=1e-6) and land[:, 40:50].any()
    assert np.isnan(product["urban"].values[~land]).all()
    assert (product["urban"].values[land].sum(), product["permanent_ice"].sum()) == (
        land[:, 90:].sum(), 0,
    )  # fmt: skip
    assert product["open_water"].attrs["source"] == "cover.tif (esa_cci)"


def test_all_layers_are_there_and_missing_over_the_sea(run_file, product):
    land = cube.open_cube(run_file.parent / "features.zarr")["land"].values == 1
    layers = ("di", "open_water", "permanent_ice", "urban", "wetland", "dense_forest")
    for name in (*layers, "steep_terrain"):
        assert product[name].dims == ("lat", "lon")
        assert np.isnan(product[name].values[~land]).all()
    assert np.isfinite(product["di"].values[land]).mean() > 0.9
    assert (product["di"].values[land] >= 0).sum() == np.isfinite(product["di"].values).sum()


def test_steep_terrain_is_read_from_merit(run_file, product):
    settings = read_settings(run_file)
    layout = read_layout(settings.product)
    files = merit_hydro.find_files(settings.sources.merit_hydro)
    share = steep_share(files, layout, slice(0, 48), slice(0, 48))["steep_terrain"]
    there = np.isfinite(product["steep_terrain"].values[:, :48])
    np.testing.assert_allclose(
        product["steep_terrain"].values[:, :48][there], share[there], atol=0.0051
    )
    # The middle of a pixel by hand: gradient of the elevation on MERIT's own cells.
    lat, lon = edges_of(layout, slice(0, 1), slice(0, 1))
    assert (lat[0], lon[0]) == pytest.approx((layout.bounds[3], layout.bounds[0]))


def test_the_recommended_mask_leaves_out_what_is_mostly_no_soil(run_file):
    store = run_file.parent / "ssm.zarr"
    plain, masked = open_product(store), open_product(store, mask="recommended")
    water = plain["open_water"].values > 0.5
    assert np.isfinite(plain["ssm"].values[:, water]).any()
    assert np.isnan(masked["ssm"].values[:, water]).all()
    assert np.isnan(masked["ssm_upper"].values[:, water]).all()
    dry = np.isfinite(plain["wetland"].values) & ~water & ~(plain["urban"].values > 0.5)
    assert np.isfinite(masked["ssm"].values[:, dry]).any()
    rule = masked["ssm"].attrs["mask"]
    assert rule.endswith(
        "or where more than half of the pixel is open_water or permanent_ice or urban"
    )


def test_a_second_time_nothing_is_done_and_a_new_file_renews_it(run_file):
    assert "surface: 0 tiles done, 2 skipped; di, open_water" in invoke("surface", run_file)
    cover = read_settings(run_file).surface.land_cover
    cover.touch()
    assert "surface: 2 tiles done, 0 skipped" in invoke("surface", run_file)


def test_a_tile_is_made_alike_by_itself(run_file, product):
    settings = read_settings(run_file)
    origins = Origins(settings.surface.land_cover, "esa_cci", None, None)
    facts = SurfaceTile(settings.product, settings.cube, origins, "key")("r116c370")
    assert facts["open_water"] == np.isfinite(product["open_water"].values[:, :48]).sum()
    invoke("surface", run_file)


def test_nothing_to_make_layers_of_is_refused(run_file):
    settings = read_settings(run_file)
    with pytest.raises(ValueError, match="no layer can be made: name a land cover"):
        write_surface(settings.product, settings.cube, Origins(None, "esa_cci", None, None))


def test_a_product_that_is_getting_days_is_refused(run_file, tmp_path):
    settings = read_settings(run_file)
    layout = replace(read_layout(settings.product), last_day=date(2019, 3, 9))
    begin_growth(settings.product, {}, {"gssm_layout": layout.to_dict()})
    assert "is getting more days; run `gssm predict`" in invoke("surface", run_file, status=1)
