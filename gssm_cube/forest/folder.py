"""The folder of a saved forest: plain arrays, and a record that says what they are."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.storage.files import replaced

FORMAT = "gssm_cube forest"
VERSION = 4
CARD_FILE = "forest.json"
_KEYS = {"features", "parts", "preset", "digest", "arrays", "card"}


def write_folder(
    folder: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> None:
    """Write one .npy file an array and the record, which comes last.

    Files are replaced, never changed in place, so whoever has an older forest of this folder
    mapped keeps it whole.
    """
    described = {
        name: {"size": int(array.size), "sha256": sha256(array)} for name, array in arrays.items()
    }
    whole = {"format": FORMAT, "version": VERSION, **record, "arrays": described}
    text = json.dumps(whole, indent=1)
    for name, array in arrays.items():
        with replaced(folder / f"{name}.npy") as partial, partial.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    with replaced(folder / CARD_FILE) as partial:
        partial.write_text(text, encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """Read forest.json.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is not the whole record of a forest of this version.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no forest in {folder}: it has no {CARD_FILE}; train one first")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); save the forest again") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} is not the record of a {FORMAT}; choose another folder")
    if record.get("version") != VERSION:
        raise ValueError(
            f"{path} has format version {record.get('version')}, this package reads {VERSION}; "
            "update the package or save the forest again"
        )
    absent = _KEYS - set(record)
    if absent:
        raise ValueError(f"{path} lacks {sorted(absent)}; save the forest again")
    return record


def map_array(folder: Path, name: str, dtype: str, record: Mapping[str, Any]) -> NDArray[Any]:
    """Map one array of the folder.

    Raises
    ------
    ValueError
        If its file is missing, truncated or not what the record says.
    """
    path = folder / f"{name}.npy"
    if name not in record["arrays"]:
        raise ValueError(f"{folder / CARD_FILE} lacks {[name]}; save the forest again")
    size = record["arrays"][name]["size"]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); it is missing, truncated or foreign: "
            "save the forest again"
        ) from error
    if array.dtype.str != dtype or array.shape != (size,):
        raise ValueError(
            f"{path} holds {array.dtype.str} of shape {array.shape}, expected {dtype} of "
            f"shape ({size},); save the forest again"
        )
    return array


def check_hashes(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise unless every array is the one that was saved; reads all of them."""
    for name, said in record["arrays"].items():
        path = folder / f"{name}.npy"
        if sha256(np.load(path, mmap_mode="r", allow_pickle=False)) != said["sha256"]:
            raise ValueError(f"{path} is not the file that was saved (other hash); save it again")


def sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's bytes, without a copy of them."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
