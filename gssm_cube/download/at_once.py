"""Pieces of work in threads, some at a time; all of them end if anything goes wrong."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TypeVar

from gssm_cube.sources.tries import Ended, Watch

Key = TypeVar("Key")


def finished(
    work: Iterable[tuple[Key, Callable[[], None]]],
    at_once: int,
    watch: Watch,
    spared: tuple[type[Exception], ...],
    failed: list[tuple[Key, Exception]],
) -> Generator[Key, None, None]:
    """Yield pieces of work as they are done, in any order.

    No more are begun than run at a time, and none while the reader is busy with one. A reader
    should close this (``contextlib.closing``), so that the threads end when it fails itself.

    Parameters
    ----------
    work : iterable of (key, callable)
        What a piece is called, and what does it.
    at_once : int
    watch : Watch
        Is stopped at the end, by Ctrl-C too: who waits there is not waited for.
    spared : tuple of exceptions
        Errors with which a piece fails and the others go on, unless they are ``Ended``; any other
        ends all and is raised.
    failed : list
        Gets those pieces with their errors.
    """
    flying: dict[Future[None], Key] = {}
    with ThreadPoolExecutor(at_once, "at_once") as pool, ExitStack() as end:
        end.callback(watch.stop)
        for key, call in work:
            flying[pool.submit(call)] = key
            if len(flying) >= at_once:
                yield from _landed(flying, spared, failed)
        while flying:
            yield from _landed(flying, spared, failed)


def _landed(
    flying: dict[Future[None], Key],
    spared: tuple[type[Exception], ...],
    failed: list[tuple[Key, Exception]],
) -> Generator[Key, None, None]:
    """Wait for one at least, and yield those that are done."""
    for future in wait(flying, return_when=FIRST_COMPLETED).done:
        key, error = flying.pop(future), future.exception()
        if error is None:
            yield key
        elif isinstance(error, Ended) or not isinstance(error, spared):
            raise error
        else:
            failed.append((key, error))
