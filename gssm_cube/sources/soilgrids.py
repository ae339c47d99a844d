"""SoilGrids 2.0 (Poggio et al. 2021, doi:10.5194/soil-7-217-2021): 250 m maps, 0-5 cm means.

GeoTIFF, or VRT with its tiles beside it, in the projection of the provider (homolosine) or in
degrees (EPSG:4326).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gssm_cube.sources import whole
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.homolosine import (
    LobeRaster,
    boxes_of,
    is_homolosine,
    project,
    read_homolosine,
)
from gssm_cube.sources.raster import (
    Bounds,
    Raster,
    check_geotiff,
    lattice,
    open_raster,
    read_geotiff,
    sample_lattice,
)
from gssm_cube.sources.vrt import tiles_within

# Mapped units: clay, sand, silt g/kg; bdod cg/cm3; soc dg/kg.
LAYERS = ("clay", "sand", "silt", "bdod", "soc")
UNITS = {"clay": "g/kg", "sand": "g/kg", "silt": "g/kg", "bdod": "cg/cm3", "soc": "dg/kg"}
NODATA = -32768  # also where a download does not declare it
# What the median over a region can be, in mapped units: wide, for another unit is a factor of ten
# or more. Clay alone says nothing (5 g/kg, or 5 %?), so the three fractions are added.
TEXTURE_SUM = (900, 1100)
MEDIANS = {"bdod": (20, 250), "soc": (10, 6000)}

Part = Raster | LobeRaster


def find_files(folder: Path, tell: Tell = stop) -> dict[str, Path]:
    """Return the file of each layer: ``<layer>_0-5cm_mean.tif`` or ``.vrt``.

    They lie in the folder, or in folders of their layers as the provider has them.

    Raises
    ------
    FileNotFoundError
        Naming the layers that are missing.
    ValueError
        If a layer is there twice.
    """
    files: dict[str, Path] = {}
    for name in LAYERS:
        names = [f"{name}_0-5cm_mean.{kind}" for kind in ("tif", "vrt")]
        places = [place / file for place in (folder, folder / name) for file in names]
        found = [path for path in places if path.is_file()]
        if len(found) > 1:
            shown = ", ".join(str(path) for path in found)
            text = f"SoilGrids {name} is there {len(found)} times, keep one of: {shown}"
            tell(ValueError(text))
        if found:
            files[name] = found[0]
    missing = [str(folder / f"{name}_0-5cm_mean.tif") for name in LAYERS if name not in files]
    if missing:
        text = f"SoilGrids layers are missing, download: {', '.join(missing)}"
        tell(FileNotFoundError(text))
    return files


def check_files(files: Mapping[str, Path], bounds: Bounds, tell: Tell = stop) -> None:
    """Raise, or tell, which layer does not reach ``bounds``, or is in other than mapped units.

    Reads a few cells only.
    """
    samples = {}
    for name, path in files.items():
        with told(tell):
            check_reach(path, bounds)
            samples[name] = _sample(path, bounds)
    if samples.keys() >= set(LAYERS):
        check_units(samples, files["clay"].parent, tell)


def tiles_behind(path: Path, bounds: Bounds) -> list[Path]:
    """Return the tiles that a VRT has within ``bounds``; none of a GeoTIFF."""
    if path.suffix != ".vrt":
        return []
    with open_raster(path) as source:
        homolosine = is_homolosine(source.crs)
    return tiles_within(path, boxes_of(bounds) if homolosine else [bounds])


def check_reach(path: Path, bounds: Bounds) -> None:
    """Raise unless a file is in a known projection and reaches ``bounds``, its tiles with it."""
    absent = [tile for tile in tiles_behind(path, bounds) if not tile.exists()]
    if absent:
        raise FileNotFoundError(
            f"{path} names {len(absent)} tiles of this region that are not there: {absent[0]}"
            f"{', ...' * (len(absent) > 1)}; download them"
        )
    with open_raster(path) as source:
        homolosine, box = is_homolosine(source.crs), source.bounds
        whole.check_geotiff(source, path)
    if not homolosine:
        check_geotiff(path, bounds)
        return
    x, y = project(*np.array(lattice(bounds)).T)
    if not ((x > box.left) & (x < box.right) & (y > box.bottom) & (y < box.top)).any():
        raise ValueError(f"{path} does not reach {bounds}: give the file of this region")


def read_layer(files: Mapping[str, Path], name: str, bounds: Bounds) -> Sequence[Part]:
    """Read one layer over ``bounds`` in its mapped units: one raster, or one a lobe."""
    path = files[name]
    with open_raster(path) as source:
        homolosine = is_homolosine(source.crs)
    if homolosine:
        return read_homolosine(path, bounds, NODATA)
    return [read_geotiff(path, bounds, NODATA)]


def check_units(layers: Mapping[str, ArrayLike], folder: Path, tell: Tell = stop) -> None:
    """Raise, or tell, unless values are plausible in mapped units; NaN is passed over.

    The medians of clay, sand and silt must add up to nearly 1,000, those of the others lie within
    ``MEDIANS``. Carbon in g/kg passes where soil is rich in it.
    """
    middle = {name: _median(values) for name, values in layers.items()}
    total = middle["clay"] + middle["sand"] + middle["silt"]
    checks = [("clay + sand + silt", total, TEXTURE_SUM, "g/kg")]
    checks += [(name, middle[name], span, UNITS[name]) for name, span in MEDIANS.items()]
    for name, found, (lowest, highest), unit in checks:
        if found < lowest or found > highest:  # NaN, where nothing is valid, passes
            tell(
                ValueError(
                    f"SoilGrids in {folder}: the median of {name} is {found:g}, expected "
                    f"{lowest} to {highest} {unit}; keep the provider's mapped units"
                )
            )


def _median(values: ArrayLike) -> float:
    """Median of what is valid; NaN where nothing is."""
    valid = np.asarray(values)
    valid = valid[~np.isnan(valid)]
    return float(np.median(valid)) if valid.size else float("nan")


def _sample(path: Path, bounds: Bounds) -> Any:
    """Read a lattice of cells of a layer over ``bounds``."""
    places = lattice(bounds)
    with open_raster(path) as source:
        if is_homolosine(source.crs):
            x, y = project(*np.array(places).T)
            places = list(zip(x.tolist(), y.tolist(), strict=True))
        return sample_lattice(source, places, NODATA)
