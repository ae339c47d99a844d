"""The page of a product in Chromium: a day, a click, a series, files, nothing from elsewhere.

Wants ``npm install`` in tests/browser; ``.ci/run`` does that, and names what it could not run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from view_product import LAYOUT, NORTH, WEST, write_view_product

from gssm_cube.product import open_product

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
DRIVER = Path(__file__).parent / "browser" / "view.mjs"
DAY, LON, LAT = "2019-03-02", WEST + 0.4, NORTH - 0.2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_view_product(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def seen(store, tmp_path_factory):
    """What the driver saw on the page that the command serves."""
    pictures = Path(os.environ.get("GSSM_PICTURES") or tmp_path_factory.mktemp("pictures"))
    command = [sys.executable, "-m", "gssm_cube.cli", "view", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r"http://localhost:\d+/", server.stdout.readline())[0]
            words = ["node", DRIVER, address, str(LON), str(LAT), DAY, pictures]
            done = subprocess.run(words, capture_output=True, text=True, timeout=200)
        finally:
            server.terminate()
            assert server.wait(20) == 143  # ended by the polite kill
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"pictures": pictures}


def codes_of(values) -> np.ndarray:
    return np.rint(np.array(values, dtype="float64") * 1000)


def test_node_and_chromium_are_there():
    assert shutil.which("node") and shutil.which(os.environ.get("CHROMIUM", "chromium"))


def test_the_console_is_silent_and_nothing_is_asked_of_another_host(seen):
    assert seen["errors"] == []
    assert seen["foreign"] == []


def test_the_day_that_was_typed_is_on_the_map_to_the_code(seen, store):
    assert DAY in seen["heading"]
    expected = open_product(store).ssm.sel(time=DAY).values[::-1]
    image = np.array([np.nan if v is None else v for v in seen["image"]], dtype="float64")
    np.testing.assert_array_equal(codes_of(image), codes_of(expected.ravel()))


def test_the_slider_goes_to_the_day_after_by_the_arrow_key(seen):
    assert seen["slidTo"] == "2019-03-03"


def test_a_click_shows_the_series_of_its_pixel_to_the_code(seen, store):
    place = open_product(store).sel(lat=LAT, lon=LON, method="nearest")
    np.testing.assert_allclose(seen["pixel"], [place.lon, place.lat])
    days = seen["days"]
    for name, column in {"ssm": "ssm", "ssm_lower": "lower", "ssm_upper": "upper"}.items():
        found = [np.nan if value is None else value for value in days[column]]
        np.testing.assert_array_equal(codes_of(found), codes_of(place[name]))
    assert len(days["time"]) == LAYOUT.days


def test_what_is_shown_comes_as_files(seen):
    assert set(seen["files"]) == {"Map as GeoTIFF", "Map as PNG", "Series as CSV"}
    assert all(status == 200 and size > 1000 for status, size in seen["files"].values())


def test_all_fields_are_reached_by_the_tab_key_and_have_names(seen):
    reached = " | ".join(seen["focused"])
    for name in ("Day before", "Day after", "Layer", "Zoom in", "Latitude", "Longitude", "Show"):
        assert name in reached
    assert all(seen["focused"])


def test_the_page_fits_a_telephone(seen):
    assert not seen["wider"]
    assert (seen["pictures"] / "narrow.png").stat().st_size > 10_000


def test_map_and_series_come_while_somebody_waits(seen, capsys):
    times = {name: seen[name] for name in ("firstMap", "otherDay", "series")}
    with capsys.disabled():
        sys.stdout.write(f"\nmilliseconds in the browser: {times}\n")
    assert min(times.values()) > 0
