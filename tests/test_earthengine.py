"""Earth Engine's client against a loopback server that fails as it is told."""

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ee_algebra import Collection
from ee_server import SINUSOIDAL, Catalog, EarthEngineServer, let_anyone_in, wait_until
from ee_world import band, image, without_day
from rasterio.transform import Affine

from gssm_cube.download import downloads, orders
from gssm_cube.download.downloads import RemoteSources, download
from gssm_cube.grid import Layout, Tile
from gssm_cube.sources import earthengine, ee_requests, modis, tries
from gssm_cube.sources.ee_requests import Band, Request

ASSET = "MODIS/061/MOD11A1"
DAYS = [date(2019, 7, day) for day in range(1, 11)]
LAYOUT = Layout(Tile(118, 372), 1, 1, DAYS[0], DAYS[-1], 48)  # one tile off Portugal
((TILE, BOX),) = orders.modis_boxes(LAYOUT).items()
SHAPE = len(BOX[0]), len(BOX[1])


def numbers(day: date) -> np.ndarray:
    """LST of a day, digital numbers; a corner is masked."""
    values = np.add.outer(np.arange(SHAPE[0]), 2 * np.arange(SHAPE[1])) + 14000 + day.day
    values[:5, :5] = 0
    return values


def lst_catalog() -> Catalog:
    """Ten days of LST on the box of the layout."""
    left, top = orders.SINUSOIDAL.corner_of(BOX)
    pixel = orders.SINUSOIDAL.cell[0]
    transform = Affine(pixel, 0, left, 0, -pixel, top)
    images = []
    for day in DAYS:
        bands = [
            band("LST_Day_1km", "uint16", partial(numbers, day), transform, 0, SINUSOIDAL),
            band("QC_Day", "uint8", lambda: np.zeros(SHAPE, "int16"), transform, -1, SINUSOIDAL),
            band("LST_Night_1km", "uint16", partial(numbers, day), transform, 0, SINUSOIDAL),
            band("QC_Night", "uint8", lambda: np.zeros(SHAPE, "int16"), transform, -1, SINUSOIDAL),
        ]
        images.append(image(bands, ASSET, f"{day:%Y_%m_%d}", day.isoformat()))
    return Catalog(collections={ASSET: Collection(tuple(images), ASSET)})


@pytest.fixture
def server():
    with EarthEngineServer(lst_catalog()) as running:
        yield running


@pytest.fixture
def connected(server, monkeypatch):
    """A server that this process is connected to, and requests of two days each."""
    let_anyone_in(monkeypatch)
    monkeypatch.setattr(ee_requests, "MOST_BANDS", 8)
    earthengine.connect("someone", url=server.url)
    yield server
    import ee

    ee.Reset()


@pytest.fixture
def remote(tmp_path):
    return RemoteSources({"mod11a1": ASSET}, LAYOUT, tmp_path / "earthengine")


@pytest.fixture
def fetch():
    """Fetch without waiting between tries."""
    return partial(earthengine.fetch, pause=lambda seconds: None)


@pytest.fixture
def request_of_a_day():
    stamps = (np.datetime64("2019-07-03"),)
    return Request(ASSET, (Band("LST_Day_1km", "uint16", 0),), orders.SINUSOIDAL, *BOX, stamps)


def days_on_disk(remote) -> dict[date, np.ndarray]:
    """LST by day of all files that were delivered, read as the ingest reads them."""
    folder = orders.folder_of(remote.folder, "mod11a1", ASSET, LAYOUT)
    files = modis.find_files(folder, "MOD11A1", modis.LST_LAYERS)
    return {day: modis.read_lst(tiles, "Day", *BOX).values for day, tiles in files.items()}


# ---- what is asked and delivered --------------------------------------------------------------


def test_answers_hold_the_pixels_of_the_place_that_is_asked(connected, request_of_a_day):
    answer = earthengine.fetch(request_of_a_day)
    np.testing.assert_array_equal(answer[answer.dtype.names[0]], numbers(DAYS[2]))


def test_masked_pixels_come_back_as_the_fill_also_beyond_the_image(connected, request_of_a_day):
    rows, cols = BOX
    wider = Request(
        ASSET, (Band("QC_Day", "uint8", 2),), orders.SINUSOIDAL, rows,
        range(cols.start - 3, cols.stop), request_of_a_day.stamps,
    )  # fmt: skip
    answer = earthengine.fetch(wider)
    values = answer[answer.dtype.names[0]]
    assert (values[:, :3] == 2).all() and (values[:, 3:] == 0).all()


