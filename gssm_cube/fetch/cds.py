"""ERA5-Land from the Climate Data Store: monthly orders of hourly NetCDF, by cdsapi.

The store works an order off in its own time. Its number is kept beside the file's place until the
file is there, so that a later start waits for the same order instead of giving another one. What is
fetched may be a zip of files, one for instantaneous and one for accumulated variables.

Needs the extra ``fetch``. Dataset: doi:10.24381/cds.e2161bac; cdsapi reads ``CDSAPI_URL`` and
``CDSAPI_KEY``, or ``~/.cdsapirc``.
"""

import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray

from gssm_cube.blocks import digest, write_atomically
from gssm_cube.fetch import transfer
from gssm_cube.fetch.needs import NOTHING, Need, Order
from gssm_cube.fetch.transfer import RemoteFile
from gssm_cube.grid import Layout
from gssm_cube.ingest.inputs import meteo_days
from gssm_cube.sources import era5_land
from gssm_cube.sources.tries import NoAccess, NoAnswer, Watch

logger = logging.getLogger(__name__)

DATASET = "reanalysis-era5-land"
PAGE = f"https://cds.climate.copernicus.eu/datasets/{DATASET}"
VARIABLES = ("2m_temperature", "total_precipitation", "total_evaporation")
SOIL = ("volumetric_soil_water_layer_1", "soil_temperature_level_1")  # of the run's own days
POLL_SECONDS = (5.0, 120.0)  # the first pause, and the longest: orders take minutes to hours
ADVICE = (
    "make an account at https://cds.climate.copernicus.eu, accept the licence on the dataset's "
    f"page ({PAGE}), and put url and key of your profile into ~/.cdsapirc or into CDSAPI_URL and "
    "CDSAPI_KEY"
)


@dataclass(frozen=True)
class Span:
    """Days of a month that follow one another, the hours and variables of them that are wanted."""

    first: date
    last: date
    hours: tuple[int, ...]
    names: tuple[str, ...] = VARIABLES

    @property
    def stem(self) -> str:
        """Name of its file, without the end; soil that comes later has another than weather."""
        start = "era5_land_soil" if self.names == SOIL else "era5_land"
        return f"{start}_{self.first:%Y%m%d}_{self.last:%Y%m%d}"

    @property
    def days(self) -> int:
        """Days from the first to the last."""
        return (self.last - self.first).days + 1

    @property
    def stamps(self) -> int:
        """Hours in all."""
        return self.days * len(self.hours)


def need(layout: Layout, folder: Path, *, soil: bool = True) -> Need:
    """Return what lacks of ERA5-Land: hours of a layout's cells."""
    spans = lacking(layout, folder, soil=soil)
    if not spans:
        return NOTHING
    size = float(sum(_bytes(span, layout) for span in spans))
    shown = json.dumps(request_of(spans[0], layout))
    return Need(len(spans), size, "4 bytes a value; it comes compressed",
                f'cdsapi.Client().retrieve("{DATASET}", {shown})')  # fmt: skip


def lacking(layout: Layout, folder: Path, *, soil: bool = True) -> list[Span]:
    """Return the days that lack hours in a folder, in runs within months.

    A month whose weather lacks is one order, with soil if one of its days lacks it.

    Parameters
    ----------
    layout : Layout
    folder : Path
    soil : bool
        Whether ERA5-Land's own soil is wanted too, on the run's days.

    Raises
    ------
    ValueError
        If what is there is not hourly, or is of another area: it would stand beside what is
        fetched.
    """
    if era5_land.is_zarr(folder):
        raise ValueError(
            f"{folder} is a Zarr, and NetCDF is fetched; give era5_land a folder of files"
        )
    files = era5_land.find_files(folder, lambda error: None) if folder.is_dir() else []
    for file in files:
        if file.step != "hour":
            raise ValueError(
                f"{file.path} is of daily aggregates, and hours are fetched; give era5_land "
                "another folder"
            )
        era5_land.check_cells(file, layout)
    first, last = meteo_days(layout)[[0, -1]]
    weather = era5_land.missing_days(files, first, last)
    own = weather[:0]
    if soil:
        own = era5_land.missing_days(files, layout.time[0], last, era5_land.SOIL)
        own = own[own <= last]  # a mean needs no hour of the day after
    spans = [_span(run, last, soil=bool(np.isin(run, own).any())) for run in _runs(weather)]
    late = _runs(np.setdiff1d(own, weather))
    return spans + [replace(_span(run, last), names=SOIL) for run in late]


