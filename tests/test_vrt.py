"""The tiles behind a virtual raster: which of them a region reads, and what follows a change."""

import os
from datetime import date

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine

from gssm_cube.grid import Layout
from gssm_cube.ingest.inputs import Inputs
from gssm_cube.ingest.keys import FileKeys
from gssm_cube.sources import soilgrids
from gssm_cube.sources.homolosine import boxes_of, project
from gssm_cube.sources.vrt import tiles_within

# Nine tiles of 10 x 10 cells of 0.1 deg, from 20 E and 50 N.
PLACES = [(row, col) for row in range(3) for col in range(3)]


def write_vrt(path, names, size=10, cell=0.1, skip=()):
    """A VRT over tiles that need not be there."""
    sources = "".join(
        f'<ComplexSource><SourceFilename relativeToVRT="1">{names(row, col)}</SourceFilename>'
        f'<DstRect xOff="{col * size}" yOff="{row * size}" xSize="{size}" ySize="{size}"/>'
        "</ComplexSource>"
        for row, col in PLACES
        if (row, col) not in skip
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{3 * size}" rasterYSize="{3 * size}"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>20, {cell}, 0, 50, 0, -{cell}</GeoTransform>"
        f'<VRTRasterBand dataType="Int16" band="1">{sources}</VRTRasterBand></VRTDataset>'
    )
    return path


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20.3, 49.3, 20.6, 49.6), ["00"]),
        ((20.3, 48.3, 20.6, 49.6), ["00", "10"]),
        ((20.3, 47.3, 22.6, 49.6), ["00", "01", "02", "10", "11", "12", "20", "21", "22"]),
        ((20.95, 49.3, 20.98, 49.6), ["00", "01"]),  # the next cell counts as well
        ((30.0, 49.0, 31.0, 49.5), []),
    ],
)
def test_tiles_within_a_box_are_those_whose_cells_touch_it(tmp_path, box, expected):
    vrt = write_vrt(tmp_path / "a.vrt", lambda row, col: f"{row}{col}.tif")
    assert tiles_within(vrt, [box]) == [tmp_path / f"{name}.tif" for name in expected]


def test_tiles_behind_addresses_are_left_out_and_what_is_no_vrt_is_refused(tmp_path):
    vrt = write_vrt(tmp_path / "a.vrt", lambda row, col: f"/vsicurl/http://x/{row}{col}.tif")
    assert tiles_within(vrt, [(20.0, 47.0, 23.0, 50.0)]) == []
    (tmp_path / "b.vrt").write_text("<VRTDataset")
    with pytest.raises(ValueError, match=r"b\.vrt is no VRT that can be read: .*; download"):
        tiles_within(tmp_path / "b.vrt", [(20.0, 47.0, 23.0, 50.0)])


@given(
    st.floats(-179, 170), st.floats(-80, 80), st.floats(0.1, 8), st.floats(0.1, 4),
    st.floats(0.01, 0.99), st.floats(0.01, 0.99),
)  # fmt: skip
def test_every_place_of_a_box_lies_in_one_of_its_boxes_in_homolosine(
    west, south, width, height, right, up
):
    bounds = (west, south, min(west + width, 180.0), south + height)
    lon = bounds[0] + right * (bounds[2] - bounds[0])
    lat = bounds[1] + up * (bounds[3] - bounds[1])
    x, y = (float(number) for number in project(lon, lat))
    boxes = boxes_of(bounds)
    assert any(b[0] - 1 <= x <= b[2] + 1 and b[1] - 1 <= y <= b[3] + 1 for b in boxes)


@pytest.fixture
def soil(tmp_path):
    """Five layers as VRTs over nine tiles."""
    for name in soilgrids.LAYERS:
        for row, col in PLACES:
            path = tmp_path / f"{name}-{row}{col}.tif"
            corner = Affine(0.1, 0, 20 + col, 0, -0.1, 50 - row)
            profile = dict(driver="GTiff", count=1, dtype="int16", width=10, height=10)
            with rasterio.open(path, "w", crs="EPSG:4326", transform=corner, **profile) as raster:
                raster.write(np.full((10, 10), 333, "int16"), 1)
        write_vrt(
            tmp_path / f"{name}_0-5cm_mean.vrt",
            lambda row, col, name=name: f"{name}-{row}{col}.tif",
        )
    return soilgrids.find_files(tmp_path)


def test_a_changed_tile_of_a_vrt_renews_the_tiles_of_the_cube_that_it_reaches(soil, tmp_path):
    # Tiles of 48 pixels (0.4 deg), from 20.4 to 22.8 E.
    layout = Layout.covering((20.45, 49.25, 22.75, 49.55), date(2019, 1, 1), date(2019, 1, 2), 48)
    (tmp_path / "bdticm.tif").touch()

    def keys():
        found = Inputs([], {}, {}, soil, {}, [], tmp_path / "bdticm.tif")
        files = FileKeys(layout, found)
        return {tile.col: files.static(tile) for tile in layout.tiles()}

    before = keys()
    os.utime(tmp_path / "silt-00.tif", ns=(1, 1))
    after = keys()
    changed = {col for col in before if before[col] != after[col]}
    west = {501, 502}  # 20.4..21.2 E: the next cell and the tiles' rim of a few pixels count
    assert 501 in changed and changed <= west
    assert len(before) > len(west)


def test_a_tile_that_is_not_there_is_named_at_the_door_if_the_region_needs_it(soil, tmp_path):
    soilgrids.check_reach(soil["sand"], (20.3, 49.3, 20.6, 49.6))
    (tmp_path / "sand-22.tif").unlink()
    soilgrids.check_reach(soil["sand"], (20.3, 49.3, 20.6, 49.6))
    with pytest.raises(
        FileNotFoundError, match=r"names 1 tiles .* not there: .*sand-22\.tif; down"
    ):
        soilgrids.check_reach(soil["sand"], (22.3, 47.3, 22.6, 47.6))
