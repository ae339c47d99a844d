"""The benchmark that fills gaps of NDVI composites, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "ndvi_gap.py"
DIMS = ("x", "y", "doy", "year")


def run(*words, status=0):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_a_pattern_with_a_level_for_each_date_is_filled_exactly(tmp_path):
    x, y = np.mgrid[:30, :30]
    pattern = 0.2 + 0.1 * np.sin(x / 5) * np.cos(y / 7)
    level = np.array([[0.0, 0.1], [0.2, 0.35], [0.1, 0.05]])  # (doy, year)
    truth = (pattern[:, :, None, None] + level).astype("float32")
    seen = truth.copy()
    seen[10:18, 12:20, 1, 0] = np.nan  # the other year has it
    seen[0:4, 0:4, 2] = np.nan  # no year has it, other dates have
    xr.Dataset({"ndvi": (DIMS, seen)}).to_netcdf(tmp_path / "in.nc")
    run(tmp_path / "in.nc", tmp_path / "out.nc")
    filled = xr.open_dataset(tmp_path / "out.nc")["ndvi"].values
    known = np.isfinite(seen)
    np.testing.assert_array_equal(filled[known], seen[known])
    np.testing.assert_allclose(filled, truth, atol=0.01)


def test_other_dimensions_are_refused(tmp_path):
    xr.Dataset({"ndvi": (("a", "b"), np.zeros((3, 3)))}).to_netcdf(tmp_path / "in.nc")
    said = run(tmp_path / "in.nc", tmp_path / "out.nc", status=1)
    assert "ndvi has ('a', 'b'), expected" in said


@pytest.mark.real_data
def test_real_composites_are_filled_better_than_from_other_years(real_data, tmp_path):
    source = real_data / "grids/ndvi_gap/mod13a1_ndvi_alaska_masked.nc"
    run(source, tmp_path / "out.nc", "--json", tmp_path / "errors.json")
    for found in json.loads((tmp_path / "errors.json").read_text()).values():
        assert max(found["years and space"]) < 0.8 * min(found["other years"])
        assert max(found["on all"]) < 0.045
    filled = xr.open_dataset(tmp_path / "out.nc")
    assert all(filled[name].notnull().all() for name in filled.data_vars)
