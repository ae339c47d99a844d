"""How a store grows in time without anybody seeing half of it.

The file of a store's root repeats the metadata of all its arrays, and readers go by it. To grow, a
copy of this file with longer arrays is laid beside the store, in ``<store>.next``. Writers open
the store by the copy and fill what is new; readers still go by the root's own file, in which
nothing has changed. When all is there the copy takes its place: one rename, or one PUT.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, StorePath

from gssm_cube.storage import locations
from gssm_cube.storage.locations import Location
from gssm_cube.storage.remote_zarr import RemoteStore

ROOT = "zarr.json"
Document = dict[str, Any]
Lengths = Mapping[str, Mapping[str, int]]


def consolidate(store: Location) -> None:
    """Repeat the metadata of all groups and arrays in the root's file."""
    _replace(_file(store), whole_document(store))


def whole_document(store: Location) -> Document:
    """Return a root's metadata with those of all groups and arrays as they stand in their files."""
    return repeating(_read(_file(store)), _nodes(store))


def repeating(root: Document, nodes: Mapping[str, Document]) -> Document:
    """Return a root's metadata with those of its groups and arrays, given by their paths."""
    held = {"kind": "inline", "must_understand": False, "metadata": dict(nodes)}
    return root | {"consolidated_metadata": held}


def _nodes(store: Location) -> dict[str, Document]:
    """Return the metadata of all groups and arrays of a store by their paths, in order.

    Folders of arrays hold their objects: there are far too many to look at.
    """
    found: dict[str, Document] = {}
    waiting = [""]
    while waiting:
        group = waiting.pop()
        for name in locations.folders(locations.join(store, group) if group else store):
            path = f"{group}/{name}" if group else name
            content = locations.read(_file(store, path))
            if content is None:
                continue
            found[path] = json.loads(content)
            waiting += [path] if found[path]["node_type"] == "group" else []
    return dict(sorted(found.items()))


def set_attrs(store: Location, values: Mapping[str, Any], path: str = "") -> None:
    """Set attributes of the root, or of the group or array at ``path``, wherever they are repeated.

    Parameters
    ----------
    store : path
    values : mapping
        What is to change; other attributes stay.
    path : str
        Such as ``static/ti``.
    """
    whole, own = [_file(store), next_file(store)], _file(store, path)
    for file in dict.fromkeys([*whole, own]):
        content = locations.read(file)
        if content is None:
            continue
        document = json.loads(content)
        node = document
        if path and file in whole:
            node = document.get("consolidated_metadata", {"metadata": {}})["metadata"].get(path, {})
        node["attributes"] = node.get("attributes", {}) | dict(values)
        _replace(file, document)


def next_file(store: Location) -> Location:
    """Return the place of the metadata that a growing store will have."""
    return locations.join(locations.beside(store, ".next"), ROOT)


def is_growing(store: Location) -> bool:
    """Tell whether a store is to become longer and has not become so yet."""
    return locations.size(next_file(store)) is not None


def begin_growth(store: Location, lengths: Lengths, attrs: Mapping[str, Any]) -> None:
    """Let writers see longer arrays, and readers nothing of it.

    Parameters
    ----------
    store : path
    lengths : mapping
        New length of each dimension that grows, by the group of the arrays (``""`` the root).
    attrs : mapping
        Attributes of the root that change with it.
    """
    root = _read(_file(store))
    document = root if "consolidated_metadata" in root else whole_document(store)
    for path, node in document["consolidated_metadata"]["metadata"].items():
        longer = lengths.get(path.rpartition("/")[0], {})
        if node["node_type"] == "array" and longer:
            names = node.get("dimension_names") or []
            sizes = zip(names, node["shape"], strict=False)  # a scalar has no names
            node["shape"] = [longer.get(name, size) for name, size in sizes]
    document["attributes"] = document.get("attributes", {}) | dict(attrs)
    _replace(next_file(store), document)


def open_growing(store: Location) -> zarr.Group | None:
    """Open a growing store as long as it is to become, for writing; None if it does not grow."""
    content = locations.read(next_file(store))
    if content is None:
        return None
    held = RemoteStore(str(store)) if locations.is_url(store) else LocalStore(store)
    return zarr.Group(zarr.AsyncGroup.from_dict(StorePath(held), json.loads(content)))


def end_growth(store: Location) -> None:
    """Let readers see a store as long as it has become, if it grew."""
    longer = locations.read(next_file(store))
    if longer is None:  # it did not grow, or another part of the run was first
        return
    locations.write(_file(store), longer)
    forget_growth(store)
    mend(store)


def forget_growth(store: Location) -> None:
    """Give up a growth that was begun; what was written of it stays out of sight."""
    locations.delete(next_file(store))
    if not locations.is_url(store):
        with suppress(OSError):  # there is none
            Path(next_file(store)).parent.rmdir()


def mend(store: Location) -> None:
    """Bring each array's own metadata in line with what the root says of it.

    Readers that know nothing of repeated metadata go by these; they follow after the root.
    """
    nodes = _read(_file(store)).get("consolidated_metadata", {"metadata": {}})["metadata"]
    for path, node in nodes.items():
        told = {name: value for name, value in node.items() if name != "consolidated_metadata"}
        content = locations.read(_file(store, path))
        if content is None or json.loads(content) != told:
            _replace(_file(store, path), told)


def _file(store: Location, path: str = "") -> Location:
    """Return the place of the metadata of a root, or of a group or array."""
    return locations.join(store, path, ROOT) if path else locations.join(store, ROOT)


def _read(file: Location) -> Document:
    """Read a file of metadata.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    content = locations.read(file)
    if content is None:
        raise FileNotFoundError(f"no metadata at {file}")
    document: Document = json.loads(content)
    return document


def _replace(file: Location, document: Document) -> None:
    """Write a file of metadata so that a reader sees the old one or the new one."""
    locations.write(file, json.dumps(document, indent=2).encode())
