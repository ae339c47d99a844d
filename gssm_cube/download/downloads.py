"""Downloads: a bounded number of requests in flight, each done at most once.

One pool of threads in this one process asks for everything, whatever the cluster: so the bound
holds for all, and workers need no account. Each answer is kept at once as a part; when a delivery
has all its parts, its files are written and the parts removed. After a kill only the requests that
were in flight are asked again.
"""

import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from gssm_cube import blocks
from gssm_cube.blocks import Progress
from gssm_cube.download.at_once import finished
from gssm_cube.download.earthengine_orders import SOIL_BANDS, deliveries
from gssm_cube.download.orders import OWN_SOIL, USUAL, Catalog, Delivery, GridOf
from gssm_cube.grid import Layout
from gssm_cube.settings import Settings
from gssm_cube.sources import earthengine
from gssm_cube.sources.ee_requests import Stamps
from gssm_cube.sources.tries import Refused, Watch
from gssm_cube.storage.files import replaced

logger = logging.getLogger(__name__)

FOLDER = "earthengine"  # of a run's
EARTH_ENGINE = "Earth Engine"
PARTS = "parts"
ABSENT = "absent.json"  # stamps of which there is no image, by asset
LISTED_STAMPS = 1000  # asked for at a time
STAGE = "download"
Fetch = Callable[[Any], np.ndarray]  # of a request
Absent = dict[str, list[str]]  # stamps of which there is no image, by collection
Orders = Callable[[str, str, Layout, Path, Catalog], Iterator[Delivery]]


@dataclass(frozen=True)
class RemoteSources:
    """The sources of a run that one service holds, and the folder that their files go to.

    ``assets`` by source; ``folder`` gets a folder for each. ``orders`` yields deliveries,
    ``sends`` tells how often a server is asked for one of their requests.
    """

    assets: dict[str, str]
    layout: Layout
    folder: Path
    whom: str = EARTH_ENGINE
    orders: Orders = deliveries
    sends: Callable[[Any], int] = lambda request: 1

    def wanted(self, source: str, catalog: Catalog = USUAL) -> list[Delivery]:
        """Return the deliveries of a source, done or not."""
        asset = self.assets[source]
        return list(self.orders(source, asset, self.layout, self.folder, catalog))

    def lacking(self, source: str, catalog: Catalog | None = None) -> list[Delivery]:
        """Return the deliveries of a source that are not done.

        Days that are known to be absent count as done; nothing is asked for this.
        """
        known = catalog or Catalog(there=without(read_absent(self.folder)))
        return [delivery for delivery in self.wanted(source, known) if not delivery.is_done]


def without(absent: Mapping[str, Iterable[str]]) -> Callable[[str, Stamps, str], Stamps]:
    """Return what picks the stamps that are not known to be absent, of a collection or a part."""
    missing = {collection: set(stamps) for collection, stamps in absent.items()}

    def there(asset: str, stamps: Stamps, part: str) -> Stamps:
        lost = missing.get(asset, set()) | missing.get(collection_of(asset, part), set())
        return tuple(stamp for stamp in stamps if str(stamp) not in lost)

    return there


def collection_of(asset: str, part: str) -> str:
    """Return the name under which absent stamps of an asset, a tile or its soil are noted."""
    return f"{asset} {part}".strip()


def read_absent(folder: Path) -> Absent:
    """Return the stamps of which there was no image, by asset and perhaps tile."""
    path = folder / ABSENT
    return dict(json.loads(path.read_text())) if path.exists() else {}


def open_requests(found: Iterable[Delivery], folder: Path) -> list[Any]:
    """Return the requests of deliveries whose parts are not here yet, or not whole."""
    requests = (request for delivery in found for request in delivery.requests)
    return [request for request in requests if not _is_kept(folder, request)]


def _is_kept(folder: Path, request: Any) -> bool:
    """Whether an answer is here; one that a power cut left empty or short does not count."""
    part = part_of(folder, request)
    if not part.exists():
        return False
    try:
        earthengine.load_answer(part, "r")  # mapped: it says if the file is shorter than its header
    except (ValueError, EOFError):
        return False
    return True


