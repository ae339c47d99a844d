"""How far a run is, from another process: its log and markers, read only."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from gssm_cube.storage.locations import files
from gssm_cube.storage.run_log import LOG_FOLDER, read_rows

IN_STEPS = "harmonise"  # the stage whose steps are logged under names of their own


@dataclass(frozen=True)
class StageStatus:
    """One stage of one client, or one that is done in one step.

    ``state`` is ``done``, ``running``, ``stopped`` (its process ended before all was done) or
    ``not begun``. Rates and the time to go count pixel-days where units have them.
    """

    stage: str
    part: str
    state: str
    done: int
    left: int
    failed: tuple[tuple[str, str], ...] = ()  # unit and error
    skipped: int = 0
    elapsed: float = 0.0  # seconds
    rate: float = 0.0  # of pixel-days, or of units where they have none, a second
    to_go: float | None = None  # seconds
    pixel_days: bool = False
    retries: int = 0


def run_status(
    folder: Path, at_once: Sequence[str], now: float | None = None, *, order: Sequence[str] = ()
) -> list[StageStatus]:
    """Return the state of a run's stages.

    Parameters
    ----------
    folder : Path
        Of the run.
    at_once : sequence of str
        Stages that are done in one step; the others leave a log.
    order : sequence of str
        All stages, in which order they are told; also those that have not begun.
    now : float, optional
        Seconds since 1970.
    """
    now = time.time() if now is None else now
    begins = _newest_begins(folder / LOG_FOLDER)
    logged = [stage for begin in begins if (stage := _logged(*begin, now)) is not None]
    markers = folder / "run.markers" / "stages"
    steps = [
        StageStatus(name, "", *(("done", 1, 0) if there else ("not begun", 0, 1)))
        for name in at_once
        for there in [(markers / f"{name}.json").exists()]
    ]
    known = {stage.stage for stage in logged}
    if known - {*order}:
        known.add(IN_STEPS)
    told = [step for step in steps if step.stage not in known] + logged
    known |= {stage.stage for stage in told}
    told += [StageStatus(name, "", "not begun", 0, 1) for name in order if name not in known]
    places = {name: place for place, name in enumerate(order)}
    return sorted(told, key=lambda stage: places.get(stage.stage, places.get(IN_STEPS, 0)))


def _newest_begins(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the newest record of each stage and part, in the order of their begins."""
    newest: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            about = json.loads(path.read_text())
        except FileNotFoundError:  # a stage of one step has ended meanwhile
            continue
        newest.pop(key := (about["stage"], about["part"]), None)
        newest[key] = path, about
    yield from newest.values()


def _logged(place: Path, about: Mapping[str, Any], now: float) -> StageStatus | None:
    """Return the state of a stage that one client began.

    None for one of one step that was killed: only its marker tells whether it has to be done.
    """
    units, begun = about["units"], about["begun"]
    rows = read_rows(place)
    good = rows[rows["error"] == ""]
    # Rows come in late, but markers of the scratch go with it.
    ended = dict(zip(good["unit"], good["ended"], strict=True))
    ended |= {unit: at for unit, at in _marked(about).items() if unit in units and at >= begun - 1}
    bad = rows[(rows["error"] != "") & ~rows["unit"].isin(ended)].drop_duplicates("unit")
    left = len(units) - len(ended) - len(bad)
    running = left > 0 and is_alive(about["host"], about["pid"])
    if [*units] == [about["stage"]] and not running:
        return None
    last = now if running else max([begun, *ended.values()])
    weights = units if any(units.values()) else dict.fromkeys(units, 1)
    amount = sum(weights[unit] for unit in ended)
    lost = sum(weights[unit] for unit in bad["unit"])
    rate = amount / max(last - begun, 1e-9)
    rest = sum(weights.values()) - amount - lost
    return StageStatus(
        about["stage"], about["part"], "running" if running else "stopped" if left else "done",
        done=len(ended), left=left, skipped=about["skipped"],
        failed=tuple(zip(bad["unit"], bad["error"], strict=True)),
        elapsed=last - begun, rate=rate if amount else 0.0,
        to_go=rest / rate if running and amount else None,
        pixel_days=weights is units, retries=int(rows["retries"].sum()),
    )  # fmt: skip


def _marked(about: Mapping[str, Any]) -> dict[str, float]:
    """Return when each unit of a stage was marked as done."""
    found = files(about["markers"])
    return {file.name.removesuffix(".json"): file.modified for file in found
            if file.name.endswith(".json")}  # fmt: skip


def is_alive(host: str, pid: int) -> bool:
    """Whether a process lives; one on another machine is taken to."""
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


# ---- shown ------------------------------------------------------------------------------------


def status_table(found: list[StageStatus]) -> Table:
    """Return the state of a run as a table to print."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))  # 80 columns hold it
    table.add_column("stage", min_width=16)
    table.add_column("state", no_wrap=True)
    for name in ("done", "before", "left", "failed", "rate", "to go"):
        table.add_column(name, justify="right", no_wrap=name != "rate")
    for stage in found:
        name = f"{stage.stage} {stage.part}".strip()
        table.add_row(
            name, stage.state, str(stage.done), str(stage.skipped), str(stage.left),
            str(len(stage.failed)), describe_rate(stage), describe_seconds(stage.to_go),
        )  # fmt: skip
    return table


def describe_rate(stage: StageStatus) -> str:
    """Return the throughput in a unit that reads well."""
    if not stage.rate:
        return ""
    if stage.pixel_days:
        return f"{stage.rate / 1e6:.3g} M pixel-days/s"
    return f"{stage.rate:.3g} /s"


def describe_seconds(seconds: float | None) -> str:
    """Return a time to go, as hours and minutes or minutes and seconds."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
