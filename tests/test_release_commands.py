"""Commands that hand a product on, on the small run's."""

import json
import shutil

import rasterio
from tests_of_commands import invoke

from gssm_cube.quickstart import ROUTES
from gssm_cube.release.citations import SOURCES


def test_two_versions_of_a_product_are_compared(small_run, tmp_path):
    store = small_run.folder / "ssm.zarr"
    files = tmp_path / "d.json", tmp_path / "d.tif"
    said = invoke("diff", small_run.settings, store, "--json", files[0], "--map", files[1])
    assert "0 of 2 tiles differ" in said and "2018" in said
    found = json.loads(files[0].read_text())
    assert found["overall"]["changed"] == 0 < found["overall"]["compared"]
    with rasterio.open(files[1]) as file:
        assert file.count == 2


def test_a_run_tells_whom_it_cites(small_run, tmp_path):
    target = tmp_path / "run.bib"
    said = invoke("cite", small_run.settings, "--bibtex", target)
    used = {"era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock", "ismn"}
    for name, sources in SOURCES.items():
        for source in sources:
            assert (source.doi in said) == (name in used)
            assert (source.doi in target.read_text()) == (name in used)
    assert "Network " in said and "MERIT Hydro may be had under CC-BY-NC 4.0 or ODbL" in said
    assert "scientific use only" in said


def test_a_run_from_open_archives_cites_what_stands_in_a_source_s_place(
    small_run, small_world, tmp_path
):
    text = small_world.write_settings(tmp_path).read_text()
    for name, address in ROUTES["open"].items():
        text = text.replace(f'"{small_world.folders[name]}"', f'"{address}"')
    (tmp_path / "run.toml").write_text(text)
    shutil.copy(small_run.folder / "stations.parquet", tmp_path)
    said = invoke("cite", tmp_path / "run.toml")
    for name, used in (("mod13a1", True), ("copernicus_dem", True), ("merit_hydro", False)):
        assert (SOURCES[name][0].doi in said) == used
    assert "Produced using Copernicus WorldDEM-90" in said and "ODbL" not in said


def test_without_stations_the_networks_are_not_known(small_world, tmp_path):
    said = invoke("cite", small_world.write_settings(tmp_path), status=1)
    assert "stations.parquet, which names the networks: run `gssm stations` first" in said


def test_a_product_is_described_for_a_catalogue(small_run, tmp_path):
    target = tmp_path / "item.json"
    said = invoke("stac", small_run.settings, "--out", target, "--href", "s3://bucket/ssm.zarr")
    assert str(target) in said
    item = json.loads(target.read_text())
    assert item["assets"]["data"]["href"] == "s3://bucket/ssm.zarr"
    assert "ssm" in item["properties"]["cube:variables"]