def test_days_become_files_that_the_ingest_reads(connected, remote, fetch):
    done = download(remote, at_once=3, fetch=fetch)
    assert done == {"requests": 5, "bytes": 10 * 6 * SHAPE[0] * SHAPE[1], "files": 40}
    found = days_on_disk(remote)
    assert list(found) == DAYS
    for day, values in found.items():
        np.testing.assert_array_equal(values, numbers(day))
    assert not list((remote.folder / "parts").iterdir())


def test_files_say_what_masked_pixels_hold(connected, remote, fetch):
    download(remote, at_once=3, fetch=fetch)
    (path,) = remote.folder.rglob("*A2019182*LST_Day_1km.tif")
    with rasterio.open(path) as source:
        assert source.nodata == 0 and source.dtypes == ("uint16",)
        assert orders.KILOMETRE.place_of(source.transform.c, source.transform.f) == (
            BOX[0].start, BOX[1].start,
        )  # fmt: skip


def test_what_is_there_is_not_asked_again(connected, remote, fetch):
    download(remote, at_once=3, fetch=fetch)
    asked = len(connected.pixels)
    assert not remote.lacking("mod11a1")
    assert download(remote, at_once=3, fetch=fetch)["requests"] == 0
    (path,) = remote.folder.rglob("*A2019185*QC_Night.tif")  # the fourth day's
    path.unlink()
    assert download(remote, at_once=3, fetch=fetch)["requests"] == 1
    assert connected.pixels[asked:] == [connected.pixels[asked]]


def test_a_masked_image_becomes_a_day_without_a_value(connected, remote, fetch):
    held = connected.catalog.collections[ASSET].images
    elsewhere = Affine(1, 0, 9e9, 0, -1, 0)
    masked = held[4].each(
        lambda b: band(b.id, b.dtype, lambda: np.zeros((1, 1)), elsewhere, 0, SINUSOIDAL)
    )
    images = (*held[:4], masked, *held[5:])
    connected.catalog.collections[ASSET] = Collection(images, ASSET)
    download(remote, at_once=3, fetch=fetch)
    found = days_on_disk(remote)
    assert not found[DAYS[4]].any()
    assert found[DAYS[3]].any()


def test_a_day_without_an_image_is_noted_and_the_others_are_delivered(
    connected, remote, fetch, caplog
):
    without_day(connected.catalog, ASSET, DAYS[3])
    download(remote, at_once=3, fetch=fetch)
    assert "has no image of MODIS/061/MOD11A1 on 1 stamps: 2019-07-04" in caplog.text
    assert sorted(days_on_disk(remote)) == [day for day in DAYS if day != DAYS[3]]
    assert not remote.lacking("mod11a1")  # so that a run goes on without asking
    assert remote.lacking("mod11a1", orders.USUAL)  # so that a download asks again
    connected.catalog = lst_catalog()  # it came later
    assert download(remote, at_once=3, fetch=fetch)["requests"] == 1
    assert sorted(days_on_disk(remote)) == DAYS


def test_more_requests_than_allowed_are_not_begun(connected, remote, fetch):
    with pytest.raises(ValueError, match="5 requests .* needed, --max-requests allows 4"):
        download(remote, at_once=3, max_requests=4, fetch=fetch)
    assert not connected.pixels
    assert download(remote, at_once=3, max_requests=5, fetch=fetch)["requests"] == 5


# ---- failures ---------------------------------------------------------------------------------


def test_a_storm_of_429_passes_with_growing_pauses(connected, request_of_a_day):
    connected.fail(429, times=5, message="Too many concurrent aggregations.")
    pauses: list[float] = []
    answer = earthengine.fetch(request_of_a_day, pause=pauses.append)
    np.testing.assert_array_equal(answer[answer.dtype.names[0]], numbers(DAYS[2]))
    assert len(connected.pixels) == 6
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


def test_who_asks_for_a_longer_pause_gets_it(connected, request_of_a_day):
    connected.fail(429, message="Quota exceeded.", retry_after="30")
    pauses: list[float] = []
    earthengine.fetch(request_of_a_day, pause=pauses.append)
    assert pauses == [30.0]


@pytest.mark.parametrize("error", [ValueError("a fault of ours"), PermissionError("no key file")])
def test_what_the_client_itself_cannot_do_is_not_tried_again(
    connected, request_of_a_day, fetch, monkeypatch, error
):
    calls = []

    def fail(params):
        calls.append(params)
        raise error

    monkeypatch.setattr("ee.data.computePixels", fail)
    with pytest.raises(type(error)) as caught:
        fetch(request_of_a_day)
    assert caught.value is error and len(calls) == 1


