"""The station tables: their columns, their files and their summary in words."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from gssm_cube.insitu.quality import REASONS
from gssm_cube.storage.files import partial_path

logger = logging.getLogger(__name__)

# The columns of the table, one row per station-day.
COLUMNS = {
    "network": "str", "station": "str", "lat": "float64", "lon": "float64",
    "elevation": "float64", "time": "datetime64[us]", "observed": "float64", "hours": "int64",
    "sensors": "int64", "spread": "float64", "koeppen": "str", "land_cover": "str",
}  # fmt: skip
FROZEN_COLUMNS = {
    "network": "str", "station": "str", "lat": "float64", "lon": "float64",
    "time": "datetime64[us]", "frozen_hours": "int64", "hours": "int64", "frozen": "bool",
}  # fmt: skip

COUNTS = b"gssm_cube station counts"  # key of the counts in the file's metadata
NAMES_SHOWN = 20  # stations without a day that the summary names


def summarise(counts: pd.DataFrame) -> str:
    """Return the counts of `read_stations` as text: a table by network, then the files."""
    from rich.console import Console  # late: reading shows nothing, and starts 0.1 s sooner
    from rich.table import Table

    wide = counts.pivot_table(index="network", columns="reason", values="rows", aggfunc="sum")
    wide = wide.reindex(columns=REASONS[::-1]).dropna(axis="columns", how="all").fillna(0)
    wide.loc["all"] = wide.sum()
    table = Table("network", "read", *map(str, wide.columns))
    for column in table.columns[1:]:
        column.justify = "right"
    for network, row in wide.iterrows():
        table.add_row(str(network), *(f"{int(number):,}" for number in (row.sum(), *row)))
    text = StringIO()
    Console(file=text, width=120).print("ISMN rows by network and reason", table)
    return text.getvalue() + _summarise_files(counts)


def write_stations(
    table: pd.DataFrame,
    counts: pd.DataFrame,
    path: str | Path,
    frozen: pd.DataFrame | None = None,
) -> None:
    """Write the table as Parquet, the counts in its metadata, in one step or not at all.

    The frozen days go beside it first, to ``NAME_frozen.parquet``.
    """
    with StationWriter(path, table.attrs["day"]) as writer:
        writer.add(table, frozen)
        writer.finish(counts)


class StationWriter:
    """The station table and its frozen days, written a part at a time.

    Both appear at `finish`; if the context is left without it nothing stays. Each part becomes a
    row group, so parts of whole stations come back as such.
    """

    def __init__(self, path: str | Path, day: str) -> None:
        self.path, self.rows = Path(path), 0
        self._day = day
        self._writers: dict[Path, tuple[Path, pa.parquet.ParquetWriter]] = {}

    def __enter__(self) -> "StationWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for partial, writer in self._writers.values():
            writer.close()
            partial.unlink(missing_ok=True)

    def add(self, table: pd.DataFrame, frozen: pd.DataFrame | None = None) -> None:
        """Write some stations' days, and their frozen days."""
        self._write(self.path, table, COLUMNS)
        self.rows += len(table)
        if frozen is not None:
            self._write(_frozen_path(self.path), frozen, FROZEN_COLUMNS)

    def finish(self, counts: pd.DataFrame) -> None:
        """Add the counts and put the files in their place, the frozen days first."""
        losses = {"rows": counts.to_dict("list"), **counts.attrs}
        _, table = self._writers[self.path]
        table.add_key_value_metadata({COUNTS: json.dumps(losses, default=int)})
        for path in sorted(self._writers, key=lambda path: path == self.path):
            partial, writer = self._writers[path]
            writer.close()
            partial.replace(path)
        logger.info("stations: wrote %d station-days to %s", self.rows, self.path)

    def _write(self, path: Path, table: pd.DataFrame, columns: dict[str, str]) -> None:
        """Append a part to a file, which is opened for the first."""
        if path not in self._writers:
            schema = pa.Schema.from_pandas(table, preserve_index=False)
            attrs = {b"PANDAS_ATTRS": json.dumps({"day": self._day})}
            schema = schema.with_metadata({**(schema.metadata or {}), **attrs})
            partial = partial_path(path)
            self._writers[path] = partial, pa.parquet.ParquetWriter(partial, schema)
        _, writer = self._writers[path]
        rows = pa.Table.from_pandas(table, writer.schema, preserve_index=False)
        writer.write_table(rows.replace_schema_metadata(writer.schema.metadata))


