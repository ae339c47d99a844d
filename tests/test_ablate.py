"""The ablation: variants of a recipe judged at places that they have not seen."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from distributed import Client
from test_cli import invoke

from gssm_cube.ablate import REFERENCE, Variant, ablate, judge, variants
from gssm_cube.forest import PRESETS, Preset, Weights
from gssm_cube.skill.held_out import out_of_fold
from gssm_cube.skill.station_rows import rows_of_table
from gssm_cube.skill.trials import COLUMNS, Recipe, Samples, complete_samples
from gssm_cube.splits import Split, place_folds, place_groups
from gssm_cube.statistics.bootstrap import paired_difference
from gssm_cube.statistics.scores import score_table, station_table

FEATURES = ("apei", "clay")
PLAIN = Preset(name="plain", features=FEATURES, trees=5)
BLIND = Preset(name="blind", features=("clay",), trees=5)


@pytest.fixture(scope="module")
def known() -> Samples:
    """Eight stations, two degrees apart, wet as their index says."""
    rng = np.random.default_rng(8)
    station = np.repeat(np.arange(8), 110)
    table = pd.DataFrame({
        "station": [f"s{number}" for number in station],
        "station_lat": 30.0 + 2 * station, "station_lon": 10.0,
        "time": np.tile(pd.date_range("2020-01-01", periods=110), 8),
        "apei": rng.normal(size=station.size), "clay": rng.normal(size=8)[station],
    })  # fmt: skip
    table["observed"] = 0.25 + 0.05 * table["apei"] + rng.normal(0, 0.01, station.size)
    return complete_samples(table, FEATURES, COLUMNS, least=2)


def held_of(known: Samples, preset: Preset, seed: int) -> pd.DataFrame:
    """The project's own out-of-fold estimates of one deal."""
    groups = place_groups(known.places["lat"], known.places["lon"])
    split = Split(place_folds(groups, k=5, seed=seed))
    recipe = Recipe(preset, list(preset.features), seed, n_jobs=1)
    with TemporaryDirectory() as folder:
        return pd.concat(out_of_fold(rows_of_table(known, Path(folder)), recipe, split))


def test_a_row_has_the_scores_of_folds_by_place_and_the_paired_difference(known):
    wanted = [Variant("blind", BLIND), Variant("plain", PLAIN)]
    rows = ablate(known, wanted, seeds=[3], reference="blind")
    blind, plain = (held_of(known, preset, 3) for preset in (BLIND, PLAIN))
    expected = score_table(plain)
    assert [row["name"] for row in rows] == ["blind", "plain"]
    assert rows[1]["scores"]["rmse"] == pytest.approx(expected["rmse"], abs=1e-12)
    assert rows[1]["scores"]["station_r"] == pytest.approx(expected["stations"]["r"], abs=1e-12)
    paired = paired_difference(station_table(plain), station_table(blind))
    assert rows[1]["difference"] == paired and paired["rmse"]["significant"]
    assert rows[0]["difference"] == {}


def test_scores_of_several_deals_are_means(known):
    both = ablate(known, [Variant("a", PLAIN)], seeds=[0, 1], reference="a")[0]["scores"]
    each = [
        ablate(known, [Variant("a", PLAIN)], seeds=[s], reference="a")[0]["scores"] for s in (0, 1)
    ]
    for name, value in both.items():
        assert value == pytest.approx(np.mean([scores[name] for scores in each]), abs=1e-12)


def test_a_variant_that_is_done_is_kept_and_another_is_not_taken_for_it(known, tmp_path):
    wanted = [Variant("a", PLAIN)]
    first = ablate(known, wanted, folder=tmp_path, seeds=[0], reference="a")
    (kept,) = tmp_path.glob("*.parquet")
    made = kept.stat().st_mtime_ns
    renamed = Variant("other name", PLAIN.model_copy(update={"name": "x"}))
    again = ablate(known, [renamed], folder=tmp_path, seeds=[0], reference="other name")
    assert again[0]["scores"] == first[0]["scores"] and kept.stat().st_mtime_ns == made
    more = [Variant("b", PLAIN.model_copy(update={"trees": 6}))]
    ablate(known, more, folder=tmp_path, seeds=[0], reference="b")
    ablate(known, wanted, folder=tmp_path, seeds=[1], reference="a")
    assert len(list(tmp_path.glob("*.parquet"))) == 3


def test_the_active_cluster_does_the_fits_and_changes_no_bit(known, tmp_path):
    alone = judge(known, PLAIN, [0])
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
                local_directory=tmp_path) as client:  # fmt: skip
        spread = judge(known, PLAIN, [0])
        done = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    assert done > 0
    pd.testing.assert_frame_equal(spread, alone)


def test_variants_differ_from_the_blend_in_what_their_name_says():
    base = PRESETS["memory"]
    found = {variant.name: variant.preset for variant in variants(base)}
    assert next(iter(found)) == REFERENCE and list(found)[-1] == "blend"
    assert len(found) == len({str(p.model_dump(exclude={"name"})) for p in found.values()})
    assert found["blend"].model_dump(exclude={"name"}) == base.model_dump(exclude={"name"})
    assert set(base.features) - set(found["without soil"].features) == {
        "clay", "sand", "silt", "porosity", "omc",
    }  # fmt: skip
    assert found["with latitude and longitude"].features[-2:] == ("lat", "lon")
    assert not [n for n in found["without climate"].features if n.startswith("climate")]
    assert set(found[REFERENCE].features) == {
        *("precipitation", "pet", "tair", "lst", "lst_diff", "surplus_11d", "lat", "lon"),
        *("clay", "sand", "silt", "porosity", "omc", "elevation"),
    }
    assert found["booster"].weights == Weights(forest=0, booster=1)


def test_the_position_is_that_of_the_station(known):
    position = Preset(name="p", features=("lat",), trees=3, min_samples_leaf=50)
    table = judge(known, position, [0])
    assert len(table) == 8 and table["n"].eq(110).all()


def test_an_unknown_reference_is_named(known):
    with pytest.raises(ValueError, match=r"the reference 'best' is no variant, expected one of"):
        ablate(known, [Variant("a", PLAIN)], reference="best")


def test_the_command_prints_a_row_a_variant_and_writes_json(tmp_path):
    rng = np.random.default_rng(1)
    features = [*PRESETS["memory"].features]
    station = np.repeat(np.arange(6), 40)
    table = pd.DataFrame(rng.normal(size=(240, len(features))), columns=features)
    fixed = [name for name in features if name.startswith("climate_") or name in ("clay", "sand")]
    table[["silt", "porosity", "omc", "elevation"]] = 1.0
    table[fixed] = rng.normal(size=(6, len(fixed)))[station]
    table = table.assign(
        station=station.astype(str), station_lat=40.0 + station, station_lon=5.0,
        time=np.tile(pd.date_range("2020-01-01", periods=40), 6),
        observed=0.2 + 0.05 * np.tanh(table["bucket_50"]),
    )  # fmt: skip
    path = tmp_path / "table.parquet"
    table.to_parquet(path)
    arguments = ["ablate", path, "--only", "20 trees", "--seeds", 1, "--cluster", "none"]
    text = invoke(*arguments, "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())
    names = [REFERENCE, "as gssm1km: 20 trees, half of the rows", "20 trees"]
    assert [row["name"] for row in rows] == names
    assert "1000 dRMSE" in text and "20 trees" in text
    assert len(list((tmp_path / "table.ablation").glob("*.parquet"))) == 3
    said = invoke("ablate", path, "--only", "moon, tides", status=1)
    assert "no variant holds moon or tides, expected words of: " in said and "20 trees" in said
