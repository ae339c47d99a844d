"""The card in words."""

import json

from gssm_cube.model_card import card_markdown, write_cards

SCORES = {
    "new_stations": {
        "n": 500, "rmse": 0.0841, "ubrmse": 0.03, "bias": None, "r": 0.7, "stations": {"r": 0.88},
        "baseline": {"climatology": {"n": 500, "rmse": 0.126, "r": 0.1}},
        "intervals": {
            "level": 0.9, "factor": 1.55, "change_factor": 0.73, "floor": 0.05, "stations": 77,
            "elsewhere": {"coverage": 0.917, "width": 0.288},
        },
        "applicability": {"rank_correlation_with_rmse": 0.381},
    },
    "new_years": {"skipped": "one calendar year"},
    "random_rows": {"n": 100, "rmse": 0.036, "ubrmse": 0.036, "bias": 0.0, "r": 0.957},
}  # fmt: skip


def test_a_card_tells_how_good_how_sure_and_where_not_to_trust():
    text = card_markdown("default", {"features": ["apei", "clay"], "stations": 77, "rows": 9,
                                     "seed": 0, "scores": SCORES})  # fmt: skip
    assert text.startswith("# Forest `default`\n")
    assert "features apei, clay." in text
    assert "| new stations | 500 | 0.084 | 0.030 | - | 0.700 | 0.880 |" in text
    assert "| new years: one calendar year |" in text
    assert "| climatology of the training stations | 500 | 0.126 |" in text
    assert "1.550 sqrt(spread^2 + 0.05^2)" in text and "on 77 stations" in text
    assert "covered 0.917 of the days, with a mean width of 0.288" in text
    assert "RMSE of held-out stations is 0.38." in text
    assert text.index("| new stations |") < text.index("| random rows (comparison only) |")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {8}


def test_a_card_tells_the_parts_of_a_blend_and_the_search():
    parts = [
        {"name": "forest", "trees": 100, "weight": 1 / 3, "averaged": True},
        {"name": "booster", "trees": 200, "weight": 2 / 3, "averaged": False},
    ]
    rmse = [{"min_samples_leaf": 5, "rmse": 0.08, "std": 0.01},
            {"min_samples_leaf": 1, "rmse": 0.09, "std": 0.01}]  # fmt: skip
    search = {"folds": 5, "places": 70, "chosen": {"min_samples_leaf": 5}, "rmse": rmse}
    preset = {"increasing": ["apei", "bucket_50"]}
    text = card_markdown("x", {"parts": parts, "search": search, "preset": preset, "scores": {}})
    assert (
        "The estimate is 0.333 x forest (mean of 100 trees) + 0.667 x booster (sum of 200 trees)."
    ) in text
    assert "It only rises with apei, bucket_50" in text
    assert "Of 2 settings of the forest, judged in 5 folds of 70 places" in text
    assert "had the least RMSE: 0.0800 m3 m-3, the worst 0.0900" in text
    free = {"preset": preset | {"departures": {"rising": False}}, "parts": parts, "scores": {}}
    assert "All but the departure only rises with apei, bucket_50" in card_markdown("x", free)
    plain = card_markdown("x", {"parts": parts[:1], "scores": {}})
    assert "The estimate is 100 trees." in plain and "place is the mean" not in plain


def test_a_card_says_that_smaller_forests_were_judged():
    scores = {"forest": {"note": "20 trees in place of 50"}, "random_rows": {"n": 35179}}
    text = card_markdown("default", {"scores": scores})
    assert "Judged: 20 trees in place of 50." in text and "| 35,179 |" in text


def test_a_forest_that_is_not_judged_says_so():
    text = card_markdown("default", {"features": ["apei"], "scores": {}})
    assert "Not judged yet" in text and "No interval is calibrated" in text


def test_too_few_stations_are_the_reason_why_there_is_no_interval():
    scores = {"new_stations": {"n": 5, "rmse": 0.1, "intervals": {"skipped": "8 stations"}}}
    assert "No interval is calibrated: 8 stations." in card_markdown("x", {"scores": scores})


def test_both_cards_stand_beside_the_forest(tmp_path):
    write_cards(tmp_path, "default", {"scores": SCORES})
    assert json.loads((tmp_path / "card.json").read_text()) == {"scores": SCORES}
    assert (tmp_path / "card.md").read_text() == card_markdown("default", {"scores": SCORES})
