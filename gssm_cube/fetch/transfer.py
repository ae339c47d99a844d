"""Files by http: each appears whole or not at all, and goes on from the byte where it was cut.

What has come lies beside the file's place as ``.part``, with the server's mark of that version
beside it (``ETag``, or ``Last-Modified``): only the rest of the same version is asked for, by
``Range`` and ``If-Range``. A server that knows neither is asked for the whole again.
"""

import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from gssm_cube.sources.tries import TRIES, NoAccess, NoAnswer

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # the server is busy, or will be well
PAUSE_SECONDS = (1.0, 64.0)  # the first, and the longest
TIMEOUT_SECONDS = (10, 120)  # to connect, and between bytes
CHUNK_BYTES = 2**16  # what a cut loses at most
Check = Callable[[Path], object]  # raises if a file is not what it should be
CHECKING = threading.Lock()  # the libraries of NetCDF and HDF let in one thread at a time


class Absent(RuntimeError):
    """A server has no such file."""


class NoRanges(RuntimeError):
    """A server gives whole files only."""


class Stopped(RuntimeError):
    """The user, or an error elsewhere, ended the work."""


class _Again(RuntimeError):
    """An answer that may be another one later; ``seconds`` as the server asks for, or 0."""

    def __init__(self, text: str, seconds: float = 0.0) -> None:
        super().__init__(text)
        self.seconds = seconds


_PASSING = (
    _Again,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class Watch:
    """Counts the bytes that come, for all threads together, and ends their work.

    Parameters
    ----------
    told : callable
        Gets all bytes so far.
    """

    def __init__(self, told: Callable[[int], None] = lambda count: None) -> None:
        self.count = 0
        self._told, self._lock, self._stop = told, threading.Lock(), threading.Event()

    def add(self, count: int) -> None:
        """Count bytes, fewer than 0 if they are thrown away; raise Stopped if that was said."""
        with self._lock:
            self.count += count
            self._told(self.count)
        self.pause(0)

    def pause(self, seconds: float) -> None:
        """Wait, and raise Stopped as soon as that is said."""
        if self._stop.wait(seconds):
            raise Stopped("stopped: what has come is kept")

    def stop(self) -> None:
        """End the work of all threads at their next byte or pause."""
        self._stop.set()


@dataclass(frozen=True)
class Place:
    """What is fetched: all of a URL, or a part of it that begins at a byte.

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
    def shown(self) -> str:
        """The URL for logs and errors, without a query, which may hold a signature."""
        return self.url.partition("?")[0]


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


def download(place: Place, target: Path, check: Check, watch: Watch) -> None:
    """Fetch a file, or what is left of it.

    Parameters
    ----------
    place : Place
    target : Path
        Its folder is made if it is missing; what is there is replaced.
    check : callable
        Raises if the whole file, which does not have its name yet, is not what it should be; it
        is removed then.
    watch : Watch

    Raises
    ------
    NoAccess, Absent
        As the server says.
    NoAnswer
        After eight tries in a row without a byte.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target)
    watch.add(part.size)
    failures = 0
    while True:
        before = part.size
        try:
            _append(place, part, watch)
            break
        except _PASSING as error:
            failures = 1 if part.size > before else failures + 1
            wait_or_give_up(error, place.shown, failures, watch)
    try:
        with CHECKING:
            check(part.path)
    except Exception:
        watch.add(-part.remove())
        raise
    part.finish()


