"""Asking others: trying again what may pass, and the ways in which it ends without an answer."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)

TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 64.0  # s
Pause = Callable[[float], None]
Answer = TypeVar("Answer")


class NoAccess(RuntimeError):
    """A provider does not let this user in; nothing else can go on."""


class NoAnswer(RuntimeError):
    """Failures that may pass, eight times in a row."""


class Refused(ValueError):
    """A request that cannot succeed, however often it is sent."""


def persist(
    what: str,
    call: Callable[[], Answer],
    passing: tuple[type[Exception], ...],
    raise_lasting: Callable[[str, Exception], None],
    pause: Pause = time.sleep,
) -> Answer:
    """Return what a call returns; try again after failures that may pass.

    Pauses double from 1 to 64 s, each cut at random so that many do not come back at once.

    Parameters
    ----------
    what : str
        What is asked, for people.
    call : callable
    passing : tuple of exceptions
        Failures that may pass; others are raised as they come.
    raise_lasting : callable
        Given ``what`` and a failure, raises if that one cannot pass after all.
    pause : callable
        Given seconds.

    Raises
    ------
    NoAnswer
        If a failure that may pass did not, in eight tries.
    """
    for number in range(TRIES):
        try:
            return call()
        except passing as error:
            raise_lasting(what, error)
            logger.info("%s: %s, try %d of %d", what, first_line(error), number + 1, TRIES)
            last = error
        if number + 1 < TRIES:
            pause(random.uniform(0.5, 1) * min(FIRST_PAUSE * 2**number, LONGEST_PAUSE))
    raise NoAnswer(
        f"{what}: no answer in {TRIES} tries, the last failed by {first_line(last)}; what is "
        "done is kept: run it again later"
    ) from last


def first_line(error: Exception) -> str:
    """First line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
