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
    "cluster_settings": set(),
    "earthengine_settings": set(),
    "web_settings": set(),
    "toml_tables": set(),
    "software": set(),
    "flags": set(),
    "statistics": set(),
    "physics": set(),
    "regions": {"grid"},
    "storage": GROUND,
    "clusters": {"cluster_settings", "software"},
    "interpolate": {"variables"},
    "harmonise": GROUND,
    "intervals": {"statistics"},
    "settings": GROUND
    | {"cluster_settings", "earthengine_settings", "regions", "storage"}
    | {"toml_tables", "web_settings"},
    "blocks": {"grid", "storage"},
    "lazy": {"flags", "interpolate", "storage", "variables"},
    "sources": GROUND | {"storage"},
    "insitu": {"storage", "variables"},
    "forest": GROUND | {"storage"},
    "station_weather": {"harmonise", "variables"},
    "status": {"storage"},
    "cube_readers": GROUND | {"lazy", "storage"},
    "stations": GROUND | {"insitu"},
    "plots": {"grid", "insitu", "statistics"},
    "kept": {"blocks", "forest", "settings", "storage"},
    "once": {"blocks", "storage"},
    "product": GROUND | {"blocks", "flags", "lazy", "storage"},
    "cube": GROUND | {"cube_readers", "flags", "lazy", "storage"},
    "view": GROUND | {"flags", "insitu", "plots", "product", "statistics", "storage"},
    "ingest": GROUND
    | {"blocks", "cube", "flags", "harmonise", "interpolate", "sources"}
    | {"statistics", "storage"},
    "splits": GROUND | {"cube", "statistics"},
    "estimate": GROUND | {"cube", "flags", "forest", "physics", "product", "storage"},
    "block_inputs": GROUND | {"blocks", "cube", "storage"},
    "__init__": {"cube", "product"},
    "download": GROUND
    | {"blocks", "harmonise", "ingest", "settings", "sources", "storage"}
    | {"web_settings"},
    "sampling": GROUND | {"blocks", "cube", "insitu", "interpolate", "splits", "storage"},
    "predict": GROUND
    | {"block_inputs", "blocks", "clusters", "cube", "estimate", "forest"}
    | {"product", "storage"},
    "fetch": GROUND | {"blocks", "download", "ingest", "sources", "web_settings"},
    "skill": {"blocks", "forest", "intervals", "sampling", "splits", "statistics", "storage"},
    "samples": GROUND | {"blocks", "cube", "sampling", "storage"},
    "replay": {"cube", "estimate", "physics", "predict", "variables"},
    "plan": GROUND | {"cube", "download", "forest", "ingest", "settings", "sources", "storage"},
    "model_card": {"blocks", "forest", "skill", "statistics", "variables"},
    "ablate": {
        *("blocks", "forest", "skill", "splits", "statistics", "storage"),
        *("variables",),
    },
    "evaluate": {"blocks", "forest", "intervals", "skill", "splits", "statistics", "variables"},
    "release": GROUND
    | {"block_inputs", "blocks", "cube", "harmonise", "insitu", "product"}
    | {"skill", "sources", "storage", "web_settings"},
    "check": {
        *("blocks", "cube", "download", "forest", "ingest", "insitu", "plan"),
        *("settings", "sources", "storage"),
    },
    "report": GROUND | {"plots", "skill"},
    "validate": {
        *("blocks", "grid", "plots", "replay", "skill", "stations", "statistics"),
        *("storage", "toml_tables"),
    },
    "training": {"blocks", "forest", "model_card", "sampling", "skill"},
    "costs": GROUND
    | {"cube", "download", "estimate", "fetch", "forest", "plan", "product"}
    | {"release", "settings", "sources", "storage"},
    "run_facts": {
        *("blocks", "estimate", "forest", "grid", "model_card", "predict"),
        *("release", "settings"),
    },
}
# These compose: they import what they like, but of one another only this.
COMPOSERS = {
    "pipeline": set(),
    "demo": {"pipeline"},
    "commands": {"pipeline", "quickstart"},
    "quickstart": {"pipeline"},
    "cli": {"commands", "demo", "pipeline"},
}
ONLY_IN = {
    "ee": {"sources/earthengine.py"},
    "distributed": {"blocks.py", "clusters.py"},
    "obstore": {"storage/object_stores.py"},
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
