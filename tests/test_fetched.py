"""A folder that is fetched once a machine, whole or not at all."""

import fsspec
import pytest

from gssm_cube.fetched import fetch_folder


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
