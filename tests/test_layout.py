"""The shape of the code: who imports whom, and how long things are."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gssm_cube

ROOT = Path(gssm_cube.__file__).parent
MODULES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))

GROUND = {"variables", "grid"}
# Who may import whom: rows may be added, arrows not reversed. A package may import itself.
ALLOWED = {
    "variables": set(),
    "grid": set(),
    "regions": {"grid"},
    "cluster_settings": set(),
    "earthengine_settings": set(),
    "web_settings": set(),
    "toml_tables": set(),
    "settings": GROUND
    | {
        *("cluster_settings", "earthengine_settings", "locations", "regions", "toml_tables"),
        "web_settings",
    },
    "object_stores": set(),
    "files": set(),
    "locations": {"files", "object_stores"},
    "remote_zarr": {"object_stores"},
    "growth": {"locations", "remote_zarr"},
    "markers": {"files", "growth", "locations"},
    "blocks": {"grid", "locks", "markers"},
    "leases": {"locations"},
    "locks": {"leases", "locations"},
    "software": set(),
    "clusters": {"cluster_settings", "software"},
    "fetched": {"files", "locations", "object_stores"},
    "run_log": {"files", "locations"},
    "stores": GROUND | {"files", "growth", "locations", "remote_zarr"},
    "interpolate": {"variables"},
    "shards": {"object_stores", "remote_zarr"},
    "lazy": {"flags", "interpolate", "shards", "variables"},
    "flags": set(),
    "cube_readers": GROUND | {"lazy", "shards", "stores"},
    "cube": GROUND | {"cube_readers", "flags", "growth", "stores", "lazy", "locations", "shards"},
    "sources": GROUND | {"files", "locations"},
    "at_once": {"sources"},
    "harmonise": GROUND,
    "ingest": GROUND
    | {"flags", "sources", "harmonise", "cube", "blocks", "stores", "interpolate"}
    | {"growth", "locations", "run_log", "years"},
    "orders": GROUND | {"blocks", "harmonise", "ingest", "sources"},
    "earthengine_orders": GROUND | {"orders", "sources"},
    "downloads": GROUND
    | {"at_once", "blocks", "earthengine_orders", "files", "orders", "settings", "sources"},
    "web_orders": GROUND | {"files", "harmonise", "orders", "sources", "web_settings"},
    "web_downloads": {
        *("blocks", "downloads", "orders", "settings", "sources", "web_orders", "web_settings"),
    },
    "remote_sources": {"blocks", "downloads", "orders", "settings", "web_downloads"},
    "fetch": GROUND | {"at_once", "blocks", "ingest", "orders", "sources", "web_settings"},
    "archive": set(),
    "lines": set(),
    "station_days": {"quality"},
    "ismn": {"variables", "lines"},
    "spectrum": set(),
    "quality": {"variables", "spectrum", "lines"},
    "harvest": {"archive", "ismn", "lines", "quality"},
    "warm": {"harvest", "lines"},
    "tables": {"harvest", "ismn", "lines", "quality"},
    "station_tables": {"files", "quality"},
    "stations": GROUND | {"ismn", "quality", "harvest", "tables", "station_days", "station_tables"},
    "station_summary": {"grid", "station_tables"},
    "station_figures": {"figures", "quality", "station_summary"},
    "picks": GROUND | {"cube", "blocks", "files", "shards", "stores", "interpolate"},
    "sample_store": {"blocks", "files", "variables"},
    "sphere": set(),
    "years": set(),
    "splits": GROUND | {"cube", "sphere", "years"},
    "knndm": {"splits", "sphere"},
    "placing": GROUND | {"picks", "locations", "splits", "station_tables", "stores"},
    "samples": GROUND
    | {"cube", "blocks", "stores", "picks", "placing", "locations", "sample_store", "run_log"},
    "station_parts": set(),
    "pair_sums": set(),
    "quantiles": set(),
    "scores": {"pair_sums"},
    "bootstrap": {"scores"},
    "intervals": {"quantiles", "scores", "station_parts"},
    "applicability": {"station_parts"},
    "baselines": set(),
    "rain_errors": set(),
    "kept": {"blocks", "forest", "settings", "stores"},
    "model_card": {"baselines", "blocks", "forest", "scores", "station_rows", "variables"},
    "training": {"forest", "model_card", "sample_store", "station_rows"},
    "resolution": {"pair_sums", "scores", "station_parts"},
    "once": {"blocks", "locations"},
    "forest": GROUND | {"files"},
    "trials": {"baselines", "forest", "splits"},
    "station_rows": {"sample_store", "trials"},
    "held_out": {"baselines", "forest", "resolution", "splits", "station_rows", "trials"},
    "predictions": {"files"},
    "findings": {"applicability", "bootstrap", "held_out", "intervals", "scores", "trials"},
    "judgements": {
        *("applicability", "bootstrap", "findings", "forest", "held_out", "intervals"),
        *("resolution", "scores", "splits", "station_rows", "trials"),
    },
    "comparison": {
        *("bootstrap", "held_out", "knndm", "pair_sums", "scores", "splits", "station_rows"),
        "trials",
    },
    "search": {"forest", "splits", "trials"},
    "ablate": {
        *("blocks", "bootstrap", "files", "forest", "scores", "splits", "trials", "variables"),
    },
    "evaluate": {
        *("splits", "variables", "scores", "forest", "bootstrap", "intervals", "applicability"),
        *("trials", "findings", "comparison", "resolution"),
        *("held_out", "judgements", "predictions", "station_rows"),
    },
    "station_weather": {"harmonise", "variables"},
    "export": GROUND | {"blocks", "files", "locations", "product", "stores"},
    "coarsen": {"variables"},
    "overviews": GROUND
    | {"blocks", "coarsen", "flags", "growth", "lazy", "locations", "product", "shards", "stores"},
    "surface": GROUND
    | {"applicability", "block_inputs", "blocks", "cube", "harmonise", "locations", "product"}
    | {"sources", "stores"},
    "difference_maps": GROUND | {"files"},
    "difference": GROUND
    | {"blocks", "difference_maps", "locations", "product", "shards", "stores"},
    "citations": {"archive", "sources", "web_settings"},
    "stac": {"blocks", "grid", "locations", "product", "stores"},
    "bars": set(),
    "terminal": {"bars"},
    "day_statistics": {"variables"},
    "climatology": GROUND
    | {"blocks", "day_statistics", "locations", "product", "shards", "stores"},
    "product": GROUND | {"growth", "stores", "flags", "lazy", "locations", "shards"},
    "physics": set(),
    "estimate": GROUND | {"cube", "flags", "forest", "physics", "locations", "product", "stores"},
    "block_inputs": GROUND | {"cube", "blocks", "locations", "stores"},
    "predict": GROUND
    | {"cube", "product", "forest", "blocks", "clusters", "stores", "estimate"}
    | {"block_inputs", "fetched", "growth", "locations", "run_log"},
    "replay": {"cube", "estimate", "physics", "predict", "variables"},
    "status": {"locations", "run_log"},
    "detached": set(),
    "plan": GROUND
    | {"cube", "forest", "ingest", "locations", "remote_sources", "settings", "sources"},
    "request_costs": GROUND | {"downloads", "plan", "sources", "web_downloads"},
    "routes": {
        *("citations", "fetch", "plan", "remote_sources", "request_costs", "settings"),
        "web_downloads",
    },
    "calibration": GROUND | {"forest"},
    "forecast": GROUND
    | {"cube", "estimate", "forest", "locations", "plan", "product", "run_log", "settings"},
    "check": {
        "archive",
        "blocks",
        "cube",
        "forest",
        "harvest",
        "ingest",
        "ismn",
        "locations",
        "plan",
        "quality",
        "remote_sources",
        "settings",
        "sources",
        "stores",
        "tables",
    },
    "check_tables": {"check", "ingest", "plan"},
    "figures": {"station_parts"},
    "skill_figures": {"figures"},
    "exhibits": {"figures", "skill_figures", "station_figures", "station_summary"},
    "score_rows": {"baselines"},
    "score_tables": {"baselines"},
    "report": GROUND | {"figures", "exhibits", "predictions", "score_rows"},
    "run_facts": {"blocks", "citations", "estimate", "forest", "model_card", "predict", "settings"},
    "validate": {
        *("blocks", "bootstrap", "exhibits", "figures", "grid", "resolution", "score_rows"),
        *("replay", "scores", "sphere", "stations", "stores", "toml_tables"),
    },
    "view": GROUND
    | {"export", "figures", "flags", "overviews", "locations", "product", "shards", "sphere"}
    | {"station_summary", "station_tables", "stores"},
    "__init__": {"cube", "product"},
}
# These compose: they import what they like, but of one another only this.
COMPOSERS = {
    "pipeline": set(),
    "demo": {"pipeline"},
    "product_commands": set(),
    "earthengine_commands": set(),
    "quickstart": {"pipeline"},
    "fetch_commands": {"quickstart"},
    "release_commands": {"product_commands"},
    "skill_commands": {"pipeline"},
    "validate_command": set(),
    "cli": {
        *("pipeline", "demo", "earthengine_commands", "fetch_commands", "product_commands"),
        *("release_commands", "skill_commands", "validate_command"),
    },
}
ONLY_IN = {
    "ee": {"sources/earthengine.py"},
    "distributed": {"blocks.py", "clusters.py"},
    "obstore": {"object_stores.py"},
    "cdsapi": {"fetch/cds.py"},
    "earthaccess": {"fetch/earthdata.py"},
}
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def unit_of(name: str) -> str:
    """``sources/modis.py`` belongs to ``sources``, ``cube.py`` is ``cube``."""
    return name.split("/")[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """All dotted names that are imported anywhere, ``from a import b`` as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def lines_of(function: ast.FunctionDef) -> int:
    """Lines from ``def`` to the last, its docstring left out."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def depth_of(node: ast.AST) -> int:
    """How deep blocks stand in blocks; an ``elif`` stands beside its ``if``."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        chained = isinstance(node, ast.If) and name == "orelse" and len(children) == 1
        for child in children:
            if isinstance(child, ast.FunctionDef) or not isinstance(child, ast.AST):
                continue
            step = isinstance(child, BLOCKS) and not (chained and isinstance(child, ast.If))
            deepest = max(deepest, depth_of(child) + step)
    return deepest


