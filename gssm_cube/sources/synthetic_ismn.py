"""What is measured on the ground of the invented world: an ISMN archive, and the truth behind it.

Networks and stations are invented. The archive has the form of an ISMN download, variables in
separate files (header + values), with the traps of the real ones: compound flags, -9999, several
sensors a station, several stations a pixel, names that differ between folder and header.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import dask.array
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from scipy.signal import lfilter

from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS
from gssm_cube.sources.world import SPINUP_DAYS, TAIL_DAYS, World, rng_of
from gssm_cube.variables import FILL, SSM

NETWORKS = ("AZULMESH", "HALCYONET", "MARLINSOIL", "PELAGOS", "TERNGRID")
WORDS = ("Alder", "Brook", "Cove", "Dune", "Elder", "Fern", "Gorse", "Heath", "Iris", "Juniper")
PROBES = {0.05: "Sprig-Probe-5", 0.0508: "Inch-Probe-2", 0.1: "Sprig-Probe-10", 0.2: "Long-Probe"}
FLAGS = ("G", "D01", "D02", "D03", "C01", "C01,D09", "D01,D03", "M")
MISSING = FLAGS.index("M")
STAMP = (2021, 6, 1, 0, 0, 0)  # of the files in the archive, so that bytes repeat
STATIC_HEAD = (
    "quantity_name;unit;depth_from[m];depth_to[m];value;description;quantity_source_name;"
    "quantity_source_description;quantity_source_provider;quantity_source_version;"
    "quantity_source_resolution;quantity_source_timerange;quantity_source_url;"
)


@dataclass(frozen=True)
class Station:
    """One invented site; ``pixel`` counts the world's land pixels."""

    number: int
    network: str
    name: str
    pixel: int
    lat: float
    lon: float
    elevation: float

    @property
    def sensors(self) -> list[tuple[float, float, str]]:
        """Depths, m, and the name of each soil moisture sensor."""
        top = {1: (0.0508, 0.0508), 2: (0.0, 0.05)}.get(self.number % 6, (0.05, 0.05))
        sensors = [(*top, PROBES[top[1]])]
        if self.number % 6 == 0:
            sensors.append((0.05, 0.05, "Sprig-Probe-5-B"))
        for depth, every in ((0.1, 3), (0.2, 4)):
            if self.number % every == 0:
                sensors.append((depth, depth, PROBES[depth]))
        return sensors


