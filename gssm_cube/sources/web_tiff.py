"""Windows of GeoTIFFs on web servers: the header, then the blocks that a window needs.

A COG has its directories in front, so that two requests give a window: what is asked is counted,
tried again and signed like all else, which GDAL's own network files are not. What came is laid at
its place in a sparse file, from which GDAL decodes it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from gssm_cube.sources import whole
from gssm_cube.sources.answers import Part, Span
from gssm_cube.sources.ee_requests import Band, Box, PixelGrid, common
from gssm_cube.sources.tries import Passing, Refused, read_anew
from gssm_cube.sources.web import Web

HEAD_BYTES = 2**16  # a COG of 1200 x 1200 pixels has its directories in less
MOST_HEAD_BYTES = 2**24
GAP_BYTES = 2**16  # a gap of up to this is read along: a request costs more
LIKE = {"int8": ("uint8", "int16")}  # GDAL before 3.7 has no int8: -1 is 255 or wide
NEAR = 0.01  # cells: corners are stated to a millimetre, or to a metre


@dataclass(frozen=True)
class Header:
    """What a GeoTIFF says of itself, and the bytes that said it."""

    parts: tuple[Part, ...]
    grid: PixelGrid
    shape: tuple[int, int]
    dtype: str
    nodata: float | None

    @property
    def is_whole(self) -> bool:
        """Whether all of the file is here."""
        first = self.parts[0]
        return len(first.content) == first.total


class WebTiffs:
    """Reads GeoTIFFs through one ``Web``; headers of the newest are kept.

    Parameters
    ----------
    web : Web
    sign : bool
        Whether addresses are to be signed.
    """

    def __init__(self, web: Web, *, sign: bool = False) -> None:
        self.web, self.sign = web, sign
        self._header = lru_cache(maxsize=256)(self._read_header)

    def header(self, address: str) -> Header:
        """Return the header of a file.

        Raises
        ------
        Refused
            If it is no north-up GeoTIFF of one band; ``NotThere`` if it is not there.
        """
        return self._header(address)

    def read(
        self,
        address: str,
        grid: PixelGrid,
        box: Box,
        band: Band,
        *,
        whole_file: bool = False,
        as_stored: bool = False,
    ) -> NDArray[Any]:
        """Read rows and columns of a grid, on which the file lies; what it lacks is the fill.

        Parameters
        ----------
        address : str
        grid : PixelGrid
        box : tuple of range
            Rows and columns of the grid.
        band : Band
            Its type, which must be the file's, and the fill.
        whole_file : bool
            Ask for the file in one request, where the box is most of it.
        as_stored : bool
            Keep what the file declares as missing; else it becomes the fill.

        Returns
        -------
        array (row, col)
            In the type of the band.
        """

        def ask() -> NDArray[Any]:
            header = self._complete_header(address, None) if whole_file else self.header(address)
            nodata = None if as_stored else header.nodata
            try:
                return self._read(address, replace(header, nodata=nodata), grid, box, band)
            except Passing:  # what is known of the file may be at fault
                self._header.cache_clear()
                raise

        return self.web.persist(address, ask)

    def _read(
        self, address: str, header: Header, grid: PixelGrid, box: Box, band: Band
    ) -> NDArray[Any]:
        """Read once."""
        row, col = place_on(header.grid, grid, address)
        values = np.full((len(box[0]), len(box[1])), band.fill, dtype=band.dtype)
        rows = common(range(row, row + header.shape[0]), box[0])
        cols = common(range(col, col + header.shape[1]), box[1])
        if not rows or not cols:
            return values
        check_type(header, band, address)
        window = Window(cols.start - col, rows.start - row, len(cols), len(rows))
        found = self._window(address, header, window)
        part = found.astype(band.dtype, copy=False)
        if header.nodata is not None:
            part = np.where(found == header.nodata, np.asarray(band.fill, band.dtype), part)
        place = (
            slice(rows.start - box[0].start, rows.stop - box[0].start),
            slice(cols.start - box[1].start, cols.stop - box[1].start),
        )
        values[place] = part
        return values

    def _window(self, address: str, header: Header, window: Window) -> NDArray[Any]:
        """Fetch the blocks of a window and decode them."""
        parts = list(header.parts)
        if not header.is_whole:
            with opened(parts) as source:
                spans = lacking(blocks_of(source, window), parts)
            parts += [self.web.get(address, span, sign=self.sign) for span in spans]
            if any(part.total != parts[0].total for part in parts):
                raise Passing("the file changed while it was read")
        with opened(parts) as source:
            return np.asarray(source.read(1, window=window))

    def _read_header(self, address: str) -> Header:
        """Fetch as much of a file as its directories take."""
        span = 0, HEAD_BYTES
        return self.web.persist(address, lambda: self._complete_header(address, span))

    def _complete_header(self, address: str, span: Span | None) -> Header:
        """Fetch a file's beginning, or all of it, and what of its directories lies elsewhere."""
        parts = [self.web.get(address, span, sign=self.sign)]
        total = parts[0].total
        for _ in range(8):
            try:
                with laid_out(parts) as path:
                    first, end = whole.directories_end(path)
            except ValueError as error:
                raise Refused(f"{address} is no TIFF; mend the address") from error
            spans = lacking([(first, min(end, total))], parts)
            if not spans:
                break
            start = spans[0][0]
            # Directories behind the pixels: the rest of the file, if it is not long.
            stop = total if first >= start and total - first <= MOST_HEAD_BYTES else spans[-1][1]
            if stop - start > MOST_HEAD_BYTES:
                raise Refused(f"{address}: its directories take {stop - start} bytes; make a COG")
            parts.append(self.web.get(address, (start, stop), sign=self.sign))
        with opened(parts) as source:
            return _header_of(source, address, tuple(parts))


