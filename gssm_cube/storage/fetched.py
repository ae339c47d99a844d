"""A folder of files kept at a URL, and fetched once a machine by workers that share none."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from gssm_cube.storage import locations, object_stores
from gssm_cube.storage.files import replaced


def fetch_folder(
    url: str, name: str, check: Callable[[Path], object], cache: Path | None = None
) -> Path:
    """Return this machine's copy of a folder, fetched by the first process that asks.

    Parameters
    ----------
    url : str
        Anything that fsspec reads; credentials come from the environment.
    name : str
        Of the copy; must tell contents apart, such as a hash.
    check : callable
        Raises if the folder is not what is wanted; called before the copy takes its place.
    cache : Path, optional
        Where copies lie; by default in the machine's temporary folder.

    Raises
    ------
    FileNotFoundError
        If there is nothing under that URL.
    PermissionError
        If others can write to where copies lie: what is there need not be what was fetched.
    """
    # One folder a user: the machine's temporary folder is everyone's.
    cache = cache or Path(tempfile.gettempdir()) / f"gssm_cube_{os.getuid()}"
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_own(cache)
    target = cache / name
    with _one_at_a_time(cache / f"{name}.lock"):
        if target.exists():
            return target
        with replaced(target) as partial:
            _download(url, partial)
            check(partial)
    return target


def _check_own(folder: Path) -> None:
    """Refuse a folder that another user made, leads to by a link, or may write to."""
    found = folder.lstat()
    kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no folder but a link or file"
    others = stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or others:
        raise PermissionError(
            f"{folder} is {kind} of user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}, "
            f"expected a folder of user {os.getuid()} that no other may write to; remove it, or "
            "set TMPDIR to a folder of your own"
        )


def _download(url: str, target: Path) -> None:
    """Copy all files of a remote folder."""
    if urlsplit(url).scheme in object_stores.SCHEMES and not object_stores.is_web(url):
        _copy(url, target)
        return
    system, root = fsspec.core.url_to_fs(url)
    files = [path for path in system.find(root) if not path.endswith("/")]
    if not files:
        raise FileNotFoundError(f"no files under {url}: put the folder there before the run")
    target.mkdir()
    for path in files:
        system.get_file(path, str(_new_file(target, path.removeprefix(root).lstrip("/"))))


def _copy(url: str, target: Path) -> None:
    """Copy all files of a folder in an object store."""
    names = [found.name for found in locations.files(url)]
    if not names:
        raise FileNotFoundError(f"no files under {url}: put the folder there before the run")
    for name in names:
        content = locations.read(locations.join(url, name))
        if content is None:
            raise FileNotFoundError(f"{url}/{name} was removed meanwhile; start again")
        _new_file(target, name).write_bytes(content)


def _new_file(target: Path, name: str) -> Path:
    """Return the place of a file in a folder, which it does not leave; make the folders to it."""
    place = target / name
    if not name or ".." in Path(name).parts or Path(name).is_absolute():
        raise ValueError(f"a file is named {name!r}, which leads out of the folder that is fetched")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def publish_folder(folder: Path, url: str | None, last: str) -> None:
    """Copy all files of a folder to a URL, if there is one; what says what they are at the end.

    Parameters
    ----------
    folder : Path
    url : str, optional
        In an object store; what is there is replaced.
    last : str
        Name of that file: whoever sees it sees the others that it belongs to.
    """
    names = sorted(found.name for found in locations.files(folder)) if url else []
    for name in sorted(names, key=lambda name: name == last):
        locations.write(locations.join(str(url), name), (folder / name).read_bytes())


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for other processes of this machine; the lock dies with its holder."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