def read_station_table(path: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the table that `write_stations` or `stations.write_archive` wrote.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str, optional
        All by default.

    Returns
    -------
    DataFrame
        ``attrs["day"]`` says whose day it is.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is not such a table.
    """
    _check_table(Path(path))
    return pd.read_parquet(path, columns=None if columns is None else list(columns))


def read_station_parts(
    path: str | Path, *, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Read the table, or some columns, a part at a time; no station lies in two.

    Raises what `read_station_table` raises.
    """
    _check_table(Path(path))
    with pa.parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns).to_pandas()


def read_days_of(path: str | Path, stations: Sequence[str]) -> pd.DataFrame:
    """Read ``station``, ``time`` and ``observed`` of some stations, of their parts alone."""
    chosen = [("station", "in", list(stations))]
    return pd.read_parquet(path, columns=["station", "time", "observed"], filters=chosen)


def read_station_counts(path: str | Path) -> pd.DataFrame:
    """Read the counts that `write_stations` wrote, as `read_stations` gave them."""
    losses = json.loads(_check_table(Path(path))[COUNTS])
    counts = pd.DataFrame(losses.pop("rows"))
    counts.attrs = losses
    return counts


def remove_station_table(path: str | Path) -> None:
    """Delete a table that is of no use, and its frozen days."""
    for file in (Path(path), _frozen_path(Path(path))):
        file.unlink(missing_ok=True)


def read_frozen_days(path: str | Path) -> pd.DataFrame:
    """Read the frozen days beside the table that `write_stations` wrote.

    Raises
    ------
    FileNotFoundError
        If none were written.
    """
    beside = _frozen_path(Path(path))
    if not beside.is_file():
        raise FileNotFoundError(f"no frozen days at {beside}: run the stage stations first")
    return pd.read_parquet(beside)


def _frozen_path(path: Path) -> Path:
    """Return where the frozen days of a station table lie."""
    return path.with_name(f"{path.stem}_frozen.parquet")


def _check_table(path: Path) -> dict[bytes, Any]:
    """Check that a file is a station table; return its metadata."""
    if not path.is_file():
        raise FileNotFoundError(f"no station table at {path}: run the stage stations first")
    metadata = pa.parquet.read_metadata(path)
    found, about = metadata.schema.names, metadata.metadata or {}
    missing = [name for name in COLUMNS if name not in found]
    if missing or COUNTS not in about:
        raise ValueError(
            f"{path} is no station table (missing columns: {missing}; it has {found}), expected "
            "one from the stage stations with its counts; run the stage again"
        )
    return about


def _summarise_files(counts: pd.DataFrame) -> str:
    """Return one line on the files read and left out, and one for each damaged file."""
    files = counts.attrs["files"]
    kinds = Counter(entry["reason"].split(":")[0] for entry in files)
    left_out = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    lines = [f"Files: {counts.attrs['files_read']} read, left out: {left_out or 'none'}"]
    lines += [
        f"  {entry['file']}: {entry['reason']}"
        for entry in files
        if entry["reason"].startswith("unreadable")
    ]
    empty = counts.attrs["without_a_day"]
    if empty:
        shown = [f"{entry['station']} ({entry['reason']})" for entry in empty[:NAMES_SHOWN]]
        more = f" and {len(empty) - NAMES_SHOWN} more" if len(empty) > NAMES_SHOWN else ""
        lines.append(f"Stations without a day: {len(empty)}: {', '.join(shown)}{more}")
    return "\n".join(lines) + "\n"
