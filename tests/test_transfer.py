"""Files by http: whole or not at all, and on from where they were cut."""

import threading

import pytest
import requests
from file_server import Fault, FileServer
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.fetch import transfer
from gssm_cube.fetch.transfer import RemoteFile, download
from gssm_cube.sources import tries
from gssm_cube.sources.tries import NoAccess, NoAnswer, NotThere, Refused, Stopped, Watch

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(tries, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 100)


@pytest.fixture
def server():
    with FileServer() as running:
        running.files["/map.tif"] = CONTENT
        yield running


def anything(path):
    """A check that all files pass."""


def get(server, target, *, check=anything, watch=None, **more):
    remote = RemoteFile(f"{server.url}/map.tif", requests.Session(), **more)
    watch = watch or Watch()
    download(remote, target, check, watch)
    return watch


def rests(server):
    return [asked.headers.get("Range") for asked in server.asked("map.tif")]


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server, tmp_path):
    watch = get(server, tmp_path / "new" / "map.tif")
    assert (tmp_path / "new" / "map.tif").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["map.tif"]
    assert watch.count == len(CONTENT)


def test_a_cut_file_goes_on_from_the_byte_where_it_was_cut(server, tmp_path):
    server.faults.append(Fault("cut", after=30_000))
    watch = get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT
    assert rests(server)[0] is None and rests(server)[1] == "bytes=30000-"
    assert server.sent == len(CONTENT) == watch.count


def test_a_file_goes_on_in_a_later_process(server, tmp_path, monkeypatch):
    server.faults.append(Fault("cut", times=9, after=5_000))
    monkeypatch.setattr(tries, "TRIES", 1)
    with pytest.raises(NoAnswer, match="what has come is kept"):
        get(server, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
    server.faults.clear()
    get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT
    assert rests(server)[-1] == "bytes=5000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    server.faults += [Fault("cut", after=30_000), Fault("changed")]
    watch = get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT[::-1]
    assert watch.count == len(CONTENT)


@pytest.mark.parametrize("lacking", ["ranges", "marked"])
def test_a_server_without_parts_or_versions_is_asked_for_the_whole_again(lacking, server, tmp_path):
    setattr(server, lacking, False)
    server.faults.append(Fault("cut", after=30_000))
    watch = get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + 30_000
    assert watch.count == len(CONTENT)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status, server, tmp_path):
    server.faults.append(Fault(status, times=3))
    get(server, tmp_path / "map.tif")
    assert len(rests(server)) == 4


def test_a_server_that_says_how_long_it_is_busy_is_left_alone_for_so_long(
    server, tmp_path, monkeypatch
):
    waited = []
    watch = Watch()
    monkeypatch.setattr(watch, "pause", waited.append)
    server.faults.append(Fault(503, headers={"Retry-After": "7"}))
    get(server, tmp_path / "map.tif", watch=watch)
    assert 7.0 in waited


def test_a_server_that_stays_busy_is_given_up_after_eight_tries(server, tmp_path):
    server.faults.append(Fault(503, times=99))
    with pytest.raises(NoAnswer, match="8 tries in a row, the last failed by status 503;"):
        get(server, tmp_path / "map.tif")
    assert len(rests(server)) == 8


def test_tries_count_from_the_last_byte_that_came(server, tmp_path):
    server.faults += [Fault("cut", times=20, after=1_000)]
    get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, NoAccess, "map.tif: access is denied .401.: make an account"),
        (403, NoAccess, "map.tif: access is denied .403.: make an account"),
        (404, NotThere, "map.tif is not there .404."),
        (410, NotThere, "map.tif is not there .410."),
        (400, Refused, "map.tif: the server refuses the request .400 Bad Request."),
        (501, Refused, "map.tif: the server refuses the request .501 Not Implemented."),
    ],
)
def test_a_refusal_is_told_at_once_with_what_to_do(status, error, message, server, tmp_path):
    server.faults.append(Fault(status, times=99))
    with pytest.raises(error, match=message):
        get(server, tmp_path / "map.tif", advice="make an account")
    assert len(rests(server)) == 1
    assert not list(tmp_path.iterdir())


