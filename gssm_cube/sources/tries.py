"""Asking others: trying again what may pass, and the ways in which it ends without an answer.

Each route turns the failures of its library into these errors, so that one rule holds for all:
only what is ``Passing`` is tried again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

logger = logging.getLogger(__name__)

TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 64.0  # s
LONGEST_ASKED = 600.0  # s: who asks for a longer pause is asked again after this one
# Timeout, too early, too many requests; of a server's own faults all but a method or a version of
# http that it does not know (RFC 9110, 8470 and 6585).
PASSING_4XX, LASTING_5XX = (408, 425, 429), (501, 505)
Pause = Callable[[float], None]
Answer = TypeVar("Answer")


class Ended(RuntimeError):
    """Nothing else can go on."""


class NoAccess(Ended):
    """A provider does not let this user in."""


class NoAnswer(Ended):
    """Failures that may pass, eight times in a row."""


class Stopped(Ended):
    """The user, or an error elsewhere, ended the work."""


class Refused(ValueError):
    """A request that cannot succeed, however often it is sent."""


class NotThere(Refused):
    """A server has nothing at an address."""


class Passing(RuntimeError):
    """A failure that another try may mend; ``seconds`` as the other side asks to wait, or 0."""

    def __init__(self, text: str, seconds: float = 0.0) -> None:
        super().__init__(text)
        self.seconds = seconds


class Damaged(Passing):
    """What came of a file cannot be read: cut on the way, or it is so and will stay so."""


def persist(
    what: str,
    call: Callable[[], Answer],
    pause: Pause = time.sleep,
    came: Callable[[], int] = lambda: 0,
) -> Answer:
    """Return what a call returns; try again while it raises ``Passing``.

    Pauses double from 1 to 64 s, each cut at random so that many do not come back at once; they
    are longer if the other side asks for it.

    Parameters
    ----------
    what : str
        What is asked, for people.
    call : callable
    pause : callable
        Given seconds.
    came : callable
        Returns how much has come so far; tries count from the last that brought more.

    Raises
    ------
    NoAnswer
        If a failure that may pass did not, in eight tries in a row.
    Refused
        If a file came damaged as often: others may be sound.
    """
    failures = 0
    while True:
        before = came()
        try:
            return call()
        except Passing as error:
            failures = 1 if came() > before else failures + 1
            if failures >= TRIES:
                raise _end_of(what, error) from error
            logger.info("%s: %s, try %d of %d", what, first_line(error), failures, TRIES)
            seconds = error.seconds
        own = random.uniform(0.5, 1) * min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
        pause(max(own, min(seconds, LONGEST_ASKED)))


def _end_of(what: str, error: Passing) -> Exception:
    """Return what to raise after the last try."""
    if isinstance(error, Damaged):
        return Refused(f"{what}: {first_line(error)}, {TRIES} times in a row; tell its provider")
    return NoAnswer(
        f"{what}: no answer in {TRIES} tries in a row, the last failed by {first_line(error)}; "
        "start again later: what has come is kept"
    )


def may_pass(status: int) -> bool:
    """Whether a status of http, 400 or more, may be another one later."""
    return status in PASSING_4XX or (status >= 500 and status not in LASTING_5XX)


def seconds_asked(retry_after: str) -> float:
    """Return the seconds that ``Retry-After`` asks to wait, or that are left to its date, or 0."""
    try:
        return float(Retry().parse_retry_after(retry_after))
    except InvalidHeader:
        return 0.0


@contextmanager
def read_anew(*kinds: type[Exception]) -> Iterator[None]:
    """Let the errors by which a decoder tells that a file is damaged count as passing."""
    try:
        yield
    except (Ended, Passing, Refused):
        raise
    except kinds as error:
        raise Damaged(f"what came cannot be read ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """First line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
