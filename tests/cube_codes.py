"""What a cube holds, to compare cubes that came by different routes."""

from pathlib import Path

import numpy as np
import zarr


def codes_of(store: Path) -> dict[str, np.ndarray]:
    """All arrays of a cube as stored, ERA5-Land's own soil among them."""
    root = zarr.open_group(store, mode="r")
    arrays = (
        member for member in root.members(max_depth=None) if isinstance(member[1], zarr.Array)
    )
    return {name: array[:] for name, array in arrays}


def check_same_codes(found: Path, expected: Path) -> None:
    """Fail unless two cubes hold the same arrays, code by code."""
    ours, theirs = codes_of(found), codes_of(expected)
    assert ours.keys() == theirs.keys()
    for name, codes in theirs.items():
        np.testing.assert_array_equal(ours[name], codes, err_msg=name)