@pytest.mark.parametrize("kind", [503, "cut", "truncated"])
def test_a_list_of_what_is_there_that_does_not_come_whole_is_asked_again(connected, kind):
    first, last = (np.datetime64(day, "D") for day in (DAYS[0], DAYS[2]))
    connected.fail(kind, times=2, path="value:compute")
    found = earthengine.stamps_there(ASSET, first, last, pause=lambda seconds: None)
    assert found == {np.datetime64(day, "D") for day in DAYS[:3]}


@pytest.mark.parametrize("kind", [503, 500, "cut", "truncated", "short"])
def test_failures_that_may_pass_are_tried_again(connected, request_of_a_day, fetch, kind):
    connected.fail(kind, times=2)
    answer = fetch(request_of_a_day)
    np.testing.assert_array_equal(answer[answer.dtype.names[0]], numbers(DAYS[2]))
    assert len(connected.pixels) == 3


def test_a_failure_that_does_not_pass_ends_after_eight_tries(connected, remote, fetch):
    connected.fail(503, times=1000, message="The service is currently unavailable.")
    with pytest.raises(tries.NoAnswer, match="no answer in 8 tries.*unavailable"):
        download(remote, at_once=1, fetch=fetch)
    assert len(connected.pixels) <= 2 * 8  # the one that had begun meanwhile, no more


