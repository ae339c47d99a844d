"""SoilGrids as the provider has it: 250 m homolosine, GeoTIFF or VRT with relative tiles."""

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from gssm_cube.sources import homolosine, soilgrids
from gssm_cube.sources.homolosine import LOBES, is_homolosine, read_homolosine

IGH = pyproj.Proj("+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m")
DELFT = (4.2, 51.9, 4.4, 52.1)


def write_igh(path, bounds, values=None, nodata=-32768, crs=homolosine.PROJECTION, margin=2):
    """Write 250 m cells round a box that lies on one lobe; by default a cell's number."""
    lons, lats = np.meshgrid(np.linspace(*bounds[::2], 50), np.linspace(*bounds[1::2], 50))
    x, y = IGH(lons, lats)
    first_col, first_row = (int(np.floor(v / 250)) - margin for v in (x.min(), -y.max()))
    width = int(np.ceil(x.max() / 250)) + margin - first_col
    height = int(np.ceil(-y.min() / 250)) + margin - first_row
    if values is None:
        values = np.arange(height * width).reshape(height, width) % 30000
    array = np.broadcast_to(values, (height, width)).astype("int16")
    transform = Affine(250, 0, 250 * first_col, 0, -250, -250 * first_row)
    profile = dict(driver="GTiff", count=1, height=height, width=width, dtype="int16")
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as raster:
        raster.write(array, 1)
    return path


