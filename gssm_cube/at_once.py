"""Pieces of work in threads, some at a time; all of them end if anything goes wrong."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from gssm_cube.sources.tries import Watch

Key = TypeVar("Key")


def finished(
    work: Iterable[tuple[Key, Callable[[], None]]], at_once: int, watch: Watch
) -> Generator[tuple[Key, Future[None]], None, None]:
    """Yield pieces of work as they end, in any order.

    No more are begun than run at a time, and none while the reader is busy with one. A reader
    should close this (``contextlib.closing``), so that the threads end when it fails itself.

    Parameters
    ----------
    work : iterable of (key, callable)
        What a piece is called, and what does it.
    at_once : int
    watch : Watch
        Is stopped if anything goes wrong here, Ctrl-C included: who waits there, waits no longer.

    Yields
    ------
    key, Future
        The future is done; its error is not raised yet.
    """
    flying: dict[Future[None], Key] = {}
    with ThreadPoolExecutor(at_once, "at_once") as pool, watch.stopped_by_errors():
        for key, call in work:
            flying[pool.submit(call)] = key
            if len(flying) >= at_once:
                yield from _landed(flying)
        while flying:
            yield from _landed(flying)


def _landed(flying: dict[Future[None], Key]) -> Generator[tuple[Key, Future[None]], None, None]:
    """Wait for one at least, and yield those that have ended."""
    done, _ = wait(flying, return_when=FIRST_COMPLETED)
    for future in done:
        yield flying.pop(future), future
