"""xee reads the loopback as an independent client: the same pixels, by more requests."""

import numpy as np
import pytest
import xarray as xr
from ee_server import SINUSOIDAL
from test_earthengine import (  # noqa: F401
    ASSET,
    BOX,
    DAYS,
    connected,
    days_on_disk,
    fetch,
    remote,
    server,
)

from gssm_cube.download import orders
from gssm_cube.download.downloads import download

pytest.importorskip("xee", reason="xee is not installed: it is in the extra 'test'")


def test_xee_reads_what_was_downloaded(connected, remote, fetch):  # noqa: F811
    import ee

    download(remote, at_once=3, fetch=fetch)
    ours, asked = days_on_disk(remote), len(connected.pixels)
    left, top = orders.SINUSOIDAL.corner_of(BOX)
    pixel = orders.SINUSOIDAL.cell[0]
    names = ["LST_Day_1km", "LST_Night_1km"]
    found = xr.open_dataset(
        ee.ImageCollection(ASSET).select(names),
        engine="ee",
        crs=SINUSOIDAL,
        crs_transform=(pixel, 0, left, 0, -pixel, top),
        shape_2d=(len(BOX[1]), len(BOX[0])),
        io_chunks={"index": 2, "width": len(BOX[1]), "height": len(BOX[0])},
        chunks=None,
    )
    for name in names:
        values = np.nan_to_num(found[name].transpose("time", "y", "x").values)
        np.testing.assert_array_equal(values, np.stack([ours[day] for day in DAYS]))
    # A variable at a time; ours are four bands of two days each.
    assert asked == 5 and len(connected.pixels) - asked == 10
