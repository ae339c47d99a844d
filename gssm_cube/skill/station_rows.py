"""Complete rows of samples on disk, by station: what an evaluation trains on and judges.

All rows of a world of stations are too many to be held as often as an evaluation needs them. Here
some stations are read at a time; only a matrix to train on is put together in memory. Features lie
in a file of float32, station after station, of each one feature after another; what else is known
of the rows in an Arrow file, a batch a station.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from gssm_cube.sampling.sample_store import read_sample_parts
from gssm_cube.skill.trials import (
    BASELINE_COLUMNS,
    COLUMNS,
    STRATA,
    Samples,
    complete_samples,
    too_few,
)

PART_ROWS = 20_000  # of a part, unless a station has more: some MB
VALUES, ABOUT = "features.f32", "about.arrow"
POSITION = ("lat", "lon")
_ROW, _SITE = "_row", "_site"  # columns of the Arrow file: row in the table, number of the site


@dataclass(frozen=True)
class StationRows:
    """Complete rows on disk. A row's number is its place in the table that they come from.

    Parts are of whole stations, in the order of their names, and known by number.

    Parameters
    ----------
    folder : Path
        Of the two files.
    features : tuple of str
    stations : DataFrame
        A row a station, sorted: ``station`` (its name), ``rows``, ``first`` (number of its first
        row), ``together`` (whether its rows follow one another in the table), ``batch``,
        ``offset`` (rows before it in the files).
    sites : DataFrame
        A row for each place of each station: ``station``, ``lat``, ``lon`` (deg), ``rows``.
    days : ndarray, datetime64[D]
        All that occur, sorted.
    read : int
        Rows before the incomplete were dropped.
    positioned : bool
        Whether ``lat`` and ``lon`` are features too: those of the station.
    """

    folder: Path
    features: tuple[str, ...]
    stations: pd.DataFrame
    sites: pd.DataFrame
    days: NDArray[np.datetime64]
    read: int
    positioned: bool = False

    def __len__(self) -> int:
        return int(self.stations["rows"].sum())

    @property
    def columns(self) -> list[str]:
        """Columns of `about`."""
        return [name for name in self._batches.schema.names if name not in (_ROW, _SITE)]

    @property
    def numbers(self) -> range:
        """Numbers of the parts."""
        return range(len(self._parts))

    def with_position(self) -> "StationRows":
        """Return the same with the position of the station among the features."""
        return replace(self, positioned=True)

    def before(self, number: int) -> int:
        """Return how many rows are in the parts before one."""
        return int(self._column["rows"][: self._parts[number].start].sum())

    def names(self, number: int) -> list[Any]:
        """Return the names of a part's stations."""
        return list(self._column["station"][self._parts[number]])

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """Return the numbers of a part's rows."""
        return np.concatenate([self._rows(station) for station in self._parts[number]])

    def about(self, number: int) -> pd.DataFrame:
        """Return what is known of a part's rows.

        Returns
        -------
        DataFrame
            ``station``, ``lat``, ``lon``, ``time``, ``observed``; strata and baselines, where the
            table had them. Its index holds the numbers of the rows.
        """
        batches = [self._batch(station).select(self.columns) for station in self._parts[number]]
        table = pa.Table.from_batches(batches).to_pandas()
        return table.set_axis(self.rows_of(number), axis="index")

    def values(self, number: int, names: Sequence[str]) -> pd.DataFrame:
        """Return features of a part's rows, float32, in the order of the names."""
        matrix = np.concatenate(
            [self._matrix(station, names) for station in self._parts[number]], axis=1
        )
        return pd.DataFrame(matrix.T, columns=pd.Index(names), copy=False)

    def training(
        self, chosen: NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Return features and observations of some rows, in memory: 4 bytes a value.

        Parameters
        ----------
        chosen : ndarray (row), bool
        names : sequence of str
            Features, in this order.

        Returns
        -------
        table : DataFrame (chosen row), float32
        target : ndarray (chosen row), float64, m3 m-3
        """
        total = np.count_nonzero(chosen)
        matrix, target = np.empty((len(names), total), "float32"), np.empty(total)
        place = np.cumsum(chosen, dtype="int32")
        for station in range(len(self.stations)):
            rows = self._rows(station)
            wanted = chosen[rows]
            if wanted.any():
                to = place[rows][wanted] - 1
                matrix[:, to] = self._matrix(station, names)[:, wanted]
                target[to] = self._array(station, "observed")[wanted]
        return pd.DataFrame(matrix.T, columns=pd.Index(names), copy=False), target

    def spread(self, by_site: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each row's site, from one value a site."""
        found = np.empty(len(self), by_site.dtype)
        several = self.sites["station"].value_counts(sort=False) > 1
        first = dict(zip(self.sites["station"], range(len(self.sites)), strict=True))
        for station, name in enumerate(self.stations["station"]):
            site = self._array(station, _SITE) if several[name] else first[name]
            found[self._rows(station)] = by_site[site]
        return found

    def since(self, day: np.datetime64) -> NDArray[np.bool_]:
        """Tell of each row whether it is of this day or a later one."""
        found = np.empty(len(self), bool)
        for station in range(len(self.stations)):
            found[self._rows(station)] = self._array(station, "time").astype("M8[D]") >= day
        return found

    def parts(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield ``station`` and features, part by part."""
        for number in self.numbers:
            yield self.values(number, names).assign(station=self.about(number)["station"].array)

    @cached_property
    def _parts(self) -> list[range]:
        """Stations of each part: as many as have few rows together, or one."""
        parts: list[range] = []
        held = 0
        for station, rows in enumerate(self._column["rows"]):
            if parts and held + rows <= PART_ROWS:
                parts[-1] = range(parts[-1].start, station + 1)
                held += rows
            else:
                parts.append(range(station, station + 1))
                held = rows
        return parts

    @cached_property
    def _column(self) -> dict[str, NDArray[Any]]:
        """Columns of the stations: a table's own look-up costs more than the reading."""
        return {str(name): self.stations[name].to_numpy() for name in self.stations}

    @cached_property
    def _batches(self) -> pa.ipc.RecordBatchFileReader:
        """The Arrow file, of which only what is asked for is read."""
        return pa.ipc.open_file(pa.OSFile(str(self.folder / ABOUT)))

    def _batch(self, station: int) -> pa.RecordBatch:
        """Read what is known of a station's rows."""
        return self._batches.get_batch(int(self._column["batch"][station]))

    def _array(self, station: int, name: str) -> NDArray[Any]:
        """Return one column of a station's batch."""
        return self._batch(station).column(name).to_numpy(zero_copy_only=False)

    def _rows(self, station: int) -> NDArray[np.int64]:
        """Return the numbers of a station's rows."""
        first, rows = (int(self._column[name][station]) for name in ("first", "rows"))
        together = self._column["together"][station]
        return first + (np.arange(rows) if together else self._array(station, _ROW))

    def _matrix(self, station: int, names: Sequence[str]) -> NDArray[np.float32]:
        """Read features of a station (feature, row)."""
        rows, offset = (int(self._column[name][station]) for name in ("rows", "offset"))
        width = len(self.features)
        start = 4 * width * offset
        found = np.fromfile(self.folder / VALUES, "float32", width * rows, offset=start)
        columns = dict(zip(self.features, found.reshape(width, rows), strict=True))
        if self.positioned:
            columns |= {name: self._array(station, name).astype("float32") for name in POSITION}
        return np.stack([columns[name] for name in names])


def rows_of_table(known: Samples, folder: Path) -> StationRows:
    """Lay down complete samples that are in memory; their rows keep their numbers."""
    return _lay_down([known], folder, ordered=False)


def rows_of_store(
    samples: str | Path, names: Sequence[str], folder: Path, *, least: int = 1
) -> StationRows:
    """Lay down the complete rows of samples on disk, numbered by station and time.

    Parameters
    ----------
    samples : path
        Folder of `samples.write_samples`.
    names : sequence of str
        Features.
    folder : Path
        Gets the files.
    least : int
        Rows that must be complete.

    Raises
    ------
    FileNotFoundError, ValueError
        As `sample_store.open_samples` and `trials.complete_samples`.
    """
    wanted = list(dict.fromkeys([*names, *COLUMNS.values()]))
    parts = read_sample_parts(samples, columns=wanted, optional=(*STRATA, *BASELINE_COLUMNS))
    complete = (complete_samples(part, names, COLUMNS, least=0) for part in parts)
    found = _lay_down(complete, folder, ordered=True)
    if len(found) < least:
        raise too_few(len(found), found.read, names, COLUMNS, least)
    return found


def _lay_down(parts: Iterable[Samples], folder: Path, *, ordered: bool) -> StationRows:
    """Write parts of whole stations; ``ordered`` numbers their rows station after station."""
    folder.mkdir(parents=True, exist_ok=True)
    days: NDArray[np.datetime64] = np.array([], "M8[D]")
    with _Writer(folder) as writer:
        for part in parts:
            writer.add(part)
            days = np.union1d(days, part.places["time"].to_numpy().astype("M8[D]"))
    stations = pd.DataFrame(writer.stations, columns=list(_STATION)).sort_values("station")
    if ordered:
        stations["first"] = np.cumsum(stations["rows"]) - stations["rows"]
    sites = pd.DataFrame(writer.sites, columns=["station", *POSITION, "rows"])
    return StationRows(
        folder, writer.features, stations.reset_index(drop=True), sites, days, writer.read
    )


_STATION = ("station", "rows", "first", "together", "batch", "offset")


class _Writer:
    """The two files, written a station at a time."""

    def __init__(self, folder: Path) -> None:
        self.features: tuple[str, ...] = ()
        self.stations: list[tuple[Any, ...]] = []
        self.sites: list[tuple[Any, ...]] = []
        self.read = 0
        self._folder, self._open = folder, ExitStack()
        self._seen: set[Any] = set()
        self._schema: pa.Schema | None = None

    def __enter__(self) -> "_Writer":
        self._values = self._open.enter_context((self._folder / VALUES).open("wb"))
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def add(self, part: Samples) -> None:
        """Write all stations of a part."""
        self.features = tuple(map(str, part.table.drop(columns=part.observed)))
        self.read += part.read
        groups = part.places.groupby("station", observed=True)
        for name, rows in groups.indices.items():
            if name in self._seen:
                raise ValueError(
                    f"station {name!r} lies in several tiles of the samples, expected one; give "
                    "its places names of their own in the station table"
                )
            self._seen.add(name)
            self._add_station(name, np.asarray(rows), part)

    def _add_station(self, name: Any, rows: NDArray[np.intp], part: Samples) -> None:
        """Write one station, and note where it lies."""
        first, together = int(rows[0]), bool(np.array_equal(rows, rows[0] + np.arange(rows.size)))
        table = part.table[list(self.features)].iloc[rows]
        table.to_numpy().T.tofile(self._values)
        about = part.places.iloc[rows].join(part.more.iloc[rows])
        place = about.groupby(list(POSITION), sort=False)
        about[_SITE] = len(self.sites) + place.ngroup()
        about[_ROW] = rows - first
        sizes = place.size().reset_index()
        self.sites += [(name, *site) for site in sizes.itertuples(index=False, name=None)]
        offset = sum(self.stations[-1][index] for index in (1, 5)) if self.stations else 0
        self.stations.append((name, rows.size, first, together, len(self.stations), offset))
        self._write_about(about)

    def _write_about(self, about: pd.DataFrame) -> None:
        """Append a batch; what is empty at the first station is taken for text."""
        if self._schema is None:
            schema = pa.Schema.from_pandas(about, preserve_index=False)
            for index, field in enumerate(schema):
                if pa.types.is_null(field.type):
                    schema = schema.set(index, field.with_type(pa.string()))
            self._schema = schema
            self._about = self._open.enter_context(
                pa.ipc.new_file(str(self._folder / ABOUT), schema)
            )
        self._about.write_batch(pa.RecordBatch.from_pandas(about, self._schema))
