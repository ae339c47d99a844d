"""Small files on disk and at URLs that no store can have."""

import os
from pathlib import Path

import pytest

from gssm_cube.storage import locations


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    place = tmp_path / "folder" / "a.json"
    assert (locations.read(place), locations.size(place)) == (None, None)
    locations.write(place, b"first")
    assert (locations.read(place), locations.size(place)) == (b"first", 5)

    def fail(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        locations.write(place, b"second")
    assert locations.read(place) == b"first"


def test_a_new_file_is_not_written_over(tmp_path):
    assert locations.create(tmp_path / "a", b"1") is True
    assert locations.create(tmp_path / "a", b"2") is False
    assert (tmp_path / "a").read_bytes() == b"1"


def test_files_are_listed_with_their_folders_and_names_without(tmp_path):
    for name in ("a.json", "b.tmp", "c/d.json"):
        locations.write(tmp_path / name, b"12")
    found = {file.name: file.size for file in locations.files(tmp_path)}
    assert found == {"a.json": 2, "b.tmp": 2, "c/d.json": 2}
    assert locations.names(tmp_path) == ["a"]
    assert list(locations.files(tmp_path / "nothing")) == []
    locations.delete(tmp_path / "a.json")
    locations.delete(tmp_path / "a.json")
    assert locations.names(tmp_path) == []


def test_a_place_is_a_path_or_a_url_without_a_slash_at_its_end():
    assert locations.location_of("a/b") == Path("a/b")
    assert locations.location_of("file:///a/b") == Path("/a/b")
    assert locations.location_of("s3://bucket/a/") == "s3://bucket/a"
    assert locations.join("s3://bucket/a", "b", "c") == "s3://bucket/a/b/c"
    assert locations.join(Path("a"), "b") == Path("a/b")
    assert locations.beside("s3://bucket/a", ".markers") == "s3://bucket/a.markers"
    azure = "abfss://container@account.dfs.core.windows.net/a"
    assert locations.location_of(azure) == azure
    assert locations.location_of("https://host/") == "https://host"


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ftp://host/a", "ftp://host/a is no store's URL, expected one of s3, s3a, gs"),
        ("s3:///a", "s3:///a is no store's URL"),
        ("s3://key:secret@bucket/a", "s3://bucket/a came with a name, key or query"),
        ("https://host/a?token=secret", "https://host/a came with a name, key or query"),
        ("abfss://container:secret@account/a", "abfss://account/a came with a name, key or query"),
        ("s3://bucket/", "s3://bucket/ names no place within its bucket, expected such as s3://b"),
        ("gs://bucket/a//b", "gs://bucket/a//b names no place within its bucket"),
        ("s3://bucket/a/../b", "without empty steps, '.' and '..'"),
    ],
)
def test_a_url_that_no_store_has_or_that_holds_a_key_is_refused_and_not_repeated(url, match):
    with pytest.raises(ValueError, match=match) as error:
        locations.location_of(url)
    assert "secret" not in str(error.value)


def test_a_plain_endpoint_is_used_only_if_that_is_said_twice(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://storage.example")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    with pytest.raises(ValueError, match="plain http.*; set AWS_ALLOW_HTTP=true if the network"):
        locations.read("s3://bucket/a")


def test_work_at_a_place_comes_back_in_order():
    assert locations.each("s3://bucket", lambda n: n * n, range(50)) == [n * n for n in range(50)]
    assert locations.each(Path("a"), lambda n: n + 1, range(3)) == [1, 2, 3]
