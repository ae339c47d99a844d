"""Markers: small files beside a store that say which units of work are done, and under which key.

A key is a hash of everything that a unit's result depends on. Nothing but a marker is proof: an
ocean block writes no object, and an object may stem from an earlier run.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gssm_cube.storage import locations
from gssm_cube.storage.files import PARTIAL
from gssm_cube.storage.growth import is_growing
from gssm_cube.storage.locations import Location

Contents = tuple[str, str, str | None]
ReadContents = Callable[[Location, str, str], Contents | None]


def digest(*parts: Any) -> str:
    """Return a short stable hash of JSON-like parts; the order of keys does not matter."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def checksum(array: np.ndarray) -> str:
    """Return a hash of an array's values and shape."""
    payload = np.ascontiguousarray(array)
    found = hashlib.sha256(str(payload.shape).encode())
    found.update(payload.reshape(-1).view("uint8").data)  # no copy: a block is large
    return found.hexdigest()[:24]


def all_markers(store: Location) -> Location:
    """Return the folder of a store's markers: beside the store, for Zarr warns of strangers."""
    return locations.beside(store, ".markers")


def marker_folder(store: Location, stage: str) -> Location:
    """Return the folder of a stage's markers."""
    return locations.join(all_markers(store), stage)


def marked_units(store: Location, stage: str) -> list[str]:
    """Return the units of a stage that have a marker, sorted."""
    return locations.names(marker_folder(store, stage))


def all_marked(store: Location) -> dict[str, list[str]]:
    """Return the units that have a marker by stage, both in order."""
    names = sorted(found.name for found in locations.files(all_markers(store)))
    units: dict[str, list[str]] = {}
    for stage, _, name in (name.partition("/") for name in names if name.endswith(".json")):
        units.setdefault(stage, []).append(name.removesuffix(".json"))
    return units


def _marker(store: Location, stage: str, unit: str) -> Location:
    """Return the place of a unit's marker."""
    return locations.join(all_markers(store), stage, f"{unit}.json")


def read_marker(store: Location, stage: str, unit: str) -> dict[str, Any] | None:
    """Return what a unit's marker says, or None where there is none that can be read."""
    try:
        return json.loads(locations.read(_marker(store, stage, unit)) or b"")
    except json.JSONDecodeError:  # not there, or empty after a power cut
        return None


def read_markers(store: Location, stage: str) -> list[dict[str, Any]]:
    """Return all markers of a stage that can be read, in the order of their units."""
    units = marked_units(store, stage)
    found = locations.each(store, lambda unit: read_marker(store, stage, unit), units)
    return [marker for marker in found if marker is not None]


def write_marker(
    store: Location, stage: str, unit: str, key: str, objects: Iterable[str] = (), **facts: Any
) -> int:
    """Say that a unit is done; ``objects`` are paths inside the store; return their bytes."""
    sizes = sizes_of(store, objects)
    record = {"unit": unit, "key": key, "objects": sizes, **facts}
    locations.write(_marker(store, stage, unit), json.dumps(record, indent=1).encode())
    return sum(sizes.values())


def sizes_of(store: Location, objects: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of those objects that are there: sea writes none."""
    names = list(objects)
    sizes = locations.each(store, lambda name: locations.size(locations.join(store, name)), names)
    return {name: size for name, size in zip(names, sizes, strict=True) if size is not None}


def remove_marker(store: Location, stage: str, unit: str) -> None:
    """Let a unit count as not done."""
    locations.delete(_marker(store, stage, unit))


def write_atomically(path: Location, text: str) -> None:
    """Write a small text file so that a reader sees all of it or nothing."""
    locations.write(path, text.encode())


def is_done(store: Location, stage: str, unit: str, key: str) -> bool:
    """Whether a unit was done under this very key and its objects are all still there."""
    marker = read_marker(store, stage, unit)
    if marker is None or marker["key"] != key:
        return False
    return all(
        locations.size(locations.join(store, name)) == size
        for name, size in marker["objects"].items()
    )


def not_done(store: Location, stage: str, keys: Mapping[str, str]) -> list[str]:
    """Return the units that are not done under their keys, in the order of these."""
    done = locations.each(store, lambda unit: is_done(store, stage, unit, keys[unit]), keys)
    return [unit for unit, is_so in zip(keys, done, strict=True) if not is_so]


def marker_contents(store: Location, stage: str, unit: str) -> Contents | None:
    """Return what a unit's marker records of its contents: unit, key and checksum."""
    marker = read_marker(store, stage, unit)
    return (marker["unit"], marker["key"], marker.get("checksum")) if marker else None


def stage_digest(
    store: Location, stage: str, units: Iterable[str], read: ReadContents | None = None
) -> str:
    """Return a hash over the contents that units' markers record, for what depends on them.

    ``read`` may remember what it has read, while nothing is written.
    """
    ordered = sorted(units)
    read = read or read_together(store, {stage: ordered})
    return digest([read(store, stage, unit) for unit in ordered])


def read_together(store: Location, units: Mapping[str, Sequence[str]]) -> ReadContents:
    """Read the markers of some units of some stages at once; return what tells their contents."""
    wanted = [(stage, unit) for stage, names in units.items() for unit in names]
    contents = locations.each(store, lambda part: marker_contents(store, *part), wanted)
    found = dict(zip(wanted, contents, strict=True))
    return lambda _, stage, unit: found[stage, unit]


def remove_partial_files(store: Location) -> int:
    """Delete what a killed writer left behind, and damaged objects; only under the lock.

    Object stores have neither: what was not sent whole is not there.
    """
    if locations.is_url(store):
        return 0
    markers = Path(all_markers(store))
    leftovers: list[Location] = []
    for folder in (Path(store), markers):
        leftovers += folder.rglob(f"*{PARTIAL}")
    marked = ((path.parent.name, path.stem) for path in markers.glob("*/*.json"))
    leftovers += _damaged_objects(store, marked)
    for path in leftovers:
        locations.delete(path)
    return len(leftovers)


def let_redo(store: Location, stage: str, units: Iterable[str]) -> None:
    """Take away the markers of units whose objects readers of a growing store still go by.

    An object that is written again no longer has the size of its old marker: if the writer is
    killed before it has written the new one, the object must not count as damaged.
    """
    for unit in units if is_growing(store) else ():
        remove_marker(store, stage, unit)


def remove_damaged(store: Location, stage: str, units: Iterable[str]) -> None:
    """Delete objects of some units that differ from their markers; their one writer may.

    Of a growing store then also the markers, see ``let_redo``.
    """
    units = list(units)
    for path in _damaged_objects(store, ((stage, unit) for unit in units)):
        locations.delete(path)
    let_redo(store, stage, units)


def _damaged_objects(store: Location, units: Iterable[tuple[str, str]]) -> list[Location]:
    """Return objects that differ from their markers: zarr reads a shard before it writes it."""

    def damaged(unit: tuple[str, str]) -> list[Location]:
        marker = read_marker(store, *unit) or {"objects": {}}
        known = {locations.join(store, name): size for name, size in marker["objects"].items()}
        return [place for place, size in known.items() if locations.size(place) not in (None, size)]

    return [place for found in locations.each(store, damaged, units) for place in found]


def store_digest(store: Location) -> str:
    """Return a hash over all contents of a store, as its markers state them."""
    units = all_marked(store)
    read = read_together(store, units)
    return digest([stage_digest(store, stage, units[stage], read) for stage in units])
