"""Figures of the station tables, by the numbers behind them."""

import numpy as np
import pandas as pd
import pytest

from gssm_cube.insitu.station_tables import COLUMNS, StationWriter
from gssm_cube.plots import station_figures
from gssm_cube.plots.exhibits import station_exhibits
from gssm_cube.plots.figures import png
from gssm_cube.plots.station_summary import (
    StationSummary,
    station_list,
    summarise_parts,
    summarise_table,
)


@pytest.fixture
def table() -> pd.DataFrame:
    """Two stations in one pixel and one far away, forty days from 20 January."""
    days = pd.date_range("2020-01-20", periods=40)
    wave = 0.2 + 0.05 * np.sin(np.arange(40))
    places = {"N/a": (45.001, 3.001, 0.0), "N/b": (45.002, 3.002, 0.1), "N/c": (50.0, 9.0, 0.0)}
    frames = [
        pd.DataFrame({"station": name, "network": "N", "lat": lat, "lon": lon, "time": days,
                      "observed": wave + more, "spread": np.nan})
        for name, (lat, lon, more) in places.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def summary_of(table: pd.DataFrame, **how: int) -> StationSummary:
    """The summary of a table in two parts, as far as stations go."""
    parts = [part for _, part in table.groupby(table["station"] == "N/c")]
    return summarise_parts(parts, lambda names: table[table["station"].isin(names)], **how)


def test_months_are_counted_and_gaps_are_zero(table: pd.DataFrame) -> None:
    table = table[~((table["station"] == "N/c") & (table["time"].dt.month == 1))]
    days = summary_of(table).months
    assert days.loc["N/a"].tolist() == [12, 28]
    assert days.loc["N/c"].tolist() == [0, 28]


def test_stations_of_one_pixel_are_compared(table: pd.DataFrame) -> None:
    [pair] = summary_of(table).pairs.to_dict("records")
    assert (pair["first"], pair["second"], pair["days"]) == ("N/a", "N/b", 40)
    assert pair["r"] == pytest.approx(1.0)
    assert pair["rmsd"] == pytest.approx(0.1)
    assert summary_of(table, least_days=41).pairs.empty


def test_figures_are_drawn_and_their_bars_are_shares(table: pd.DataFrame) -> None:
    counts = pd.DataFrame(
        {"network": ["N", "N"], "reason": ["kept", "missing value"], "rows": [30, 10]}
    )
    figure = station_figures.losses(counts)
    assert sorted(bar.get_width() for bar in figure.axes[0].patches) == [25.0, 75.0]
    for name in ("places_map", "coverage", "histogram", "agreement"):
        assert png(getattr(station_figures, name)(summary_of(table))).startswith(b"\x89PNG")


def test_a_degree_north_is_as_long_on_the_map_as_it_is_on_the_ground(table: pd.DataFrame) -> None:
    summary = summary_of(table)
    axes = station_figures.places_map(summary).axes[0]
    middle = np.deg2rad(summary.places["lat"].agg(["min", "max"]).mean())
    assert axes.get_aspect() == pytest.approx(1 / np.cos(middle))


def test_exhibits_say_what_they_show(table: pd.DataFrame) -> None:
    counts = pd.DataFrame({"network": ["N"], "reason": ["kept"], "rows": [2880]})
    counts.attrs = {"without_a_day": [{"station": "N/d", "reason": "flag not G"}]}
    shown = {e.name: e.values["caption"] for e in station_exhibits(summary_of(table), counts)}
    assert len(shown) == 5
    assert shown["stations_map"].startswith("3 stations with a value; 1 more")
    assert shown["stations_losses"].startswith("2,880 rows")
    assert "Left: 1 pairs" in shown["stations_agreement"]


def test_agreement_counts_what_it_compares_on_axes_from_zero(table: pd.DataFrame) -> None:
    left, right = station_figures.agreement(summary_of(table.assign(spread=0.001))).axes
    assert left.get_title() == "1 pairs" and right.get_title() == "120 station-days"
    # r is 1 and the RMS difference 0.1 (N/b lies 0.1 above N/a): inside, and ticks do not crowd.
    assert left.get_xlim() == pytest.approx((-0.03, 1.03))
    assert left.get_ylim() == pytest.approx((0, 0.11))


def test_bars_of_losses_name_the_rows_of_their_network() -> None:
    counts = pd.DataFrame(
        {"network": ["N", "N", "M"], "reason": ["kept", "missing value", "kept"],
         "rows": [3000, 10, 7]}
    )  # fmt: skip
    labels = [text.get_text() for text in station_figures.losses(counts).axes[0].get_yticklabels()]
    assert labels == ["N (3,010)", "M (7)"]


def test_a_summary_in_parts_is_what_the_whole_table_says(table: pd.DataFrame) -> None:
    summary = summary_of(table)
    assert summary.places.loc["N/c"].tolist() == ["N", 50.0, 9.0, 40]
    assert (summary.days, summary.spread.sum()) == (120, 0)
    assert summary.median == pytest.approx(table["observed"].median(), abs=0.001)
    heights, _ = np.histogram(table["observed"], np.arange(0, 1.001, 0.02))
    bars = [bar.get_height() for bar in station_figures.histogram(summary).axes[0].patches]
    assert bars == heights.tolist()


def test_values_on_an_edge_and_beyond_the_last_step_are_counted() -> None:
    days = pd.date_range("2020-01-01", periods=4)
    place = {"station": "N/a", "network": "N", "lat": 45.0, "lon": 3.0}
    values = {"observed": [0.0, 0.2, 0.3, 1.0], "spread": [0.003, np.nan, 1.4, 0.0]}
    table = pd.DataFrame({"time": days, **values}).assign(**place)
    summary = summarise_parts([table], lambda names: table)
    assert np.flatnonzero(summary.observed).tolist() == [0, 200, 300, 999]
    assert np.flatnonzero(summary.spread).tolist() == [0, 3, 999]


def test_a_table_on_disk_is_summarised_part_by_part(table: pd.DataFrame, tmp_path) -> None:
    more = {"elevation": 1.0, "hours": 24, "sensors": 1, "koeppen": "Cfb", "land_cover": "x"}
    table, path = table.assign(**more), tmp_path / "stations.parquet"
    with StationWriter(path, "UTC") as writer:
        for _, part in table.groupby("station"):
            writer.add(part.astype(COLUMNS)[list(COLUMNS)])
        counts = pd.DataFrame({"network": [], "reason": [], "rows": []})
        writer.finish(counts)
    found, expected = summarise_table(path), summary_of(table)
    for name in ("places", "months", "pairs"):
        pd.testing.assert_frame_equal(
            getattr(found, name), getattr(expected, name), check_dtype=False, check_index_type=False
        )
    np.testing.assert_array_equal(found.observed, expected.observed)
    listed = station_list(path)
    assert listed["station"].tolist() == ["N/a", "N/b", "N/c"]
    assert listed["days"].tolist() == [40, 40, 40]
