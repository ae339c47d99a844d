"""One run as one value: what a TOML file may say, and what it is told when it may not."""

from datetime import date

import pytest
from pydantic import ValidationError

from gssm_cube.grid import Tile
from gssm_cube.settings import read_settings

SOURCES = (
    "era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock", "ismn",
)  # fmt: skip
HEAD = """\
bounds = [-32.0, 42.0, -30.4, 43.6]
first_day = 2018-03-01
last_day = 2018-04-02
tile_size = 96
"""


@pytest.fixture
def write(tmp_path):
    """Write a run from its head and its tables, and return the path."""

    def write(head=HEAD, tables="", sources=SOURCES):
        lines = "".join(f'{name} = "raw/{name}"\n' for name in sources)
        path = tmp_path / "run.toml"
        path.write_text(f"{head}\n[sources]\n{lines}\n{tables}")
        return path

    return write


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        read_settings(path)
    assert str(caught.value).startswith(f"{path} ")
    return str(caught.value)


def test_a_run_is_read_with_its_defaults(write):
    run = read_settings(write())
    assert run.layout.first_tile == Tile(58, 185)
    assert (run.layout.days, run.layout.shape) == (33, (192, 192))
    assert (run.title, run.day) == ("GSSM cube", "UTC")
    assert (run.stations.depth, run.stations.minimum_hours) == ((0.0, 0.05), 18)
    assert (run.training.preset, run.training.trees, run.training.seed) == ("default", None, 0)
    assert (run.cluster.kind, run.cluster.workers, run.cluster.memory_limit) == (
        "local", None, "auto",
    )  # fmt: skip


def test_tiles_are_480_pixels_unless_told(write):
    assert read_settings(write(HEAD.replace("tile_size = 96\n", ""))).tile_size == 480


def test_relative_paths_count_from_the_file(write, tmp_path, monkeypatch):
    path = write()
    monkeypatch.chdir("/")
    run = read_settings(path)
    assert run.folder == tmp_path
    assert run.sources.era5_land == tmp_path / "raw" / "era5_land"
    assert run.cube == tmp_path / "features.zarr"
    assert run.product == tmp_path / "ssm.zarr"
    assert run.forest == tmp_path / "forest"
    assert run.table("samples.parquet") == tmp_path / "samples.parquet"


def test_a_folder_of_its_own_may_be_relative_or_absolute(write, tmp_path):
    assert read_settings(write(HEAD + 'folder = "out"\n')).folder == tmp_path / "out"
    assert str(read_settings(write(HEAD + 'folder = "/out"\n')).folder) == "/out"


def test_meteorology_may_lie_behind_a_url(write):
    path = write()
    path.write_text(path.read_text().replace("raw/era5_land", "https://host/era5-land.zarr"))
    sources = read_settings(path).sources
    assert sources.era5_land == "https://host/era5-land.zarr"
    assert sources.gridded["era5_land"] == sources.era5_land


def test_upsampling_is_bilinear_unless_nearest_is_asked_for(write):
    assert read_settings(write()).upsampling == "bilinear"
    assert read_settings(write(HEAD + 'upsampling = "nearest"\n')).upsampling == "nearest"
    refused(write(HEAD + 'upsampling = "cubic"\n'), "upsampling: .*bilinear.*nearest")


def test_a_file_named_relatively_is_found_with_its_folder(write, tmp_path, monkeypatch):
    write()
    monkeypatch.chdir(tmp_path)
    assert read_settings("run.toml").folder == tmp_path


def test_settings_cannot_be_changed(write):
    run = read_settings(write())
    with pytest.raises(ValidationError, match="frozen"):
        run.tile_size = 480


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no settings file .*nowhere.toml"):
        read_settings(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_toml_is_told_where(write):
    refused(write("bounds = [1, 2\nfirst_day"), "is not valid TOML: .*line 2")


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        (
            "[cluster]\nworker = 2\n",
            r"cluster.worker: unknown key; did you mean cluster.workers\?$",
        ),
        ("[training]\ntree = 20\n", r"training.tree: unknown key; did you mean training.trees\?$"),
        ("[stations]\nhours = 12\n", r"stations.hours: unknown key$"),
        ("[clusters]\nworkers = 2\n", r"clusters: unknown key; did you mean cluster\?$"),
        ("[training]\nminimum_hours = 12\n", r"did you mean stations.minimum_hours\?$"),
    ],
)
def test_an_unknown_key_is_named_with_its_path(write, tables, key):
    refused(write(tables=tables), key)


