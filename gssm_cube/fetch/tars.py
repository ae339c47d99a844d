"""Members of an uncompressed tar archive behind a URL, without the rest of it.

A header of 512 bytes stands before each member and tells its size, so that the headers are found
by leaps (POSIX.1-1988, ustar). A package of MERIT Hydro holds 36 tiles, of which a region needs a
few.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gssm_cube.fetch.transfer import RemoteFile, read_part
from gssm_cube.sources.tries import Watch

BLOCK = 512
MOST = 10_000  # members: what has more is no package of tiles


@dataclass(frozen=True)
class Entry:
    """A member: its name and where its bytes lie in the archive."""

    name: str
    start: int
    bytes: int


def entries(archive: RemoteFile, watch: Watch) -> Iterator[Entry]:
    """Yield the files of a remote archive.

    Raises
    ------
    NoRanges
        If the server gives whole files only.
    ValueError
        If it is no tar archive, or is cut short.
    """
    start = 0
    for _ in range(MOST):
        header = read_part(replace(archive, start=start, bytes=BLOCK), watch)
        if not header.strip(b"\0"):  # the end: blocks of zeros
            return
        try:
            found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ValueError(
                f"{archive.url} is no whole tar archive (byte {start}: {error}); tell its provider"
            ) from error
        if found.isreg():
            yield Entry(found.name, start + BLOCK, found.size)
        start += BLOCK + -(-found.size // BLOCK) * BLOCK
