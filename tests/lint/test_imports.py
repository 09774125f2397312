"""No test file is imported: a helper of several tests is in tests/support, or in a module of its area."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))


def modules_of(path: Path) -> Iterator[str]:
    """Return the modules that a file may import; a name from a package may be one of its modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_file_is_imported(path: Path) -> None:
    test_files = [module for module in modules_of(path) if f".{module}".rsplit(".", 1)[1].startswith("test_")]
    assert [module for module in test_files if (TESTS.parent / f"{module.replace('.', '/')}.py").exists()] == []
