"""The benchmark that fills a scene's cloud gap, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "lst_gap.py"


def run(*words, status=0):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def write_scene(path, values):
    xr.Dataset({"lst": (("lat", "lon"), values.astype("float32"))}).to_netcdf(path)


def test_a_slope_is_filled_and_what_was_observed_stays(tmp_path):
    lat, lon = np.mgrid[:60, :80]
    truth = (0.1 * lat + 0.05 * lon).astype("float32")
    seen = truth.copy()
    seen[20:35, 30:50] = np.nan
    write_scene(tmp_path / "in.nc", seen)
    said = run(tmp_path / "in.nc", tmp_path / "out.nc", "--json", tmp_path / "errors.json")
    filled = xr.open_dataset(tmp_path / "out.nc")["lst"].values
    assert filled.dtype == np.float32
    known = np.isfinite(seen)
    np.testing.assert_array_equal(filled[known], seen[known])
    np.testing.assert_allclose(filled, truth, atol=0.05)  # a membrane keeps a plane
    errors = json.loads((tmp_path / "errors.json").read_text())
    means = {name: np.mean(found) for name, found in errors.items()}
    assert means["fill_residual"] < means["nearest neighbour"] < means["spatial mean"]
    assert "20% of the valid pixels" in said


def test_a_file_without_a_scene_is_refused(tmp_path):
    write_scene(tmp_path / "in.nc", np.zeros((4, 5)))
    said = run(tmp_path / "in.nc", tmp_path / "out.nc", "--variable", "ndvi", status=1)
    assert "expected ndvi (lat, lon)" in said and not (tmp_path / "out.nc").exists()


@pytest.mark.real_data
def test_the_real_scene_is_filled_better_than_from_the_nearest_pixel(real_data, tmp_path):
    source = real_data / "grids/lst_gap/modis_lst_20160804_masked.nc"
    run(source, tmp_path / "out.nc", "--json", tmp_path / "errors.json")
    errors = json.loads((tmp_path / "errors.json").read_text())
    # Masks of our own; the nearest pixel scores about 1.8 degC on them.
    assert max(errors["fill_residual"]) < min(errors["nearest neighbour"])
    assert np.mean(errors["fill_residual"]) < 1.6
    assert xr.open_dataset(tmp_path / "out.nc")["lst"].notnull().all()