def test_no_error_shows_a_query(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tries, "TRIES", 2)
    url = f"http://127.0.0.1:{server.server_port}/map.tif?signature=abc"
    for kind in (403, 404, 500, "cut"):
        server.faults[:] = [Fault(kind, times=9)]
        with pytest.raises((RuntimeError, Refused)) as told:
            download(RemoteFile(url, requests.Session()), tmp_path / "x", anything, Watch())
        assert "map.tif" in str(told.value) and "signature" not in str(told.value)
    with pytest.raises(NoAnswer) as told:
        gone = RemoteFile("http://127.0.0.1:9/x?signature=abc", requests.Session())
        download(gone, tmp_path / "x", anything, Watch())
    assert "signature" not in str(told.value)


def test_a_page_in_place_of_a_file_is_no_file(server, tmp_path):
    server.faults.append(Fault("page"))
    with pytest.raises(NoAccess, match="a page, not a file: make an account"):
        get(server, tmp_path / "map.tif", advice="make an account")
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_its_check_is_removed(server, tmp_path):
    def check(path):
        raise ValueError(f"{path.stat().st_size} bytes")

    with pytest.raises(ValueError, match="102400 bytes"):
        get(server, tmp_path / "map.tif", check=check)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_until_the_new_file_is_whole(server, tmp_path, monkeypatch):
    (tmp_path / "map.tif").write_bytes(b"old")
    monkeypatch.setattr(tries, "TRIES", 1)
    server.faults.append(Fault("cut", after=500))
    with pytest.raises(NoAnswer):
        get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == b"old"
    get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT


def test_a_part_of_a_file_comes_alone_and_goes_on_too(server, tmp_path):
    server.faults.append(Fault("cut", after=300))
    get(server, tmp_path / "part", start=1_000, bytes=2_000)
    assert (tmp_path / "part").read_bytes() == CONTENT[1_000:3_000]
    assert rests(server) == ["bytes=1000-2999", "bytes=1300-2999"]


def test_a_server_without_parts_gives_no_part(server, tmp_path):
    server.ranges = False
    remote = RemoteFile(f"{server.url}/map.tif", requests.Session(), start=0, bytes=512)
    with pytest.raises(transfer.NoRanges, match="no parts"):
        transfer.read_part(remote, Watch())
    with pytest.raises(transfer.NoRanges, match="no parts"):
        get(server, tmp_path / "part", start=1_000, bytes=2_000)


def test_a_wrong_length_is_not_taken_for_the_whole(server, tmp_path):
    """The server tells a byte less than the version before: what came of that is thrown away."""
    server.faults.append(Fault("cut", after=30_000))
    (tmp_path / "map.tif.part").write_bytes(CONTENT + b"more")
    (tmp_path / "map.tif.part.mark").write_text('"v1"')
    watch = get(server, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").read_bytes() == CONTENT
    assert watch.count == len(CONTENT)


@pytest.mark.parametrize("more", [{}, {"start": 1_000, "bytes": 2_000}])
def test_what_had_come_whole_before_a_kill_is_not_fetched_again(more, server, tmp_path):
    wanted = CONTENT[1_000:3_000] if more else CONTENT
    (tmp_path / "map.tif.part").write_bytes(wanted)
    (tmp_path / "map.tif.part.mark").write_text('"v1"')
    get(server, tmp_path / "map.tif", **more)
    assert (tmp_path / "map.tif").read_bytes() == wanted
    assert server.sent == 0


def test_a_stop_ends_a_download_and_keeps_what_came(server, tmp_path):
    watch = Watch(lambda count: count > 20_000 and watch.stop())
    with pytest.raises(Stopped):
        get(server, tmp_path / "map.tif", watch=watch)
    assert 20_000 < (tmp_path / "map.tif.part").stat().st_size < len(CONTENT)
    get(server, tmp_path / "map.tif")
    assert server.sent < 2 * len(CONTENT)
    assert (tmp_path / "map.tif").read_bytes() == CONTENT


def test_a_stop_ends_a_pause():
    watch = Watch()
    threading.Timer(0.05, watch.stop).start()
    with pytest.raises(Stopped):
        watch.pause(60)


def test_sizes_are_told_by_the_server(server):
    assert (
        transfer.size_of(RemoteFile(f"{server.url}/map.tif", requests.Session()), Watch())
        == 102_400
    )
    assert server.sent == 0


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4_000), max_size=12), st.binary(min_size=1, max_size=9_000))
def test_any_cuts_give_the_same_bytes(tmp_path_factory, cuts, content):
    folder = tmp_path_factory.mktemp("cuts")
    with FileServer() as server:
        server.files["/map.tif"] = content
        server.faults += [Fault("cut", after=cut) for cut in cuts[:7]]
        get(server, folder / "map.tif")
    assert (folder / "map.tif").read_bytes() == content
