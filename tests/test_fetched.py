"""A folder that is fetched once a machine, whole or not at all."""

import os

import fsspec
import pytest

from gssm_cube.storage import locations
from gssm_cube.storage.fetched import fetch_folder


@pytest.fixture
def remote():
    """A folder on a store of objects, here in memory; return its URL."""
    system = fsspec.filesystem("memory")
    system.pipe({"/bucket/forest/forest.json": b"{}", "/bucket/forest/deep/a.npy": b"12"})
    yield "memory://bucket/forest"
    system.rm("/bucket", recursive=True)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_files_come_and_the_second_asker_gets_the_same_copy(remote, tmp_path):
    checked = []
    first = fetch_folder(remote, "forest_ab", checked.append, tmp_path)
    assert contents(first) == {"forest.json": b"{}", "deep/a.npy": b"12"}
    fsspec.filesystem("memory").pipe("/bucket/forest/forest.json", b"other")
    assert fetch_folder(remote, "forest_ab", checked.append, tmp_path) == first
    assert contents(first)["forest.json"] == b"{}" and len(checked) == 1
    other = fetch_folder(remote, "forest_cd", checked.append, tmp_path)
    assert contents(other)["forest.json"] == b"other"


def test_a_copy_that_is_not_what_is_wanted_takes_no_place(remote, tmp_path):
    def refuse(folder):
        raise ValueError(f"{len(contents(folder))} files of another forest")

    with pytest.raises(ValueError, match="2 files of another forest"):
        fetch_folder(remote, "forest_ab", refuse, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["forest_ab.lock"]


def test_an_empty_url_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no files under memory://nowhere: put"):
        fetch_folder("memory://nowhere", "forest_ab", lambda folder: None, tmp_path)


def test_a_file_that_leads_out_of_the_folder_is_refused(remote, tmp_path):
    fsspec.filesystem("memory").store["/bucket/forest/../../out"] = fsspec.filesystem(
        "memory"
    ).open("/bucket/forest/forest.json")
    with pytest.raises(ValueError, match="'../../out', which leads out of the folder"):
        fetch(remote, tmp_path / "cache")
    assert not list(tmp_path.rglob("out"))


def test_a_file_of_a_bucket_that_goes_meanwhile_ends_the_fetch(tmp_path, monkeypatch):
    found = [locations.Found("forest.json", 2, 0.0)]
    monkeypatch.setattr(locations, "files", lambda url: found)
    monkeypatch.setattr(locations, "read", lambda url: None)
    with pytest.raises(FileNotFoundError, match="s3://b/forest/forest.json was removed meanwhile"):
        fetch("s3://b/forest", tmp_path / "cache")


def fetch(url, cache=None):
    return fetch_folder(url, "forest_ab", lambda folder: None, cache)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_cache_that_others_may_write_to_is_refused(remote, tmp_path, mode):
    cache = tmp_path / "cache"
    assert contents(fetch(remote, cache)) and cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(mode)
    match = f"cache is a folder of user {os.getuid()}, mode {mode:o}, expected .* set TMPDIR"
    with pytest.raises(PermissionError, match=match):
        fetch(remote, cache)


def test_a_link_in_the_place_of_the_cache_is_refused(remote, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"gssm_cube_{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="is no folder but a link or file of user"):
        fetch(remote)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_cache_that_another_user_made_first_is_refused(remote, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cache = tmp_path / f"gssm_cube_{os.getuid()}"
    cache.mkdir(mode=0o700)
    os.chown(cache, 12345, -1)
    with pytest.raises(PermissionError, match="is a folder of user 12345, mode 700, expected"):
        fetch(remote)
