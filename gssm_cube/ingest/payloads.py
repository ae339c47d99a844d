"""The files of many days as payloads of tasks, by label; a day's are made when it is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gssm_cube.sources.day_files import DayFiles


@dataclass(frozen=True, eq=False)
class ByDay(Mapping[str, Any]):
    """Payloads of a product's days by their dates as text, made when they are asked for."""

    files: DayFiles

    def __getitem__(self, label: str) -> dict[str, Any]:
        return self.files[date.fromisoformat(label)]

    def __iter__(self) -> Iterator[str]:
        return map(str, self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, eq=False)
class ByOverpass(Mapping[str, Any]):
    """Payloads of an overpass's days, such as ``Day 2024-01-01``."""

    files: Mapping[str, DayFiles]

    def __getitem__(self, label: str) -> dict[str, Any]:
        overpass, day = label.split()
        return {overpass: self.files[overpass][date.fromisoformat(day)]}

    def __iter__(self) -> Iterator[str]:
        return (f"{overpass} {day}" for overpass, days in self.files.items() for day in days)

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))