@pytest.mark.timeout(120)
def test_who_waits_to_ask_again_keeps_no_download_that_ends_from_ending(
    connected, remote, monkeypatch
):
    monkeypatch.setattr(tries, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(tries, "LONGEST_PAUSE", 3600.0)
    connected.fail(503, times=2)
    connected.fail(403, message="The caller does not have permission.")
    with pytest.raises(earthengine.NoAccess, match="does not have permission"):
        download(remote, at_once=3)


@pytest.mark.parametrize("left", [0, 100])
def test_an_answer_that_a_power_cut_left_short_is_asked_again(connected, remote, fetch, left):
    (first, *_) = remote.wanted("mod11a1")
    part = downloads.part_of(remote.folder, first.requests[0])
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\x93NUMPY".ljust(left, b"0")[:left])
    assert download(remote, at_once=3, fetch=fetch)["requests"] == 5
    assert list(days_on_disk(remote)) == DAYS


def test_a_refused_request_is_never_sent_again_and_the_others_are_done(connected, remote, fetch):
    connected.fail(400, message="User memory limit exceeded.")
    with pytest.raises(RuntimeError, match="1 of 5 requests were refused.*memory limit"):
        download(remote, at_once=1, fetch=fetch)
    assert len(connected.pixels) == 5
    assert len(days_on_disk(remote)) == 8
    assert download(remote, at_once=1, fetch=fetch)["requests"] == 1
    assert len(days_on_disk(remote)) == 10


def test_an_unknown_asset_is_refused_with_its_name(connected, request_of_a_day):
    other = Request("NO/SUCH", request_of_a_day.bands, orders.SINUSOIDAL, *BOX)
    with pytest.raises(tries.Refused, match="NO/SUCH.*not found"):
        earthengine.fetch(other)


@pytest.mark.parametrize("at_once", [1, 3])
def test_requests_in_flight_never_pass_the_limit(connected, remote, fetch, at_once):
    def hold(number: int) -> None:
        """Answer only when as many as allowed are here, or no more will come."""
        last = number > 5 - at_once
        wait_until(lambda: last or connected.most_in_flight >= at_once)

    connected.hold = hold
    download(remote, at_once=at_once, fetch=fetch)
    assert connected.most_in_flight == at_once


DOWNLOAD = """
import sys
sys.path.insert(0, {tests!r})
import ee
import ee.deprecation
from google.auth.credentials import AnonymousCredentials
ee.deprecation._FetchDataCatalogStac = dict
ee.data.get_persistent_credentials = AnonymousCredentials
from pathlib import Path
from test_earthengine import ASSET, LAYOUT
from gssm_cube.download.downloads import RemoteSources, download
from gssm_cube.sources import earthengine, ee_requests
ee_requests.MOST_BANDS = 4
earthengine.connect("someone", url={url!r})
download(RemoteSources({{"mod11a1": ASSET}}, LAYOUT, Path({folder!r})), at_once=2)
"""


def test_a_kill_repeats_at_most_the_requests_in_flight(connected, remote, fetch, monkeypatch):
    monkeypatch.setattr(ee_requests, "MOST_BANDS", 4)  # a day a request
    gate = {"open": False}
    connected.hold = lambda number: wait_until(lambda: number <= 5 or gate["open"], 120)
    text = DOWNLOAD.format(
        tests=str(Path(__file__).parent), url=connected.url, folder=str(remote.folder)
    )
    process = subprocess.Popen([sys.executable, "-c", text])
    try:
        wait_until(lambda: len(connected.pixels) == 7, 120)  # five answered, two in flight
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    gate["open"] = True
    before = list(connected.pixels)
    download(remote, at_once=2, fetch=fetch)
    again = connected.pixels[7:]
    assert set(again) & set(before) <= set(before[5:7])
    assert len(set(connected.pixels)) == 10 and len(connected.pixels) <= 12
    found = days_on_disk(remote)
    assert sorted(found) == DAYS
    for day, values in found.items():
        np.testing.assert_array_equal(values, numbers(day))


# ---- access -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def key_file(server, private_key, tmp_path, monkeypatch):
    """A service account's key whose tokens the loopback gives out, and a home without any."""
    monkeypatch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    server.tokens = set()
    path = tmp_path / "key.json"
    path.write_text(json.dumps({
        "type": "service_account", "project_id": "someone", "private_key_id": "1",
        "private_key": private_key, "client_email": "robot@someone.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": f"{server.url}/token",
    }))  # fmt: skip
    yield path
    import ee

    ee.Reset()


def test_a_service_account_gets_in_by_its_key(server, key_file):
    earthengine.connect("someone", str(key_file), server.url)
    assert server.refreshed == 1


def test_application_default_credentials_get_in(server, key_file, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    earthengine.connect("someone", "application_default", server.url)
    assert server.refreshed == 1


def test_stored_credentials_get_in(server, key_file, tmp_path, monkeypatch):
    monkeypatch.setattr("ee.oauth.TOKEN_URI", f"{server.url}/token")
    place = tmp_path / "home" / ".config" / "earthengine"
    place.mkdir(parents=True)
    stored = {"refresh_token": "r", "client_id": "c", "client_secret": "s", "scopes": ["a"]}
    (place / "credentials").write_text(json.dumps(stored))
    earthengine.connect("someone", "stored", server.url)
    assert server.refreshed >= 1


def test_without_credentials_each_way_says_what_to_do(server, key_file, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for words, expected in (
        ("stored", "run `earthengine authenticate` once"),
        ("application_default", "run `gcloud auth application-default login`"),
        (str(tmp_path / "lost.json"), "no key of a service account at .*lost.json"),
    ):
        with pytest.raises(tries.NoAccess, match=expected):
            earthengine.connect("someone", words, server.url)
    key_file.write_text('{"type": "authorized_user", "private_key": "secret"}')
    with pytest.raises(tries.NoAccess, match="key.json names is no key") as caught:
        earthengine.connect("someone", str(key_file), server.url)
    assert "secret" not in str(caught.value)
    key_file.write_text('{"private_key": "secret", ')
    with pytest.raises(earthengine.NoAccess, match="key.json names is no key") as caught:
        earthengine.connect("someone", str(key_file), server.url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_project_that_is_not_registered_is_told_before_work_starts(server, key_file):
    server.fail(403, path="value:compute", message="Project someone is not registered to use it.")
    with pytest.raises(tries.NoAccess, match="not registered.*register the project at"):
        earthengine.connect("someone", str(key_file), server.url)
    assert not server.pixels


def test_an_expired_token_is_renewed_in_the_middle(
    server, key_file, remote, fetch, monkeypatch, caplog
):
    monkeypatch.setattr(ee_requests, "MOST_BANDS", 8)
    caplog.set_level(logging.INFO)
    earthengine.connect("someone", str(key_file), server.url)

    def expire(number: int) -> None:
        if number == 3:
            server.tokens.clear()

    server.hold = expire
    download(remote, at_once=1, fetch=fetch)
    assert len(days_on_disk(remote)) == 10
    assert server.refreshed == 2
    texts = [caplog.text, *(p.read_text(errors="ignore") for p in remote.folder.rglob("*.json"))]
    assert not any("loopback-token" in text for text in texts)


def test_a_withdrawn_account_ends_the_work_and_keeps_what_is_done(
    server, key_file, remote, fetch, monkeypatch
):
    monkeypatch.setattr(ee_requests, "MOST_BANDS", 8)
    earthengine.connect("someone", str(key_file), server.url)

    def withdraw(number: int) -> None:
        if number == 3:
            server.tokens.clear()
            server.refresh_works = False

    server.hold = withdraw
    with pytest.raises(tries.NoAccess, match="authenticate anew"):
        download(remote, at_once=1, fetch=fetch)
    assert len(server.pixels) <= 4
    server.refresh_works = True
    assert download(remote, at_once=1, fetch=fetch)["requests"] == 3
    assert len(days_on_disk(remote)) == 10
