"""What a check finds of a source: what is there, what is missing, what is wrong, what to do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 1000  # faults of a source that are kept as text; the others are counted
# Errors say what was found, what was expected and, last, what to do.
_ADVICE = re.compile(r"(?:; |, (?=download: |keep one of))(?!.*; )")


@dataclass(frozen=True)
class Fault:
    """One fault: what was found and expected, and what to do about it."""

    text: str
    advice: str

    @classmethod
    def of(cls, message: str) -> "Fault":
        """Part the message of an error."""
        text, *rest = _ADVICE.split(message, maxsplit=1)
        return cls(text, rest[0] if rest else "correct what is named, or leave it out")

    @property
    def kind(self) -> str:
        """The same for faults that differ by file, day or number only."""
        return re.sub(r"\S*/\S*|\d+", "#", self.text)


@dataclass
class Finding:
    """What is there of a source, and what a run needs of it.

    ``missing`` are days (ISO), tiles or layers that a run needs; ``outages`` days on which the
    instrument is known to have given nothing. A fault keeps a run from starting or lets it fail
    on its way; a warning becomes a gap that the run counts.
    """

    source: str
    place: str
    files: int = 0
    size: int = 0  # bytes
    found: str = ""
    wanted: str = ""
    missing: list[str] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    more_faults: int = 0  # that are counted only
    headers: int = 0  # files or days whose headers were read, or are known from before

    def tell(self, error: Exception) -> None:
        """Take an error as a fault; the same text counts once."""
        self.add(str(error))

    def add(self, message: str) -> None:
        """Take a message as a fault."""
        fault = Fault.of(message)
        if fault in self.faults:
            return
        if len(self.faults) < SHOWN:
            self.faults.append(fault)
        else:
            self.more_faults += 1

    def warn(self, message: str) -> None:
        """Take a message as a warning."""
        self.warnings.append(Fault.of(message))

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON-like values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        texts = {
            name: [{"text": fault.text, "advice": fault.advice} for fault in plain[name]]
            for name in ("faults", "warnings")
        }
        return plain | texts


def ranges(chosen: Sequence[Any], every: Sequence[Any]) -> list[str]:
    """Return runs of neighbours, such as ``2018-05-01..2018-05-31``.

    Parameters
    ----------
    chosen : sequence
        Some of ``every``, in its order.
    every : sequence
        What follows what.
    """
    place = {item: number for number, item in enumerate(every)}
    runs: list[list[Any]] = []
    for item in chosen:
        if runs and place[item] == place[runs[-1][-1]] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs]