def part_of(folder: Path, request: Any) -> Path:
    """Where the answer to a request waits for the others of its delivery: by all that is asked."""
    return folder / PARTS / f"{sha256(repr(request).encode()).hexdigest()[:20]}.npy"


Ask = Callable[[RemoteSources, Iterable[str]], tuple[Absent, GridOf]]


# ---- downloading ------------------------------------------------------------------------------


def download(
    remote: RemoteSources,
    *,
    at_once: int,
    max_requests: int | None = None,
    fetch: Fetch | None = None,
    ask: Ask | None = None,
    watch: Watch | None = None,
    progress: Progress = blocks.silent,
) -> dict[str, int]:
    """Download what is lacking; from Earth Engine ``earthengine.connect`` goes before.

    Parameters
    ----------
    remote : RemoteSources
    at_once : int
        Requests in flight, at most.
    max_requests : int, optional
        Stop before anything is asked if more requests for pixels are needed.
    fetch : callable, optional
        By default ``earthengine.fetch``.
    ask : callable, optional
        Tells what is absent of some sources, and grids; by default of Earth Engine's.
    watch : Watch, optional
        On which ``fetch`` waits before it asks again; it is stopped if the download fails.
    progress : callable

    Returns
    -------
    dict
        ``requests`` that were sent, ``bytes`` of their answers uncompressed, ``files`` written.

    Raises
    ------
    ValueError
        If more than ``max_requests`` are needed.
    RuntimeError
        Naming requests that were refused, when all others are done; ``NoAccess`` or ``NoAnswer``
        if nothing can go on. What is done is kept.
    """
    folder, watch = remote.folder, watch or Watch()
    folder.mkdir(parents=True, exist_ok=True)
    with blocks.locked(folder):
        blocks.remove_partial_files(folder)
        sources = [source for source in remote.assets if remote.lacking(source, USUAL)]
        catalog = _catalog(remote, sources, ask or ask_engine)
        found = [d for source in sources for d in remote.lacking(source, catalog)]
        lacking = [(delivery, open_requests([delivery], folder)) for delivery in found]
        requests = [request for _, left in lacking for request in left]
        check_limit(sum(map(remote.sends, requests)), max_requests, remote.whom)
        fetch = fetch or partial(earthengine.fetch, pause=watch.pause)
        work = [(d, partial(_keep, folder, fetch, r)) for d, left in lacking for r in left]
        failed: list[tuple[Delivery, Exception]] = []
        done = finished(work, at_once, watch, (Refused,), failed)
        with closing(_completed(lacking, done)) as completed:
            for number, delivery in enumerate(completed, 1):
                _deliver(delivery, folder)
                progress(STAGE, number, len(found))
        if failed:
            shown = "; ".join(str(error) for _, error in failed[:3])
            raise RuntimeError(
                f"{len(failed)} of {len(requests)} requests were refused, all others are done: "
                f"{shown}"
            )
    files = sum(len(delivery.files) for delivery in found)
    size = sum(request.bytes for request in requests)
    return {"requests": sum(map(remote.sends, requests)), "bytes": size, "files": files}


def check_limit(requests: int, most: int | None, whom: str = EARTH_ENGINE) -> None:
    """Raise if there are more requests than the user allows."""
    if most is not None and requests > most:
        raise ValueError(
            f"{requests} requests to {whom} are needed, --max-requests allows {most}; "
            "nothing was asked: allow more, or take fewer days or tiles"
        )


def _catalog(remote: RemoteSources, sources: Iterable[str], ask: Ask) -> Catalog:
    """Ask what there is of sources that lack something, and note what is absent."""
    found, grid = ask(remote, sources)
    absent = read_absent(remote.folder) | found
    blocks.write_atomically(remote.folder / ABSENT, json.dumps(absent, indent=0))
    return Catalog(without(absent), grid)


