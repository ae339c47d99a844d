"""One run per store in an object store, or several that do parts of the same work: leases.

A lease is an object beside the store that its holder writes anew every ten seconds. One that has
not changed for a minute, or whose process is known to be dead, is taken over; so a run after a
kill -9 starts after a minute at most, and at once on the same machine. Clocks are not compared:
who waits counts by its own. Leases have numbers: of several who take the next one at a time the
store lets one succeed, and a holder who was taken for dead finds the next number there. A holder
that could not write its lease for a minute, because it slept or the store was busy, looks for that
number before it goes on.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gssm_cube.storage import locations
from gssm_cube.storage.locations import Location

BEAT_SECONDS, LEASE_SECONDS = 10.0, 60.0
# A clock that goes on while the machine sleeps, where there is one.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
Check = Callable[..., None]


def now() -> float:
    """Return seconds of this machine's clock, asleep or not."""
    return time.clock_gettime(CLOCK)


@cache
def machine() -> str:
    """Return what tells where a process number means this very process.

    Names of hosts do not: clones and containers share them.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


@dataclass
class Lease:
    """What a process holds; ``check`` raises once another one has taken it over."""

    location: str
    beats: int = 0
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    lost: str = ""  # why
    known: float = field(default_factory=now)  # when it was this holder's for the last time
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def content(self) -> bytes:
        """What stands in the object."""
        about = {"host": socket.gethostname(), "machine": machine(), "process": os.getpid()}
        about |= {"token": self.token, "beats": self.beats, "released": self.ended.is_set()}
        return json.dumps(about).encode()

    def check(self, *_: object) -> None:
        """Raise if the lease was taken over, or could not be written for too long."""
        if not self.lost and now() - self.known > LEASE_SECONDS:
            self.look()
        if self.lost:
            raise RuntimeError(f"{self.lost}; what has a marker stays done, start again")

    def look(self) -> None:
        """See whether the lease is still this holder's."""
        began = now()
        if read_holder(self.location).get("token") != self.token or _next(self.location):
            self.lost = f"{self.location} was taken over by another run"
        else:
            self.known = began

    def beat(self) -> None:
        """Write the object anew, again and again, as long as it is this holder's."""
        written = now()
        while not (self.ended.wait(BEAT_SECONDS) or self.lost):
            try:
                self.look()
                if not self.lost:
                    self.beats += 1
                    locations.write(self.location, self.content)
                    written = now()
            except Exception as error:  # whatever it is: a heart that stops must be known of
                if now() - written > LEASE_SECONDS:
                    self.lost = f"{self.location} could not be written for {LEASE_SECONDS:.0f} s"
                    self.lost += f": {error}"


def read_holder(location: Location) -> dict[str, object]:
    """Return what a lease's object says; nothing if it is not there."""
    content = locations.read(location)
    return {} if content is None else dict(json.loads(content))


def _folder(store: Location) -> str:
    """Return the folder of a store's leases."""
    return str(locations.beside(store, ".lease"))


def _next(location: str) -> bool:
    """Whether there is a lease of a higher number beside one; parts have none."""
    folder, _, name = location.rpartition("/")
    number = name.removesuffix(".json")
    return number.isdecimal() and any(other > number for other in _numbers(folder))


def _numbers(folder: str) -> list[str]:
    """Return the numbers of the leases of a whole store, in order."""
    return [name for name in locations.names(folder) if name.isdecimal()]


@contextmanager
def held(
    store: Location, prepare: Callable[[], object], *, take_over: bool = False
) -> Iterator[Check]:
    """Hold a store for one run and prepare it; yield what raises once the lease is lost.

    Raises
    ------
    RuntimeError
        If another live process holds it, or holds a part of it.
    """
    with _held(_take(store, 0.0, take_over)) as lease:
        for name in _parts(store):
            _end_dead(store, name, take_over)
        prepare()
        yield lease.check


@contextmanager
def held_in_part(
    store: Location, prepare: Callable[[], object], *, wait_seconds: float
) -> Iterator[Check]:
    """Hold a store together with others that do other parts; the first alone prepares it.

    Raises
    ------
    RuntimeError
        If a whole run holds it, or a part takes longer than ``wait_seconds`` to prepare it.
    """
    with _held(_take(store, wait_seconds, False)):
        others = [name for name in _parts(store) if _is_live(store, name)]
        if not others:
            prepare()
        part = Lease(f"{_folder(store)}/part-{uuid.uuid4().hex}.json")
        locations.write(part.location, part.content)
    with _held(part):
        yield part.check


@contextmanager
def _held(lease: Lease) -> Iterator[Lease]:
    """Write a lease anew while it is held, and release it."""
    thread = threading.Thread(target=lease.beat, name="gssm-lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.ended.set()
        thread.join()
        with suppress(OSError):  # it ends by itself; what went wrong before is what matters
            _release(lease)


def _release(lease: Lease) -> None:
    """Let others take a lease at once, unless they have."""
    if lease.lost:
        return
    if "/part-" in lease.location:
        locations.delete(lease.location)
    else:
        locations.write(lease.location, lease.content)


def _take(store: Location, wait_seconds: float, take_over: bool) -> Lease:
    """Take the next lease of a whole store, when the last one is free."""
    folder, end = _folder(store), time.monotonic() + wait_seconds
    while True:
        numbers = _numbers(folder)
        last = max(numbers, default="")
        if last and not take_over and _is_live(store, last):
            if time.monotonic() < end:
                continue
            _refuse(store, f"{folder}/{last}.json")
        lease = Lease(f"{folder}/{int(last or 0) + 1:08d}.json")
        if locations.create(lease.location, lease.content):
            for name in numbers:
                locations.delete(f"{folder}/{name}.json")
            return lease


def _parts(store: Location) -> list[str]:
    """Return the names of the leases of parts."""
    return [name for name in locations.names(_folder(store)) if name.startswith("part-")]


def _end_dead(store: Location, name: str, take_over: bool) -> None:
    """Remove the lease of a part whose process is gone; refuse while it lives."""
    location = f"{_folder(store)}/{name}.json"
    if not take_over and _is_live(store, name):
        _refuse(store, location)
    locations.delete(location)


def _is_live(store: Location, name: str) -> bool:
    """Whether a lease's holder is at work: wait for its next beat where that cannot be known."""
    location = f"{_folder(store)}/{name}.json"
    first = read_holder(location)
    if not first or first["released"] or _is_dead(first):
        return False
    end = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < end:
        time.sleep(BEAT_SECONDS / 10)
        now = read_holder(location)
        if now != first:
            return bool(now) and not now["released"]
    return False


def _is_dead(holder: dict[str, object]) -> bool:
    """Whether a holder was a process of this machine that is gone."""
    if not machine() or holder.get("machine") != machine():
        return False
    try:
        os.kill(int(str(holder["process"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return False


def _refuse(store: Location, location: str) -> None:
    """Say who holds a store."""
    holder = read_holder(location)
    raise RuntimeError(
        f"{store} is being written by process {holder.get('process', 'unknown')} on "
        f"{holder.get('host', 'another machine')}; wait for it or end it, then start again "
        "(`gssm predict --take-over` breaks the lease of another prediction)"
    )
