"""The model card in words: what a forest is, how good, how sure, and where not to trust it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gssm_cube.blocks import write_atomically
from gssm_cube.forest import Preset
from gssm_cube.skill.baselines import TITLES
from gssm_cube.skill.station_rows import StationRows
from gssm_cube.statistics.scores import plain
from gssm_cube.variables import PREDICTORS

MEASURES = {"rmse": "RMSE", "ubrmse": "ubRMSE", "bias": "bias", "r": "r"}
SPLITS = {
    "new_stations": "new stations",
    "new_years": "new years",
    "test": "second table",
    "random_rows": "random rows (comparison only)",
}


def model_facts(rows: StationRows, preset: Preset, day: str) -> dict[str, Any]:
    """Return what a reader must know of a forest: features, packings, recipe, rows, no scores yet.

    Parameters
    ----------
    rows : StationRows
        That it was trained on; those without a feature were dropped.
    preset : Preset
    day : str
        Whose day it is.
    """
    return {
        "features": list(preset.features),
        "packing": {
            name: [PREDICTORS[name].packing.scale, PREDICTORS[name].packing.offset]
            for name in preset.features
        },
        "preset": preset.model_dump(mode="json"),
        "rows": len(rows),
        "rows_dropped": rows.read - len(rows),
        "stations": len(rows.stations),
        "day": day,
        "scores": {},
    }


def write_cards(folder: Path, preset: str, card: Mapping[str, Any]) -> None:
    """Write the card beside a saved forest: ``card.json``, and ``card.md`` for people."""
    write_atomically(folder / "card.json", json.dumps(card, indent=1))
    write_atomically(folder / "card.md", card_markdown(preset, card))


def card_markdown(preset: str, card: Mapping[str, Any]) -> str:
    """Return a forest's card as Markdown.

    Parameters
    ----------
    preset : str
        Name of the recipe.
    card : mapping
        As it is saved with the forest: ``features``, ``rows``, ``stations``, ``day``, ``scores``
        (of `evaluate`), and so on; what is not there is left out.

    Returns
    -------
    str
    """
    scores = card.get("scores") or {}
    parts = [
        f"# Forest `{preset}`",
        _about(card),
        _model(card),
        _skill(scores),
        _sure(scores.get("new_stations") or {}),
        _trust(scores.get("new_stations") or {}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(card: Mapping[str, Any]) -> str:
    """Say what it was trained on, and what for."""
    lines = [
        "Estimates daily surface soil moisture (0-5 cm, m3 m-3) of 1 km pixels from the features "
        f"{', '.join(card.get('features', []))}.",
        f"Trained on {card.get('rows', 'unknown')} station-days of "
        f"{card.get('stations', 'unknown')} stations; days are {card.get('day', 'UTC')}; seed "
        f"{card.get('seed', 'unknown')}; gssm_cube {card.get('gssm_cube', '')}.",
        "Frozen days were never trained on.",
    ]
    return "\n".join(lines)


def model_line(parts: Sequence[Mapping[str, Any]]) -> str:
    """Say what trees an estimate is made of.

    Parameters
    ----------
    parts : sequence of mapping
        ``name``, ``trees``, ``weight`` and ``averaged`` of each part of the compiled forest.
    """
    told = [
        f"{part['weight']:.3g} x {part['name']} ({'mean' if part['averaged'] else 'sum'} of "
        f"{part['trees']} trees)"
        for part in parts
    ]
    return f"{parts[0]['trees']} trees" if len(parts) == 1 else " + ".join(told)


def _model(card: Mapping[str, Any]) -> str:
    """Tell the model's parts, and what was tried to choose it."""
    if not card.get("parts"):
        return ""
    lines = ["## Which model\n", f"The estimate is {model_line(card['parts'])}."]
    if len(card["parts"]) > 1:
        lines.append(
            "The forest sees all features; the booster is boosted trees; place is the mean of a "
            "place, learnt from what is fixed there, and departure the days' departures from it."
        )
    preset = card.get("preset") or {}
    if rising := preset.get("increasing"):
        free = not preset.get("departures", {}).get("rising", True)
        which = "All but the departure only rises" if free else "It only rises"
        lines.append(f"{which} with {', '.join(rising)}, all else equal.")
    if search := card.get("search"):
        best, last = search["rmse"][0], search["rmse"][-1]
        lines.append(
            f"Of {len(search['rmse'])} settings of the forest, judged in {search['folds']} folds "
            f"of {search['places']} places, {search['chosen']} had the least RMSE: "
            f"{best['rmse']:.4f} m3 m-3, the worst {last['rmse']:.4f}. The scores at new stations "
            "below are of these very places, so they flatter a little."
        )
    return "\n".join(lines)


