"""Static predictors of a tile, from SoilGrids, MERIT Hydro, water table and bedrock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, parse_tile, write_marker
from gssm_cube.grid import Layout
from gssm_cube.harmonise import soil, terrain
from gssm_cube.harmonise.lobes import lobe_sums, mean_of_sums
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.ingest.inputs import Inputs
from gssm_cube.ingest.padded import HOLE_PIXELS, Padded, pack
from gssm_cube.sources import bedrock, groundwater, merit_hydro, soilgrids
from gssm_cube.sources.raster import Raster
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group, write_region
from gssm_cube.variables import names_of

# Half of the cells. Within a pixel rows differ in area by less than 0.1 %, a cell is 1 %: so a tie
# stays land at any latitude.
LAND_SHARE = 0.499


@dataclass(frozen=True)
class StaticTile:
    """Task: the static predictors of a tile, area-averaged, small holes filled and flagged."""

    cube: Location
    files: Inputs
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the tile's shards; a tile without land writes none."""
        padded = Padded(self.layout, parse_tile(unit))
        layers, land, slopes = static_layers(self.files, padded)
        filled = np.zeros(land.shape, dtype=bool)
        for group in (names_soil(), ("ti",), ("wtd",), ("dtb",)):
            stack = np.stack([layers[name] for name in group])
            stack, holes = fill_from_nearest(stack, land, HOLE_PIXELS)
            layers |= dict(zip(group, stack, strict=True))
            filled |= holes
        core, region = padded.core, self.layout.tile_slices(padded.tile)
        root = open_group(self.cube, "r+")
        objects, codes = [], []
        for name in names_of("static"):
            values = np.where(land, layers[name], np.nan)[core]
            codes.append(pack(name, values))
            objects += write_region(array_of(root, f"static/{name}"), region, codes[-1])
        for name, mask in (("land", land), ("filled", filled)):
            mask = mask[core].astype("uint8")
            objects += write_region(array_of(root, f"static/{name}"), region, mask)
        facts = static_facts(land[core], filled[core], np.stack(codes)) | slopes
        write_marker(self.cube, "static", unit, self.key, objects, **facts)
        return facts


def names_soil() -> tuple[str, ...]:
    """Predictors that come from one soil map and are filled together."""
    return ("clay", "sand", "silt", "porosity", "omc")


def static_layers(
    files: Inputs, padded: Padded
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], dict[str, int]]:
    """Return all static predictors of a padded tile in house units, where land is, and slopes."""
    terrain_layers, land, slopes = terrain_means(files.merit_hydro, padded)
    layers = soil_means(files.soilgrids, padded) | terrain_layers
    layers["wtd"], _ = padded.mean(groundwater.read_depth(files.wtd, padded.bounds))
    layers["dtb"], _ = padded.mean(bedrock.read_depth(files.bedrock, padded.bounds))
    return layers, land, slopes


def soil_means(files: dict[str, Path], padded: Padded) -> dict[str, NDArray[Any]]:
    """Return soil predictors: derived at 250 m, where they belong together, then averaged."""
    layers = {name: soilgrids.read_layer(files, name, padded.bounds) for name in soilgrids.LAYERS}
    check_same_cells(layers)
    soilgrids.check_units(
        {name: np.concatenate([part.values.ravel() for part in parts])
         for name, parts in layers.items()},
        files["clay"].parent,
    )  # fmt: skip
    parts = (dict(zip(layers, part, strict=True)) for part in zip(*layers.values(), strict=True))
    grids = [(part["clay"], derive_soil(part)) for part in parts]
    return dict(zip(names_soil(), means_of(grids, padded), strict=True))


def derive_soil(part: dict[str, soilgrids.Part]) -> NDArray[np.float32]:
    """Return soil predictors (predictor, row, col) on the cells of one part of the maps."""
    layers = {name: soil.texture(part[name].values) for name in ("clay", "sand", "silt")}
    layers["omc"] = soil.organic_matter(part["soc"].values)
    layers["porosity"] = soil.porosity(part["bdod"].values, layers["omc"] / 100)
    return np.stack([layers.pop(name) for name in names_soil()], dtype="float32", casting="unsafe")


