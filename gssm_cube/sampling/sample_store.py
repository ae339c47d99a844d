"""The samples as a folder of Parquet files, one a block, and what makes it whole.

``window=00/r058c185.parquet`` holds the samples of a block; any reader of partitioned Parquet takes
the folder as it is. ``_manifest.json`` names the files and is written last: without it the folder
is not whole. Markers, lock and scratch lie beside it.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from gssm_cube import blocks
from gssm_cube.storage.files import replaced
from gssm_cube.variables import PREDICTORS

FORMAT = "gssm_cube samples 1"
STAGE = "samples"
MANIFEST = "_manifest.json"  # readers of Parquet folders skip names that begin so
ORDER = ("station", "time")
PART_ROWS = 200_000  # of some stations that are read together: 30 MB of 40 columns
AT_ONCE = 6  # columns that are read together: fewer hold less, more open files less often


def file_of(unit: str) -> str:
    """Return the place of a block's samples in the folder."""
    tile, window = unit.split("_w")
    return f"window={window}/{tile}.parquet"


def scratch_of(folder: Path) -> Path:
    """Return the place of a folder's scratch."""
    return Path(f"{folder}.scratch")


def remove_scratch(folder: Path) -> None:
    """Delete the scratch: its markers first, for they must never outlive the values."""
    scratch = scratch_of(folder)
    shutil.rmtree(f"{scratch}.markers", ignore_errors=True)
    shutil.rmtree(scratch, ignore_errors=True)


# ---- what a block is asked for ----------------------------------------------------------------


def write_rows(scratch: Path, part: str, rows: pa.Table) -> None:
    """Write down station days of one part of the table, by block, station and time."""
    folder = _rows_of(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    # Read once, and by no one before all are written: not worth a compressor or another name.
    with pa.OSFile(f"{folder}/{part}.arrow", "wb") as file:
        with pa.ipc.new_file(file, rows.schema) as stream:
            stream.write_table(rows)


def write_row_index(scratch: Path, index: pd.DataFrame) -> None:
    """Write down where rows stand: ``part``, ``start``, ``rows`` of a ``unit``, and its ``key``."""
    write_rows(scratch, "index", pa.Table.from_pandas(index, preserve_index=False))


def read_rows(scratch: Path, unit: str) -> tuple[pa.Table, str]:
    """Read the station days of a block, by station and time, and the key of its samples."""
    index = _mapped_rows(scratch, "index")
    found = index.filter(pa.compute.equal(index["unit"], unit)).to_pylist()
    tables = [_mapped_rows(scratch, at["part"]).slice(at["start"], at["rows"]) for at in found]
    if len(tables) == 1:
        return tables[0], found[0]["key"]  # a part is written in this order
    rows = pa.concat_tables(tables).sort_by([(name, "ascending") for name in ORDER])
    return rows, found[0]["key"]


def _mapped_rows(scratch: Path, part: str) -> pa.Table:
    """Return a part without reading more of it than will be looked at."""
    with pa.memory_map(f"{_rows_of(scratch)}/{part}.arrow") as file:
        return pa.ipc.open_file(file).read_all()


def remove_rows(scratch: Path) -> None:
    """Delete what an earlier run wrote down."""
    shutil.rmtree(_rows_of(scratch), ignore_errors=True)


def _rows_of(scratch: Path) -> Path:
    """Return the folder of what blocks are asked for."""
    return scratch / "requests" / STAGE


# ---- the samples ------------------------------------------------------------------------------


def write_part(
    folder: Path, unit: str, rows: pa.Table, columns: Mapping[str, NDArray[Any]], key: str
) -> dict[str, Any]:
    """Write the samples of a block, then its marker; return the marker's facts."""
    features = [columns[name] for name in columns.keys() & PREDICTORS]
    lacking = np.isnan(features).any(axis=0) if features else np.zeros(len(rows), dtype=bool)
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values))
    name = file_of(unit)
    blocks.remove_marker(folder, STAGE, unit)  # else it would vouch for what replaces its file
    with replaced(folder / name) as partial:
        rows = rows.replace_schema_metadata({})
        # Numbers differ from row to row: a dictionary of them costs time and makes files larger.
        texts = [f.name for f in rows.schema if f.type in (pa.string(), pa.large_string())]
        with pa.OSFile(str(partial), "wb") as file:
            pyarrow.parquet.write_table(rows, file, compression="zstd", use_dictionary=texts)
    facts = {"rows": len(rows), "incomplete": int(lacking.sum())}
    blocks.write_marker(folder, STAGE, unit, key, [name], **facts)
    return facts


