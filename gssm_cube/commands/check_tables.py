"""A check as people read it: a row a source, then each fault with what to do about it."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from gssm_cube.check import Report
from gssm_cube.ingest.findings import Fault, Finding
from gssm_cube.plan import size

RANGES_SHOWN = 4
ALIKE_SHOWN = 3  # faults of one kind that are written out


def source_table(report: Report, title: str) -> Table:
    """Return a row a source: files, what is there, what is wanted, what is missing, its state."""
    table = Table("source", "files", title=title, box=box.SIMPLE)
    for name in ("there", "wanted", "missing"):
        table.add_column(name, overflow="fold")
    table.add_column("state")
    for finding in report.findings:
        files = f"{finding.files}\n{size(finding.size)}" if finding.files else ""
        missing = [shorten(finding.missing)] if finding.missing else []
        if finding.outages:
            missing.append(f"known outage: {shorten(finding.outages)}")
        texts = (finding.found, finding.wanted, "\n".join(missing))
        table.add_row(finding.source, files, *map(escape, texts), state_of(finding))
    return table


def shorten(ranges: Sequence[str]) -> str:
    """Return the first ranges, and how many there are in all."""
    more = f", ... {ranges[-1]} ({len(ranges)} in all)" if len(ranges) > RANGES_SHOWN else ""
    return ", ".join(ranges[:RANGES_SHOWN]) + more


def state_of(finding: Finding) -> str:
    """Return the state of a source in a word or two, in colour."""
    faults = len(finding.faults) + finding.more_faults
    if faults:
        return f"[bold red]{faults} fault{'s' * (faults > 1)}[/]"
    if finding.warnings:
        number = len(finding.warnings)
        return f"[yellow]{number} warning{'s' * (number > 1)}[/]"
    return "[green]ok[/]"


def fault_table(report: Report) -> Table:
    """Return a row a fault or warning, and what to do; of many alike the first few."""
    table = Table("source", box=box.SIMPLE, show_lines=True)
    for name in ("what is wrong", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in report.findings:
        rows = [("bold red", row) for row in _rows(finding.faults)]
        if finding.more_faults:
            rows.append(("bold red", (f"... and {finding.more_faults} more faults", "")))
        rows += [("yellow", row) for row in _rows(finding.warnings)]
        for style, (text, advice) in rows:
            table.add_row(f"[{style}]{finding.source}[/]", escape(text), escape(advice))
    return table


def _rows(faults: Sequence[Fault]) -> Iterator[tuple[str, str]]:
    """Yield texts and advice, of each kind the first few."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    for alike in kinds.values():
        yield from ((fault.text, fault.advice) for fault in alike[:ALIKE_SHOWN])
        if len(alike) > ALIKE_SHOWN:
            yield f"... and {len(alike) - ALIKE_SHOWN} more like this", alike[0].advice


def cost_lines(report: Report) -> Iterator[str]:
    """Yield what the run will write and how long it may take, and how well that is known."""
    disk = report.disk
    most = "at most, for the land is not known: " if not report.land_known else ""
    yield (
        f"Disk: {most}cube {size(disk.cube)}, product {size(disk.product)}, scratch meanwhile "
        f"{size(disk.scratch)}; {size(disk.written)} written, {size(disk.free)} free"
    )
    hours = sum(report.core_hours.values())
    parts = ", ".join(f"{name} {duration(value)}" for name, value in report.core_hours.items())
    text = f"Time: {most}about {duration(hours)} of one core ({parts})"
    if report.cores and report.cores > 1:
        text += f", {duration(hours / report.cores)} on the {report.cores} of this run"
    yield (
        f"{text}; by the rates of benchmarks/README.md, measured on another machine: expect half "
        "to three times as much, without stations, samples, training and scores"
    )


def duration(hours: float) -> str:
    """Return a time in a unit that reads well."""
    for unit, length in (("s", 1 / 3600), ("min", 1 / 60), ("h", 1.0)):
        if hours < 99.5 * length:
            return f"{hours / length:.2g} {unit}"
    return f"{hours / 24:,.0f} days"
