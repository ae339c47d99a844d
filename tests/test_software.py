"""What a process runs: every change of code or library shows."""

import numpy as np

from gssm_cube.software import differences, package_digest, software


def test_the_digest_of_a_package_follows_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    first = package_digest(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    assert package_digest(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    second = package_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, package_digest(tmp_path)}) == 3


def test_libraries_are_told_by_version():
    assert software()["numpy"] == np.__version__
    assert len(software()["gssm_cube"]) == 16


def test_what_differs_is_said_and_what_is_more_is_not():
    expected = {"zarr": "3.1.6", "numpy": "2.4", "dask": "1"}
    found = {"zarr": "3.0.1", "numpy": "2.4", "more": "1"}
    assert differences(expected, found) == [
        "zarr 3.0.1, expected 3.1.6",
        "dask none, expected 1",
    ]
    assert differences(expected, expected) == []
