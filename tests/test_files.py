"""Files and folders that appear whole or not at all."""

import os

import pytest

from gssm_cube.storage.files import replaced


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "scores.json"


def names(path):
    return sorted(found.name for found in path.parent.iterdir())


def test_a_file_is_not_at_its_place_before_it_is_whole(path):
    with replaced(path) as partial:
        partial.write_text("half")
        assert not path.exists() and partial.parent == path.parent
    assert names(path) == ["scores.json"] and path.read_text() == "half"


def test_an_error_keeps_what_was_there_and_leaves_nothing_else(path):
    with replaced(path) as partial:
        partial.write_text("old")
    with pytest.raises(OSError, match="disk"), replaced(path) as partial:
        partial.write_text("half")
        raise OSError("the disk is full")
    assert names(path) == ["scores.json"] and path.read_text() == "old"


def test_an_error_before_anything_was_written_is_told_as_it_is(path):
    with pytest.raises(ValueError, match="units"), replaced(path):
        raise ValueError("units are missing")
    assert names(path) == []


def test_two_writers_of_a_file_do_not_meet(path):
    with replaced(path) as first:
        first.write_text("first")
        with replaced(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert names(path) == ["scores.json"] and path.read_text() == "first"


def test_a_reader_who_has_the_old_file_open_keeps_it(path):
    with replaced(path) as partial:
        partial.write_text("old")
    with path.open() as file, replaced(path) as partial:
        partial.write_text("new")
        assert file.read() == "old"
    assert path.read_text() == "new"


def test_the_mode_is_what_the_users_mask_says(path):
    before = os.umask(0o027)
    try:
        with replaced(path) as partial:
            partial.write_text("")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_comes_whole_or_goes(path):
    with pytest.raises(ValueError), replaced(path) as partial:
        (partial / "c").mkdir(parents=True)
        raise ValueError
    assert names(path) == []
    with replaced(path) as partial:
        (partial / "c").mkdir(parents=True)
    assert (path / "c").is_dir() and names(path) == ["scores.json"]


def test_a_folder_takes_the_place_of_no_other(path):
    (path / "precious").mkdir(parents=True)
    with pytest.raises(OSError), replaced(path) as partial:
        partial.mkdir()
    assert (path / "precious").is_dir() and names(path) == ["scores.json"]
