"""Traps of real files that no other test of real data meets: each is refused in clear words."""

import shutil
from pathlib import Path

import pytest

from gssm_cube.archive import open_archive
from gssm_cube.harvest import group_members
from gssm_cube.ismn import read_static
from gssm_cube.sources import era5_land

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("era5/era5-2mt-2019-03-uk.grib", FileNotFoundError, "convert GRIB to NetCDF"),
        # Its units are wrong as well, but its grid is looked at first.
        ("piave_2km/inmaps_era5_201002.nc", ValueError, "this is not ERA5-Land"),
        ("era5/ERA5_Western-Australia_20200601_20200607.nc", ValueError, "holds none of"),
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
    with pytest.raises(ValueError, match="Western-Australia.* it has .'swvl1', 'lsm'"):
        era5_land.find_files(tmp_path)


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
