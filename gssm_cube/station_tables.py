"""The station tables: their columns, their files and their summary in words."""

import json
import logging
from collections import Counter
from io import StringIO
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from gssm_cube.quality import REASONS

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

NAMES_SHOWN = 20  # stations without a day that the summary names


def summarise(counts: pd.DataFrame) -> str:
    """Return the counts of `read_stations` as text: a table by network, then the files."""
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
    path = Path(path)
    if frozen is not None:
        _write_parquet(frozen, _frozen_path(path))
    losses = {"rows": counts.to_dict("list"), **counts.attrs}
    labelled = table.copy(deep=False)
    labelled.attrs = {**table.attrs, "counts": json.dumps(losses, default=int)}
    _write_parquet(labelled, path)
    logger.info("stations: wrote %d station-days to %s", len(table), path)


def read_station_table(path: str | Path) -> pd.DataFrame:
    """Read the table that `write_stations` wrote; ``attrs["day"]`` says whose day it is.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is not such a table.
    """
    table = _read_parquet(Path(path))
    del table.attrs["counts"]
    return table


def read_station_counts(path: str | Path) -> pd.DataFrame:
    """Read the counts that `write_stations` wrote, as `read_stations` gave them."""
    losses = json.loads(_read_parquet(Path(path)).attrs["counts"])
    counts = pd.DataFrame(losses.pop("rows"))
    counts.attrs = losses
    return counts


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


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a file beside its place and move it there when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    table.to_parquet(partial, index=False)
    partial.replace(path)


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a station table with its attributes and check that it is one."""
    if not path.is_file():
        raise FileNotFoundError(f"no station table at {path}: run the stage stations first")
    table = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing or not {"day", "counts"} <= table.attrs.keys():
        raise ValueError(
            f"{path} is no station table (missing columns: {missing}; attributes: "
            f"{list(table.attrs)}), expected one from write_stations; run the stage stations again"
        )
    return table


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