def lookup(part, lat, lon):
    """The value of the cell that holds a place, from the bands of a lobe."""
    band = int(np.searchsorted(-part.lat_edges, -lat)) - 1
    col = int((lon - part.lon_first[band]) // part.lon_step[band])
    return part.values[part.rows[band], col]


@pytest.mark.parametrize(
    "text",
    [
        "+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m +no_defs",
        "+proj=igh +lon_0=0 +x_0=0 +y_0=0 +ellps=WGS84 +units=m",
        "ESRI:54052",
    ],
)
def test_the_providers_projection_is_known_however_it_is_written(text):
    crs = CRS.from_user_input(text)
    assert is_homolosine(crs) and is_homolosine(CRS.from_wkt(crs.to_wkt()))


@pytest.mark.parametrize(
    "text",
    ["+proj=igh_o +datum=WGS84", "+proj=igh +lon_0=10 +datum=WGS84", "EPSG:4326", "ESRI:54009"],
)
def test_other_projections_are_not_taken_for_it(text):
    assert not is_homolosine(CRS.from_user_input(text))
    assert not is_homolosine(None)


@pytest.mark.parametrize("lobe", LOBES, ids=str)
def test_on_every_lobe_x_grows_evenly_along_parallels_and_y_does_not_change(lobe):
    rng = np.random.default_rng(0)
    lat = rng.uniform(0.01, 84, 200) * (1 if lobe.north else -1)
    lon = rng.uniform(lobe.west + 1e-6, lobe.east - 1e-6, 200)
    x, y = IGH(lon, lat)
    growth = homolosine._growth(lobe, lat)
    np.testing.assert_allclose(
        x, homolosine._meridian(lobe) + (lon - lobe.middle) * growth, 0, 1e-5
    )
    np.testing.assert_allclose(y, IGH(np.full(200, lobe.middle), lat)[1], 0, 1e-5)


@pytest.mark.parametrize(
    "bounds",
    [DELFT, (-179.9, 65.0, -179.7, 65.2), (179.8, -17.0, 180.0, -16.8), (170.0, 70.0, 170.2, 70.2)],
)
def test_each_place_finds_the_cell_that_pyproj_finds(tmp_path, bounds):
    path = write_igh(tmp_path / "a.tif", bounds)
    (part,) = read_homolosine(path, bounds)
    with rasterio.open(path) as source:
        cells, transform = source.read(1), source.transform
    # Bands lean against cells by less than half a cell: so places within 0.1 of a band's middle.
    bands = np.random.default_rng(1).integers(0, part.rows.size, 300)
    steps = np.diff(part.lat_edges)[bands]
    lat = part.lat_edges[bands] + steps * np.random.default_rng(2).uniform(0.45, 0.55, 300)
    lon = np.random.default_rng(3).uniform(bounds[0], bounds[2], 300)
    x, y = IGH(lon, lat)
    offset = (x - transform.c) / 250
    clear = np.abs(offset - np.round(offset)) > 0.1
    expected = cells[((transform.f - y) // 250).astype(int), offset.astype(int)]
    found = [lookup(part, *place) for place in zip(lat, lon, strict=True)]
    assert clear.sum() > 200
    np.testing.assert_array_equal(np.array(found)[clear], expected[clear])


def test_a_box_over_lobes_is_read_from_each_and_covered_once(tmp_path):
    bounds = (-20.2, -0.2, -19.8, 0.2)  # one lobe in the north, two in the south
    parts = read_homolosine(write_igh(tmp_path / "a.tif", bounds), bounds)
    assert [part.limits for part in parts] == [(-20.2, -19.8), (-20.2, -20), (-20, -19.8)]
    assert [part.lat_edges[[0, -1]].round(9).tolist() for part in parts] == [
        [0.2, 0.0], [0.0, -0.2], [0.0, -0.2],
    ]  # fmt: skip


def test_only_the_window_is_read(tmp_path):
    path = write_igh(tmp_path / "a.tif", (4.0, 51.0, 6.0, 53.0))
    (part,) = read_homolosine(path, DELFT)
    assert part.values.shape[0] <= 22300 / 250 + 2  # 0.2 deg is 22.3 km; y is stretched by < 8 %
    assert part.values.shape[1] <= 22000 / 250 + 2


@pytest.mark.parametrize("nodata", [-32768, None])
def test_what_is_missing_is_missing_declared_or_not(tmp_path, nodata):
    path = write_igh(tmp_path / "a.tif", DELFT, np.int16(-32768), nodata)
    (part,) = read_homolosine(path, DELFT, soilgrids.NODATA)
    assert np.isnan(part.values).all()


def test_a_region_that_the_file_does_not_reach_is_refused(tmp_path):
    path = write_igh(tmp_path / "a.tif", DELFT)
    for bounds in ((30.0, 51.9, 30.2, 52.1), (4.2, -52.1, 4.4, -51.9)):
        with pytest.raises(ValueError, match=r"a\.tif does not reach"):
            read_homolosine(path, bounds)
        with pytest.raises(ValueError, match=r"a\.tif does not reach"):
            soilgrids.check_reach(path, bounds)


def test_another_projection_is_refused(tmp_path):
    path = write_igh(tmp_path / "a.tif", DELFT, crs="ESRI:54009")
    with pytest.raises(ValueError, match=r"expected \+proj=igh"):
        read_homolosine(path, DELFT)
    with pytest.raises(ValueError, match="expected EPSG:4326"):
        soilgrids.check_reach(path, DELFT)


# ---- the provider's layout --------------------------------------------------------------------

MAPPED = {"clay": 231, "sand": 412, "silt": 357, "bdod": 132, "soc": 480}


@pytest.fixture
def download(tmp_path):
    """Layers as on the provider's server: ``clay/clay_0-5cm_mean.vrt`` over tiles beside it."""
    for name, value in MAPPED.items():
        tiles = tmp_path / name / f"{name}_0-5cm_mean"
        tiles.mkdir(parents=True)
        tile = write_igh(tiles / "tileSG-001-011_1-1.tif", DELFT, value)
        write_vrt(tmp_path / name / f"{name}_0-5cm_mean.vrt", tile)
    return tmp_path


def write_vrt(path, tile):
    """Write a VRT over one tile with a relative name."""
    with rasterio.open(tile) as source:
        height, width = source.shape
        numbers = ", ".join(str(value) for value in source.transform.to_gdal())
        wkt = source.crs.to_wkt().replace('"', "&quot;")
    box = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{wkt}</SRS>'
        f"<GeoTransform>{numbers}</GeoTransform>"
        '<VRTRasterBand dataType="Int16" band="1"><NoDataValue>-32768</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{tile.relative_to(path.parent)}</SourceFilename>'
        f"<SourceBand>1</SourceBand><SrcRect {box}/><DstRect {box}/>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def test_vrts_with_relative_tiles_are_found_and_read(download):
    files = soilgrids.find_files(download)
    assert files["clay"] == download / "clay" / "clay_0-5cm_mean.vrt"
    soilgrids.check_files(files, DELFT)
    for name, value in MAPPED.items():
        (part,) = soilgrids.read_layer(files, name, DELFT)
        assert np.unique(part.values).tolist() == [value]


def test_a_tile_that_a_vrt_lacks_is_named(download):
    next((download / "sand").rglob("tileSG*.tif")).unlink()
    files = soilgrids.find_files(download)
    with pytest.raises(ValueError, match=r"sand_0-5cm_mean\.vrt cannot be read .*download"):
        soilgrids.read_layer(files, "sand", DELFT)


def test_a_layer_that_is_there_twice_is_refused(download):
    write_igh(download / "soc_0-5cm_mean.tif", DELFT, 480)
    with pytest.raises(ValueError, match="SoilGrids soc is there 2 times, keep one of"):
        soilgrids.find_files(download)


@pytest.mark.parametrize(
    ("name", "factor", "message"),
    [
        ("clay", 0.1, r"median of clay \+ sand \+ silt is 792, expected 900 to 1100 g/kg"),
        ("bdod", 0.01, "median of bdod is 1, expected 20 to 250 cg/cm3"),
        ("bdod", 10, "median of bdod is 1320"),
        ("soc", 0.01, "median of soc is 4, expected 10 to 6000 dg/kg"),
        ("soc", 20, "median of soc is 9600"),
    ],
)
def test_other_units_are_refused_at_the_door(download, name, factor, message):
    tile = next((download / name).rglob("tileSG*.tif"))
    write_igh(tile, DELFT, int(MAPPED[name] * factor))
    with pytest.raises(ValueError, match=message):
        soilgrids.check_files(soilgrids.find_files(download), DELFT)


def test_a_region_without_soil_has_no_units_to_check():
    nothing = np.array([np.nan])
    soilgrids.check_units(dict.fromkeys(soilgrids.LAYERS, nothing), "folder")
