"""Asking web servers, against a loopback server that fails as it is told."""

import errno
import logging
import ssl
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import rasterio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine
from web_server import API, SIGNER, TOKEN, Page, WebServer
from web_world import item_of, write_static_catalog

from gssm_cube.sources import whole
from gssm_cube.sources.answers import Part
from gssm_cube.sources.ee_requests import Band, PixelGrid
from gssm_cube.sources.stac_items import granules
from gssm_cube.sources.tries import NoAccess, NoAnswer, NotThere, Refused
from gssm_cube.sources.web import Web
from gssm_cube.sources.web_tiff import WebTiffs, lacking

GRID = PixelGrid("EPSG:4326", (10.0, 50.0), (0.01, 0.01))
BAND = Band("a", "int16", -1)
SHAPE = (700, 900)
VALUES = np.random.default_rng(0).integers(0, 9000, SHAPE).astype("int16")


@pytest.fixture
def server(tmp_path):
    with WebServer(tmp_path) as running:
        yield running


@pytest.fixture
def web():
    """A client that does not wait between tries."""
    return Web(pause=lambda seconds: None)


def stranger(folder):
    """A server whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    server = WebServer(folder)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def write_map(path, driver="COG", values=VALUES, **more):
    """Write a map of noise, which does not compress: 1.3 MB in blocks."""
    profile = {"COG": {"blocksize": 256, "overviews": "none"}}.get(
        driver, {"tiled": True, "blockxsize": 256, "blockysize": 256}
    )
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver=driver, height=values.shape[0], width=values.shape[1], count=1,
        dtype=values.dtype, crs="EPSG:4326", nodata=-1, compress="deflate",
        transform=Affine(0.01, 0, 10, 0, -0.01, 50), **profile | more,
    ) as raster:  # fmt: skip
        raster.write(values, 1)


# ---- requests ---------------------------------------------------------------------------------


def test_a_part_of_a_file_is_asked_by_its_range(server, web, tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    part = web.get(f"{server.url}/a", (10, 15))
    assert part == Part(bytes([10, 11, 12, 13, 14]), 10, 100)
    assert (server.asked[0].span, web.sent, web.received) == ("bytes=10-14", 1, 5)
    assert web.get(f"{server.url}/a", (95, 200)).content == bytes(range(95, 100))


def test_a_server_that_knows_no_ranges_gives_the_same_part(server, web, tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    server.ranges = False
    assert web.get(f"{server.url}/a", (10, 15)) == Part(bytes([10, 11, 12, 13, 14]), 10, 100)


@pytest.mark.parametrize("kind", [429, 503, 500, 408, "cut"])
def test_failures_that_may_pass_are_tried_again(server, web, tmp_path, kind):
    (tmp_path / "a").write_bytes(b"abcdef")
    server.fail(kind, times=3)
    assert web.get(f"{server.url}/a").content == b"abcdef"
    assert len(server.asked) == 4


def test_a_part_that_is_shorter_than_asked_is_asked_again(server, web, tmp_path):
    (tmp_path / "a").write_bytes(b"abcdef")
    server.fail("short")
    assert web.get(f"{server.url}/a", (0, 4)).content == b"abcd"


def test_a_storm_of_429_ends_after_eight_tries_with_growing_pauses(server, tmp_path):
    (tmp_path / "a").write_bytes(b"abcdef")
    pauses: list[float] = []
    server.fail(429, times=8)
    with pytest.raises(NoAnswer, match=r"/a: no answer in 8 tries.*status 429"):
        Web(pause=pauses.append).get(f"{server.url}/a")
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


def test_who_asks_for_a_longer_pause_gets_it(server, tmp_path):
    (tmp_path / "a").write_bytes(b"abcdef")
    server.fail(503, Retry_After="30")
    pauses: list[float] = []
    assert Web(pause=pauses.append).get(f"{server.url}/a").content == b"abcdef"
    assert pauses == [30.0]


@pytest.mark.parametrize("error", [ValueError("a fault of ours"), OSError("the disk is full")])
def test_what_another_try_cannot_mend_is_called_once(web, error):
    calls = []

    def fail():
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        web.persist("it", fail)
    assert caught.value is error and len(calls) == 1


@pytest.mark.parametrize(
    "address", ["https://127.0.0.1:0x5/a?sig=secret", "ftp://127.0.0.1/a?sig=secret"]
)
def test_an_address_that_cannot_be_asked_is_refused_at_once(address):
    pauses: list[float] = []
    with pytest.raises(Refused, match="cannot be asked .Invalid.*look at the address"):
        Web(pause=pauses.append)._ask(address.split("?")[0], address, None)
    assert not pauses


def test_a_certificate_of_nobody_is_refused_at_once_and_a_closed_port_is_not(tmp_path):
    pauses: list[float] = []
    with stranger(tmp_path) as server, pytest.raises(Refused, match="certificates"):
        Web(pause=pauses.append).get(f"https://127.0.0.1:{server.server_port}/a")
    assert not pauses
    with pytest.raises(NoAnswer, match="8 tries in a row, the last failed by ConnectionError"):
        Web(pause=pauses.append).get(server.url)
    assert len(pauses) == 7


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [(400, Refused, "refuses the request .400"), (404, NotThere, "is not there .404"),
     (401, NoAccess, "denied .401.*token is missing"), (403, NoAccess, "denied .403")],
)  # fmt: skip
def test_lasting_refusals_are_never_sent_again(server, web, tmp_path, status, kind, message):
    (tmp_path / "a").write_bytes(b"abcdef")
    server.fail(status)
    with pytest.raises(kind, match=message):
        web.get(f"{server.url}/a")
    assert len(server.asked) == 1


def test_the_token_comes_from_the_environment_and_goes_to_its_host_alone(
    server, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "guarded").mkdir()
    (tmp_path / "guarded" / "a").write_bytes(b"abcdef")
    web = Web({"127.0.0.1": "A_TOKEN"}, pause=lambda seconds: None)
    monkeypatch.delenv("A_TOKEN", raising=False)
    with pytest.raises(NoAccess, match="token is missing"):
        web.get(f"{server.url}/guarded/a")
    monkeypatch.setenv("A_TOKEN", TOKEN)
    assert web.get(f"{server.url}/guarded/a").content == b"abcdef"
    with pytest.raises(NoAccess):  # another name of this machine: not the token's host
        web.get(f"{server.url.replace('127.0.0.1', 'localhost')}/guarded/a")
    monkeypatch.setenv("A_TOKEN", "an-expired-token")
    with pytest.raises(NoAccess, match="has expired") as caught:
        web.get(f"{server.url}/guarded/a")
    for text in (caplog.text, str(caught.value), repr(web.__dict__)):
        assert TOKEN not in text and "an-expired-token" not in text


def test_a_token_is_not_sent_in_the_clear(monkeypatch):
    monkeypatch.setenv("A_TOKEN", TOKEN)
    with pytest.raises(NoAccess, match="not sent without TLS"):
        Web({"host.invalid": "A_TOKEN"}).get("http://host.invalid/a")


# ---- signatures -------------------------------------------------------------------------------


@pytest.fixture
def signed(server, tmp_path):
    """A client with a signer, and files that need signatures."""
    (tmp_path / "cogs").mkdir()
    (tmp_path / "cogs" / "a").write_bytes(b"abcdef")
    return Web(signer=f"{server.url}{SIGNER}", pause=lambda seconds: None)


def test_one_signature_serves_a_container_and_is_asked_by_its_name(server, signed):
    for _ in range(3):
        assert signed.get(f"{server.url}/cogs/a", sign=True).content == b"abcdef"
    assert server.minted == 1
    assert server.asked[0].path == f"{SIGNER}/127/cogs"


def test_a_signature_is_renewed_before_it_expires(server, signed):
    server.lifetime = timedelta(minutes=1)
    for _ in range(2):
        signed.get(f"{server.url}/cogs/a", sign=True)
    assert server.minted == 2


def test_a_signature_that_is_not_accepted_is_renewed_once(server, signed, caplog):
    caplog.set_level(logging.DEBUG)
    signed.get(f"{server.url}/cogs/a", sign=True)
    server.signatures.clear()  # withdrawn
    assert signed.get(f"{server.url}/cogs/a", sign=True).content == b"abcdef"
    assert server.minted == 2
    server.fail(403, times=2, path="/cogs/")
    with pytest.raises(NoAccess, match="cogs/a: access is denied") as caught:
        signed.get(f"{server.url}/cogs/a", sign=True)
    assert "secret" not in caplog.text + str(caught.value)


def test_a_cut_connection_does_not_show_the_signature(server, signed, caplog):
    caplog.set_level(logging.DEBUG)
    server.fail("cut", times=8, path="/cogs/")
    with pytest.raises(NoAnswer) as caught:
        signed.get(f"{server.url}/cogs/a", sign=True)
    assert "secret" not in caplog.text + str(caught.value) + str(caught.value.__cause__)


# ---- windows of GeoTIFFs ----------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
def test_a_window_is_read_by_header_and_blocks(server, web, tmp_path, driver):
    write_map(tmp_path / "a.tif", driver)
    size = (tmp_path / "a.tif").stat().st_size
    box = range(300, 500), range(10, 200)  # rows of two blocks, columns of one
    found = WebTiffs(web).read(f"{server.url}/a.tif", GRID, box, BAND)
    np.testing.assert_array_equal(found, VALUES[300:500, 10:200])
    assert len(server.asked) <= 3 and web.received < 0.45 * size


def test_a_window_of_most_of_a_file_takes_one_request(server, web, tmp_path):
    write_map(tmp_path / "a.tif")
    box = range(700), range(900)
    found = WebTiffs(web).read(f"{server.url}/a.tif", GRID, box, BAND, whole_file=True)
    np.testing.assert_array_equal(found, VALUES)
    assert len(server.asked) == 1


def test_directories_behind_the_pixels_are_found(server, web, tmp_path):
    write_map(tmp_path / "a.tif", "GTiff")
    with rasterio.open(tmp_path / "a.tif", "r+") as raster:
        raster.update_tags(NOTE="x" * 5000)  # the directory moves to the end
    assert int.from_bytes((tmp_path / "a.tif").read_bytes()[4:8], "little") > 2**16
    found = WebTiffs(web).read(f"{server.url}/a.tif", GRID, (range(9), range(9)), BAND)
    np.testing.assert_array_equal(found, VALUES[:9, :9])


def test_what_lies_beyond_a_file_is_missing_as_its_own_missing_cells_are(server, web, tmp_path):
    values = np.where(VALUES < 100, np.int16(-1), VALUES)
    write_map(tmp_path / "a.tif", values=values)
    world = PixelGrid("EPSG:4326", (9.9, 50.1), (0.01, 0.01))
    band = Band("a", "int32", -9999)
    found = WebTiffs(web).read(f"{server.url}/a.tif", world, (range(0, 40), range(0, 40)), band)
    assert (found[:10] == -9999).all() and (found[:, :10] == -9999).all()
    expected = np.where(values == -1, -9999, values)[:30, :30]
    np.testing.assert_array_equal(found[10:, 10:], expected)


@pytest.mark.parametrize("kind", ["rotten", "cut", "short", 503])
def test_a_block_that_comes_damaged_is_asked_again(server, web, tmp_path, kind):
    write_map(tmp_path / "a.tif")
    tiffs, address, box = WebTiffs(web), f"{server.url}/a.tif", (range(9), range(9))
    tiffs.header(address)
    server.fail(kind)
    np.testing.assert_array_equal(tiffs.read(address, GRID, box, BAND), VALUES[:9, :9])


def test_pixels_that_came_damaged_with_the_header_are_asked_again(server, web, tmp_path):
    """The first request brings the header and the first blocks: all of it is fetched anew."""
    write_map(tmp_path / "a.tif")
    good = (tmp_path / "a.tif").read_bytes()
    end = whole.directories_end(tmp_path / "a.tif")[1]
    bad = bytes(255 - byte for byte in good[end + 64 : end + 4096])
    (tmp_path / "a.tif").write_bytes(good[: end + 64] + bad + good[end + 4096 :])

    def mend(path):
        if len(server.asked) > 1:
            (tmp_path / "a.tif").write_bytes(good)

    server.hold = mend
    found = WebTiffs(web).read(f"{server.url}/a.tif", GRID, (range(9), range(9)), BAND)
    np.testing.assert_array_equal(found, VALUES[:9, :9])
    assert [asked.span for asked in server.asked[::2]] == 2 * ["bytes=0-65535"]
    assert len(server.asked) == 4  # twice the header, and what is left of the first block


def test_without_room_for_what_came_nothing_is_asked_again(server, web, tmp_path, monkeypatch):
    def full(**more):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_map(tmp_path / "a.tif")
    monkeypatch.setattr("gssm_cube.sources.web_tiff.NamedTemporaryFile", full)
    with pytest.raises(OSError, match="No space left"):
        WebTiffs(web).read(f"{server.url}/a.tif", GRID, (range(9), range(9)), BAND)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("grid", "band", "message"),
    [
        (PixelGrid("EPSG:4326", (10.0, 50.0), (0.02, 0.02)), BAND, "another product or resolution"),
        (PixelGrid("EPSG:4326", (10.005, 50.0), (0.01, 0.01)), BAND, "another product"),
        (GRID, Band("a", "uint16", 0), "is int16, expected uint16 .* scaled already"),
    ],
)
def test_maps_of_another_grid_or_coding_are_refused(server, web, tmp_path, grid, band, message):
    write_map(tmp_path / "a.tif")
    with pytest.raises(Refused, match=message):
        WebTiffs(web).read(f"{server.url}/a.tif", grid, (range(9), range(9)), band)


def test_what_is_no_tiff_is_refused_at_once(server, web, tmp_path):
    (tmp_path / "a.tif").write_bytes(b"<html>not found</html>")
    with pytest.raises(Refused, match="a.tif is no TIFF; mend the address"):
        WebTiffs(web).header(f"{server.url}/a.tif")
    assert len(server.asked) == 1


def test_the_blocks_are_those_that_gdal_reads_over_the_network(server, web, tmp_path):
    write_map(tmp_path / "a.tif")
    box = range(250, 300), range(500, 520)
    ours = WebTiffs(web).read(f"{server.url}/a.tif", GRID, box, BAND)
    asked = len(server.asked)
    options = {"CPL_VSIL_CURL_USE_HEAD": "NO", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    with (
        rasterio.Env(**options),
        rasterio.open(f"/vsicurl/{server.url}/a.tif") as source,
    ):
        theirs = source.read(1, window=((250, 300), (500, 520)))
    assert 0 < asked <= len(server.asked) - asked
    np.testing.assert_array_equal(ours, theirs)


SPANS = st.tuples(st.integers(0, 900), st.integers(1, 300)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(SPANS, max_size=6), st.lists(SPANS, min_size=1, max_size=5))
def test_what_is_asked_and_what_is_held_hold_what_is_wanted(wanted, held):
    parts = [Part(bytes(stop - start), start, 1200) for start, stop in held]
    asked = lacking(wanted, parts)
    covered = {n for start, stop in asked for n in range(start, stop)}
    here = {n for start, stop in held for n in range(start, stop)}
    needed = {n for start, stop in wanted for n in range(start, stop)}
    assert needed <= covered | here
    assert all(start < stop for start, stop in asked)
    if needed <= here:
        assert not asked


# ---- STAC -------------------------------------------------------------------------------------

DAYS = [date(2019, 7, day) for day in range(1, 9)]
WORLD = (-180.0, -90.0, 180.0, 90.0)


def lst_items(tile="h15v04", product="MOD11A1", made="2020001000000", days=DAYS):
    """Items of a product, one a day."""
    return [
        item_of(
            f"{product}.A{day:%Y%j}.{tile}.061.{made}", day,
            {"LST_Day_1km": f"https://host/{product}/{tile}/{day}/{made}.tif", "hdf": "s3://x/y"},
        )
        for day in days
    ]  # fmt: skip


def test_all_pages_of_a_collection_are_read_and_other_products_passed_over(server, web):
    aqua = lst_items(product="MYD11A1")
    server.pages["lst"] = Page([*lst_items(), *aqua, *lst_items("h16v04")], size=5)
    address = f"{server.url}{API}/collections/lst"
    found = granules(web, address, WORLD, (DAYS[1], DAYS[5]), "MOD11A1")
    assert sorted(found) == [(tile, day) for tile in ("h15v04", "h16v04") for day in DAYS[1:6]]
    granule = found["h15v04", DAYS[1]]
    assert granule.address_of("LST_Day_1km").endswith("MOD11A1/h15v04/2019-07-02/2020001000000.tif")
    assert len(server.asked) == 1 + 3  # the collection, and fifteen items


def test_of_two_productions_the_later_counts(server, web):
    server.pages["lst"] = Page([*lst_items(made="2021001000000"), *lst_items()], size=50)
    address = f"{server.url}{API}/collections/lst"
    found = granules(web, address, WORLD, (DAYS[0], DAYS[-1]), "MOD11A1")
    assert {granule.made for granule in found.values()} == {"2021001000000"}


def test_places_elsewhere_are_not_listed(server, web):
    server.pages["lst"] = Page(lst_items())
    address = f"{server.url}{API}/collections/lst"
    assert not granules(web, address, (0.0, 0.0, 10.0, 10.0), (DAYS[0], DAYS[-1]), "MOD11A1")


def test_a_static_catalog_is_read_through_its_links(server, web, tmp_path):
    items = [*lst_items(), *lst_items(product="MYD11A1")]
    write_static_catalog(tmp_path, "lst", items)
    address = f"{server.url}/lst/collection.json"
    found = granules(web, address, WORLD, (DAYS[0], DAYS[2]), "MOD11A1")
    assert sorted(found) == [("h15v04", day) for day in DAYS[:3]]
    assert len(server.asked) == 1 + 8  # items of other products are not opened


def test_an_asset_that_is_not_there_is_named(server, web):
    server.pages["lst"] = Page(lst_items())
    found = granules(
        web, f"{server.url}{API}/collections/lst", WORLD, (DAYS[0], DAYS[0]), "MOD11A1"
    )
    with pytest.raises(Refused, match=r"has no asset QC_Day, only \['LST_Day_1km'\]"):
        found["h15v04", DAYS[0]].address_of("QC_Day")
