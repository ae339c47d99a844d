"""One request to a web server, and what its answer means.

By ``requests``, for the libraries of the providers hand out its sessions with the user's account in
them. Its own way of trying again (urllib3's ``Retry``) ends where the body begins, and sleeps where
nobody can wake it: so that is left to ``tries``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from gssm_cube.sources.tries import NoAccess, NotThere, Passing, Refused, may_pass, seconds_asked

TIMEOUT_SECONDS = (10, 300)  # to connect, and between bytes
# Connections that break may hold another time; what has no valid address never will.
LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
Span = tuple[int, int]  # first byte, and the one after the last


@dataclass(frozen=True)
class Part:
    """Bytes of a file, from one on, and the size of the whole."""

    content: bytes
    start: int
    total: int

    @property
    def span(self) -> Span:
        """Where they lie."""
        return self.start, self.start + len(self.content)


def range_of(start: int, stop: int | None = None) -> dict[str, str]:
    """Return the header that asks for the bytes from one on, to another or to the end."""
    return {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}


@contextmanager
def answered(
    session: requests.Session,
    address: str,
    headers: Mapping[str, str],
    *,
    shown: str,
    method: str = "GET",
    auth: Any = None,
) -> Iterator[requests.Response]:
    """Send a request, and give the answer; its status is not looked at and its body not read.

    Parameters
    ----------
    session : requests.Session
    address : str
    headers : mapping
    shown : str
        The address as people may see it: without a signature.
    method : str
    auth : tuple, optional
        Name and password; else those of the session or of the user's ``.netrc``.

    Raises
    ------
    Passing, Refused
        If the connection fails, also while the body is read; of the library's errors only the
        kind is told, for their texts hold whole addresses.
    """
    try:
        with session.request(
            method, address, headers={"Accept-Encoding": "identity", **headers}, auth=auth,
            stream=True, timeout=TIMEOUT_SECONDS, allow_redirects=True,
        ) as answer:  # fmt: skip
            yield answer
    except requests.RequestException as error:
        kind = type(error).__name__
        if isinstance(error, LOST) and "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise Passing(kind) from None
        raise Refused(
            f"{shown} cannot be asked ({kind}): look at the address, proxies and certificates"
        ) from None


def check_status(answer: requests.Response, shown: str, advice: str) -> None:
    """Raise unless a request succeeded; ``advice`` is what to do if the server lets nobody in."""
    status = answer.status_code
    if status in (200, 206):
        return
    if status in (401, 403):
        raise NoAccess(f"{shown}: access is denied ({status}): {advice}")
    if status in (404, 410):
        raise NotThere(f"{shown} is not there ({status}); mend the address")
    if may_pass(status):
        asked = answer.headers.get("Retry-After", "")
        raise Passing(f"status {status}", seconds_asked(asked))
    raise Refused(
        f"{shown}: the server refuses the request ({status} {answer.reason}); look at the address"
    )


def length_of(answer: requests.Response) -> int | None:
    """Return the bytes of an answer as its server tells them; None if it does not."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """Return the first byte of a part and the size of the whole; None where they are not told."""
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    place, _, total = rest.partition("/")
    texts = (place.partition("-")[0], total) if unit == "bytes" else ("", "")
    start, size = (int(text) if text.isdecimal() else None for text in texts)
    return start, size


def part_of(answer: requests.Response, span: Span) -> Part:
    """Read a part of a file; raise Passing if it is cut, or another one than was asked."""
    start, total = content_range(answer)
    if start != span[0] or total is None:
        raise Passing(f"bytes {start} of {total} came where {span[0]}-{span[1] - 1} were asked")
    content = answer.content
    if len(content) != min(span[1], total) - start:
        raise Passing(f"{len(content)} bytes came of {span[0]}-{span[1] - 1}")
    return Part(content, start, total)