def test_all_wrong_keys_are_told_at_once(write):
    message = refused(
        write(HEAD.replace("2018-03-01", "true"), sources=SOURCES[1:]), "cannot be used"
    )
    lines = message.splitlines()[1:]
    assert len(lines) == 2
    assert lines[0].startswith("  first_day: ") and lines[1].startswith("  sources.era5_land: ")


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (
            HEAD.replace("last_day = 2018-04-02", "last_day = 2018-02-28"),
            "run: last_day 2018-02-28 is before first_day",
        ),
        (HEAD.replace("-32.0", "-29.0"), "run: .*bounds are"),
        (
            HEAD.replace("96", "100"),
            "run: tile_size is 100, expected a multiple of 48 .* 240 or 480",
        ),
        (HEAD.replace("2018-04-02", '"2018-04-31"'), "last_day: "),
        (HEAD.replace(", 43.6]", "]"), "bounds.3: is missing, expected a value"),
        (HEAD + 'day = "local"\n', "day: Input should be 'UTC'"),
        (HEAD + "folder = 5\n", "folder: "),
    ],
)
def test_an_impossible_value_is_named_with_its_key(write, head, match):
    refused(write(head), match)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("[stations]\nminimum_hours = 25\n", "stations.minimum_hours: .*less than or equal to 24"),
        ("[stations]\ndepth = [0.05, 0.0]\n", "stations.depth: .*upper end first"),
        ("[training]\ntrees = 0\n", "training.trees: .*greater than or equal to 1"),
        ("[cluster]\nworkers = 0\n", "cluster.workers: "),
        ("[cluster]\nkind = \"locale\"\n", "cluster.kind: .*'locale'"),
    ],
)  # fmt: skip
def test_an_impossible_value_of_a_table_is_named_with_its_path(write, table, match):
    refused(write(tables=table), match)


@pytest.mark.parametrize("kind", ["local", "none", "tcp://127.0.0.1:8786", "tls://host:8786"])
def test_a_cluster_is_a_word_or_an_address(write, kind):
    assert read_settings(write(tables=f'[cluster]\nkind = "{kind}"\n')).cluster.kind == kind


def test_sources_that_are_no_table_are_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(HEAD + 'sources = "raw"\n')
    refused(path, "sources: ")


def test_days_are_days(write):
    run = read_settings(write())
    assert (run.first_day, run.last_day) == (date(2018, 3, 1), date(2018, 4, 2))


# ---- where ------------------------------------------------------------------------------------

NOWHERE = HEAD.replace("bounds = [-32.0, 42.0, -30.4, 43.6]\n", "")
SQUARE = (
    '{"type": "Polygon", "coordinates": [[[-31.9,42.1],[-31.3,42.1],[-31.3,42.2],[-31.9,42.1]]]}'
)


def test_a_region_gives_the_tiles_that_it_touches(write, tmp_path):
    (tmp_path / "land.geojson").write_text(SQUARE)
    run = read_settings(write(NOWHERE + 'region = "land.geojson"\n'))
    assert run.region == tmp_path / "land.geojson"
    assert list(run.layout.tiles()) == [Tile(59, 185)]
    assert '"region":"land.geojson"' in run.model_dump_json()  # no folder of this machine


def test_tiles_are_given_by_their_labels(write):
    run = read_settings(write(NOWHERE + 'tiles = ["r059c186", "r058c185"]\n'))
    assert list(run.layout.tiles()) == [Tile(58, 185), Tile(59, 186)]
    assert run.layout.shape == (192, 192)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (NOWHERE, "no place given, expected exactly one of bounds, region, tiles"),
        (HEAD + 'tiles = ["r058c185"]\n', "bounds and tiles given, expected exactly one"),
        (NOWHERE + 'region = "none.geojson"\n', "no region file .*none.geojson"),
        (NOWHERE + 'tiles = ["58/185"]\n', "tile is '58/185', expected a row and a column"),
        (NOWHERE + 'tiles = ["r300c001"]\n', "not within the globe's"),
        (NOWHERE + "tiles = []\n", "no tile is given"),
        (HEAD.replace("-32.0, 42.0, -30.4", "170.0, 42.0, -170.0"),
         "across 180 deg give a region of two polygons"),
    ],
)  # fmt: skip
def test_a_place_is_given_once_and_can_be_found(write, head, match):
    refused(write(head), match)


# ---- sources and options ----------------------------------------------------------------------


