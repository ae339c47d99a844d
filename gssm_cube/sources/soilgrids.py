"""SoilGrids 2.0 (Poggio et al. 2021, doi:10.5194/soil-7-217-2021): 250 m GeoTIFFs, 0-5 cm."""

from pathlib import Path

from gssm_cube.sources.raster import Bounds, Raster, read_geotiff

# Mapped units: clay, sand, silt g/kg; bdod cg/cm3; soc dg/kg.
LAYERS = ("clay", "sand", "silt", "bdod", "soc")


def find_files(folder: Path) -> dict[str, Path]:
    """Return the GeoTIFF of each layer, ``<layer>_0-5cm_mean.tif``.

    Raises
    ------
    FileNotFoundError
        Naming the layers that are missing.
    """
    files = {name: folder / f"{name}_0-5cm_mean.tif" for name in LAYERS}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"SoilGrids layers are missing, download: {', '.join(missing)}")
    return files


def read_layer(files: dict[str, Path], name: str, bounds: Bounds) -> Raster:
    """Read one layer over ``bounds`` in its mapped units."""
    return read_geotiff(files[name], bounds)
