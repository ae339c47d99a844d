"""Days are added to a run: its past stays as it is, and readers see all the new days at once."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from gssm_cube import pipeline
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.forest import load_forest
from gssm_cube.product import open_product
from gssm_cube.release.difference import compare_products
from gssm_cube.settings import read_settings
from gssm_cube.storage.growth import is_growing
from gssm_cube.storage.stores import array_of, open_group, read_layout

# The small world has 370 days: a window of 366 and four more. The run begins with 368 of them.
FIRST, LAST = date(2019, 3, 3), date(2019, 3, 5)
STAGES = ("stations", "harmonise", "samples", "train", "predict")
CUBE = (
    *("daily/lst", "daily/lst_diff", "daily/quality", "meteo/cells", "meteo/climate"),
    *("composite/ndvi", "composite/evi", "composite/quality", "static/clay", "static/ti"),
    *("climatology/lst_day", "climatology/tair"),
)
PRODUCT = ("ssm", "ssm_spread", "quality", "time")


def run(settings):
    """Run what a product needs; return what the stages said."""
    return {name: pipeline.STAGES[name](settings) for name in STAGES}


def lengthen(path: Path):
    """Move the last day of a run on, as its user does."""
    path.write_text(path.read_text().replace(f"last_day = {FIRST}", f"last_day = {LAST}"))
    return read_settings(path)


def arrays(store, names):
    """Values of arrays, as a reader finds them now."""
    root = open_group(store)
    return {name: np.asarray(array_of(root, name)[...]) for name in names}


def product_arrays(settings):
    return arrays(settings.product, PRODUCT)


def objects(store):
    """Bytes of all that is not metadata."""
    files = (p for p in store.rglob("*") if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(store)): p.read_bytes() for p in files}


@dataclass(frozen=True)
class Extended:
    """A run before and after days were added."""

    path: Path
    cube: dict[str, np.ndarray]
    product: dict[str, np.ndarray]
    objects: dict[str, dict[str, bytes]]
    forest: str
    said: dict[str, str]

    @property
    def settings(self):
        return read_settings(self.path)


@pytest.fixture(scope="module")
def begun(small_world, tmp_path_factory):
    """The first 368 days of the small world, with the composites that come later."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    folder.mkdir()
    path = small_world.write_settings(folder)
    path.write_text(path.read_text().replace(f"last_day = {LAST}", f"last_day = {FIRST}"))
    run(read_settings(path))
    return path


@pytest.fixture(scope="module")
def extended(begun, tmp_path_factory):
    """The same run after two more days."""
    path = copy(begun, tmp_path_factory.mktemp("extended") / "run")
    settings = read_settings(path)
    before = (
        arrays(settings.cube, CUBE),
        product_arrays(settings),
        {store.name: objects(store) for store in (settings.cube, settings.product)},
        load_forest(settings.forest).digest,
    )
    return Extended(path, *before, run(lengthen(path)))


def copy(path, folder):
    subprocess.run(["cp", "-r", path.parent, folder], check=True)
    return folder / path.name


def test_both_stores_have_the_new_days(extended):
    for store in (extended.settings.cube, extended.settings.product):
        assert read_layout(store).last_day == LAST and not is_growing(store)
    product = open_product(extended.settings.product)
    assert product.time.values[-1] == np.datetime64("2019-03-05")
    assert product["ssm"][-2:].notnull().any(["lat", "lon"]).all()
    assert array_of(open_group(extended.settings.cube), "meteo/state").shape[0] == 2


def test_old_values_are_the_same_to_the_bit(extended):
    after = product_arrays(extended.settings)
    for name, values in extended.product.items():
        np.testing.assert_array_equal(after[name][: len(values)], values, err_msg=name)
    after = arrays(extended.settings.cube, CUBE)
    for name, values in extended.cube.items():
        if name.startswith("composite/"):
            continue
        box = tuple(slice(0, size) for size in values.shape)
        np.testing.assert_array_equal(after[name][box], values, err_msg=name)


def test_objects_of_whole_windows_keep_their_bytes(extended):
    for store in (extended.settings.cube, extended.settings.product):
        before, after = extended.objects[store.name], objects(store)
        changed = {name for name, held in before.items() if after[name] != held}
        # The shared last window; of the composites their last, shared year.
        parts = {(name.split("/c/")[0], name.split("/c/")[1].split("/")[0]) for name in changed}
        assert {number for name, number in parts if name != "meteo/cells"} == {"1"}
        cells = {name.split("/c/")[1].split("/")[1] for name in changed if "meteo/cells" in name}
        assert cells <= {"1"}


def test_what_was_learnt_stays(extended):
    settings = extended.settings
    assert load_forest(settings.forest).digest == extended.forest
    for stage in ("stations", "samples", "train"):
        assert f"{stage}: skipped, kept as of 2019-03-03" in extended.said[stage]
    assert extended.said["predict"].startswith("predict: 2 blocks done, 2 skipped")
    attrs = dict(open_group(settings.cube / "climatology").attrs)
    assert attrs["fitted_on"] == "2018-03-01/2019-03-03"


