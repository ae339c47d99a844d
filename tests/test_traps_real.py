"""Traps of real files that no other test of real data meets: refused in clear words, or counted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from era5_files import write_new

from gssm_cube.grid import Layout
from gssm_cube.ingest.era5_days import daily_values
from gssm_cube.insitu.archive import open_archive
from gssm_cube.insitu.harvest import group_members
from gssm_cube.insitu.ismn import read_static
from gssm_cube.sources import era5_land

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("era5/era5-2mt-2019-03-uk.grib", FileNotFoundError, "convert GRIB to NetCDF"),
        # Its units are wrong as well, but its grid is looked at first.
        ("piave_2km/inmaps_era5_201002.nc", ValueError, "this is not ERA5-Land"),
        ("era5/ERA5_Western-Australia_20200601_20200607.nc", ValueError, "lacks 't2m'"),
    ],
)
def test_meteorology_of_another_kind_is_refused(
    real_data: Path, tmp_path: Path, name: str, kind: type[Exception], message: str
) -> None:
    shutil.copy(real_data / "grids" / name, tmp_path)
    with pytest.raises(kind, match=message):
        era5_land.find_files(tmp_path)


def test_of_a_grib_beside_the_netcdf_only_the_netcdf_is_looked_at(
    real_data: Path, tmp_path: Path
) -> None:
    for name in ("era5-2mt-2019-03-uk.grib", "ERA5_Western-Australia_20200601_20200607.nc"):
        shutil.copy(real_data / "grids/era5" / name, tmp_path)
    with pytest.raises(ValueError, match="lacks 't2m', its files hold .'swvl1'.;"):
        era5_land.find_files(tmp_path)


def test_negative_rain_of_era5_is_clipped_and_counted_and_dew_is_kept(
    real_data: Path, tmp_path: Path
) -> None:
    """Four years at five places, laid side by side on cells as ERA5-Land has them."""
    path = real_data / "grids/era5/daily_surface_cancities_1990-1993.nc"
    with xr.open_dataset(path, engine="netcdf4") as file:
        days = file["time"].values.astype("M8[D]")
        # mm d-1 of kg m-2 s-1, (day, place); ERA5-Land's evaporation is negative upward.
        rain, evaporation = (86400 * file[n].values.T for n in ("pr", "evspsblpot"))
        kelvin = file["tas"].values.T
    first, last = days[[0, -1]].tolist()
    layout = Layout.covering((0.0, 0.0, 0.4, 0.4), first, last, 48)
    assert layout.cells_shape == (5, 5)

    def on_cells(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[:, None, :], 5, axis=1)

    metres = {"tp": rain / 1000, "e": -evaporation / 1000, "t2m": kelvin}
    fields = {name: on_cells(values) for name, values in metres.items()}
    stamps = days.astype("M8[h]")
    write_new(tmp_path / "era5_land_daily.nc", stamps, layout.cell_lat, layout.cell_lon, fields)
    files = era5_land.find_files(tmp_path)
    found, clipped = daily_values("tp", files, days, layout)
    assert clipped == 5 * (rain < 0).sum() == 5 * 234
    expected = on_cells(np.maximum(rain, 0))
    np.testing.assert_allclose(found["precipitation"], expected, rtol=1e-5, atol=1e-6)
    found, clipped = daily_values("e", files, days, layout)
    assert clipped == 0 and (found["evaporation"] < 0).sum() == 5 * 74
    np.testing.assert_allclose(found["evaporation"], on_cells(evaporation), rtol=1e-5, atol=1e-6)


def test_classes_are_read_beside_impossible_soil_numbers(real_data: Path) -> None:
    # HWSD has organic soils of 39 % carbon and saturations up to 1.75.
    kit = "Data_separate_files_header_20190101_20220101_kit.zip"
    saturations, carbons = [0.0], [0.0]
    with open_archive(real_data / "ismn" / kit) as members:
        assert len(group_members(members)) == 129
        for name in (name for name in members if name.endswith("static_variables.csv")):
            text = members[name]()
            found = read_static(text)
            assert found["koeppen"] and found["land_cover"], name
            for line in text.decode().splitlines():
                cells = line.split(";")
                numbers = {"saturation": saturations, "organic carbon": carbons}
                if cells[0] in numbers:
                    numbers[cells[0]].append(float(cells[4]))
    assert max(saturations) > 1 and max(carbons) > 30
