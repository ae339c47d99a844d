"""Whom a run cites: its own sources and networks, and no others."""

import re
from pathlib import Path
from typing import get_args

import pytest

from gssm_cube.release.citations import (
    SOURCES,
    cited_as,
    credit,
    licence_attrs,
    network_references,
    parse_readme,
)
from gssm_cube.settings import Sources
from gssm_cube.variables import Legend
from gssm_cube.web_settings import EXAMPLES, HEIGHTS

README = """Variables stored in separate files

Network Information

\tAAA
\t\tAbstract: Reference: this is the abstract's own word
\t\tUrl: http://a.example
\t\tReference: One, A. (2001), First paper, https://doi.org/10.1/a;

Two, B. (2002): Second paper;
\t\tVariables: soil moisture,

\tBBB-NET
\t\tAbstract:
\t\tReference: We acknowledge the work of C;
\t\tSoil Moisture Depths: 0.05 - 0.05 m

\tNONE
\t\tReference:
\t\tVariables: soil moisture
"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_readme_tells_the_references_of_each_network(end):
    assert parse_readme(README.replace("\n", end)) == {
        "AAA": "One, A. (2001), First paper, https://doi.org/10.1/a; Two, B. (2002): Second paper",
        "BBB-NET": "We acknowledge the work of C",
    }


def test_a_readme_without_networks_tells_nothing():
    assert parse_readme("nothing of the kind") == {}


def test_the_readme_of_an_archive_is_read(tmp_path):
    (tmp_path / "AAA" / "station").mkdir(parents=True)
    (tmp_path / "Readme.txt").write_text(README)
    assert set(network_references(tmp_path)) == {"AAA", "BBB-NET"}
    found = credit(["ismn"], ["BBB-NET", "ZZZ"], tmp_path)
    assert found.networks["BBB-NET"] == "We acknowledge the work of C"
    assert found.networks["ZZZ"].startswith("not told by the archive's readme; see https://ismn")
    assert "AAA" not in found.networks


STAND_INS = {"mod13a1", "myd13a1", "copernicus_dem"}


def test_every_source_of_the_settings_and_what_stands_in_its_place_can_be_cited():
    assert set(SOURCES) == {*Sources.model_fields, *get_args(Legend), *STAND_INS}


@pytest.mark.parametrize(
    ("source", "place", "expected"),
    [
        ("mod13a2", EXAMPLES["mod13a2"], "mod13a1"),
        ("myd13a2", EXAMPLES["myd13a2"], "myd13a1"),
        ("mod13a2", "stac+https://host/collections/modis-13A2-061", "mod13a2"),
        ("mod13a2", "ee://MODIS/061/MOD13A2", "mod13a2"),
        ("mod11a1", EXAMPLES["mod11a1"], "mod11a1"),
        ("merit_hydro", HEIGHTS, "copernicus_dem"),
        ("merit_hydro", EXAMPLES["merit_hydro"], "merit_hydro"),
        ("merit_hydro", "ee://MERIT/Hydro/v1_0_1", "merit_hydro"),
        ("merit_hydro", Path("raw/merit_hydro"), "merit_hydro"),
        ("mod13a2", Path("nowhere"), "mod13a2"),
        ("vnp13a2", Path("nowhere"), "vnp13a2"),
    ],
)
def test_a_source_is_cited_as_what_lies_at_its_place(source, place, expected):
    assert cited_as(source, place) == expected


@pytest.mark.parametrize("product", ["MOD13A1", "MOD13A2"])
def test_vegetation_of_a_folder_is_cited_by_its_files(tmp_path, product):
    (tmp_path / f"{product}.A2019001.h18v04.061.2020001000000.hdf").touch()
    assert cited_as("mod13a2", tmp_path) == product.lower()


def test_a_product_without_merit_hydro_does_not_inherit_its_licence():
    found = credit(["copernicus_dem", "mod13a1"], [])
    assert "ODbL" not in found.licence and "notice of Copernicus DEM" in found.licence
    assert licence_attrs(HEIGHTS) == {"license": found.licence}
    assert licence_attrs(Path("raw/merit_hydro")) == {}
    assert "500 m" in found.bibtex and "10.5270/ESA-c5d3d65" in found.bibtex
    assert "WorldDEM-90" in found.sources[1].note
    assert "share-alike" in credit(["merit_hydro"], []).licence


def test_only_the_sources_of_a_run_are_cited():
    found = credit(["era5_land", "merit_hydro"], [])
    assert [source.key for source in found.sources] == [
        "gssm1km", "era5_land_paper", "era5_land", "merit_hydro",
    ]  # fmt: skip
    merit = found.sources[-1]
    assert merit.licence.startswith("CC-BY-NC 4.0 or ODbL 1.0")
    assert merit.text.endswith(
        "Water Resources Research, 55, 5053-5073. https://doi.org/10.1029/2019WR024873"
    )
    assert merit.bibtex.startswith("@article{merit_hydro,\n  author = {Yamazaki, D. and Ikesh")
    assert "  volume = {55},\n  pages = {5053-5073},\n  doi = {10.1029/2019WR024873},\n}" in (
        merit.bibtex
    )


def test_bibtex_is_balanced_has_one_key_each_and_comments_for_networks():
    found = credit(SOURCES, ["AAA"])
    text = found.bibtex
    assert text.count("{") == text.count("}")
    keys = re.findall(r"@\w+\{(\w+),", text)
    assert len(keys) == len(found.sources) == len(SOURCES) + 2
    # A run has one land cover at most: two legends share a key.
    assert len(set(keys)) == len(keys) - 1
    assert "% network AAA: not told" in text


def test_every_doi_looks_like_one():
    for sources in SOURCES.values():
        for source in sources:
            assert re.fullmatch(r"10\.\d{4,5}/\S+", source.doi)