def _runs(days: NDArray[np.datetime64]) -> list[NDArray[np.datetime64]]:
    """Cut days where one is left out and where a month begins."""
    if not days.size:
        return []
    months = days.astype("M8[M]")
    cuts = (np.diff(days) > np.timedelta64(1, "D")) | (np.diff(months) > np.timedelta64(0, "M"))
    return np.split(days, np.flatnonzero(cuts) + 1)


def _span(run: NDArray[np.datetime64], last: np.datetime64, *, soil: bool = False) -> Span:
    """Return days as an order takes them: of the day after the last one hour is wanted."""
    hours = (0,) if run[0] > last else tuple(range(24))
    return Span(run[0].item(), run[-1].item(), hours, VARIABLES + SOIL if soil else VARIABLES)


def _area_cols(layout: Layout) -> NDArray[np.float64]:
    """Longitudes of the cells; those of a globe once."""
    return layout.cell_lon[layout.cell_lon < 180]


def _bytes(span: Span, layout: Layout) -> int:
    """Bytes of a span's values as floats, before they are compressed."""
    return 4 * len(span.names) * layout.cell_lat.size * _area_cols(layout).size * span.stamps


def request_of(span: Span, layout: Layout, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the order of a span as the store takes it; the area is north, west, south, east.

    ``names`` are variables in place of all of the span's.
    """
    rows, cols = layout.cell_lat, _area_cols(layout)
    edges = (rows[0], cols[0], rows[-1], cols[-1])
    return {
        "variable": list(names or span.names),
        "year": f"{span.first:%Y}",
        "month": f"{span.first:%m}",
        "day": [f"{day:02d}" for day in range(span.first.day, span.last.day + 1)],
        "time": [f"{hour:02d}:00" for hour in span.hours],
        "data_format": "netcdf",
        "download_format": "unarchived",
        "area": [round(float(edge), 1) for edge in edges],
    }


def orders(layout: Layout, folder: Path, watch: Watch, *, soil: bool = True) -> Iterator[Order]:
    """Yield an order a month; the store tells no size before it has made the file."""
    for span in lacking(layout, folder, soil=soil):
        yield Order(span.stem, _bytes(span, layout), partial(_get, span, layout, folder))


def _get(span: Span, layout: Layout, folder: Path, watch: Watch) -> None:
    """Order a span and fetch it; variable by variable if all of them are too much at once."""
    store = connect()
    try:
        _get_part(store, request_of(span, layout), folder / span.stem, watch)
    except TooLarge:
        logger.info("the Climate Data Store finds %s too large: one variable at a time", span.stem)
        for name in span.names:
            place = folder / f"{span.stem}_{name}"
            _get_part(store, request_of(span, layout, [name]), place, watch)


def _get_part(store: "Store", request: dict[str, Any], place: Path, watch: Watch) -> None:
    """Order what a request names, wait for it, fetch it, and put its NetCDF files in place."""
    ticket = place.with_name(f"{place.name}.order")
    url, size = _made(store, request, ticket, watch)
    whole = place.with_name(f"{place.name}.fetched")
    session = requests.Session()

    def check(path: Path) -> None:
        if size is not None and path.stat().st_size != size:
            raise ValueError(f"{url} has {path.stat().st_size} bytes, {size} were told; try again")

    transfer.download(RemoteFile(url, session, advice=ADVICE), whole, check, watch)
    with transfer.CHECKING:
        unpack(whole, place)
    ticket.unlink(missing_ok=True)


def _made(
    store: "Store", request: dict[str, Any], ticket: Path, watch: Watch
) -> tuple[str, int | None]:
    """Return URL and size of what an order gives, once the store has made it.

    An order that was given before is waited for, if the store still knows it.
    """
    key = digest(request)
    known = json.loads(ticket.read_text()) if ticket.exists() else {}
    number = known.get("number") if known.get("request") == key else None
    if number is None or not store.knows(number):
        number = store.order(request)
        ticket.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(ticket, json.dumps({"number": number, "request": key}))
    pause, longest = POLL_SECONDS
    while (made := store.made(number)) is None:
        watch.pause(pause)
        pause = min(2 * pause, longest)
    return made


def unpack(whole: Path, place: Path) -> None:
    """Put what was fetched in place: a NetCDF, or those of a zip archive, each checked."""
    if not zipfile.is_zipfile(whole):
        era5_land.read_header(whole)
        whole.replace(place.with_name(f"{place.name}.nc"))
        return
    with zipfile.ZipFile(whole) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".nc"))
        if not members:
            raise ValueError(f"{whole} holds no NetCDF but {archive.namelist()[:5]}; remove it")
        parts = [place.with_name(f"{place.name}_{number}.part") for number in range(len(members))]
        for member, part in zip(members, parts, strict=True):
            with archive.open(member) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            era5_land.read_header(part)
    for part in parts:
        part.replace(part.with_suffix(".nc"))
    whole.unlink()


# ---- the store, through its own library -------------------------------------------------------


class TooLarge(RuntimeError):
    """The store takes no order of this size."""


class Store:
    """What is asked of the Climate Data Store.

    Parameters
    ----------
    client : cdsapi.Client
        Of the present interface, whose key has no colon.
    """

    def __init__(self, client: Any) -> None:
        self._client = client.client  # of ecmwf-datastores-client, which knows orders by number

    def check(self) -> None:
        """Raise NoAccess unless the key is known."""
        _explained(self._client.check_authentication)

    def order(self, request: dict[str, Any]) -> str:
        """Give an order and return its number."""
        return str(_explained(lambda: self._client.submit(DATASET, request)).request_id)

    def knows(self, number: str) -> bool:
        """Whether an order is still there and has not failed."""
        try:
            remote = self._client.get_remote(number)
            return remote.status in ("accepted", "running", "successful")
        except requests.HTTPError:
            return False

    def made(self, number: str) -> tuple[str, int | None] | None:
        """Return URL and size of what an order gave; None while the store is at work."""
        remote = _explained(lambda: self._client.get_remote(number))
        if not _explained(lambda: remote.results_ready):
            return None
        found = _explained(remote.get_results)
        return str(found.location), int(found.content_length)


def connect() -> Store:
    """Return the store with the user's key, from the environment or cdsapi's own file.

    Raises
    ------
    NoAccess
        If there is no key, or one of the interface that was closed in 2024.
    ValueError
        If cdsapi is not installed.
    """
    try:
        import cdsapi
    except ImportError as error:
        raise ValueError(
            "fetching ERA5-Land needs the package's extra, gssm-cube[fetch]"
        ) from error
    try:
        client = cdsapi.Client(quiet=True, progress=False, delete=False, retry_max=5, sleep_max=10)
    except Exception as error:  # cdsapi raises plain Exceptions
        raise NoAccess(f"no key for the Climate Data Store ({error}): {ADVICE}") from None
    if not hasattr(client, "client"):
        raise NoAccess(f"the key for the Climate Data Store is of its old interface: {ADVICE}")
    return Store(client)


def check_access() -> None:
    """Raise NoAccess unless the Climate Data Store knows the user's key."""
    connect().check()


def _explained(call: Callable[[], Any]) -> Any:
    """Make a call to the store and say of its refusals what they mean."""
    try:
        return call()
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        text = " ".join(str(error).split())
        if _is_too_large(text):
            raise TooLarge(text) from error
        if status in (401, 403):
            raise NoAccess(
                f"the Climate Data Store does not let us in ({text}): {ADVICE}"
            ) from None
        raise RuntimeError(f"the Climate Data Store refused ({text}); see {PAGE}") from error
    except requests.RequestException as error:
        raise NoAnswer(
            f"the Climate Data Store does not answer ({error}); start again later: orders that "
            "were given are kept there"
        ) from error
    except RuntimeError as error:  # an order that failed there
        if _is_too_large(str(error)):
            raise TooLarge(str(error)) from error
        raise RuntimeError(f"an order at the Climate Data Store failed: {error}") from error


def _is_too_large(text: str) -> bool:
    """Whether a refusal speaks of the size of an order."""
    return "cost limits" in text or "too large" in text.lower()
