"""Figures with the numbers that their titles and captions name; those of the stations."""

import base64
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gssm_cube import figures, station_figures


@dataclass(frozen=True)
class Exhibit:
    """One figure as PNG, and the numbers that its title and caption in the template name."""

    name: str
    image: bytes
    values: dict[str, Any]

    @classmethod
    def of(cls, name: str, figure: Figure, **values: Any) -> "Exhibit":
        """Draw a figure."""
        return cls(name, figures.png(figure), values)

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.image).decode("ascii")


def station_exhibits(table: pd.DataFrame, counts: pd.DataFrame) -> list[Exhibit]:
    """Return the figures of the station tables, each with its title and caption.

    Parameters
    ----------
    table, counts : DataFrame
        As `read_station_table` and `read_station_counts` give them; the table is not empty.

    Returns
    -------
    list of Exhibit
        ``values`` hold ``title`` and ``caption``.
    """
    stations, days = table["station"].nunique(), len(table)
    read = int(counts["rows"].sum())
    pairs = len(station_figures.pixel_pairs(table))
    silent = len(counts.attrs["without_a_day"])
    made = {
        "stations_map": (
            station_figures.places_map(table), "The stations",
            f"{stations} stations with a value; {silent} more gave none.",
        ),
        "stations_time": (
            station_figures.coverage(table), "When the stations measured",
            f"{days:,} station-days of {stations} stations. White: no day was kept.",
        ),
        "stations_losses": (
            station_figures.losses(counts), "What became of the rows",
            f"{read:,} rows were read; each has one reason.",
        ),
        "stations_ssm": (
            station_figures.histogram(table), "Soil moisture at the stations",
            f"Median {table['observed'].median():.3f} m³ m⁻³.",
        ),
        "stations_agreement": (
            station_figures.agreement(table), "How far sensors agree",
            f"Left: {pairs} pairs of stations that share a 1 km pixel. Right: sensors of one "
            "station on one day. No estimate of the pixel can be nearer to a station than this.",
        ),
    }  # fmt: skip
    return [
        Exhibit.of(name, figure, title=title, caption=caption)
        for name, (figure, title, caption) in made.items()
    ]
