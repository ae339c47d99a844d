"""Fetch what a source lacks: access, sizes, disk and consent first, then some files at a time."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gssm_cube import blocks
from gssm_cube.blocks import Progress
from gssm_cube.download.at_once import finished
from gssm_cube.fetch import cds, earthdata, web
from gssm_cube.fetch.needs import Order, Provider
from gssm_cube.grid import Layout
from gssm_cube.sources.tries import NoAccess, Watch

logger = logging.getLogger(__name__)

AT_ONCE = 4  # files, or orders of the Climate Data Store, in flight
SPARE = 1.05  # of the disk, for what is unpacked or told too small
NO_ACCOUNT = "none"
PROVIDERS: Mapping[str, Provider] = {
    "era5_land": Provider(
        cds.need, cds.orders, "ECMWF, for the Climate Data Store", cds.ADVICE, cds.check_access
    ),
    **{
        name: Provider(
            partial(earthdata.need, product),
            partial(earthdata.orders, product),
            "NASA Earthdata Login",
            earthdata.ADVICE,
            earthdata.check_access,
        )
        for name, product in earthdata.PRODUCTS.items()
    },
    "soilgrids": Provider(web.soil_need, web.soil_orders, NO_ACCOUNT, ""),
    "merit_hydro": Provider(
        web.merit_need, web.merit_orders, "MERIT Hydro, by registration", web.MERIT_ADVICE,
        web.check_merit_access,
    ),
    "wtd": Provider(web.water_need, web.water_orders, NO_ACCOUNT, ""),
    "bedrock": Provider(web.bedrock_need, web.bedrock_orders, NO_ACCOUNT, ""),
}  # fmt: skip


def providers_of(*, soil: bool) -> Mapping[str, Provider]:
    """Return where sources come from; ``soil``: whether ERA5-Land's own is ordered as well."""
    need, orders = partial(cds.need, soil=soil), partial(cds.orders, soil=soil)
    return {**PROVIDERS, "era5_land": replace(PROVIDERS["era5_land"], need=need, orders=orders)}


def check_accounts(
    sources: Sequence[str],
    layout: Layout,
    folders: Mapping[str, Path],
    providers: Mapping[str, Provider] = PROVIDERS,
) -> None:
    """Raise one NoAccess with a line for each account that is needed and does not let us in."""
    checks = dict.fromkeys(
        providers[name].check_access
        for name in sources
        if providers[name].need(layout, folders[name]).files
    )
    refused = []
    for check in checks:
        try:
            check()
        except NoAccess as error:
            refused.append(str(error))
    if refused:
        raise NoAccess("\n".join(refused))


def fetch(
    source: str,
    layout: Layout,
    folder: Path,
    *,
    confirm: Callable[[str], bool],
    progress: Progress = blocks.silent,
    at_once: int = AT_ONCE,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> str:
    """Fetch what a source lacks of a run; return a line that says what was done.

    Parameters
    ----------
    source : str
        As the settings name it.
    layout : Layout
    folder : Path
        Where the run looks for the source's files.
    confirm : callable
        Gets the number of files and their bytes in words; says whether to go on.
    progress : callable
        Gets the source, megabytes that have come, and those in all.
    at_once : int
    providers : mapping
        By source.

    Raises
    ------
    NoAccess, NoAnswer
        If nothing can go on. What has come is kept, also of a file that was cut.
    ValueError
        If the disk is too small.
    RuntimeError
        Naming files that could not be had, when all others are there.
    """
    provider = providers[source]
    if not provider.need(layout, folder).files:
        return f"{source}: nothing is lacking in {folder}"
    provider.check_access()
    folder.mkdir(parents=True, exist_ok=True)
    with blocks.locked(folder):
        found = list(provider.orders(layout, folder, Watch()))
        total = sum(order.bytes for order in found)
        if not found:
            return f"{source}: the provider has nothing of what is lacking"
        check_disk(folder, total)
        if not confirm(f"{source}: {len(found)} files, about {total / 1e6:,.0f} MB, to {folder}"):
            return f"{source}: not fetched"
        count = _fetch_all(source, found, total, at_once, progress)
    line = f"{source}: {len(found)} files fetched, {count / 1e6:,.1f} MB, to {folder}"
    logger.info(line)
    return line


def check_disk(folder: Path, size: int) -> None:
    """Raise unless the disk holds some bytes more."""
    free = shutil.disk_usage(folder).free
    if free < SPARE * size:
        raise ValueError(
            f"{folder} has {free / 1e9:.3g} GB free, about {SPARE * size / 1e9:.3g} GB will come; "
            "free some, or give the source a folder on another disk"
        )


def _fetch_all(
    source: str, found: Sequence[Order], total: int, at_once: int, progress: Progress
) -> int:
    """Fetch all orders, and return the bytes; name those that could not be had."""
    stage = f"{source}, MB"

    def tell(count: int) -> None:
        progress(stage, count // 10**6, max(total, count) // 10**6)

    watch = Watch(tell)
    failed: list[tuple[Order, Exception]] = []
    work = ((order, partial(order.get, watch)) for order in found)
    list(finished(work, at_once, watch, (OSError, ValueError, RuntimeError), failed))
    if failed:
        shown = "; ".join(f"{order.label}: {error}" for order, error in failed[:3])
        raise RuntimeError(
            f"{len(failed)} of {len(found)} files of {source} could not be had, all others are "
            f"there: {shown}"
        )
    progress(stage, watch.count // 10**6, watch.count // 10**6)
    return watch.count
