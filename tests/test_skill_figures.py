"""Figures of the judgement: every mark is explained, and nothing that is not drawn."""

import pytest
import xarray as xr

from gssm_cube.plots import skill_figures
from gssm_cube.plots.exhibits import skill_exhibits

TITLES = {"new_stations": "new stations", "random_rows": "random rows"}
BARE = {"rmse": 0.05}
RICH = {
    "rmse": 0.07,
    "interval": {"rmse": [0.06, 0.08]},
    "scatter": {"rmse": 0.002},
    "baseline": {"climatology": {"rmse": 0.09}, "seed_like": 0.08},
}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"random_rows": BARE}, ["forest"]),
        (
            {"new_stations": RICH, "random_rows": BARE},
            [
                "forest",
                "95 % interval over stations",
                "scatter over seeds",
                "climatology of the training stations",
                "forest of the gssm1km kind",
            ],
        ),
    ],
)
def test_the_legend_of_the_splits_names_the_marks_that_are_drawn(rows, expected):
    (legend,) = skill_figures.split_bars(rows, TITLES).legends
    assert [text.get_text() for text in legend.get_texts()] == expected


def test_the_splits_stand_in_the_order_given_from_the_top():
    rows = {"new_stations": RICH | {"n": 35179}, "random_rows": BARE}
    (axes,) = skill_figures.split_bars(rows, TITLES).axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["random rows", "new stations, n 35,179"]  # the first tick is the lowest


@pytest.mark.parametrize(
    ("rank", "said"), [(0.0, "rank correlation with RMSE is 0.00."), (None, "estimate of error.")]
)
def test_a_rank_correlation_of_zero_is_told_and_none_is_not(rank, said):
    layer = xr.DataArray([[0.1, 0.2]], {"lat": [1.0], "lon": [2.0, 3.0]}, ("lat", "lon"))
    scores = {"new_stations": {"applicability": {"rank_correlation_with_rmse": rank}}}
    (shown,) = skill_exhibits(scores, layer)
    assert shown.values["caption"].endswith(said)


def test_what_is_known_within_a_cell_is_told_with_its_count_and_what_is_not_left_out():
    said = {
        "cells": 2, "stations": 5, "n": 1234, "spatial_r": 0.31, "pattern_r": 0.4,
        "change_r": None, "interval": {"spatial_r": [0.1, 0.5], "pattern_r": None},
        "rmse": 0.061, "coarse_rmse": 0.07, "gain": 0.12, "gain_stations": 5,
        "pattern": [[-0.02, -0.01], [0.03, 0.02]],
    }  # fmt: skip
    (shown,) = skill_exhibits({"new_stations": {"resolution": said}}, None)
    caption = shown.values["caption"]
    assert caption.startswith("5 held-out stations that share 2 cells of 0.1 degrees, 1,234 ")
    assert "0.31 (0.10 to 0.50) of all departures" in caption and "0.40 of the stations'" in caption
    assert "from day to day" not in caption and "G_DOWN (Merlin et al. 2015) +0.12" in caption
    assert skill_exhibits({"new_stations": {"resolution": {"skipped": "apart"}}}, None) == []


def test_the_learning_curve_shows_its_scatter_over_seeds():
    curve = [{"stations": 5.0, "rmse": 0.08, "scatter": 0.01}, {"stations": 9.0, "rmse": 0.07}]
    (axes,) = skill_figures.learning_curve(curve).axes
    (bars,) = axes.containers[0].lines[2]
    ends = [tuple(segment[:, 1]) for segment in bars.get_segments()]
    assert ends == [pytest.approx((0.07, 0.09)), pytest.approx((0.07, 0.07))]
