"""What a run lacks of a source: told before anybody is asked, and ordered once somebody was."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gssm_cube.fetch.transfer import Check, RemoteFile, download
from gssm_cube.grid import Layout
from gssm_cube.sources.tries import Watch


@dataclass(frozen=True)
class Need:
    """What is lacking, as far as names tell.

    ``request`` is the very URL or call, the first of those that are alike; ``bytes`` an estimate
    that ``basis`` explains, None if only the server can tell.
    """

    files: int
    bytes: float | None
    basis: str
    request: str


@dataclass(frozen=True)
class Order:
    """A thing to fetch: what it is called, its bytes as its provider tells them, and how.

    ``bytes`` is an estimate where the provider does not tell before it has made the file.
    """

    label: str
    bytes: int
    get: Callable[[Watch], None]


def order_of(remote: RemoteFile, target: Path, size: int | None, check: Check) -> Order:
    """Return the order of a file that is downloaded and checked; of an unknown size 0 counts."""
    return Order(target.name, size or 0, partial(download, remote, target, check))


@dataclass(frozen=True)
class Provider:
    """Where a source comes from.

    ``need`` looks at names only; ``check_access`` asks whether the account is let in, or raises
    ``NoAccess``; ``orders`` asks what there is of what is lacking.
    """

    need: Callable[[Layout, Path], Need]
    orders: Callable[[Layout, Path, Watch], Iterator[Order]]
    account: str
    advice: str  # how to get the account, and where to put it
    check_access: Callable[[], None] = lambda: None


NOTHING = Need(0, 0.0, "all is there", "")
