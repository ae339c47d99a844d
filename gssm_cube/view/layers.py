"""What the page can show on its map: names, units, colours, and classes of the quality flags."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.variables import FILL, SSM, SSM_SPREAD, Packing

QUALITY = "quality"
# From the harmless to the grave: the last that holds is shown. Colours: Okabe and Ito (2008).
CLASSES = {
    "nothing noted": ("#0072B2", ()),
    "filled": ("#56B4E9", ("lst_filled", "vegetation_filled", "static_filled")),
    "other sensor": ("#009E73", ("lst_other_sensor", "vegetation_other_sensor")),
    "provisional": ("#F0E442", ("vegetation_provisional",)),
    "beyond soil physics": (
        "#E69F00", ("below_residual_water", "above_porosity", "clipped"),
    ),
    "frozen or under snow": ("#CC79A7", ("frozen",)),
    "a predictor missing": ("#000000", ("predictor_missing",)),
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a layer of numbers is shown; limits are fixed, so that days can be compared by eye."""

    title: str
    label: str  # of the colour bar, with units
    colors: str  # a perceptually uniform colour map of matplotlib
    limits: tuple[float, float]
    packing: Packing

    @property
    def palette(self) -> list[str]:
        """The 256 colours."""
        return [to_hex(color) for color in colormaps[self.colors](range(256))]


STYLES = {
    "ssm": Style(
        "Soil moisture, 0-5 cm", "soil moisture, m³ m⁻³", "viridis_r", (0.0, 0.5), SSM.packing
    ),
    "ssm_spread": Style(
        "Spread of the trees", "standard deviation over the trees, m³ m⁻³", "cividis_r",
        (0.0, 0.15), SSM_SPREAD.packing,
    ),
}  # fmt: skip
TITLES = {name: style.title for name, style in STYLES.items()} | {QUALITY: "Quality"}


def classify(flags: NDArray[np.uint16], codes: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return the number of the gravest class of each pixel.

    Parameters
    ----------
    flags : array, uint16
        Bits of ``PRODUCT_FLAGS``.
    codes : array of the same shape, int16
        Soil moisture; without a value or a flag there is sea.

    Returns
    -------
    array, float32
        Place in ``CLASSES``; NaN over sea.
    """
    found = np.where((codes == FILL) & (flags == 0), np.nan, 0).astype("float32")
    for number, (_, names) in enumerate(CLASSES.values()):
        found[flags & _bits(names) > 0] = number
    return found


def _bits(names: tuple[str, ...]) -> np.uint16:
    """Join the bits of some flags."""
    return np.uint16(sum(PRODUCT_FLAGS[name] for name in names))


def words_of(flags: int) -> str:
    """Say which flags a pixel has on a day."""
    names = [name.replace("_", " ") for name, bit in PRODUCT_FLAGS.items() if flags & bit]
    return ", ".join(names) or "nothing noted"
