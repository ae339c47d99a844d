"""Downloads from open archives: what is there, and the answer to each request.

As ``downloads`` has it for Earth Engine: one pool of threads in one process, each answer kept at
once, files written when a delivery is complete.
"""

import json
import logging
import time
from collections.abc import Iterable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube import blocks
from gssm_cube.blocks import Progress
from gssm_cube.download.downloads import Absent, RemoteSources, collection_of, download
from gssm_cube.download.orders import ARC_SECONDS_3, RENAMED, USUAL, GridOf, folder_of
from gssm_cube.download.web_orders import (
    STORE,
    FileRequest,
    HeightsRequest,
    asks_whole_files,
    collection_name,
    merit_tile_of,
    modis_tile_of,
    sends,
    web_deliveries,
)
from gssm_cube.settings import Settings
from gssm_cube.sources.copernicus_dem import Tiles, read_heights, tiles_of
from gssm_cube.sources.ee_requests import Band, Request
from gssm_cube.sources.era5_store import ChunkRequest, layout_of, read_chunk
from gssm_cube.sources.stac_items import Granule, granules, items
from gssm_cube.sources.tries import NotThere, Pause, Refused, Watch
from gssm_cube.sources.web import Web
from gssm_cube.sources.web_tiff import WebTiffs
from gssm_cube.sources.web_zarr import open_store, read_again
from gssm_cube.web_settings import (
    COLLECTION,
    FOLDER,
    STAC,
    TEMPLATE,
    TOKEN,
    form_of,
    product_of,
)
from gssm_cube.web_settings import Web as WebSettings

logger = logging.getLogger(__name__)

DOWNLOADS = "web"  # folder of a run's
WHOM = "open archives"


class Archives:
    """The open archives of a run: lists what they have, and fetches it.

    Parameters
    ----------
    addresses : dict
        By source.
    settings : WebSettings
    pause : callable
    """

    def __init__(
        self, addresses: dict[str, str], settings: WebSettings, pause: Pause = time.sleep
    ) -> None:
        self._settings = settings
        signers = {
            signer
            for address in addresses.values()
            if address.startswith(STAC) and (signer := settings.signer_of(address))
        }
        # The token is for the host of ERA5-Land alone.
        host = urlsplit(addresses.get("era5_land", "")).hostname
        tokens = {host: TOKEN} if host else {}
        self.web = Web(tokens, next(iter(signers), None), pause, settings.at_once)
        self._maps = WebTiffs(self.web)
        self._signed = WebTiffs(self.web, sign=True)
        self._stores: dict[str, xr.Dataset] = {}
        self._heights: Tiles = {}
        self._granules: dict[str, dict[tuple[str, date], Granule]] = {}

    # ---- what is there ------------------------------------------------------------------------

    def ask(self, remote: RemoteSources, sources: Iterable[str]) -> tuple[Absent, GridOf]:
        """Look at what there is of some sources; return what is absent, and what tells grids."""
        absent: Absent = {}
        for source in sources:
            address = remote.assets[source]
            if source == "era5_land":
                self._ask_store(address, folder_of(remote.folder, source, address, remote.layout))
            elif source == "merit_hydro" and form_of(address) == COLLECTION:
                self._list_heights(address, remote)
            elif form_of(address) == COLLECTION:
                absent |= self._list_granules(remote, source, address)
            elif form_of(address) == FOLDER:
                self._fetch_lists(remote, source)
            elif form_of(address) == TEMPLATE and source == "merit_hydro":
                self._check_any_tile(remote, source)
        return absent, lambda asset, band, usual: self._maps.header(_address_of(asset, band)).grid

    def _ask_store(self, address: str, folder: Path) -> None:
        """Keep what a Zarr says of itself."""
        found = layout_of(self._store(address), address)
        folder.mkdir(parents=True, exist_ok=True)
        blocks.write_atomically(folder / STORE, json.dumps(found.to_dict(), indent=1))

    def _store(self, address: str) -> xr.Dataset:
        """Return a store, opened once."""
        if address not in self._stores:
            self._stores[address] = open_store(address, self.web)
        return self._stores[address]

    def _list_granules(self, remote: RemoteSources, source: str, address: str) -> Absent:
        """List the tiles of a product, and return the days on which each has none."""
        product = product_of(source, address)
        name = collection_name(address, product)
        lacking = [r for d in remote.lacking(source, USUAL) for r in d.requests]
        days = sorted(stamp for request in lacking for stamp in request.stamps)
        span = days[0].astype(object), days[-1].astype(object)
        found = granules(self.web, address.removeprefix(STAC), remote.layout.bounds, span, product)
        logger.info("%s: %d tiles and days of %s", address, len(found), product)
        self._granules[name] = found
        absent: Absent = {}
        for tile in sorted({modis_tile_of(request) for request in lacking}):
            lost = {day for day in days if (tile, day.astype(object)) not in found}
            absent[collection_of(name, tile)] = sorted(map(str, lost))
        if not found:
            raise Refused(
                f"{address} has nothing of {product} from {span[0]} to {span[1]} within "
                f"{remote.layout.bounds}; mend the address, or the period"
            )
        return absent

    def _list_heights(self, address: str, remote: RemoteSources) -> None:
        """List the tiles of heights within a quarter of a degree, and more, of the layout."""
        west, south, east, north = remote.layout.bounds
        bounds = (max(west - 1, -180), max(south - 1, -90), min(east + 1, 180), min(north + 1, 90))
        self._heights = tiles_of(items(self.web, address.removeprefix(STAC), bounds))
        if not self._heights:
            raise Refused(f"{address} has no tile of GLO-90 within {bounds}; mend the address")

    def _fetch_lists(self, remote: RemoteSources, source: str) -> None:
        """Fetch the lists of tiles of SoilGrids' layers: then it is known which are needed."""
        for delivery in remote.lacking(source, USUAL):
            if delivery.files[0].suffix == ".vrt":
                delivery.write([(request, self.fetch(request)) for request in delivery.requests])

    def _check_any_tile(self, remote: RemoteSources, source: str) -> None:
        """Raise if no tile is there: a tile of sea alone has no file, but not all are sea."""
        requests = [d.requests[0] for d in remote.wanted(source)]
        for request in requests:
            try:
                self._maps.header(_address_of(request.asset, request.bands[0], request))
                return
            except NotThere:
                continue
        raise Refused(
            f"{remote.assets[source]}: none of {len(requests)} tiles is there, such as "
            f"{_address_of(requests[0].asset, requests[0].bands[0], requests[0])}; mend the address"
        )

    # ---- answers ------------------------------------------------------------------------------

    def fetch(self, request: Any) -> NDArray[Any]:
        """Return the answer to a request.

        Returns
        -------
        array
            Of a map or tile a field for each band of each stamp (row, col), missing as the fills;
            of a store (time, lat, lon); of a file its bytes.
        """
        if isinstance(request, ChunkRequest):
            dataset = self._store(request.address)
            return read_again(self.web, request.about, lambda: read_chunk(dataset, request))
        if isinstance(request, FileRequest):
            return np.frombuffer(self.web.get(request.address).content, dtype="uint8")
        if isinstance(request, HeightsRequest):
            tiffs = self._tiffs_of(request.address)
            return read_heights(tiffs, self._heights, ARC_SECONDS_3, request.box)
        names = [f"b{number}" for number in range(len(request.bands))]
        types = zip(names, (band.dtype for band in request.bands), strict=True)
        answer = np.empty(request.shape, dtype=list(types))
        for name, band in zip(names, request.bands, strict=True):
            answer[name] = self._read(request, band)
        return answer

    def _tiffs_of(self, address: str) -> WebTiffs:
        """Return what reads the files that a STAC collection names."""
        return self._signed if self._settings.signer_of(address) else self._maps

    def _read(self, request: Request, band: Band) -> NDArray[Any]:
        """Read one band of a tile of MODIS, or of a map."""
        box = request.rows, request.cols
        if request.asset.startswith(STAC):
            (stamp,) = request.stamps
            held = self._granules[request.asset]
            granule = held[modis_tile_of(request), stamp.astype(object)]
            address = granule.address_of(_layer_of(band))
            whole = asks_whole_files(request)
            # As stored: files may declare 0 of the quality flags missing, which is the best.
            return self._tiffs_of(request.asset).read(
                address, request.grid, box, band, whole_file=whole, as_stored=True
            )
        address = _address_of(request.asset, band, request)
        try:
            return self._maps.read(address, request.grid, box, band)
        except NotThere:
            if "{tile}" not in request.asset:
                raise
            return np.full(request.shape, band.fill, dtype=band.dtype)  # sea has no tile


