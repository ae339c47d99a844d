"""Running a function over named units of work, with Dask or without; progress, failures, resume.

A unit is a short label such as ``r058c185_w00`` (a block) or ``2018-03-01`` (a run of days). What
a unit needs to know beyond its label is carried by the function, which is pickled once. A unit is
done when its marker says so: a small JSON file beside the store, written after the data, which
names the key (a hash of everything that the result depends on) and the objects written. Nothing
else is proof: an ocean block writes no object, and an object may stem from an earlier run.
"""

import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import as_completed as as_they_end
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from distributed import Client, Future, as_completed, futures_of  # others take Client from here
from distributed.comm import CommClosedError

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.storage.locks import locked as locked  # others take both from here
from gssm_cube.storage.locks import locked_in_part as locked_in_part
from gssm_cube.storage.markers import (  # noqa: F401 (others take all these from here)
    Contents,
    ReadContents,
    all_marked,
    all_markers,
    checksum,
    digest,
    is_done,
    let_redo,
    marked_units,
    marker_contents,
    marker_folder,
    not_done,
    read_marker,
    read_markers,
    read_together,
    remove_damaged,
    remove_marker,
    remove_partial_files,
    sizes_of,
    stage_digest,
    store_digest,
    write_atomically,
    write_marker,
)

logger = logging.getLogger(__name__)

