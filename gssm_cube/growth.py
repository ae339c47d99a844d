"""How a store grows in time without anybody seeing half of it.

The file of a store's root repeats the metadata of all its arrays, and readers go by it. To grow, a
copy of this file with longer arrays is laid beside the store, in ``<store>.next``. Writers open
the store by the copy and fill what is new; readers still go by the root's own file, in which
nothing has changed. When all is there the copy takes its place: one rename, or one PUT.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore, StorePath

FILE = "zarr.json"
Document = dict[str, Any]
Lengths = Mapping[str, Mapping[str, int]]


def consolidate(store: str | Path) -> None:
    """Repeat the metadata of all groups and arrays in the root's file."""
    _replace(Path(store) / FILE, whole_document(Path(store)))


def whole_document(store: Path) -> Document:
    """Return a root's metadata with those of all groups and arrays as they stand in their files."""
    nodes: dict[str, Document] = {}
    places = [store]
    while places:
        # A folder without such a file holds an array's objects: there are far too many to look at.
        inner = [p for p in places.pop().iterdir() if (p / FILE).is_file()]
        nodes |= {str(p.relative_to(store)): _read(p / FILE) for p in inner}
        places += inner
    held = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(nodes.items()))}
    return _read(store / FILE) | {"consolidated_metadata": held}


def set_attrs(store: str | Path, values: Mapping[str, Any], path: str = "") -> None:
    """Set attributes of the root, or of the group or array at ``path``, wherever they are repeated.

    Parameters
    ----------
    store : path
    values : mapping
        What is to change; other attributes stay.
    path : str
        Such as ``static/ti``.
    """
    files = {Path(store) / FILE, next_file(store)}
    files |= {Path(store) / path / FILE} if path else set()
    for file in files:
        if not file.exists():
            continue
        document = _read(file)
        node = document
        if path and file.parent != Path(store) / path:
            node = document.get("consolidated_metadata", {"metadata": {}})["metadata"].get(path, {})
        node["attributes"] = node.get("attributes", {}) | dict(values)
        _replace(file, document)


def next_file(store: str | Path) -> Path:
    """Return the place of the metadata that a growing store will have."""
    return Path(f"{store}.next") / FILE


def is_growing(store: str | Path) -> bool:
    """Tell whether a store is to become longer and has not become so yet."""
    return next_file(store).exists()


def begin_growth(store: str | Path, lengths: Lengths, attrs: Mapping[str, Any]) -> None:
    """Let writers see longer arrays, and readers nothing of it.

    Parameters
    ----------
    store : path
    lengths : mapping
        New length of each dimension that grows, by the group of the arrays (``""`` the root).
    attrs : mapping
        Attributes of the root that change with it.
    """
    root = _read(Path(store) / FILE)
    document = root if "consolidated_metadata" in root else whole_document(Path(store))
    for path, node in document["consolidated_metadata"]["metadata"].items():
        longer = lengths.get(path.rpartition("/")[0], {})
        if node["node_type"] == "array" and longer:
            names = node.get("dimension_names") or []
            sizes = zip(names, node["shape"], strict=False)  # a scalar has no names
            node["shape"] = [longer.get(name, size) for name, size in sizes]
    document["attributes"] = document.get("attributes", {}) | dict(attrs)
    next_file(store).parent.mkdir(exist_ok=True)
    _replace(next_file(store), document)


def open_growing(store: str | Path) -> zarr.Group | None:
    """Open a growing store as long as it is to become, for writing; None if it does not grow."""
    try:
        document = _read(next_file(store))
    except FileNotFoundError:
        return None
    return zarr.Group(zarr.AsyncGroup.from_dict(StorePath(LocalStore(store)), document))


def end_growth(store: str | Path) -> None:
    """Let readers see a store as long as it has become, if it grew."""
    try:
        os.replace(next_file(store), Path(store) / FILE)
    except FileNotFoundError:  # it did not grow, or another part of the run was first
        return
    forget_growth(store)
    mend(store)


def forget_growth(store: str | Path) -> None:
    """Give up a growth that was begun; what was written of it stays out of sight."""
    shutil.rmtree(next_file(store).parent, ignore_errors=True)


def mend(store: str | Path) -> None:
    """Bring each array's own metadata in line with what the root says of it.

    Readers that know nothing of repeated metadata go by these; they follow after the root.
    """
    nodes = _read(Path(store) / FILE).get("consolidated_metadata", {"metadata": {}})["metadata"]
    for path, node in nodes.items():
        own = Path(store) / path / FILE
        told = {name: value for name, value in node.items() if name != "consolidated_metadata"}
        if not own.exists() or _read(own) != told:
            own.parent.mkdir(parents=True, exist_ok=True)
            _replace(own, told)


def _read(file: Path) -> Document:
    """Read a file of metadata."""
    document: Document = json.loads(file.read_text())
    return document


def _replace(file: Path, document: Document) -> None:
    """Write a file of metadata so that a reader sees the old one or the new one."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(document, indent=2))
    os.replace(partial, file)