def test_the_measures_measure():
    source = '''
def f(x):
    """One
    two."""
    for y in x:
        if y:
            pass
        elif x:
            with x:
                pass
'''
    function = next(functions_of(ast.parse(source)))
    assert (lines_of(function), depth_of(function)) == (7, 3)
    assert list(imports_of(ast.parse("import a.b\ndef f():\n  from c import d, e"))) == [
        "a.b", "c.d", "c.e",
    ]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_table_allows(module):
    unit = unit_of(module)
    names = [name for name in imports_of(tree_of(module)) if name.startswith("gssm_cube.")]
    known = {unit_of(other) for other in MODULES}
    imported = {name.split(".")[1] for name in names} & known - {unit}
    if unit in COMPOSERS:
        assert imported & COMPOSERS.keys() <= COMPOSERS[unit]
    else:
        assert unit in ALLOWED, f"add a row for {unit}"
        assert imported <= ALLOWED[unit]


def test_the_table_has_no_circle():
    left = dict(ALLOWED)
    while free := [unit for unit, needs in left.items() if not needs & left.keys()]:
        left = {unit: needs for unit, needs in left.items() if unit not in free}
    assert not left


def test_the_table_names_only_what_exists():
    assert set(ALLOWED) <= {unit_of(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute_and_special_ones_stay_at_their_place(module):
    names = list(imports_of(tree_of(module)))
    assert not [name for name in names if name.startswith(".")]
    for package, places in ONLY_IN.items():
        uses = [name for name in names if name.split(".")[0] == package]
        assert not uses or module in places


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_small_and_flat(module):
    assert len((ROOT / module).read_text().splitlines()) < 400
    functions = list(functions_of(tree_of(module)))
    assert {f.name: lines_of(f) for f in functions if lines_of(f) >= 40} == {}
    assert {f.name: depth_of(f) for f in functions if depth_of(f) > 3} == {}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_prints_pickles_or_hides_warnings(module):
    calls = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))
    called = [ast.unparse(call) for call in calls]
    assert not [call for call in called if call.startswith("print(")]
    hiding = ("warnings.filterwarnings('ignore'", "warnings.simplefilter('ignore'")
    assert not [call for call in called if call.startswith(hiding)]
    assert not {"pickle", "joblib", "cloudpickle"} & {
        name.split(".")[0] for name in imports_of(tree_of(module))
    }


def test_there_is_no_drawer_of_odds_and_ends():
    assert not {"utils.py", "helpers.py", "common.py"} & {Path(m).name for m in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_and_classes_have_docstrings(module):
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in tree_of(module).body if isinstance(node, kinds)]
    assert ast.get_docstring(tree_of(module))
    assert not [n.name for n in nodes if not n.name.startswith("_") and not ast.get_docstring(n)]