Work = Callable[[str], dict[str, Any]]
Progress = Callable[[str, int, int], None]
Note = Callable[[Mapping[str, Any]], None]
Rows = Generator[dict[str, Any], None, None]  # of status; closed when no one asks for more


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing: the default progress."""


def as_one(progress: Progress, stage: str, total: int) -> Progress:
    """Return a progress for the parts of a stage: each step that a part tells is one of all."""
    steps = count(1)

    def show(part: str, done: int, of: int) -> None:
        progress(stage, next(steps), total)

    return show


def ignore(row: Mapping[str, Any]) -> None:
    """Note nothing: the default of who hears of each unit."""


def in_turn(*notes: Note) -> Note:
    """Return what lets several hear of each unit, one after another."""

    def note(row: Mapping[str, Any]) -> None:
        for tell in notes:
            tell(row)

    return note


def parse_tile(label: str) -> Tile:
    """Return the tile of a label such as ``r058c185`` or ``r058c185_w00``."""
    row, col = label.split("_")[0].removeprefix("r").split("c")
    return Tile(int(row), int(col))


def parse_block(label: str, layout: Layout) -> Block:
    """Return the block of a label such as ``r058c185_w00``."""
    number = int(label.split("_w")[1])
    return Block(parse_tile(label), layout.windows()[number])


# ---- running ----------------------------------------------------------------------------------


class UnitsFailed(RuntimeError):
    """Some units failed; the others are done and will be skipped by the next run."""

    def __init__(self, stage: str, failed: pd.DataFrame) -> None:
        lines = "\n".join(f"  {row.unit}: {row.error}" for row in failed.itertuples())
        super().__init__(
            f"{stage}: {len(failed)} of its units failed, start again to redo only these:\n{lines}"
        )
        self.failed = failed


def run_units(
    work: Work,
    units: Sequence[str],
    *,
    stage: str,
    keys: Mapping[str, str] | None = None,
    client: Client | None = None,
    progress: Progress = silent,
    note: Note = ignore,
    weights: Mapping[str, int] | None = None,
    threads: int = 1,
) -> pd.DataFrame:
    """Run ``work(unit)`` for every unit and return one status row for each.

    Parameters
    ----------
    work : callable
        Takes a label, returns a dict of facts. Must write its own output and marker.
    units : sequence of str
        Labels; those already done should have been taken out.
    stage : str
        For progress and messages.
    keys : mapping, optional
        A key of its own for each unit: ``work`` is a dataclass then, and has it as its ``key``
        when it is called. Each unit travels with its own key, not with all of them.
    client : distributed.Client, optional
        Without one, units run in this process.
    progress : callable
        Called as ``progress(stage, done, total)``.
    note : callable
        Called with the status row of each unit as it comes in.
    weights : mapping, optional
        Pixel-days of each unit: they get a progress of their own, in millions, for units differ.
    threads : int
        Units at once where there is no client; each holds its own memory.

    Returns
    -------
    DataFrame
        Columns ``unit``, ``seconds``, ``worker`` (machine and process), ``retries`` (workers that
        were lost with it) and what ``work`` returned.

    Raises
    ------
    UnitsFailed
        After all units were tried, if any failed; names each with its error.
    RuntimeError
        If the scheduler is gone.
    """
    if not units:
        return pd.DataFrame({"unit": [], "seconds": [], "error": []})
    rows = []
    amount, total = 0, sum((weights or {}).values())
    labels = [(unit, keys[unit] if keys else "") for unit in units]
    if client is None:
        results = _results_here(work, labels, threads)
    else:
        results = _results_on(client, work, labels)
    with closing(results):
        for row in results:
            rows.append(row)
            note(row)
            if weights and total >= 10**6:
                amount += weights[row["unit"]]
                progress(f"{stage}, million pixel-days", amount // 10**6, total // 10**6)
            progress(stage, len(rows), len(units))
    status = pd.DataFrame(rows).sort_values("unit", ignore_index=True)
    failed = status[status["error"] != ""]
    if len(failed):
        raise UnitsFailed(stage, failed)
    return status


def _attempt(work: Any, unit: str, key: str) -> dict[str, Any]:
    """Run one unit; its failure becomes a row, so that the other units go on."""
    begin = time.perf_counter()
    row = {"unit": unit, "error": "", "worker": f"{socket.gethostname()}:{os.getpid()}"}
    try:
        facts = (replace(work, key=key) if key else work)(unit)
    except Exception as error:  # the one place where everything is caught: it is reported by name
        logger.debug("%s failed", unit, exc_info=True)
        return {**row, "error": f"{type(error).__name__}: {error}", "seconds": 0.0}
    return {**row, "seconds": time.perf_counter() - begin, **facts}


def _results_here(work: Work, units: Sequence[tuple[str, str]], threads: int) -> Rows:
    """Yield status rows of units that run in this process."""
    if threads == 1:
        for unit, key in units:
            yield _attempt(work, unit, key) | {"retries": 0}
        return
    pool = ThreadPoolExecutor(threads)
    try:
        running = [pool.submit(_attempt, work, unit, key) for unit, key in units]
        for future in as_they_end(running):
            yield future.result() | {"retries": 0}
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C only what runs is waited for


def _attempt_chunk(labels: np.ndarray, work: Work) -> np.ndarray:
    """Run the one unit that a chunk of labels and keys holds."""
    row = np.empty(1, dtype=object)
    row[0] = _attempt(work, str(labels[0, 0]), str(labels[0, 1]))
    return row


def _results_on(client: Client, work: Work, units: Sequence[tuple[str, str]]) -> Rows:
    """Yield status rows as workers finish: ``map_blocks`` over an array of one label a chunk."""
    labels = da.from_array(np.asarray(units), chunks=(1, 2))
    # A name of its own, else Dask takes a unit that runs again for the one it still remembers.
    name = f"units-{uuid.uuid4().hex}"
    meta = np.empty(0, dtype=object)
    with _losses(client, name) as lost:
        status = client.persist(
            labels.map_blocks(_attempt_chunk, work, dtype=object, meta=meta, name=name, drop_axis=1)
        )
        for future in as_completed(futures_of(status)):
            row = _row_of(future, units[future.key[1]][0])
            # Else a worker that dies would take its rows along, and their units would run again.
            future.release()
            yield row | {"retries": lost[future.key[1]]}


def _row_of(future: Future, unit: str) -> dict[str, Any]:
    """Return the row that a unit left, or one that says what became of it."""
    try:
        return future.result()[0]
    except (CommClosedError, CancelledError) as error:
        raise RuntimeError(
            f"the scheduler is gone: it went with {unit} not reported. What has a marker stays "
            "done, start again to do the rest"
        ) from error
    except Exception as error:  # Dask's: it lost all workers, or those that tried; the rest goes on
        return {"unit": unit, "error": repr(error), "seconds": 0.0, "worker": ""}


@contextmanager
def _losses(client: Client, name: str) -> Iterator[Counter[int]]:
    """Count by number how often the worker of each task was lost, as the scheduler tells it."""
    lost: Counter[int] = Counter()

    def note(event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("action") == "remove-worker":
            # Dask may fuse a task with what feeds it, under a name that ends like the array's.
            keys = (key for key in message["processing-tasks"] if isinstance(key, tuple))
            lost.update({key[1] for key in keys if str(key[0]).endswith(name)})

    client.subscribe_topic("all", note)
    try:
        yield lost
    finally:
        if client.status == "running":
            client.unsubscribe_topic("all")
