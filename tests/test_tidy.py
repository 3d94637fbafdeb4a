"""The tree keeps its own rules: who imports whom, how long things are, what pure files must not touch."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("cli", "cluster", "workers", "shared", "migrations", "benchmarks", "tests")
SOURCES = [
    ROOT / "cli.py",
    *sorted(path for name in OURS for path in (ROOT / name).rglob("*.py") if "versions" not in path.parts),
]

IMPURE = {
    "asyncio", "datetime", "logging", "os", "pathlib", "random", "redis", "secrets", "socket", "sqlalchemy",
    "structlog", "subprocess", "sys", "threading", "time", "uuid",
}  # fmt: skip
PURE = [
    *(path for path in SOURCES if path.parent.name in ("engine", "ledger") and "workers" in path.parts),
    *(ROOT / "shared" / "messages").glob("*.py"),
    *(ROOT / "shared" / f"{name}.py" for name in ("instrument", "errors", "keys", "chain")),
    ROOT / "cluster" / "plan.py",
    *(ROOT / "workers" / "recovery" / f"{name}.py" for name in ("rows", "books", "ledgers", "meeting", "reconcile")),
    *(
        path
        for name in ("invariants", "naive_*", "book_*", "ledger_*", "settlement_checks")
        for path in sorted((ROOT / "workers" / "audit").glob(f"{name}.py"))
    ),
]
PURE = [path for path in PURE if path.name not in ("process.py", "__main__.py") and "tests" not in path.parts]

REACH = {
    "shared": {"shared"},
    "cluster": {"cluster", "shared", "migrations"},
    "migrations": {"migrations", "shared"},
}
COMMON = {"workers.handler", "workers.runtime", "workers.store", "workers.follow"}
"""What any worker may import of ``workers`` itself."""
PURE_PACKAGES = {
    "workers.engine": ("book", "core", "digest", "matching", "levels", "orders", "expiry", "lists", "stops"),
    "workers.audit": (
        "book_checks",
        "history",
        "invariants",
        "ledger_checks",
        "redis_logs",
        "settlement_checks",
        "snapshot_checks",
    ),
    "workers.ledger": ("digest", "ledger", "settlement", "accounts", "orders", "risk", "holds", "state"),
}
"""Pure files that other workers may fold."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Modules that a file imports, as dotted names."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", PURE, ids=ids(PURE))
def test_pure_files_import_no_clock_and_no_io(path):
    """A state machine cannot reach a clock, randomness, a socket or a log."""
    assert not {name.partition(".")[0] for name in imports_of(path)} & IMPURE


def test_imports_keep_their_direction():
    """``shared`` knows nobody, ``cluster`` only ``shared``, a worker those, the runtime and the pure machines."""
    wrong = []
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        for name in imports_of(path):
            top = name.partition(".")[0]
            if top not in OURS or package in ("tests", "benchmarks", "cli.py"):
                continue
            if package in REACH and top not in REACH[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if package == "workers" and top == "workers" and not _worker_may(path, name):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if package == "workers" and top in ("cluster", "cli", "tests", "benchmarks"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def _worker_may(path: Path, name: str) -> bool:
    own = ".".join(path.relative_to(ROOT).parts[:2]).removesuffix(".py")
    if name in ("workers", *PURE_PACKAGES) or name.startswith(own) or any(name.startswith(one) for one in COMMON):
        return True
    return any(name.startswith(f"{pack}.{file}") for pack, files in PURE_PACKAGES.items() for file in files)


def test_nothing_imports_in_circles():
    """No module of ours reaches itself through its imports."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    edges = {name: {one for one in imports_of(path) if one in names} - {name} for name, path in names.items()}
    while leaves := {name for name, reached in edges.items() if not reached}:
        edges = {name: reached - leaves for name, reached in edges.items() if name not in leaves}
    assert not edges, f"circle among {sorted(edges)}"


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_files_and_functions_stay_short(path):
    """A file has about 400 lines at most, a function 60 (tests may be longer: they are tables)."""
    is_test = "tests" in path.parts
    assert len(path.read_text().splitlines()) <= (700 if is_test else 420)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_test:
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_every_test_states_its_promise():
    """Each test has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in SOURCES
        if path.name.startswith("test_")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_no_file_shadows_the_standard_library():
    """No module of ours has the name of one of Python's."""
    import sys

    top = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in SOURCES}
    assert not top & sys.stdlib_module_names