def place_stations(world: World, count: int) -> list[Station]:
    """Return stations spread over the land; a quarter in three clusters, every 16th a twin.

    Parameters
    ----------
    world : World
    count : int
        At 48 there are three pixels with two stations.
    """
    rng, layout = rng_of(world.seed, "stations"), world.layout
    rows, cols = np.nonzero(world.land)
    twins, near = count // 16, count // 4
    spread = _spread(rng, rows, cols, count - twins - near)
    close = [_neighbour(rng, rows, cols, spread[i % min(3, len(spread))]) for i in range(near)]
    pixels = np.array([*spread, *close, *spread[3 : 3 + twins]])
    rank = np.argsort(np.argsort(cols[pixels], kind="stable"), kind="stable")
    offsets = rng.uniform(-0.3, 0.3, (count, 2)) / 120
    return [
        Station(
            number,
            NETWORKS[rank[number] * len(NETWORKS) // count],
            f"{WORDS[number % len(WORDS)]}-{number + 1}",
            int(pixel),
            round(layout.lat[rows[pixel]] + offsets[number, 0], 5),
            round(layout.lon[cols[pixel]] + offsets[number, 1], 5),
            float(world.elevation[pixel]),
        )
        for number, pixel in enumerate(pixels)
    ]


def _spread(rng: np.random.Generator, rows: NDArray, cols: NDArray, count: int) -> list[int]:
    """Pick pixels, each as far as can be from those before."""
    picked = [int(rng.integers(rows.size))]
    away = np.full(rows.size, np.inf)
    while len(picked) < count:
        away = np.minimum(away, np.hypot(rows - rows[picked[-1]], cols - cols[picked[-1]]))
        picked.append(int(np.argmax(away * rng.uniform(0.7, 1, rows.size))))
    return picked


def _neighbour(rng: np.random.Generator, rows: NDArray, cols: NDArray, pixel: int) -> int:
    """Pick a pixel 2 to 10 km away."""
    away = np.hypot(rows - rows[pixel], cols - cols[pixel])
    return int(rng.choice(np.flatnonzero((away >= 2) & (away <= 10))))


def write_archive(
    folder: Path,
    world: World,
    count: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write the stations as an ISMN archive and return its path.

    Parameters
    ----------
    folder : Path
        Must exist.
    world : World
    count : int
        Stations.
    progress : callable, optional
        Called with "ismn", the stations done and the stations in all.
    """
    first, last = (f"{day:%Y%m%d}" for day in (world.layout.first_day, world.layout.last_day))
    path = folder / f"Data_separate_files_header_{first}_{last}_synthetic.zip"
    hours = world.layout.time.astype("datetime64[h]")[0] + np.arange(24 * world.layout.days)
    stamps = [f"{hour.astype(object):%Y/%m/%d %H:%M} ".encode() for hour in hours]
    stations = place_stations(world, count)
    with ZipFile(path, "w") as archive:
        _add(archive, "Readme.txt", b"Synthetic world of gssm_cube: no station here is real.\n")
        for done, station in enumerate(stations, 1):
            for name, content in _station_files(world, station, stamps, f"{first}_{last}"):
                _add(archive, name, content)
            if progress:
                progress("ismn", done, len(stations))
    return path


def _add(archive: ZipFile, name: str, content: bytes) -> None:
    """Add a file of a fixed date."""
    archive.writestr(ZipInfo(name, STAMP), content, ZIP_DEFLATED, compresslevel=1)


def _station_files(
    world: World, station: Station, stamps: Sequence[bytes], span: str
) -> list[tuple[str, bytes]]:
    """Return names and contents of the files of one station."""
    rng = rng_of(world.seed, "station", station.number)
    stem = f"{station.network}/{station.name}/{station.network}_{station.network}_{station.name}"
    kept = _hours_on_air(rng, len(stamps))
    bias = rng.normal(0, 0.015)
    files = []
    for top, bottom, probe in station.sensors:
        codes, flags = observe(world, station, bottom, bias, rng)
        text = _values_text(stamps, kept, codes, flags)
        name = f"{stem}_sm_{top:.6f}_{bottom:.6f}_{probe}_{span}.stm"
        files.append((name, _header(station, top, bottom, probe) + text))
    if station.number % 5 == 0:
        text = _temperature_text(world, station, stamps, kept)
        name = f"{stem}_ts_0.050000_0.050000_Thermo-5_{span}.stm"
        files.append((name, _header(station, 0.05, 0.05, "Thermo-5") + text))
    return [*files, (f"{stem}_static_variables.csv", _static_text(world, station))]


def _hours_on_air(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Choose the hours between a station's start and end, less one gap without lines."""
    start, stop = rng.uniform(0, 0.35), rng.uniform(0.7, 1.0)
    if rng.random() < 0.3:
        start, stop = 0.0, 1.0
    hours = np.arange(int(start * count), int(stop * count))
    gap = rng.integers(hours.size)
    return np.delete(hours, slice(gap, gap + count // 60))


def observe(
    world: World, station: Station, depth: float, bias: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what a sensor reads each hour of the layout, and its flags.

    Parameters
    ----------
    world, station
        The truth of the station's pixel is the daily mean, set at noon.
    depth, bias : float
        m and m3 m-3; below 0.06 m a sensor follows a smoothed and delayed truth.
    rng : Generator
        Of the sensor's noise.

    Returns
    -------
    tuple of int arrays (hour,)
        Thousandths of m3 m-3, and places in ``FLAGS``.
    """
    days, hours = np.arange(len(world.water.ssm)), np.arange(24 * world.layout.days)
    truth = world.water.ssm[:, station.pixel].astype("float64")
    if depth > 0.06:
        keep = np.exp(-0.02 / depth)
        truth = lfilter([1 - keep], [1, -keep], truth - truth[0]) + truth[0]
    noon = 24 * (days - TAIL_DAYS) + 12
    values = np.interp(hours, noon, truth) + 0.005 * np.sin(2 * np.pi * hours / 24)
    values += bias + rng.normal(0, 0.005, hours.size)
    frozen, cool = _frost(world, station)
    values[frozen] *= 0.45  # ice is not seen by the probe
    luck = rng.random(hours.size)
    flags = np.select(
        [frozen & (luck < 0.3), frozen, cool & (luck < 0.5), cool], [6, 1, 2, 3], default=0
    )
    codes = np.maximum(np.rint(1000 * values).astype("int64"), 0)
    broken = (luck > 0.4000) & (luck < 0.4006)
    codes[broken], flags[broken] = -12, np.where(luck[broken] < 0.4003, 4, 5)
    outage = rng.integers(hours.size)
    lost = (luck > 0.99) | (np.abs(hours - outage) < hours.size // 200)
    return codes, np.where(lost, MISSING, flags)


def _frost(world: World, station: Station) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Hours of frozen days, and those of other days whose nights freeze."""
    tair = world.tair[SPINUP_DAYS : SPINUP_DAYS + world.layout.days, station.pixel].repeat(24)
    night = np.tile(np.abs(np.arange(24) - 15) > 9, world.layout.days)
    return tair < 0, (tair >= 0) & (tair < 1.5) & night


def _header(station: Station, top: float, bottom: float, probe: str) -> bytes:
    """First line of a file: names lose their hyphens, as at ISMN."""
    name, probe = station.name.replace("-", "_"), probe.replace("-", "_")
    network = f"{station.network:<10}"
    place = f"{name:<15} {station.lat:.5f} {station.lon:.5f} {station.elevation:>21.1f}"
    return f"{network} {network} {place} {top:.4f} {bottom:.4f} {probe}\n".encode()


def _values_text(
    stamps: Sequence[bytes], kept: NDArray[np.int64], codes: NDArray, flags: NDArray
) -> bytes:
    """One line an hour, joined from tables of ready pieces: a million lines in a second."""
    readings = {int(code): f"{code / 1000:.3f}".encode() for code in np.unique(codes)}
    readings[-9999] = b"-9999"
    ends = [f" {flag} M\n".encode() for flag in FLAGS]
    shown = np.where(flags == MISSING, -9999, codes)
    return _join(
        map(stamps.__getitem__, kept.tolist()),
        map(readings.__getitem__, shown[kept].tolist()),
        map(ends.__getitem__, flags[kept].tolist()),
    )


def _join(*columns: map) -> bytes:
    """Join pieces line by line."""
    return b"".join(chain.from_iterable(zip(*columns, strict=True)))


def _temperature_text(
    world: World, station: Station, stamps: Sequence[bytes], kept: NDArray[np.int64]
) -> bytes:
    """Soil temperature, degC, every hour good."""
    daily = world.tair[SPINUP_DAYS : SPINUP_DAYS + world.layout.days, station.pixel]
    hours = np.arange(24 * daily.size)
    values = np.interp(hours, 24 * np.arange(daily.size) + 12, daily)
    values += 2 * np.cos(2 * np.pi * (hours - 15) / 24)
    tenths = np.rint(10 * values[kept]).astype("int64")
    ends = {int(code): f"{code / 10:.1f} G M\n".encode() for code in np.unique(tenths)}
    return _join(map(stamps.__getitem__, kept.tolist()), map(ends.__getitem__, tenths.tolist()))


def _static_text(world: World, station: Station) -> bytes:
    """Table of soil, land cover and climate that comes with a station."""
    soil, pixel = world.soil, station.pixel
    quantities = {
        "saturation;m^3*m^-3": soil.porosity[pixel],
        "clay fraction;% weight": soil.clay[pixel],
        "organic carbon;% weight": soil.carbon[pixel] / 10,
        "sand fraction;% weight": soil.sand[pixel],
        "silt fraction;% weight": soil.silt[pixel],
    }
    maker = 'invented;gssm_cube;v1;30";None;None;'
    lines = [STATIC_HEAD]
    for depths in ("0.00;0.30", "0.30;1.00"):
        lines += [f"{name};{depths};{v:.2f};;HWSD;{maker}" for name, v in quantities.items()]
    for year in (2000, 2005, 2010):
        lines.append(f"land cover classification;;;;130;Grassland;CCI_landcover_{year};{maker}")
    climate = "Cfb;Temperate - Without dry season - Warm Summer"
    for year in (2007, 2017):
        lines.append(f"climate classification;;;;{climate};koeppen_geiger_{year};{maker}")
    return ("\n".join(lines) + "\n").encode()


def write_truth(store: Path | str, world: World) -> None:
    """Write the true soil moisture of every land pixel and day as a Zarr.

    Parameters
    ----------
    store : path
        New or empty: ``ssm`` (time, lat, lon), m3 m-3, packed as the product is; NaN at sea.
    world : World
    """
    layout, packing = world.layout, SSM.packing
    chunks = (WINDOW_DAYS, CHUNK_PIXELS, CHUNK_PIXELS)
    empty = dask.array.zeros((layout.days, *layout.shape), chunks=chunks, dtype="float32")
    coords = {"time": layout.time.astype("datetime64[ns]"), "lat": layout.lat, "lon": layout.lon}
    template = xr.DataArray(empty, coords, ("time", "lat", "lon"), "ssm", SSM.attrs)
    encoding = {"dtype": "int16", "scale_factor": packing.scale, "_FillValue": FILL}
    encoding |= {"fill_value": FILL, "chunks": chunks}
    dataset = template.assign_attrs(source="synthetic world of gssm_cube").to_dataset()
    dataset.to_zarr(
        store,
        mode="w-",
        compute=False,
        zarr_format=3,
        consolidated=False,
        encoding={"ssm": encoding},
    )
    array = zarr.open_array(store, path="ssm", mode="r+")
    for window in layout.windows():
        days = world.water.ssm[TAIL_DAYS : TAIL_DAYS + layout.days][window.slice]
        codes = np.full((window.days, *layout.shape), FILL, "int16")
        codes[:, world.land] = packing.encode(days)
        array[window.slice] = codes
