"""The predictions of an evaluation as a Parquet file, written and read a part at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from gssm_cube.storage.files import replaced

PLACE = ["station", "lat", "lon"]  # names of stations are not unique among networks
COLUMNS = [*PLACE, "time", "observed", "predicted", "split"]
PART_ROWS = 65_536  # about so many are written, and come back, together


def write_predictions(path: Path, held: Mapping[str, Iterable[pd.DataFrame]]) -> None:
    """Write the predictions of several splits, one after the other.

    Parameters
    ----------
    path : Path
    held : mapping
        By split its held-out rows, each part with all rows of its stations: `COLUMNS` but
        ``split``. No station of a split lies in two parts of the file.
    """
    with replaced(path) as partial:
        writer = None
        for table in _gathered(held):
            if writer is None:
                schema = pa.Schema.from_pandas(table, preserve_index=False)
                writer = pa.parquet.ParquetWriter(partial, schema)
            rows = pa.Table.from_pandas(table, writer.schema, preserve_index=False)
            writer.write_table(rows.replace_schema_metadata(writer.schema.metadata))
        if writer is not None:
            writer.close()


def _gathered(held: Mapping[str, Iterable[pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """Put parts of a split together until there are rows enough to be written."""
    for split, parts in held.items():
        waiting: list[pd.DataFrame] = []
        for days in parts:
            waiting.append(days[COLUMNS[:-1]].assign(split=split))
            if sum(map(len, waiting)) >= PART_ROWS:
                yield pd.concat(waiting)
                waiting = []
        if waiting:
            yield pd.concat(waiting)


@dataclass(frozen=True)
class Predictions:
    """What an evaluation predicted: its file, or the same in memory.

    Goes through it a part at a time, as often as it is asked to; no station of a split lies in
    two parts.

    Parameters
    ----------
    source : Path or DataFrame
        `COLUMNS`.
    """

    source: Path | pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        if isinstance(self.source, pd.DataFrame):
            return list(map(str, self.source.columns))
        return list(pa.parquet.read_schema(self.source).names)

    def __len__(self) -> int:
        if isinstance(self.source, pd.DataFrame):
            return len(self.source)
        return int(pa.parquet.read_metadata(self.source).num_rows)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        if isinstance(self.source, pd.DataFrame):
            yield self.source
            return
        with pa.parquet.ParquetFile(self.source) as file:
            for number in range(file.num_row_groups):
                yield file.read_row_group(number).to_pandas()

    def of_split(self, split: str) -> Iterable[pd.DataFrame]:
        """Return what goes through the complete pairs of one split."""
        return _OfSplit(self, split)

    def at(self, station: str, lat: float, lon: float) -> pd.DataFrame:
        """Read the rows of a station at one of its places, of all splits."""
        if isinstance(self.source, pd.DataFrame):
            rows = self.source[self.source["station"] == station]
        else:
            rows = pd.read_parquet(self.source, filters=[("station", "==", station)])
        return rows[(rows["lat"] == lat) & (rows["lon"] == lon)]


@dataclass(frozen=True)
class _OfSplit:
    """Complete pairs of one split, part by part."""

    predictions: Predictions
    split: str

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for part in self.predictions:
            rows = part[part["split"] == self.split].dropna(subset=["observed", "predicted"])
            if len(rows):
                yield rows
