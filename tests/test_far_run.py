"""A run whose cube and product lie in a bucket: stages and commands give what they give on disk."""

import json
import re
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from object_server import moto_server
from product_files import layers_of
from tests_of_commands import invoke

from gssm_cube import blocks, open_product, pipeline
from gssm_cube.commands.product import _scratch_of
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import create_product, write_block
from gssm_cube.product.climatology import open_climatology
from gssm_cube.product.overviews import open_overview, scratch_of, write_overviews
from gssm_cube.release.difference import compare_products
from gssm_cube.settings import read_settings
from gssm_cube.storage import locations
from gssm_cube.variables import FILL

FORTY_DAYS = Layout(Tile(74, 372), 1, 2, date(2018, 2, 20), date(2018, 3, 31), 48)


@dataclass(frozen=True)
class Twins:
    """The same run twice: with its stores in a bucket, and on disk; both may be built on."""

    far: Path  # settings
    near: Path
    bucket: str

    @property
    def product(self) -> str:
        """Of the run with its stores in the bucket."""
        return f"{self.bucket}/ssm.zarr"

    @property
    def local_product(self) -> Path:
        """Of the other."""
        return self.near.with_name("ssm.zarr")


@pytest.fixture(scope="module")
def twins(small_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    far, near = (small_run.copy(folder / name) for name in ("far", "near"))
    with pytest.MonkeyPatch.context() as patch, moto_server() as server:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        bucket = f"s3://{server.make_bucket()}"
        for name in ("features.zarr", "ssm.zarr"):
            for part in (name, f"{name}.markers"):
                for file in locations.files(far.parent / part):
                    content = (far.parent / part / file.name).read_bytes()
                    locations.write(f"{bucket}/{part}/{file.name}", content)
                shutil.rmtree(far.parent / part)
        stores = f'[stores]\ncube = "{bucket}/features.zarr"\nproduct = "{bucket}/ssm.zarr"\n'
        far.write_text(far.read_text().replace("[training]", stores + "[training]"))
        yield Twins(far, near, bucket)


def test_samples_scores_and_report_are_made_from_the_bucket(twins):
    settings, near = read_settings(twins.far), twins.near.parent
    shutil.rmtree(settings.table("samples"))
    for name in (*pipeline.EVALUATED, "report.html"):
        settings.table(name).unlink()
    # Under the same keys as on disk: what is there still is not done again.
    assert pipeline.samples(settings).startswith("samples: ")
    assert "skipped, up to date" in pipeline.train(settings)
    assert pipeline.evaluate(settings).startswith("evaluate: new stations: ")
    assert pipeline.report(settings).startswith("report: ")
    tables = [pd.read_parquet(folder / "samples") for folder in (settings.home, near)]
    pd.testing.assert_frame_equal(*tables)
    scores = [json.loads((folder / "scores.json").read_text()) for folder in (settings.home, near)]
    assert scores[0] == scores[1] and scores[0]["new_stations"]["n"] > 0
    pages = [(folder / "report.html").read_text() for folder in (settings.home, near)]
    assert pages[0] == pages[1]


def test_a_prediction_finds_all_blocks_done(twins):
    assert "predict: 0 blocks done, 4 skipped" in invoke("predict", twins.far)


@pytest.mark.parametrize("name", ["part.nc", "part.zarr", "part_2018.tif"])
def test_a_part_is_exported_from_the_bucket(twins, tmp_path, name):
    box = ("--box=-31.9,43.3,-31.5,43.5", "--first-day", "2018-06-01", "--last-day", "2018-06-30")
    target = name.replace("_2018", "")
    for source, folder in ((twins.product, "far"), (twins.local_product, "near")):
        invoke("export", source, tmp_path / folder / target, *box)
    paths = [tmp_path / folder / name for folder in ("far", "near")]
    opened = [xr.open_dataset(path) for path in paths]
    for one, other in [opened]:
        assert one.identical(other) and any(layer.notnull().any() for layer in one.values())
    for dataset in opened:
        dataset.close()


def test_series_of_points_are_exported_from_the_bucket(twins, tmp_path):
    (tmp_path / "p.csv").write_text("point,lat,lon\na,43.404,-31.604\nb,43.35,-31.7\n")
    tables = []
    for source, name in ((twins.product, "far.csv"), (twins.local_product, "near.csv")):
        invoke("export", source, tmp_path / name, "--points", tmp_path / "p.csv")
        tables.append((tmp_path / name).read_text())
    assert tables[0] == tables[1] and len(tables[0].splitlines()) > 100


def test_static_layers_are_written_into_the_bucket(twins):
    for run in (twins.far, twins.near):
        assert "surface: 2 tiles done, 0 skipped; di, steep_terrain" in invoke("surface", run)
    assert "surface: 0 tiles done, 2 skipped" in invoke("surface", twins.far)
    for name in ("di", "steep_terrain"):
        found, known = (open_product(s)[name].load() for s in (twins.product, twins.local_product))
        assert found.identical(known) and found.notnull().any()


def test_products_in_a_bucket_and_on_disk_are_compared(twins, tmp_path):
    map_file, found_file = tmp_path / "map.tif", tmp_path / "found.json"
    words = ("--map", map_file, "--json", found_file)
    said = invoke("diff", twins.product, twins.local_product, *words)
    assert "0 of 2 tiles differ" in said and map_file.exists()
    found = json.loads(found_file.read_text())["overall"]
    assert (found["changed"], found["only_first"], found["only_second"]) == (0, 0, 0)
    assert found["compared"] > 1000
    shutil.copytree(twins.local_product, tmp_path / "ssm.zarr")
    shutil.rmtree(tmp_path / "ssm.zarr" / "ssm" / "c" / "1")  # the second window
    far = compare_products(twins.product, tmp_path / "ssm.zarr").overall
    near = compare_products(twins.local_product, tmp_path / "ssm.zarr").overall
    assert far == near and far["only_first"] > 0


def test_the_catalogue_s_item_lies_beside_the_product(twins):
    target = f"{twins.bucket}/ssm.stac.json"
    said = invoke("stac", twins.product, "--href", "https://example.org/ssm.zarr")
    assert target in re.sub(r"\s", "", said)
    item = json.loads(locations.read(target))
    assert item["type"] == "Feature" and item["stac_version"]


@pytest.mark.parametrize("command", [("climatology", "--years", "2018-2019"), ("stac",)])
def test_nothing_is_written_to_a_web_server(command):
    said = invoke(command[0], "https://example.org/ssm.zarr", *command[1:], status=1)
    assert "is on a web server, which is only read: give --out elsewhere" in said


# ---- a product of 40 days ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def forty(twins, tmp_path_factory):
    """The same product in the bucket and on disk: two tiles, a third of their pixels sea."""
    found = f"{twins.bucket}/forty/ssm.zarr", tmp_path_factory.mktemp("forty") / "ssm.zarr"
    for store in found:
        rng = np.random.default_rng(2)
        create_product(store, FORTY_DAYS, {})
        for tile in FORTY_DAYS.tiles():
            block = Block(tile, FORTY_DAYS.windows()[0])
            codes = rng.integers(0, 600, (40, 48, 48)).astype("int16")
            codes[:, rng.random((48, 48)) < 0.33] = FILL
            objects = write_block(store, FORTY_DAYS, block, layers_of(codes))
            facts = {"checksum": blocks.checksum(codes)}
            blocks.write_marker(store, "predict", str(block), "k", objects, **facts)
    return found


def test_a_climatology_is_described_in_the_bucket_and_then_skipped(forty):
    far, near = forty
    years = ("--years", "2018-2018")
    assert "climatology: 2 tiles done, 0 skipped" in invoke("climatology", far, *years)
    assert "climatology: 0 tiles done, 2 skipped" in invoke("climatology", far, *years)
    invoke("climatology", near, *years)
    target = locations.sibling(far, "climatology.zarr")
    found, known = (
        open_climatology(p).load() for p in (target, near.with_name("climatology.zarr"))
    )
    assert found.identical(known) and found["ssm_mean"].notnull().any()


def test_overviews_are_written_into_the_bucket_and_go_on_where_they_were_left(
    forty, tmp_path, monkeypatch
):
    far, near = forty
    monkeypatch.chdir(tmp_path)
    for store in forty:
        assert "overviews: 7 slabs of six days done, 0 skipped" in invoke("overviews", store)
    assert "overviews: 0 slabs of six days done, 7 skipped" in invoke("overviews", far)
    for degrees in (0.05, 0.1):
        found, known = (open_overview(store, degrees).load() for store in forty)
        assert found.identical(known) and found["ssm"].notnull().any()
    blocks.remove_marker(far, "overview", blocks.marked_units(far, "overview")[5])
    said = invoke("overviews", far, "--scratch", tmp_path / "scratch")
    assert "overviews: 1 slabs of six days done, 6 skipped" in said
    assert [path.name for path in tmp_path.rglob("*")] == ["scratch"]
    with pytest.raises(ValueError, match="ssm.zarr is at a URL: give a folder on disk for"):
        write_overviews(far)


def test_what_waits_between_two_passes_lies_in_the_run_s_folder_or_here(
    twins, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert _scratch_of(str(twins.far), twins.product) == twins.far.parent
    assert _scratch_of(twins.product, twins.product) == tmp_path
    assert _scratch_of(str(twins.near), twins.local_product) is None
    window = FORTY_DAYS.windows()[0]
    names = {scratch_of(f"s3://{bucket}/ssm.zarr", window, tmp_path) for bucket in ("a", "b")}
    assert len(names) == 2 and {path.parent for path in names} == {tmp_path}