def _layer_of(band: Band) -> str:
    """Return the name that the provider of MODIS gives a band; Earth Engine has others."""
    return {there: name for name, there in RENAMED.items()}.get(band.name, band.name)


def _address_of(asset: str, band: Band, request: Request | None = None) -> str:
    """Return the address of a map's file: braces hold the layer, and the tile of MERIT Hydro."""
    layer = band.name.split("_")[0]
    tile = merit_tile_of(request) if request is not None and "{tile}" in asset else ""
    return asset.replace("{layer}", layer).replace("{tile}", tile)


# ---- of a run ---------------------------------------------------------------------------------


def archive_sources(settings: Settings) -> RemoteSources:
    """Return what a run takes from open archives; downloads lie in its folder."""
    folder = settings.folder / DOWNLOADS
    orders = partial(web_deliveries, soil=settings.era5_land.soil)
    return RemoteSources(settings.sources.addresses, settings.layout, folder, WHOM, orders, sends)


def complete_from_web(
    settings: Settings,
    *,
    progress: Progress = blocks.silent,
    max_requests: int | None = None,
    absent_too: bool = False,
    pause: Pause | None = None,
) -> str:
    """Download what a run still lacks of open archives; return a line that says what was done.

    Nobody is asked where nothing is lacking; ``absent_too`` asks again for days that were absent
    before. Of ``max_requests`` those do not count that list what there is.
    """
    remote = archive_sources(settings)
    known = USUAL if absent_too else None
    if not any(remote.lacking(source, known) for source in remote.assets):
        return f"download: nothing is lacking from {WHOM}"
    watch = Watch()
    archives = Archives(remote.assets, settings.web, pause or watch.pause)
    download(
        remote,
        at_once=settings.web.at_once,
        max_requests=max_requests,
        fetch=archives.fetch,
        ask=archives.ask,
        watch=watch,
        progress=progress,
    )
    sent, received = archives.web.sent, archives.web.received
    line = f"download: {sent} requests to {WHOM}, {received} bytes"
    logger.info(line)
    return line