def test_meteorology_may_be_an_address_or_a_zarr(write, tmp_path):
    path = write()
    text = path.read_text()
    for given, expected in (
        ("https://host/era5.zarr", "https://host/era5.zarr"),
        ("raw/era5.zarr", tmp_path / "raw" / "era5.zarr"),
    ):
        path.write_text(text.replace("raw/era5_land", given))
        assert read_settings(path).sources.era5_land == expected


def test_optional_sources_are_there_only_when_given(write, tmp_path):
    assert set(read_settings(write()).sources.gridded) == set(SOURCES) - {"ismn"}
    more = (*SOURCES, "vnp21a1d", "vnp21a1n")
    run = read_settings(write(sources=more))
    assert set(run.sources.gridded) == set(more) - {"ismn"}
    assert run.sources.vnp21a1n == tmp_path / "raw" / "vnp21a1n"


def test_one_half_of_viirs_is_refused(write):
    refused(write(sources=(*SOURCES, "vnp21a1n")), "of VIIRS only vnp21a1n is given")


def test_the_climatology_is_refitted_only_when_asked(write):
    assert read_settings(write()).refit_climatology is False
    assert read_settings(write(HEAD + "refit_climatology = true\n")).refit_climatology is True
    refused(write(HEAD + 'refit_climatology = "often"\n'), "refit_climatology: ")


@pytest.mark.parametrize("years", ["[2017, 2018]", "[2019, 2018]", "[2018, 2030]"])
def test_years_of_the_climate_must_lie_in_the_run(write, years):
    with pytest.raises(ValueError, match=r"climate_years are \[.*\], expected .* 2018 \.\."):
        read_settings(write(f"climate_years = {years}\n" + HEAD))


def test_frozen_ground_is_left_out_or_flagged_and_nothing_else(write):
    assert read_settings(write()).frozen == "mask"
    assert read_settings(write(HEAD + 'frozen = "flag"\n')).frozen == "flag"
    refused(write(HEAD + 'frozen = "melt"\n'), "frozen: Input should be 'mask' or 'flag'")


def test_one_word_names_a_cluster_and_certificates_count_from_the_file(write, tmp_path):
    assert read_settings(write(head=f'{HEAD}\ncluster = "none"')).cluster.kind == "none"
    table = '[cluster]\nkind = "tls://h:1"\n'
    table += "".join(f'tls_{part} = "keys/{part}.pem"\n' for part in ("ca", "cert", "key"))
    assert read_settings(write(tables=table)).cluster.tls_ca == str(tmp_path / "keys/ca.pem")


def test_a_version_has_a_folder_of_its_own_on_the_same_cube(write):
    plain = read_settings(write())
    named = read_settings(write(f'version = "v2"\n{HEAD}'))
    assert named.cube == plain.cube == plain.folder / "features.zarr"
    assert plain.product == plain.folder / "ssm.zarr"
    home = plain.folder / "versions" / "v2"
    assert (named.product, named.forest) == (home / "ssm.zarr", home / "forest")
    assert named.table("scores.json") == home / "scores.json"


@pytest.mark.parametrize("version", ["../up", "", ".hidden", "a/b"])
def test_a_version_is_a_plain_name(write, version):
    refused(write(f'version = "{version}"\n{HEAD}'), "version: String should match")


def test_land_cover_is_found_from_the_files_folder_and_has_a_known_legend(write, tmp_path):
    settings = read_settings(write(tables='[surface]\nland_cover = "cover.tif"\n'))
    assert settings.surface.land_cover == tmp_path / "cover.tif"
    assert settings.surface.legend == "esa_cci"
    refused(write(tables='[surface]\nlegend = "corine"\n'), "surface.legend: Input should be 'esa")


def test_stores_lie_in_the_folder_or_where_the_run_says(write, tmp_path):
    run = read_settings(write())
    assert (run.cube, run.product) == (tmp_path / "features.zarr", tmp_path / "ssm.zarr")
    assert run.scratch == tmp_path / "features.zarr.scratch"
    stores = '[stores]\ncube = "far/f.zarr"\nproduct = "s3://bucket/ssm.zarr/"\n'
    run = read_settings(write(tables=stores + 'forest = "s3://bucket/forest"\n'))
    assert (run.cube, run.product) == (tmp_path / "far/f.zarr", "s3://bucket/ssm.zarr")
    assert run.stores.forest == "s3://bucket/forest"
    assert run.scratch == tmp_path / "far/f.zarr.scratch"