def remove_others(folder: Path, units: Iterable[str]) -> int:
    """Delete the samples of blocks that have none any more; return how many."""
    others = sorted(set(blocks.marked_units(folder, STAGE)) - set(units))
    for unit in others:
        blocks.remove_marker(folder, STAGE, unit)
        (folder / file_of(unit)).unlink(missing_ok=True)
    return len(others)


def write_manifest(folder: Path, units: Sequence[str], day: str) -> dict[str, int]:
    """Say that the folder is whole; return its counts of blocks, rows and incomplete rows."""
    markers = [blocks.read_marker(folder, STAGE, unit) or {} for unit in units]
    counts = {
        "blocks": len(markers),
        "rows": sum(marker["rows"] for marker in markers),
        "incomplete": sum(marker["incomplete"] for marker in markers),
    }
    files = [file_of(unit) for unit in units]
    about = {"format": FORMAT, "day": day, **counts, "files": files}
    folder.mkdir(parents=True, exist_ok=True)
    blocks.write_atomically(folder / MANIFEST, json.dumps(about, indent=1))
    return counts


def remove_manifest(folder: Path) -> None:
    """Say that the folder is not whole."""
    (folder / MANIFEST).unlink(missing_ok=True)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return what the manifest of a whole folder says.

    Raises
    ------
    FileNotFoundError
        If there is none: no samples, or a run that did not reach its end.
    ValueError
        If it is of another format.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"no whole samples at {folder} (no {MANIFEST}): run the stage samples to its end first"
        )
    about = json.loads(path.read_text())
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{folder} holds {about.get('format')!r}, expected {FORMAT!r}; remove it and run the "
            "stage samples again"
        )
    return about


def sample_files(folder: str | Path) -> list[Path]:
    """Return the manifest and, if it is there, all files that it names."""
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        return [place / MANIFEST]
    return [place / MANIFEST, *(place / name for name in read_manifest(place)["files"])]


