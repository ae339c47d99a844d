"""A disk that fills during a run: clear errors, no false marker, resume once there is room."""

import subprocess
from datetime import date

import pytest
from bare_cube import many_blocks, save_small_forest, write_bare_cube

from gssm_cube import blocks
from gssm_cube.blocks import UnitsFailed
from gssm_cube.predict import predict_product

LAYOUT = many_blocks(3, 4, date(2018, 3, 20))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 320 kB in memory; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(place)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no small file system could be mounted: this needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def contents(store):
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def test_a_full_disk_is_named_nothing_false_is_done_and_the_run_goes_on_after(small_disk, tmp_path):
    store, forest = tmp_path / "features.zarr", save_small_forest(tmp_path / "forest")
    write_bare_cube(store, LAYOUT)
    status, _ = predict_product(store, tmp_path / "calm.zarr", forest, {})
    assert status["bytes"].sum() > 320_000  # more than the disk holds
    target = small_disk / "ssm.zarr"
    with pytest.raises(UnitsFailed, match="No space left on device") as caught:
        predict_product(store, target, forest, {})
    failed = set(caught.value.failed["unit"])
    folder = blocks.marker_folder(target, "predict")
    done = {path.stem for path in folder.glob("*.json")}
    assert failed and done and failed | done == set(status["unit"]) and not failed & done
    for unit in done:
        marker = blocks.read_marker(target, "predict", unit)
        assert blocks.is_done(target, "predict", unit, marker["key"])
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    again, skipped = predict_product(store, target, forest, {})
    assert set(again["unit"]) == failed and skipped == len(done)
    assert contents(target) == contents(tmp_path / "calm.zarr")