def test_a_key_in_a_store_s_url_and_a_forest_that_is_a_folder_are_refused(write):
    said = refused(
        write(tables='[stores]\nproduct = "s3://me:secret@bucket/a"\n'), "stores.product"
    )
    assert "put credentials into the environment" in said and "secret" not in said
    refused(write(tables='[stores]\nforest = "forest"\n'), "forest is 'forest', expected a URL")


def test_the_soil_of_era5_land_is_asked_for_unless_a_run_says_no(write):
    assert read_settings(write()).era5_land.soil
    assert not read_settings(write(tables="[era5_land]\nsoil = false\n")).era5_land.soil
    refused(write(tables="[era5_land]\nsnow = true\n"), "era5_land.snow")


# ---- Earth Engine -----------------------------------------------------------------------------

ACCOUNT = '\n[earthengine]\nproject = "someone"\n'


def from_earth_engine(path, name, place):
    path.write_text(path.read_text().replace(f'"raw/{name}"', f'"{place}"') + ACCOUNT)
    return path


def test_sources_from_earth_engine_mix_with_files(write):
    run = read_settings(from_earth_engine(write(), "mod11a1", "ee://MODIS/061/MOD11A1"))
    assert run.sources.assets == {"mod11a1": "MODIS/061/MOD11A1"}
    assert run.sources.mod13a2.name == "mod13a2"
    assert (run.earthengine.credentials, run.earthengine.at_once) == ("stored", 20)


def test_assets_that_are_not_read_are_refused(write):
    refused(
        from_earth_engine(write(), "mod11a1", "ee://MODIS/006/MOD11A1"),
        "mod11a1 is ee://MODIS/006/MOD11A1, expected ee://MODIS/061/MOD11A1",
    )
    refused(from_earth_engine(write(), "wtd", "ee://"), "expected the asset of your upload")
    refused(from_earth_engine(write(), "soilgrids", "ftp://x"), "expected a folder or ee://ASSET")


def test_earth_engine_needs_an_account_and_no_more_than_forty_at_once(write):
    path = from_earth_engine(write(), "mod11a1", "ee://MODIS/061/MOD11A1")
    text = path.read_text()
    path.write_text(text.replace(ACCOUNT, ""))
    refused(path, r"mod11a1 come from Earth Engine, expected \[earthengine\]")
    path.write_text(text + "at_once = 41\n")
    refused(path, "earthengine.at_once: .*less than or equal to 40")
    path.write_text(text + 'credentials = "password"\n')
    refused(path, "credentials are 'password', expected 'stored'")


def test_a_key_is_found_beside_the_settings(write, tmp_path):
    path = from_earth_engine(write(), "mod11a1", "ee://MODIS/061/MOD11A1")
    path.write_text(path.read_text() + 'credentials = "key.json"\n')
    assert read_settings(path).earthengine.credentials == str(tmp_path / "key.json")


def from_the_web(path, name, place):
    path.write_text(path.read_text().replace(f'"raw/{name}"', f'"{place}"'))
    return path


def test_sources_from_open_archives_mix_with_files(write):
    collection = "https://planetarycomputer.microsoft.com/api/stac/v1/collections/modis-11A1-061"
    run = read_settings(from_the_web(write(), "mod11a1", f"stac+{collection}"))
    assert run.sources.addresses == {"mod11a1": f"stac+{collection}"}
    signer = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    assert run.web.signer_of(f"stac+{collection}") == signer
    assert run.web.signer_of("stac+https://host/collections/modis") is None


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("wtd", "https://host/wtd", "wtd is https://host/wtd, a folder, expected one file"),
        ("soilgrids", "https://host/{tile}.tif", r"a template, expected a folder or a template"),
        ("merit_hydro", "https://host/merit", r"a folder, expected a template .*\{tile\}_\{layer"),
        (
            "mod13a2",
            "https://host/items",
            "a folder, expected a STAC collection such as stac",
        ),
        ("bedrock", "stac+https://host/c", "a STAC collection, expected one file"),
        ("era5_land", "https://edh:secret@host/a.zarr", "https://host/a.zarr with a name, key"),
        ("era5_land", "https://host/a.zarr?token=secret", "https://host/a.zarr with a name, key"),
    ],
)
def test_addresses_that_are_not_read_are_refused_without_their_keys(write, name, place, message):
    path = from_the_web(write(), name, place)
    refused(path, message)
    with pytest.raises(ValueError) as error:
        read_settings(path)
    assert "secret" not in str(error.value)