def test_a_second_run_does_nothing(extended):
    said = run(extended.settings)
    assert said["harmonise"].startswith("harmonise: 0 tasks done")
    assert said["predict"].startswith("predict: 0 blocks done, 4 skipped")


def test_the_memory_of_water_goes_on_as_if_the_cube_had_been_made_at_once(extended, small_world):
    for name in ("meteo/cells", "meteo/state", "composite/ndvi", "composite/evi", "static/ti"):
        one, other = (
            np.asarray(array_of(open_group(store), name)[...])
            for store in (extended.settings.cube, small_world.cube)
        )
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_new_model_has_its_product_beside_the_old(extended, tmp_path):
    path = copy(extended.path, tmp_path / "run")
    path.write_text('version = "v2"\n' + path.read_text().replace("trees = 5", "trees = 4"))
    settings, old = read_settings(path), path.parent / "ssm.zarr"
    before = objects(old)
    said = run(settings)
    assert said["harmonise"].startswith("harmonise: 0 tasks done")
    assert "mean of 4 trees" in said["train"]
    assert settings.product == path.parent / "versions" / "v2" / "ssm.zarr"
    assert objects(old) == before
    found = compare_products(old, settings.product)
    assert found.overall["changed"] > 0 < found.overall["rms"]
    assert (found.overall["only_first"], found.overall["only_second"]) == (0, 0)
    assert found.first["forest_digest"] == extended.forest != found.second["forest_digest"]


# Runs a stage for each line that it reads, in a process that kills itself when a function of a
# module is called for the n-th time; answers with what became of that process.
KILLER = """
import importlib, os, signal, sys
from gssm_cube import pipeline
from gssm_cube.settings import read_settings

settings = read_settings(sys.argv[1])
for line in sys.stdin:
    stage, module, name, number = line.split()
    child = os.fork()
    if child == 0:
        module, calls = importlib.import_module(module), []
        kept = getattr(module, name)
        def die(*args, **options):
            calls.append(args)
            if len(calls) == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return kept(*args, **options)
        setattr(module, name, die)
        pipeline.STAGES[stage](settings)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_kill_leaves_the_old_state_and_a_rerun_completes_it(begun, extended, tmp_path):
    path = copy(begun, tmp_path / "run")
    settings = lengthen(path)
    places = {"harmonise": (settings.cube, CUBE), "predict": (settings.product, PRODUCT)}
    kills = [
        ("harmonise", "gssm_cube.ingest.lst", "write_marker", 1),  # its shards are written
        ("harmonise", "gssm_cube.ingest.run", "end_growth", 1),  # all is there
        ("predict", "gssm_cube.blocks", "write_marker", 2),
        ("predict", "gssm_cube.predict", "end_growth", 1),
    ]
    command = [sys.executable, "-c", KILLER, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as killer:
        for stage, *where in kills:
            store, names = places[stage]
            before = arrays(store, names)
            killer.stdin.write(" ".join(map(str, (stage, *where))) + "\n")
            killer.stdin.flush()
            assert killer.stdout.readline() == "-9\n"
            assert is_growing(store)
            check_equal(arrays(store, names), before)
            if where[1] == "end_growth":
                pipeline.STAGES[stage](settings)
                done = {"harmonise": extended.settings.cube, "predict": extended.settings.product}
                assert not is_growing(store)
                check_equal(arrays(store, names), arrays(done[stage], names))
        killer.stdin.close()


def check_equal(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_provisional_days_are_redone_and_only_they(begun, small_world, tmp_path):
    path = copy(begun, tmp_path / "run")
    green, late = small_world.link_raw(tmp_path / "raw")["mod13a2"], tmp_path / "late"
    late.mkdir()
    for file in green.glob("*"):  # the newest composite is that of 6 March 2019
        if date_of(file) > date(2019, 3, 6):
            file.rename(late / file.name)
    place = small_world.folders["mod13a2"]
    path.write_text(path.read_text().replace(f'"{place}"', f'"{green}"'))
    first = read_settings(path)
    for stage in ("harmonise", "predict"):
        pipeline.STAGES[stage](first)
    before = product_arrays(first)
    provisional = before["quality"] & PRODUCT_FLAGS["vegetation_provisional"] > 0
    # Composites since 48 days before 6 March lack a later neighbour, and days reach one back.
    flagged = np.flatnonzero(provisional.any(axis=(1, 2)))
    assert flagged[-1] == 367 and 367 - 64 <= flagged[0] <= 367 - 40
    for file in late.glob("*"):
        file.rename(green / file.name)
    longer = lengthen(path)
    for stage in ("harmonise", "predict"):
        pipeline.STAGES[stage](longer)
    after = {name: values[:368] for name, values in product_arrays(longer).items()}
    for name in ("ssm", "ssm_spread", "quality"):
        differs = after[name] != before[name]
        assert differs.any() and not (differs & ~provisional).any(), name
    assert not (after["quality"] & PRODUCT_FLAGS["vegetation_provisional"]).any()


def date_of(file):
    """Start of the composite that a file of AppEEARS holds."""
    stamp = file.name.split("doy")[1][:7]
    return date(int(stamp[:4]), 1, 1) + timedelta(days=int(stamp[4:]) - 1)
