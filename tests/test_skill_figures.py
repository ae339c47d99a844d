"""Figures of the judgement: every mark is explained, and nothing that is not drawn."""

import pytest
import xarray as xr

from gssm_cube import skill_figures
from gssm_cube.exhibits import skill_exhibits

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
