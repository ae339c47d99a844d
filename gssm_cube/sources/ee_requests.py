"""Requests to Earth Engine in pure arithmetic: what is asked, on which grid, within its limits.

Every source is asked on its own grid, all bands of as many days as fit in one request. Limits:
developers.google.com/earth-engine/apidocs/ee-data-computepixels and /guides/usage; of the 48 MB a
byte of mask is taken for each value besides its own (github.com/google/Xee, issue 209).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gssm_cube.sources.raster import Bounds, cells_within

MOST_BYTES = 48 * 2**20
MOST_SIDE = 32768  # pixels
MOST_BANDS = 1024
MOST_AT_ONCE = 40  # requests in flight of a project
HEADER_BYTES = 2**20  # of an answer in NumPy's format, which names each band; NumPy reads 10,000
NARROW = 4  # sides of a square of 48 MB: up to here whole rows are asked
Stamps = tuple[np.datetime64, ...]
Box = tuple[range, range]  # rows, columns


@dataclass(frozen=True)
class PixelGrid:
    """A north-up grid: its projection, outer north-west corner and cell size in its units."""

    crs: str
    corner: tuple[float, float]  # x, y
    cell: tuple[float, float]  # width, height

    def box(self, bounds: Bounds) -> Box:
        """Rows and columns that touch left, bottom, right, top; none lie before the corner."""
        left, bottom, right, top = bounds
        return (
            cells_within(self.corner[1], -self.cell[1], top, bottom, 2**40),
            cells_within(self.corner[0], self.cell[0], left, right, 2**40),
        )

    def corner_of(self, box: Box) -> tuple[float, float]:
        """Return x and y of the outer north-west corner of rows and columns."""
        return (
            self.corner[0] + self.cell[0] * box[1].start,
            self.corner[1] - self.cell[1] * box[0].start,
        )


@dataclass(frozen=True)
class Band:
    """A band as it is asked: its name there, type, and what masked pixels become.

    ``name`` is empty for the first band of an image; ``asset`` is put behind the request's own.
    """

    name: str
    dtype: str
    fill: float
    asset: str = ""


@dataclass(frozen=True)
class Request:
    """Some rows and columns of a grid, of all bands, of all images that start at ``stamps``.

    Without stamps the asset is one image, or one for each band.
    """

    asset: str
    bands: tuple[Band, ...]
    grid: PixelGrid
    rows: range
    cols: range
    stamps: Stamps = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.cols)

    @property
    def band_count(self) -> int:
        """Bands of the answer."""
        return len(self.bands) * max(len(self.stamps), 1)

    @property
    def bytes(self) -> int:
        """Size of the answer, uncompressed."""
        rows, cols = self.shape
        return rows * cols * cell_bytes(self.bands) * max(len(self.stamps), 1)

    @property
    def about(self) -> str:
        """What is asked, for people."""
        days = f", {self.stamps[0]} to {self.stamps[-1]}" if self.stamps else ""
        place = f"rows {self.rows.start}-{self.rows.stop - 1}, columns {self.cols.start}-"
        return f"{self.asset}{days}, {place}{self.cols.stop - 1}"


def cell_bytes(bands: Iterable[Band]) -> int:
    """Bytes of a pixel of one image."""
    return sum(np.dtype(band.dtype).itemsize for band in bands)


def counted_bytes(bands: Sequence[Band]) -> int:
    """Bytes of a pixel of one image as the limit counts them: with a byte of mask a band."""
    return cell_bytes(bands) + len(bands)


def images_at_once(box: Box, bands: Sequence[Band], least: int = 1) -> int:
    """Return how many images of a box fit in one request, in whole groups of ``least``."""
    size = len(box[0]) * len(box[1]) * counted_bytes(bands)
    most = min(MOST_BYTES // size, MOST_BANDS // len(bands))
    return max(most // least, 1) * least


def batches(stamps: Stamps, count: int) -> Iterator[Stamps]:
    """Cut stamps into groups of ``count``, from the first on."""
    for start in range(0, len(stamps), count):
        yield stamps[start : start + count]


def without_gaps(stamps: Stamps, step: np.timedelta64) -> Iterator[Stamps]:
    """Cut stamps where one does not follow the other by ``step``."""
    start = 0
    for place in range(1, len(stamps) + 1):
        if place == len(stamps) or stamps[place] - stamps[place - 1] != step:
            yield stamps[start:place]
            start = place


def row_slabs(box: Box, bands: Sequence[Band], images: int) -> Iterator[Box]:
    """Cut a box into slabs of whole rows that fit in one request each.

    Raises
    ------
    ValueError
        If a single row does not fit.
    """
    rows, cols = box
    most = MOST_BYTES // (len(cols) * counted_bytes(bands) * images)
    if not most or len(cols) > MOST_SIDE:
        raise ValueError(
            f"{len(cols)} columns of {images * len(bands)} bands do not fit in one request of "
            f"{MOST_BYTES} bytes and {MOST_SIDE} pixels a side; take a smaller region"
        )
    most = min(most, MOST_SIDE)
    for start in range(rows.start, rows.stop, most):
        yield range(start, min(start + most, rows.stop)), cols


def pieces(wanted: Iterable[Box], bands: Sequence[Band]) -> list[Box]:
    """Return parts of a map that hold all wanted boxes and fit in one request each.

    A narrow map is cut into slabs of whole rows, a wide one into squares; what nobody wants is
    left out.
    """
    boxes = list(wanted)
    rows, cols = boxes[0]
    for box in boxes:
        rows, cols = hull(rows, box[0]), hull(cols, box[1])
    most = MOST_BYTES // counted_bytes(bands)
    width = min(int(most**0.5), MOST_SIDE)
    if len(cols) <= NARROW * width:
        width = min(len(cols), MOST_SIDE)
    height = min(most // width, MOST_SIDE)
    needed: dict[tuple[int, int], Box] = {}
    for box in boxes:
        for row in _steps(box[0], rows.start, height):
            for col in _steps(box[1], cols.start, width):
                part = (
                    common(range(row, row + height), box[0]),
                    common(range(col, col + width), box[1]),
                )
                other = needed.get((row, col), part)
                needed[row, col] = (hull(part[0], other[0]), hull(part[1], other[1]))
    return [needed[place] for place in sorted(needed)]


def _steps(span: range, origin: int, step: int) -> range:
    """Return the starts of steps from an origin that a span touches."""
    return range(origin + (span.start - origin) // step * step, span.stop, step)


def common(one: range, other: range) -> range:
    """Numbers that both ranges hold."""
    start = max(one.start, other.start)
    return range(start, max(start, min(one.stop, other.stop)))


def hull(one: range, other: range) -> range:
    """Return the range that holds both."""
    return range(min(one.start, other.start), max(one.stop, other.stop))