def wait_or_give_up(error: Exception, url: str, failures: int, watch: Watch) -> None:
    """Pause before the next try, or raise NoAnswer after the last."""
    if failures >= TRIES:
        raise NoAnswer(
            f"{url} does not answer as it should, {TRIES} times in a row ({_plain(error)}); start "
            "again later: what has come is kept"
        ) from error
    first, longest = PAUSE_SECONDS
    pause = min(longest, first * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
    watch.pause(max(pause, min(getattr(error, "seconds", 0.0), longest)))


def _plain(error: Exception) -> str:
    """Return what an error says; of requests' own its kind, for their texts hold whole URLs."""
    return str(error) if isinstance(error, _Again) else type(error).__name__


def _append(place: Place, part: _Part, watch: Watch) -> None:
    """Ask for what is left, and write it behind what is there."""
    if not part.mark.exists():  # of which version it is nobody knows
        watch.add(-part.remove())
    have = part.size
    if have and have == place.bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if have or place.is_part:
        last = "" if place.bytes is None else place.start + place.bytes - 1
        headers["Range"] = f"bytes={place.start + have}-{last}"
    if have:
        headers["If-Range"] = part.mark.read_text()
    with place.session.get(
        place.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS
    ) as answer:
        if answer.status_code == 416:
            if have and answer.headers.get("Content-Range") == f"bytes */{have}":
                return  # all had come before
            watch.add(-part.remove())
            raise _Again("there are fewer bytes than had come")
        check_answer(answer, place)
        total = _begin(answer, place, part, watch)
        with part.path.open("ab") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                watch.add(len(chunk))
    if total is not None and part.size != total:
        text = f"{part.size} bytes came of {total}"
        if part.size > total:
            watch.add(-part.remove())
        raise _Again(text)


def _begin(answer: requests.Response, place: Place, part: _Part, watch: Watch) -> int | None:
    """Set the part up for an answer; return the bytes that the whole will have, if they are told.

    A server that sends the whole where a part was asked for has another version, or knows no parts.
    """
    if answer.status_code == 206:
        span, _, whole = (
            answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        )
        if span.split("-")[0] != str(place.start + part.size):
            watch.add(-part.remove())
            raise _Again(f"bytes {span or '?'} came that were not asked for")
        total = place.bytes if place.is_part else (int(whole) if whole.isdecimal() else None)
    elif place.is_part and not part.size:
        raise NoRanges(f"{place.shown} gives no parts of a file")
    else:
        watch.add(-part.remove())
        if place.is_part:
            raise _Again("the file has changed meanwhile")
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
    version = answer.headers.get("ETag", "")
    version = answer.headers.get("Last-Modified", "") if version[:2] in ("", "W/") else version
    if version:
        part.mark.write_text(version)
    else:
        part.mark.unlink(missing_ok=True)
    return total


def check_answer(answer: requests.Response, place: Place) -> None:
    """Raise unless an answer is the file that was asked for."""
    status, url = answer.status_code, place.shown
    if status in (401, 403):
        raise NoAccess(f"{url} does not let us in ({status}): {place.advice}")
    if status in (404, 410):
        raise Absent(f"{url} is not there ({status})")
    if status in AGAIN:
        wait = answer.headers.get("Retry-After", "")
        raise _Again(f"status {status}", float(wait) if wait.isdecimal() else 0.0)
    if status >= 400:
        raise RuntimeError(f"{url} was refused ({status} {answer.reason}): look at the address")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise NoAccess(f"{url} answers with a page, not a file: {place.advice}")


def size_of(place: Place, watch: Watch) -> int | None:
    """Return the bytes of a file as its server tells them; None if it does not."""
    with _ask(place, watch, "HEAD") as answer:
        length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def read_part(place: Place, watch: Watch) -> bytes:
    """Return a short part of a file; shorter where the file ends.

    Raises
    ------
    NoRanges
        If the server would send the whole.
    """
    with _ask(place, watch, "GET") as answer:
        if answer.status_code == 206:
            return answer.content
    raise NoRanges(f"{place.shown} gives no parts of a file")


def _ask(place: Place, watch: Watch, method: str) -> requests.Response:
    """Send a short request, again and again if need be; nothing of the body is read yet."""
    headers = {"Accept-Encoding": "identity"}
    if place.bytes is not None:
        headers["Range"] = f"bytes={place.start}-{place.start + place.bytes - 1}"
    for failures in itertools.count(1):
        try:
            answer = place.session.request(
                method, place.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS,
                allow_redirects=True,
            )  # fmt: skip
            check_answer(answer, place)
            return answer
        except _PASSING as error:
            wait_or_give_up(error, place.shown, failures, watch)
    raise AssertionError("the loop ends by an answer or an error")
