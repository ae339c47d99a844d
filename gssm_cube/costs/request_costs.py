"""What a run takes from elsewhere, before anybody is asked: requests, bytes, compute.

Requests and bytes are counted from the very requests that will be sent; grids of maps, which are
asked for first, are taken to be the usual ones. Compute is an estimate: Google publishes no figure
for what a request takes. It defines its unit, EECU, as one core at work
(developers.google.com/earth-engine/guides/computation_overview); how long one works is assumed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from gssm_cube.download.downloads import EARTH_ENGINE, RemoteSources, open_requests
from gssm_cube.grid import Layout
from gssm_cube.plan import size
from gssm_cube.sources.ee_requests import Band, Request, images_at_once

# Assumed of a core there: see the module. Compare with the Cloud console after some days of data.
BAND_SECONDS = 0.02  # to find and open one band of one image
VALUE_SECONDS = 1e-7  # to read, fill and encode a value
COMMUNITY_HOURS = 150  # a month free for any noncommercial project: .../guides/noncommercial_tiers
NAIVE = (Band("", "float32", 0),) * 18  # all predictors, daily, at 1 km


@dataclass(frozen=True)
class Cost:
    """What is asked of one source."""

    source: str
    requests: int
    bytes: int
    compute_hours: float  # of one core there, estimated


def costs(remote: RemoteSources) -> list[Cost]:
    """Return what is still to be asked, source by source."""
    open_ones = {
        source: open_requests(remote.lacking(source), remote.folder) for source in remote.assets
    }
    if remote.whom == EARTH_ENGINE:
        return [cost_of(source, requests) for source, requests in open_ones.items()]
    return [
        Cost(source, sum(map(remote.sends, requests)), sum(r.bytes for r in requests), 0.0)
        for source, requests in open_ones.items()
    ]


def cost_of(source: str, requests: Iterable[Request]) -> Cost:
    """Return what some requests of a source take."""
    found = list(requests)
    values = sum(r.shape[0] * r.shape[1] * r.band_count for r in found)
    seconds = BAND_SECONDS * sum(r.band_count for r in found) + VALUE_SECONDS * values
    return Cost(source, len(found), sum(r.bytes for r in found), seconds / 3600)


def naive_cost(layout: Layout, tiles: int) -> Cost:
    """Return what it would take to ask for all predictors, daily, at 1 km.

    Parameters
    ----------
    layout : Layout
    tiles : int
        Tiles of the layout that are asked for.
    """
    side = range(layout.tile_size)
    days = images_at_once((side, side), NAIVE)  # of a tile of 480 pixels: 2
    bands = tiles * layout.days * len(NAIVE)
    values = bands * layout.tile_size**2
    seconds = BAND_SECONDS * bands + VALUE_SECONDS * values
    requests = tiles * -(-layout.days // days)
    return Cost("18 predictors at 1 km", requests, 4 * values, seconds / 3600)


def web_table(found: Iterable[Cost]) -> Table:
    """Return costs of open archives as a table to print."""
    table = Table("source", "requests", "bytes", title="From open archives")
    rows = list(found)
    total = Cost("all", sum(c.requests for c in rows), sum(c.bytes for c in rows), 0.0)
    for cost in (*rows, total):
        table.add_row(cost.source, f"{cost.requests:,}", size(cost.bytes))
    table.caption = (
        "at most, besides those that list what there is; bytes are of values: what is compressed "
        "on the way takes fewer"
    )
    return table


def cost_table(found: Iterable[Cost], naive: Cost) -> Table:
    """Return costs as a table to print, beside what the naive way would take."""
    table = Table(
        "source", "requests", "bytes", "core-hours there, estimated", title="From Earth Engine"
    )
    rows = list(found)
    total = Cost(
        "all",
        sum(cost.requests for cost in rows),
        sum(cost.bytes for cost in rows),
        sum(cost.compute_hours for cost in rows),
    )
    for cost in (*rows, total, naive):
        hours = f"{cost.compute_hours:.2g}"
        table.add_row(cost.source, f"{cost.requests:,}", size(cost.bytes), hours)
    table.caption = (
        f"a noncommercial project has {COMMUNITY_HOURS} core-hours a month or more; the last row "
        "is what is not done: all predictors asked for daily at 1 km"
    )
    return table
