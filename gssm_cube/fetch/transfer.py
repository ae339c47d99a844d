"""Files by http: each appears whole or not at all, and goes on from the byte where it was cut.

What has come lies beside the file's place as ``.part``, with the server's mark of that version
beside it (``ETag``, or ``Last-Modified``): only the rest of the same version is asked for, by
``Range`` and ``If-Range``. A server that knows neither is asked for the whole again.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import requests

from gssm_cube.sources.answers import (
    answered,
    check_status,
    content_range,
    length_of,
    part_of,
    range_of,
)
from gssm_cube.sources.tries import NoAccess, Passing, Watch, persist

CHUNK_BYTES = 2**16  # what a cut loses at most
Check = Callable[[Path], object]  # raises if a file is not what it should be
CHECKING = threading.Lock()  # the libraries of NetCDF and HDF let in one thread at a time


class NoRanges(RuntimeError):
    """A server gives whole files only."""


@dataclass(frozen=True)
class RemoteFile:
    """What is fetched: all of a URL, or the part of it that begins at a byte.

    ``advice`` is what to do if the server does not let us in.
    """

    url: str
    session: requests.Session
    start: int = 0
    bytes: int | None = None  # of the part; None: all there is
    advice: str = "see what the server asks for"

    @property
    def is_part(self) -> bool:
        """Whether not the whole file is wanted."""
        return self.bytes is not None

    @property
    def stop(self) -> int | None:
        """The byte after the last of a part."""
        return None if self.bytes is None else self.start + self.bytes

    @property
    def shown(self) -> str:
        """The URL for logs and errors, without a query, which may hold a signature."""
        return self.url.partition("?")[0]

    def asked(
        self, headers: Mapping[str, str], method: str = "GET"
    ) -> AbstractContextManager[requests.Response]:
        """Ask for it, as ``answered`` does."""
        return answered(self.session, self.url, headers, shown=self.shown, method=method)

    def check(self, answer: requests.Response) -> None:
        """Raise unless an answer is a file, or a part of one."""
        check_status(answer, self.shown, self.advice)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise NoAccess(f"{self.shown} answers with a page, not a file: {self.advice}")


@dataclass(frozen=True)
class _Part:
    """The bytes that have come so far, and of which version of the file they are."""

    target: Path

    @property
    def path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def mark(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.mark")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def remove(self) -> int:
        """Begin anew; return the bytes that were thrown away."""
        size = self.size
        self.path.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)
        return size

    def finish(self) -> None:
        self.path.replace(self.target)
        self.mark.unlink(missing_ok=True)


def download(remote: RemoteFile, target: Path, check: Check, watch: Watch) -> None:
    """Fetch a file, or what is left of it.

    Parameters
    ----------
    remote : RemoteFile
    target : Path
        Its folder is made if it is missing; what is there is replaced.
    check : callable
        Raises if the whole file, which does not have its name yet, is not what it should be; it
        is removed then.
    watch : Watch

    Raises
    ------
    NoAccess, NotThere, Refused
        As the server says.
    NoAnswer
        After eight tries in a row without a byte.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target)
    watch.add(part.size)
    persist(remote.shown, lambda: _append(remote, part, watch), watch.pause, lambda: part.size)
    try:
        with CHECKING:
            check(part.path)
    except Exception:
        watch.add(-part.remove())
        raise
    part.finish()


def _append(remote: RemoteFile, part: _Part, watch: Watch) -> None:
    """Ask for what is left, and write it behind what is there."""
    if not part.mark.exists():  # of which version it is nobody knows
        watch.add(-part.remove())
    have = part.size
    if have and have == remote.bytes:
        return
    headers = range_of(remote.start + have, remote.stop) if have or remote.is_part else {}
    if have:
        headers["If-Range"] = part.mark.read_text()
    with remote.asked(headers) as answer:
        if answer.status_code == 416:
            if have and content_range(answer)[1] == have:
                return  # all had come before
            watch.add(-part.remove())
            raise Passing("there are fewer bytes than had come")
        remote.check(answer)
        total = _begin(answer, remote, part, watch)
        with part.path.open("ab") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                watch.add(len(chunk))
    if total is not None and part.size != total:
        text = f"{part.size} bytes came of {total}"
        if part.size > total:
            watch.add(-part.remove())
        raise Passing(text)


def _begin(answer: requests.Response, remote: RemoteFile, part: _Part, watch: Watch) -> int | None:
    """Set the part up for an answer; return the bytes that the whole will have, if they are told.

    A server that sends the whole where a part was asked for has another version, or knows no parts.
    """
    if answer.status_code == 206:
        start, whole = content_range(answer)
        if start != remote.start + part.size:
            watch.add(-part.remove())
            raise Passing(f"bytes from {start} on came that were not asked for")
        total = remote.bytes if remote.is_part else whole
    elif remote.is_part and not part.size:
        raise NoRanges(f"{remote.shown} gives no parts of a file")
    else:
        watch.add(-part.remove())
        if remote.is_part:
            raise Passing("the file has changed meanwhile")
        total = length_of(answer)
    version = answer.headers.get("ETag", "")
    version = answer.headers.get("Last-Modified", "") if version[:2] in ("", "W/") else version
    if version:
        part.mark.write_text(version)
    else:
        part.mark.unlink(missing_ok=True)
    return total


def size_of(remote: RemoteFile, watch: Watch) -> int | None:
    """Return the bytes of a file as its server tells them; None if it does not."""

    def ask() -> int | None:
        with remote.asked({}, "HEAD") as answer:
            remote.check(answer)
            return length_of(answer)

    return persist(remote.shown, ask, watch.pause)


def read_part(remote: RemoteFile, watch: Watch) -> bytes:
    """Return a short part of a file; shorter where the file ends.

    Raises
    ------
    NoRanges
        If the server would send the whole.
    """
    span = remote.start, remote.start + (remote.bytes or 0)

    def ask() -> bytes:
        with remote.asked(range_of(*span)) as answer:
            remote.check(answer)
            if answer.status_code != 206:
                raise NoRanges(f"{remote.shown} gives no parts of a file")
            return part_of(answer, span).content

    return persist(remote.shown, ask, watch.pause)
