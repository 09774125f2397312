"""Every attribute that a test replaces exists; a rename passes over the names in strings, and mypy does too."""

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
ROOMS = ("api", "projections", "schemas", "services", "tests")
METHODS = {"setattr", "delattr", "object", "patch"}
FILES = [path for path in sorted(TESTS.rglob("*.py")) if "setattr(" in path.read_text() or "patch" in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_patched_attribute_exists(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = imported_names(tree)
    targets = [target for node in ast.walk(tree) if (target := target_of(node, imported)) is not None]
    assert [target for target in targets if not exists(target)] == []


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the full name of each name that the file imports."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update((alias.asname, alias.name) for alias in node.names if alias.asname)
            names.update((alias.name.split(".")[0],) * 2 for alias in node.names if not alias.asname)
        elif isinstance(node, ast.ImportFrom):
            names.update((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
    return names


def target_of(node: ast.AST, imported: dict[str, str]) -> str | None:
    """Return the full name of the attribute that a call of a patching method replaces, if it is in our rooms."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
        return None
    match node.args:
        case [ast.Constant(str() as target), *_] if "." in target:
            pass
        case [ast.Name() | ast.Attribute() as owner, ast.Constant(str() as name), *_] if is_plain(owner):
            first, _, rest = ast.unparse(owner).partition(".")
            target = ".".join(part for part in (imported.get(first, ""), rest, name) if part)
        case _:
            return None
    return target if target.split(".")[0] in ROOMS else None


def is_plain(owner: ast.expr) -> bool:
    """Whether the expression is a name with attributes, without calls and items."""
    return all(isinstance(node, ast.Name | ast.Attribute | ast.Load) for node in ast.walk(owner))


def exists(target: str) -> bool:
    """Whether the name leads from a module to an attribute."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False
