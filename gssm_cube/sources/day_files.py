"""Files of many days, held as packed names: paths are made when a day is asked for.

The LST of the globe over 21 years is 2.5 million tiles, as paths two gigabytes.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

_END = "\0"  # what no name of a file holds


def walk(folder: Path, prefixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder whose names begin so, one at a time, in no order."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path), prefixes)
            elif entry.name.startswith(prefixes):
                yield Path(entry.path)


class Names:
    """Collects files by day while a folder is walked through: a name is some bytes more.

    Parameters
    ----------
    folder : Path
        Above all files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._days: dict[date, bytearray] = {}

    def add(self, day: date, keys: tuple[str, ...], path: Path) -> None:
        """Add a file under its keys, such as tile and layer; as many for each file."""
        fields = (str(path.relative_to(self.folder)), *keys)
        self._days.setdefault(day, bytearray()).extend(_pack(fields) + b"\n")

    def by_day(self) -> Iterator[tuple[date, list[tuple[Path, tuple[str, ...]]]]]:
        """Yield each day once, in order, and its files with their keys, in order of their paths."""
        for day in sorted(self._days):
            records = sorted(self._days.pop(day).split(b"\0\n")[:-1])
            rows = (record.decode("utf-8", "surrogateescape").split(_END) for record in records)
            yield day, [(self.folder / name, tuple(keys)) for name, *keys in rows]


def _pack(fields: Iterable[str]) -> bytes:
    """Bytes of a name and its keys; the name first, for it alone may begin with a line end."""
    return "".join(field + _END for field in fields).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, eq=False)
class DayFiles(Mapping[date, dict[str, Any]]):
    """Files by day; a day is a dict by tile (or layer), of paths or of dicts of paths.

    Each look at a day makes its dicts anew: changes to them are lost.

    Parameters
    ----------
    folder : Path
        Above all files.
    packed : mapping
        Compressed names and keys of each day's files, from ``pack_day``.
    parts : mapping
        The first keys of each day, such as its tiles; days that have the same share a set.
    """

    folder: Path
    packed: Mapping[date, bytes]
    parts: Mapping[date, frozenset[str]]

    @classmethod
    def of(cls, folder: Path, days: Iterable[tuple[date, Mapping[str, Any]]]) -> "DayFiles":
        """Pack days one after another; those without a file are left out."""
        packed, parts = {}, {}
        known: dict[frozenset[str], frozenset[str]] = {}
        for day, files in days:
            if files:
                packed[day] = pack_day(folder, files)
                held = frozenset(files)
                parts[day] = known.setdefault(held, held)
        return cls(folder, packed, parts)

    def __getitem__(self, day: date) -> dict[str, Any]:
        """Return the files of a day."""
        text = zlib.decompress(self.packed[day]).decode("utf-8", "surrogateescape")
        found: dict[str, Any] = {}
        for record in text.split(f"{_END}\n")[:-1]:
            name, *keys, last = record.split(_END)
            inner = found
            for key in keys:
                inner = inner.setdefault(key, {})
            inner[last] = self.folder / name
        return found

    def __iter__(self) -> Iterator[date]:
        return iter(self.packed)

    def __len__(self) -> int:
        return len(self.packed)

    def at(self, days: Mapping[date, date]) -> "DayFiles":
        """Return the files of some days under other days, or their own, in the order given."""
        own = {day: held for day, held in days.items() if held in self.packed}
        packed = {day: self.packed[held] for day, held in own.items()}
        return DayFiles(self.folder, packed, {day: self.parts[held] for day, held in own.items()})

    def only(self, days: Iterable[date]) -> "DayFiles":
        """Return the files of those days that are there, in the order given."""
        return self.at({day: day for day in days})

    def only_parts(self, wanted: Set[str]) -> "DayFiles":
        """Return the files under some first keys; days left with none are dropped."""
        if all(held <= wanted for held in set(self.parts.values())):
            return self
        days = ((day, self[day]) for day in self)
        kept = ((day, {key: files[key] for key in files if key in wanted}) for day, files in days)
        return DayFiles.of(self.folder, kept)


def pack_day(folder: Path, files: Mapping[str, Any]) -> bytes:
    """Return the names of a day's files below a folder, with their keys, compressed."""
    fields = (_pack((str(path.relative_to(folder)), *keys)) for keys, path in _flat(files, ()))
    return zlib.compress(b"".join(field + b"\n" for field in fields), 1)


def _flat(
    files: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Yield the paths of nested dicts with their keys."""
    for key, inner in files.items():
        if isinstance(inner, Path):
            yield (*keys, key), inner
        else:
            yield from _flat(inner, (*keys, key))