def means_of(
    grids: Sequence[tuple[soilgrids.Part, NDArray[np.float32]]], padded: Padded
) -> NDArray[np.float32]:
    """Average layers (layer, row, col) over the pixels: of one raster in degrees, or of lobes."""
    edges = padded.lat_edges, padded.lon_edges
    sums = areas = np.zeros((edges[0].size - 1, edges[1].size - 1))
    for grid, layers in grids:
        if isinstance(grid, Raster):
            return np.stack([padded.mean(replace(grid, values=layer))[0] for layer in layers])
        place = grid.lat_edges, grid.rows, grid.lon_first, grid.lon_step, grid.limits
        more = lobe_sums(layers, *place, *edges)
        sums, areas = sums + more[0], areas + more[1]
    return mean_of_sums(sums, areas, *edges)[0]


def check_same_cells(layers: Mapping[str, Sequence[soilgrids.Part]]) -> None:
    """Raise unless all layers have the same cells."""
    first, *others = layers
    places = [place for part in layers[first] for place in part.place]
    for name in others:
        found = [place for part in layers[name] for place in part.place]
        alike = len(found) == len(places) and all(
            a.shape == b.shape and np.allclose(a, b, 0, 1e-6)
            for a, b in zip(found, places, strict=True)
        )
        if not alike:
            raise ValueError(
                f"SoilGrids {name} and {first} lie on different grids; cut all layers alike"
            )


def terrain_means(
    files: merit_hydro.Files, padded: Padded
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_], dict[str, int]]:
    """Return elevation (m) and topographic index, land (half of a pixel), and counts of slopes."""
    elv, upa, direction = (
        merit_hydro.read_layer(files, name, padded.bounds) for name in merit_hydro.LAYERS
    )
    lat = (elv.lat_edges[:-1] + elv.lat_edges[1:]) / 2
    index, floored = index_by_slabs(elv.values, upa.values, direction.values, lat)
    del upa, direction
    # Of the tile with its rim: neighbours count the rim twice, a share hardly minds.
    slopes = {"slopes": int(np.isfinite(index).sum()), "slopes_floored": int(floored.sum())}
    elevation, share_land = padded.mean(elv)
    ti, _ = padded.mean(Raster(index, elv.lat_edges, elv.lon_edges))
    return {"elevation": elevation, "ti": ti}, share_land > LAND_SHARE, slopes


def index_by_slabs(
    elevation: NDArray[Any],
    upstream_area: NDArray[Any],
    direction: NDArray[Any],
    lat: NDArray[np.float64],
    slab_rows: int = 512,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the topographic index of ``terrain``, some rows at a time to save memory.

    A slab sees one row more on each side, which is as far as water flows in a step.
    """
    index = np.empty(elevation.shape, dtype="float32")
    floored = np.empty(elevation.shape, dtype=bool)
    for start in range(0, lat.size, slab_rows):
        seen = slice(max(start - 1, 0), start + slab_rows + 1)
        codes = np.nan_to_num(direction[seen], nan=merit_hydro.OCEAN).astype("uint8")
        parts = terrain.topographic_index(elevation[seen], upstream_area[seen], codes, lat[seen])
        rows, own = slice(start, start + slab_rows), slice(start - seen.start, None)
        index[rows], floored[rows] = (part[own][:slab_rows] for part in parts)
    return index, floored


def static_facts(
    land: NDArray[np.bool_], filled: NDArray[np.bool_], codes: NDArray[np.int16]
) -> dict[str, Any]:
    """Count land, and land that was filled or still lacks a layer."""
    lacking = (codes == cube.FILL).any(axis=0) & land
    return {
        "land": int(land.sum()),
        "filled": int((filled & land).sum()),
        "lacking": int(lacking.sum()),
        "checksum": checksum(np.concatenate([codes, land[None]])),
        "land_checksum": checksum(land),  # all that LST and vegetation take from here
    }
