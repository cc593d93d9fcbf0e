"""Imports point one way between folders and modules; tests import only what they share."""

import ast
import graphlib
from pathlib import Path

import pytest

import tuner
from support.paths import TESTS

PACKAGE = Path(tuner.__file__).parent

LEVELS = (
    {"drawings", "errors", "escapes", "names", "passwords"},
    {"constraints"},
    {"trial"},
    {"outcomes"},
    {"wording"},
    {"evaluation", "images", "runtime"},
    {"models"},
    {"config"},
    {"cli", "datasets", "tracking"},
    {"classifier", "figures", "oracles", "training"},
    {"reports"},
    {"curves"},
    {"worker"},
    {"executors", "registry"},
    {"driver"},
    {"simulation", "study"},
    {"server"},
    {
        "delete",
        "demo",
        "explore",
        "predict",
        "promote",
        "report",
        "search",
        "simulate",
        "stop",
        "watch",
    },
)
"""Folders and modules at the top of `tuner/`: each may import from those before its own set."""

LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

MODULES = {
    ".".join(("tuner", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module: str, with_types: bool = True) -> set[str]:
    """Return the modules of `tuner` that one imports, anywhere in its text.

    Args:
        module: The importing one.
        with_types: Whether what only type checkers import counts, too.
    """
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    if not with_types:
        blocks = [node for node in tree.body if isinstance(node, ast.If)]
        for block in blocks:
            if ast.unparse(block.test) == "TYPE_CHECKING":
                tree.body.remove(block)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return (found & MODULES.keys()) - {module}


def test_every_folder_has_its_level() -> None:
    entries = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert entries - {"__init__", "__pycache__"} == LEVEL.keys()
    assert sum(map(len, LEVELS)) == len(LEVEL)


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"tuner"}))
def test_imports_point_one_way(module: str) -> None:
    own = module.split(".")[1]
    others = {name.split(".")[1] for name in imported(module) - {"tuner"}} - {own}
    assert {name for name in others if LEVEL[name] >= LEVEL[own]} == set()


def test_no_modules_import_each_other() -> None:
    # What the package shows of others it imports only when asked for it.
    graph = {m: imported(m, with_types=False) for m in MODULES if m != "tuner"}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_design_gives_the_order_as_it_is() -> None:
    text = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    order = " → ".join(", ".join(f"`{name}`" for name in sorted(names)) for names in LEVELS)
    assert order in " ".join(text.split())


def test_no_test_imports_another() -> None:
    paths = [path for path in TESTS.rglob("*.py") if not path.is_relative_to(TESTS / "support")]
    modules = {path.stem for path in paths}
    for path in paths:
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        wrong = {name for name in names if modules & set(name.split("."))}
        assert wrong == set(), f"{path} must import what it shares from `tests/support/`"


def test_folders_of_tests_are_those_of_the_package() -> None:
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert folders == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_names_of_test_files_differ() -> None:
    # As pytest imports them, by their names alone.
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names))