def _header_of(source: Any, address: str, parts: tuple[Part, ...]) -> Header:
    """Return what an open raster says of itself."""
    t = source.transform
    if source.count != 1 or t.b or t.d or t.e >= 0 or source.crs is None:
        raise Refused(
            f"{address} has {source.count} bands and the transform {tuple(t)[:6]}, expected one "
            "band, north-up, with a coordinate system"
        )
    grid = PixelGrid(_crs_text(source.crs), (t.c, t.f), (t.a, -t.e))
    return Header(parts, grid, source.shape, source.dtypes[0], source.nodata)


def _crs_text(crs: CRS) -> str:
    """Return a coordinate system as text: its EPSG code where it has one."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def place_on(own: PixelGrid, grid: PixelGrid, address: str) -> tuple[int, int]:
    """Return the row and column of a grid at which a file of its own grid begins.

    Raises
    ------
    Refused
        If its cells are not the grid's.
    """
    row = (grid.corner[1] - own.corner[1]) / grid.cell[1]
    col = (own.corner[0] - grid.corner[0]) / grid.cell[0]
    off = max(abs(row - round(row)), abs(col - round(col)))
    size = max(abs(a / b - 1) for a, b in zip(own.cell, grid.cell, strict=True))
    if off > NEAR or size > 1e-5:
        raise Refused(
            f"{address}: cells of {own.cell[0]:.9g} x {own.cell[1]:.9g} from {own.corner}, "
            f"expected {grid.cell[0]:.9g} x {grid.cell[1]:.9g} on the grid from {grid.corner}; "
            "this is another product or resolution"
        )
    return round(row), round(col)


def check_type(header: Header, band: Band, address: str) -> None:
    """Raise unless a file's type goes into the band's without loss."""
    if not np.can_cast(header.dtype, band.dtype) and header.dtype not in LIKE.get(band.dtype, ()):
        raise Refused(
            f"{address} is {header.dtype}, expected {band.dtype} as the provider has it; it was "
            "scaled already, or is another layer"
        )


def blocks_of(source: Any, window: Window) -> list[Span]:
    """Return where the blocks of a window lie in an open TIFF; blocks never written are nowhere."""
    height, width = source.block_shapes[0]
    rows = range(int(window.row_off) // height, -(-int(window.row_off + window.height) // height))
    cols = range(int(window.col_off) // width, -(-int(window.col_off + window.width) // width))
    spans = []
    for row in rows:
        for col in cols:
            start, size = (
                source.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1)
                for what in ("OFFSET", "SIZE")
            )
            if start is not None:
                spans.append((int(start), int(start) + int(size)))
    return spans


def lacking(wanted: Sequence[Span], parts: Sequence[Part]) -> list[Span]:
    """Return what of some spans no part holds, near ones together."""
    found: list[Span] = []
    for start, stop in sorted(wanted):
        for held in sorted(part.span for part in parts):
            if held[0] <= start < held[1]:
                start = held[1]
        if start >= stop:
            continue
        if found and start - found[-1][1] <= GAP_BYTES:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return found


@contextmanager
def laid_out(parts: Sequence[Part]) -> Iterator[Path]:
    """Lay parts of a file at their places in a sparse file."""
    with NamedTemporaryFile(prefix="gssm-", suffix=".tif") as file:
        file.truncate(parts[0].total)
        for part in parts:
            file.seek(part.start)
            file.write(part.content)
        file.flush()
        yield Path(file.name)


@contextmanager
def opened(parts: Sequence[Part]) -> Iterator[Any]:
    """Open a TIFF of which only parts are here."""
    # Without the option GDAL lists the folder at every opening.
    with (
        laid_out(parts) as path,
        read_anew(RasterioIOError),
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(path) as source,
    ):
        yield source