def open_samples(
    folder: str | Path, *, columns: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read the samples that ``write_samples`` wrote.

    Parameters
    ----------
    folder : path
    columns : sequence of str, optional
        All by default.
    optional : sequence of str
        More columns, which are read if they are there.

    Returns
    -------
    DataFrame
        A row per station-day, by station and time; ``attrs["day"]`` says whose day it is.

    Raises
    ------
    FileNotFoundError
        If there are no samples, a run did not reach its end, or a file was lost.
    ValueError
        If they lack a column.
    """
    stored = _dataset(_whole_files(folder))
    wanted = _wanted(folder, stored.schema.names, columns, optional)
    order = pa.compute.sort_indices(
        stored.to_table(list(ORDER)), [(name, "ascending") for name in ORDER]
    )
    # Some columns at a time and without a copy, so that no second table of this size is held.
    found: dict[str, pd.Series] = {}
    for first in range(0, len(wanted), AT_ONCE):
        part = stored.to_table(wanted[first : first + AT_ONCE])
        for name in part.schema.names:
            found[name] = part.select([name]).take(order).to_pandas()[name]
    table = pd.DataFrame(found, copy=False)[wanted]
    table.attrs["day"] = read_manifest(folder)["day"]
    return table


def read_sample_parts(
    folder: str | Path,
    *,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    most_rows: int = PART_ROWS,
) -> Iterator[pd.DataFrame]:
    """Read the samples a tile at a time, or some stations of a tile that has many.

    Parameters
    ----------
    folder, columns, optional
        As for `open_samples`, whose errors it raises.
    most_rows : int
        Stations are read together up to so many rows; one that has more comes alone.

    Yields
    ------
    DataFrame
        All rows of its stations, by station and time.
    """
    files = _whole_files(folder)
    schema = _dataset(files).schema
    wanted = _wanted(folder, schema.names, columns, optional)
    sorting = [(name, "ascending") for name in ORDER]
    for paths in _by_tile(files):
        tile = pyarrow.dataset.dataset([str(path) for path in paths], schema, format="parquet")
        for stations in _gathered(tile, most_rows):
            chosen = pa.compute.field("station").isin(stations)
            rows = tile.to_table([*dict.fromkeys([*wanted, *ORDER])], filter=chosen)
            yield rows.sort_by(sorting).select(wanted).to_pandas()


def _whole_files(folder: str | Path) -> list[Path]:
    """Return the files of samples; raise if one was lost."""
    paths = [Path(folder) / name for name in read_manifest(folder)["files"]]
    lost = [path for path in paths if not path.exists()]
    if lost:
        raise FileNotFoundError(
            f"{folder} has lost {len(lost)} of {len(paths)} files, such as {lost[0].name}; run "
            "the stage samples again"
        )
    return paths


def _wanted(
    folder: str | Path, there: Sequence[str], columns: Sequence[str] | None, optional: Sequence[str]
) -> list[str]:
    """Return the columns to read; raise if one is not there."""
    wanted = list(there if columns is None else columns)
    wanted += [name for name in optional if name in there and name not in wanted]
    missing = sorted(set(wanted) - set(there))
    if missing:
        raise ValueError(f"{folder} has no columns {missing}, it has {list(there)}; ask for these")
    return wanted


def _by_tile(files: Sequence[Path]) -> list[list[Path]]:
    """Gather the files of each tile, all its windows, in their order."""
    tiles: dict[str, list[Path]] = {}
    for path in files:
        tiles.setdefault(path.name, []).append(path)
    return list(tiles.values())


def _gathered(tile: pyarrow.dataset.Dataset, most_rows: int) -> list[list[str]]:
    """Gather the stations of a tile so that few rows are read together."""
    counts = tile.to_table(["station"]).group_by("station").aggregate([([], "count_all")])
    groups: list[list[str]] = []
    held = most_rows
    found = zip(*(counts[name].to_pylist() for name in ("station", "count_all")), strict=True)
    for station, rows in sorted(found):
        if held + rows > most_rows:
            groups.append([])
            held = 0
        groups[-1].append(station)
        held += rows
    return groups


def count_rows(folder: str | Path) -> pd.DataFrame:
    """Count the samples by ``station`` and ``tile``: ``rows``; a file at a time.

    Raises what ``open_samples`` raises if the samples are not whole.
    """
    names = ["station", "tile"]
    parts = [
        pyarrow.parquet.ParquetFile(path).read(names).group_by(names).aggregate([([], "count_all")])
        for path in sample_files(folder)[1:]
    ]
    counts = pa.concat_tables(parts).to_pandas().rename(columns={"count_all": "rows"})
    return counts.groupby(names, as_index=False).sum()


def _dataset(paths: Sequence[Path]) -> pyarrow.dataset.Dataset:
    """Open files as one; a column that is empty in one run and text in another has two types."""
    schema = pyarrow.parquet.read_schema(paths[0])
    for path in paths[1:]:
        found = pyarrow.parquet.read_schema(path)
        if found != schema:
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
    return pyarrow.dataset.dataset([str(path) for path in paths], schema, format="parquet")
