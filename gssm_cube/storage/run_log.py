"""A machine-readable log of a run: what was to do, and a row for every unit that was tried.

A Parquet file cannot be added to, so that rows go into parts, each written whole and renamed, and
the parts become one file when a stage ends. Only the client writes; workers hand their rows back.
Several clients of one run (``gssm predict --part``) write files of their own names.
"""

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube.storage.files import replaced
from gssm_cube.storage.locations import Location

LOG_FOLDER = "log"  # in the folder of the run
FLUSH_SECONDS, FLUSH_ROWS = 20.0, 1000
COLUMNS = {
    "unit": "string",
    "ended": "float64",  # seconds since 1970, UTC
    "seconds": "float64",
    "pixel_days": "int64",  # to do; 0 where a unit has none
    "rows": "int64",  # values written
    "bytes": "int64",  # of the objects written
    "worker": "string",  # machine and process
    "retries": "int64",  # workers that were lost with the unit before
    "error": "string",
}


@dataclass
class StageLog:
    """Rows of one stage of one client; without a place nothing is written."""

    place: Path | None
    weights: Mapping[str, int]
    rows: list[dict[str, Any]] = field(default_factory=list)
    parts: int = 0
    flushed: float = field(default_factory=time.monotonic)

    def add(self, row: Mapping[str, Any]) -> None:
        """Note a status row of ``blocks.run_units``; now and then, write what came in."""
        if self.place is None:
            return
        weight = self.weights.get(row["unit"], 0)
        facts = {"ended": time.time(), "pixel_days": weight, "rows": row.get("valid", 0), **row}
        self.rows.append({name: facts.get(name, 0) for name in COLUMNS} | _texts(row))
        late = time.monotonic() - self.flushed > FLUSH_SECONDS
        if late or len(self.rows) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that came since as one more part."""
        self.flushed = time.monotonic()
        if self.place is not None and self.rows:
            _write(self.place.with_suffix(f".{self.parts:05d}.parquet"), _table(self.rows))
            self.parts, self.rows = self.parts + 1, []

    def close(self) -> None:
        """Make one file of the parts."""
        self.flush()
        if self.place is None or not self.parts:
            return
        parts = sorted(self.place.parent.glob(f"{self.place.stem}.*.parquet"))
        _write(self.place.with_suffix(".parquet"), pd.concat(map(pd.read_parquet, parts)))
        for part in parts:  # until then a reader finds the same rows twice, and drops them
            part.unlink()


@dataclass(frozen=True)
class RunLog:
    """Where a run's clients note what they do; without a folder they note nothing."""

    folder: Path | None = None
    part: str = ""  # such as 2/8: one of several clients

    @contextmanager
    def stage(
        self, stage: str, units: Mapping[str, int], skipped: int, markers: Location
    ) -> Iterator[StageLog]:
        """Yield the log of one stage.

        Parameters
        ----------
        stage : str
        units : mapping
            Units to do with the pixel-days of each, 0 where they have none.
        skipped : int
            Units that were done before.
        markers : path or URL
            Folder of the stage's markers.
        """
        if self.folder is None:
            yield StageLog(None, units)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "_", f"{stage} {self.part}").strip("_")
        stem = f"{time.time_ns() // 1_000_000}_{name}_{os.getpid()}"
        about = {
            "stage": stage,
            "part": self.part,
            "begun": time.time(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "skipped": skipped,
            "markers": str(markers),
            "units": dict(units),
        }
        place = self.folder / f"{stem}.json"
        with replaced(place) as partial:
            partial.write_text(json.dumps(about))
        log = StageLog(place, units)
        try:
            yield log
        finally:
            log.close()

    @contextmanager
    def while_it_runs(self, stage: str, markers: Location) -> Iterator[None]:
        """Note that a stage of one step has begun, until it ends: its marker tells the rest."""
        with self.stage(stage, {stage: 0}, 0, markers) as log:
            try:
                yield
            finally:
                if log.place is not None:
                    log.place.unlink(missing_ok=True)


NO_LOG = RunLog()


def read_rows(place: Path) -> pd.DataFrame:
    """Return all rows that were noted beside the record of a stage's begin, the newest last."""
    files = sorted(place.parent.glob(f"{place.stem}*.parquet"))
    tables = [table for path in files if (table := _read(path)) is not None]
    if not tables:
        return _table([])
    return pd.concat(tables).drop_duplicates(["unit", "ended"]).sort_values("ended")


def read_stage(folder: Path, stage: str) -> pd.DataFrame:
    """Return all rows of a stage, whichever of a run's clients noted them, the newest last."""
    begins = sorted(folder.glob(f"*_{stage}*.json"))
    return pd.concat([_table([]), *map(read_rows, begins)]).sort_values("ended")


def _read(path: Path) -> pd.DataFrame | None:
    """Return a file's rows, or None if its stage has made one file of the parts meanwhile."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        return None


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Columns that are text, empty where there is none."""
    return {name: str(row.get(name, "")) for name in ("unit", "worker", "error")}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows with the log's columns and types."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _write(path: Path, table: pd.DataFrame) -> None:
    """Write a file that is there whole or not at all."""
    with replaced(path) as partial:
        table.to_parquet(partial, index=False)
