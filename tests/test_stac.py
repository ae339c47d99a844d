"""A product's STAC item holds for the specification's own schema, and says what the product is."""

import json
import sys
from datetime import date

import pystac
import pytest
from pystac.stac_object import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from gssm_cube.grid import Layout, Tile
from gssm_cube.product import create_product
from gssm_cube.release.citations import licence_attrs
from gssm_cube.release.stac import product_item, write_item
from gssm_cube.web_settings import HEIGHTS

LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 3, 1), date(2019, 3, 5), 48)


@pytest.fixture
def store(tmp_path):
    interval = json.dumps({"factor": 1.5, "floor": 0.05, "level": 0.9})
    create_product(tmp_path / "ssm.zarr", LAYOUT, {"forest_digest": "abc", "interval": interval})
    return tmp_path / "ssm.zarr"


def test_the_item_holds_for_the_schema(store):
    item = product_item(store).to_dict(include_self_link=False)
    # Without a network only the schema of STAC itself is at hand, not those of extensions.
    JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, pystac.get_stac_version())
    item["properties"]["start_datetime"] = 5
    with pytest.raises(pystac.errors.STACValidationError):
        JsonSchemaSTACValidator().validate_core(
            item, STACObjectType.ITEM, pystac.get_stac_version()
        )


def test_the_item_says_where_and_when(store):
    item = product_item(store, "https://data.example/ssm.zarr")
    # Tiles of 0.4 deg: row 118 begins at 90 - 47.2, column 372 at 148.8 - 180.
    assert item.bbox == pytest.approx([-31.2, 42.4, -30.4, 42.8])
    assert item.properties["start_datetime"] == "2018-03-01T00:00:00Z"
    assert item.properties["end_datetime"] == "2019-03-05T23:59:59Z"
    assert item.assets["data"].href == "https://data.example/ssm.zarr"
    assert item.id == "gssm-r118c372-r118c373-2018-03-01-2019-03-05"
    titles = {link.title for link in item.links if link.rel == "license"}
    assert titles == {"CC-BY-NC 4.0", "ODbL 1.0"}


def test_the_item_says_axes_and_layers(store):
    said = product_item(store).properties
    assert said["proj:shape"] == [48, 96] and said["gssm:forest_digest"] == "abc"
    assert said["cube:dimensions"]["time"]["extent"][1] == "2019-03-05T00:00:00Z"
    layers = said["cube:variables"]
    assert {"ssm", "ssm_spread", "quality", "ssm_lower", "ssm_upper"} == set(layers)
    assert layers["ssm"]["unit"] == "m3 m-3"
    assert layers["ssm"]["dimensions"] == ["time", "lat", "lon"]


def test_a_written_item_is_read_back(store, tmp_path):
    write_item(product_item(store), tmp_path / "item.json")
    again = pystac.Item.from_file(str(tmp_path / "item.json"))
    assert again.assets["data"].href == str(store) and again.id.startswith("gssm-r118c372")


def test_without_pystac_its_extra_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystac", None)
    with pytest.raises(ImportError, match=r"needs pystac: install the package's extra, gssm-cube"):
        product_item(store)


def test_a_product_without_merit_hydro_links_to_none_of_its_licences(tmp_path):
    create_product(tmp_path / "ssm.zarr", LAYOUT, licence_attrs(HEIGHTS))
    links = product_item(tmp_path / "ssm.zarr").links
    assert [link.rel for link in links if link.rel in ("license", "cite-as")] == ["cite-as"]
