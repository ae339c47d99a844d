"""What a run needs from Earth Engine, source by source: deliveries of files, and their requests.

Its collections of ERA5-Land have names and bands of their own; the other sources are ordered as
``orders`` has them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gssm_cube.download.orders import (
    CELLS,
    LOST,
    ORDERS,
    OWN_SOIL,
    USUAL,
    Catalog,
    Delivery,
    cell_box,
    folder_of,
    meteo_stamps,
    soil_stamps,
)
from gssm_cube.grid import Layout
from gssm_cube.sources.ee_files import MeteoFile
from gssm_cube.sources.ee_requests import (
    Band,
    Request,
    Stamps,
    batches,
    images_at_once,
    row_slabs,
    without_gaps,
)

METEO_BANDS = {  # in Earth Engine, name in the file, units
    "HOURLY": (
        ("temperature_2m", "t2m", "K"),
        ("total_precipitation", "tp", "m"),
        ("total_evaporation", "e", "m of water equivalent"),
    ),
    "DAILY_AGGR": (
        ("temperature_2m", "t2m", "K"),
        ("temperature_2m_min", "mn2t", "K"),
        ("temperature_2m_max", "mx2t", "K"),
        ("total_precipitation_sum", "tp", "m"),
        ("total_evaporation_sum", "e", "m of water equivalent"),
    ),
}
SOIL_BANDS = (  # what ERA5-Land itself says of the soil, hourly and daily
    ("volumetric_soil_water_layer_1", "swvl1", "m**3 m**-3"),
    ("soil_temperature_level_1", "stl1", "K"),
)


def deliveries(
    source: str,
    asset: str,
    layout: Layout,
    folder: Path,
    catalog: Catalog = USUAL,
    *,
    soil: bool = True,
) -> Iterator[Delivery]:
    """Yield all that a run needs of a source, done or not.

    Parameters
    ----------
    source : str
        Such as ``"mod11a1"``.
    asset : str
    layout : Layout
    folder : Path
        Of all downloads from Earth Engine; each source and region has its own in it.
    catalog : Catalog
    soil : bool
        Whether ERA5-Land is asked for its own soil as well.
    """
    place = folder_of(folder, source, asset, layout)
    if source != "era5_land":
        yield from ORDERS[source](asset, layout, place, catalog)
        return
    yield from _meteorology(asset, layout, place, catalog)
    if soil:
        yield from _era5_soil(asset, layout, place, catalog)


def _meteorology(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield ERA5-Land's weather, with that before the run's first day."""
    kind = asset.rsplit("/", 1)[1]
    stamps = meteo_stamps(layout, hourly=kind == "HOURLY")
    yield from _cell_files(asset, METEO_BANDS[kind], stamps, layout, folder, catalog)


def _era5_soil(asset: str, layout: Layout, folder: Path, catalog: Catalog) -> Iterator[Delivery]:
    """Yield what ERA5-Land says of the soil, in files of its own.

    Requests for weather are full: with these bands they would hold fewer days, and the days before
    the run's first would come as well.
    """
    stamps = soil_stamps(layout, hourly=asset.endswith("HOURLY"))
    yield from _cell_files(asset, SOIL_BANDS, stamps, layout, folder, catalog, OWN_SOIL)


def _cell_files(
    asset: str,
    names: tuple[tuple[str, str, str], ...],
    stamps: Stamps,
    layout: Layout,
    folder: Path,
    catalog: Catalog,
    part: str = "",
) -> Iterator[Delivery]:
    """Yield bands: as many whole days as fit in a request, or slabs of cell rows of a day."""
    bands = tuple(Band(name, "float32", LOST) for name, _, _ in names)
    word, a_day = ("hourly", 24) if asset.endswith("HOURLY") else ("daily", 1)
    box, step = cell_box(layout), np.timedelta64(24 // a_day, "h")
    start = "_".join(filter(None, ("era5_land", part, word)))
    for batch in batches(stamps, images_at_once(box, bands, a_day)):
        for run in without_gaps(catalog.there(asset, batch, part), step):
            slabs = row_slabs(box, bands, len(run))
            requests = tuple(Request(asset, bands, CELLS, *slab, run) for slab in slabs)
            ends = (str(stamp).replace("-", "") for stamp in (run[0], run[-1]))
            path = folder / f"{start}_{'_'.join(ends)}.nc"
            write = MeteoFile(path, tuple(n for _, n, _ in names), tuple(u for *_, u in names))
            yield Delivery("era5_land", requests, (path,), write)