def _skill(scores: Mapping[str, Any]) -> str:
    """Scores by split, with the baselines."""
    if not scores:
        return "## How good\n\nNot judged yet: run `gssm evaluate`."
    rows = ["| judged on | n | " + " | ".join(MEASURES.values()) + " | station r |"]
    rows.append("|---" * (len(MEASURES) + 3) + "|")
    rows += [_row(title, scores[key]) for key, title in SPLITS.items() if key in scores]
    baselines = (scores.get("new_stations") or {}).get("baseline", {})
    rows += [_row(title, baselines[key]) for key, title in TITLES.items() if key in baselines]
    note = (scores.get("forest") or {}).get("note")
    said = "n counts station-days; RMSE, ubRMSE and bias in m3 m-3; station r is a median."
    lines = ["Baselines are judged at new stations.", said, *([f"Judged: {note}."] if note else [])]
    return "## How good\n\n" + "\n".join([*lines, "", *rows])


def _row(title: str, score: Mapping[str, Any]) -> str:
    """One line of the table."""
    if "skipped" in score:
        return f"| {title}: {score['skipped']} |" + " |" * (len(MEASURES) + 2)
    values = [score.get(name) for name in MEASURES]
    values.append((score.get("stations") or {}).get("r"))
    cells = [_number(value) for value in values]
    return f"| {title} | {score.get('n', 0):,} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None or plain(value) is None else f"{value:.3f}"


def _sure(score: Mapping[str, Any]) -> str:
    """Tell the interval and its constants."""
    said = score.get("intervals") or {}
    if "factor" not in said:
        reason = said.get("skipped", "no station was held out")
        return f"## How sure\n\nNo interval is calibrated: {reason}."
    lines = [
        "## How sure\n",
        f"The {said['level']:.0%} interval is the estimate plus and minus {said['factor']:.3f} "
        f"sqrt(spread^2 + {said['floor']:g}^2), spread being the standard deviation over the "
        f"trees; calibrated on {said['stations']} stations that their forests had not seen.",
    ]
    if elsewhere := said.get("elsewhere"):
        lines.append(
            f"At stations that did not calibrate it covered {elsewhere['coverage']:.3f} of the "
            f"days, with a mean width of {elsewhere['width']:.3f} m3 m-3."
        )
    if said.get("change_factor") is not None:
        lines.append(
            f"For the change from a place's own mean, {said['change_factor']:.3f} stands in place "
            "of the factor: what the width has beyond it is the unknown level of the place."
        )
    return "\n".join(lines)


def _trust(score: Mapping[str, Any]) -> str:
    """Where it should not be trusted."""
    lines = [
        "## Where not to trust it\n",
        "Where no station stands in a like place: the scores and the interval hold for places like "
        "the stations. Where the ground is frozen or under snow.",
    ]
    note = score.get("applicability") or {}
    if note.get("rank_correlation_with_rmse") is not None:
        lines.append(
            "The dissimilarity index tells how unlike all stations a place is. It is information, "
            "not an estimate of error: its rank correlation with the RMSE of held-out stations is "
            f"{note['rank_correlation_with_rmse']:.2f}."
        )
    return "\n".join(lines)