def ask_engine(remote: RemoteSources, sources: Iterable[str]) -> tuple[Absent, GridOf]:
    """Return what Earth Engine lacks of some sources, and what tells its grids."""
    absent: Absent = {}
    listed: dict[str, set[Any]] = {}
    for source in sources:
        asset, lacking = remote.assets[source], remote.lacking(source, USUAL)
        stamps = sorted({s for d in lacking for r in d.requests for s in r.stamps})
        for start in range(0, len(stamps), LISTED_STAMPS):
            batch = stamps[start : start + LISTED_STAMPS]
            listed.setdefault(asset, set()).update(
                earthengine.stamps_there(asset, batch[0], batch[-1])
            )
        if asset in listed:
            absent[asset] = [str(stamp) for stamp in stamps if stamp not in listed[asset]]
            if absent[asset]:
                logger.warning(
                    "Earth Engine has no image of %s on %d stamps: %s .. %s", asset,
                    len(absent[asset]), absent[asset][0], absent[asset][-1],
                )  # fmt: skip
        if source == "era5_land":
            absent[collection_of(asset, OWN_SOIL)] = _stamps_without_soil(asset, lacking)
    return absent, lambda asset, band, usual: earthengine.grid_of(asset, band)


def _stamps_without_soil(asset: str, lacking: Iterable[Delivery]) -> list[str]:
    """Return the wanted stamps of ERA5-Land's soil if a collection has no bands of it."""
    names = {name for name, *_ in SOIL_BANDS}
    requests = (request for delivery in lacking for request in delivery.requests)
    wanted = [request for request in requests if {band.name for band in request.bands} == names]
    if not wanted or names <= earthengine.bands_of(asset):
        return []
    logger.warning("Earth Engine's %s has no %s: not asked for", asset, ", ".join(sorted(names)))
    return sorted({str(stamp) for request in wanted for stamp in request.stamps})


def _deliver(delivery: Delivery, folder: Path) -> None:
    """Write the files of a delivery from its parts, then remove these."""
    parts = [part_of(folder, request) for request in delivery.requests]
    answers = [earthengine.load_answer(path, "r") for path in parts]
    delivery.write(list(zip(delivery.requests, answers, strict=True)))
    for path in parts:
        path.unlink()


def _completed(
    lacking: Sequence[tuple[Delivery, list[Any]]], done: Generator[Delivery, None, None]
) -> Generator[Delivery, None, None]:
    """Yield deliveries as they have all their parts; those with a refused request never."""
    yield from (delivery for delivery, requests in lacking if not requests)
    left = {id(delivery): len(requests) for delivery, requests in lacking}
    with closing(done):
        for delivery in done:
            left[id(delivery)] -= 1
            if not left[id(delivery)]:
                yield delivery


def _keep(folder: Path, fetch: Fetch, request: Any) -> None:
    """Fetch a request and keep its answer as a part."""
    answer = fetch(request)
    with replaced(part_of(folder, request)) as partial, partial.open("wb") as file:
        np.save(file, answer, allow_pickle=False)


# ---- of a run ---------------------------------------------------------------------------------


def engine_sources(settings: Settings) -> RemoteSources:
    """Return what a run takes from Earth Engine; downloads lie in its folder."""
    return RemoteSources(
        settings.sources.assets,
        settings.layout,
        settings.folder / FOLDER,
        orders=partial(deliveries, soil=settings.era5_land.soil),
    )


def complete(
    settings: Settings,
    *,
    progress: Progress = blocks.silent,
    max_requests: int | None = None,
    absent_too: bool = False,
) -> str:
    """Download what a run still lacks of Earth Engine; return a line that says what was done.

    Nobody is asked, not even for access, where nothing is lacking; ``absent_too`` asks again for
    days that were absent before.
    """
    remote, account = engine_sources(settings), settings.earthengine
    known = USUAL if absent_too else None
    if account is None or not any(remote.lacking(source, known) for source in remote.assets):
        return f"download: nothing is lacking from {remote.whom}"
    earthengine.connect(account.project, account.credentials, account.url)
    done = download(remote, at_once=account.at_once, max_requests=max_requests, progress=progress)
    line = "download: {requests} requests to Earth Engine, {bytes} bytes, {files} files"
    logger.info(line.format(**done))
    return line.format(**done)
