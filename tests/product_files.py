"""Layers of a block for tests that look at its soil moisture only."""

import numpy as np
from numpy.typing import NDArray

from gssm_cube.product import Layers
from gssm_cube.variables import FILL


def layers_of(codes: NDArray[np.int16]) -> Layers:
    """Return layers of these codes, with a spread of 0.02 m3 m-3 and no flag."""
    spread = np.where(codes == FILL, FILL, 20).astype("int16")
    return Layers(codes, spread, np.zeros(codes.shape, dtype="uint16"))
