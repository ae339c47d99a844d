"""Meteorological predictors on chunks of 0.1 deg cells, window by window."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gssm_cube import cube
from gssm_cube.blocks import checksum, write_marker
from gssm_cube.grid import Block, Layout, Window
from gssm_cube.harmonise import water
from gssm_cube.ingest.inputs import LEAD_DAYS, meteo_days
from gssm_cube.ingest.padded import pack
from gssm_cube.stores import array_of, open_group, write_region


def cell_units(layout: Layout, windows: bool = True) -> list[str]:
    """Labels of the chunks of cells that tiles touch, window by window: ``k00k01_w00``."""
    size, window = cube.CELL_CHUNK, layout.windows()[0]
    touched = set()
    for tile in layout.tiles():
        _, *axes = cube.cell_region(layout, Block(tile, window))
        rows, cols = (range(a.start // size, (a.stop - 1) // size + 1) for a in axes)
        touched |= {(row, col) for row in rows for col in cols}
    places = [f"k{row:02d}k{col:02d}" for row, col in sorted(touched)]
    if not windows:
        return places
    return [f"{place}_{window}" for window in layout.windows() for place in places]


def cell_slices(unit: str, layout: Layout) -> tuple[slice, slice]:
    """Cell rows and columns of a label."""
    row, col = (int(part) for part in unit.split("_")[0].removeprefix("k").split("k"))
    return tuple(  # type: ignore[return-value]
        slice(k * cube.CELL_CHUNK, min((k + 1) * cube.CELL_CHUNK, size))
        for k, size in zip((row, col), layout.cells_shape, strict=True)
    )


@dataclass(frozen=True)
class MeteoCells:
    """Task: a window of meteorology on a chunk of 0.1 deg cells."""

    cube: Path
    scratch: Path
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the stacked features."""
        window = self.layout.windows()[int(unit.split("_w")[1])]
        cells = cell_slices(unit, self.layout)
        features = meteo_features(self._read(window, cells))
        codes = np.stack([pack(name, features[name].values) for name in cube.METEO])
        array = array_of(open_group(self.cube, "r+"), "meteo/cells")
        region = (slice(0, len(cube.METEO)), window.slice, *cells)
        facts = {"missing": int((codes == cube.FILL).sum()), "checksum": checksum(codes)}
        objects = write_region(array, region, codes)
        write_marker(self.cube, "meteo", unit, self.key, objects, **facts)
        return facts

    def _read(self, window: Window, cells: tuple[slice, slice]) -> xr.Dataset:
        """Read daily meteorology of a window and the days that the index looks back."""
        back = water.WINDOW_DAYS - 1
        first = LEAD_DAYS + window.start - back
        days = slice(first, first + back + window.days)
        root = open_group(self.scratch)
        units = {"precipitation": "mm", "evaporation": "mm", "tair": "degC"}
        dims = ("time", "lat", "lon")
        return xr.Dataset(
            {
                name: (dims, np.asarray(array_of(root, name)[(days, *cells)]), {"units": unit})
                for name, unit in units.items()
            },
            {"time": meteo_days(self.layout)[days].astype("M8[ns]")},
        )


def meteo_features(daily: xr.Dataset) -> xr.Dataset:
    """Return the meteorological predictors; the first 33 days only serve the indices.

    Parameters
    ----------
    daily : Dataset (time, lat, lon)
        ``precipitation`` and ``evaporation`` (upward positive), mm; ``tair``, degC.
    """
    rain, evaporation = daily["precipitation"], daily["evaporation"]
    features = xr.Dataset(
        {
            "apei": water.apei(rain, evaporation),
            "api": water.apei(rain, xr.zeros_like(evaporation)),
            "evaporation": evaporation,
            "tair": daily["tair"],
        }
    )
    return features.isel(time=slice(water.WINDOW_DAYS - 1, None))
