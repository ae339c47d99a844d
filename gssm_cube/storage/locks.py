"""One run per store, or several that do parts of the same work; locks die with their processes.

In an object store the lock is a lease, see ``leases``.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from gssm_cube.storage import leases
from gssm_cube.storage.leases import Check
from gssm_cube.storage.locations import Location, is_url


@contextmanager
def locked(
    store: Location, prepare: Callable[[], object] = lambda: None, *, take_over: bool = False
) -> Iterator[Check]:
    """Hold a store for one run and prepare it; the lock dies with the process, even by kill -9.

    Parameters
    ----------
    store : path or URL
    prepare : callable
        Called once the store is held.
    take_over : bool
        Break the lease of another run on an object store; on disk a lock needs no breaking.

    Yields
    ------
    callable
        Raises once the store is held no longer, which happens in object stores alone.

    Raises
    ------
    RuntimeError
        If another live process holds it.
    """
    if is_url(store):
        with leases.held(store, prepare, take_over=take_over) as check:
            yield check
        return
    with _lock_file(store) as handle:
        if not _try_lock(handle, fcntl.LOCK_EX):
            _refuse(store, handle)
        prepare()
        yield _is_held


@contextmanager
def locked_in_part(
    store: Location, prepare: Callable[[], object], *, wait_seconds: float = 60.0
) -> Iterator[Check]:
    """Hold a store together with others that do other parts of the same work.

    Whoever comes first, and so is alone, calls ``prepare`` before the others may begin. Neither a
    part and a whole run, nor two whole runs, hold a store at once.

    Raises
    ------
    RuntimeError
        If a whole run holds it, or a part takes longer than ``wait_seconds`` to prepare it.
    """
    if is_url(store):
        with leases.held_in_part(store, prepare, wait_seconds=wait_seconds) as check:
            yield check
        return
    with _lock_file(store) as handle:
        end = time.monotonic() + wait_seconds
        while not (alone := _try_lock(handle, fcntl.LOCK_EX)):
            if _try_lock(handle, fcntl.LOCK_SH):
                break
            if time.monotonic() > end:
                _refuse(store, handle)
            time.sleep(0.05)
        if alone:
            prepare()
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield _is_held


def _is_held(*_: object) -> None:
    """Say nothing: a lock on disk is held until it is closed."""


@contextmanager
def _lock_file(store: Location) -> Iterator[TextIO]:
    """Yield the file that a store is locked by; it is unlocked as it is closed."""
    path = Path(f"{store}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        yield handle


def _try_lock(handle: TextIO, kind: int) -> bool:
    """Take a lock if it is free, and let an only holder leave its number in the file."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if kind == fcntl.LOCK_EX:
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
    return True


def _refuse(store: Location, handle: TextIO) -> None:
    """Say who holds a store."""
    handle.seek(0)
    raise RuntimeError(
        f"{store} is being written by process {handle.read() or 'unknown'}; "
        "wait for it or end it, then start again"
    )
