"""The recipes of docs/contributing work: applied to a copy of the code, lint and their own tests pass."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.docs.recipes import apply

PAGES = ("add-a-model.md", "add-a-view.md", "add-a-dialect.md", "add-an-act.md")
COPIED = ("api", "projections", "schemas", "services", "tests", "pyproject.toml")
OPERATIONS = "tests/api/http/test_operations.py"
"""The table of operations has each new operation."""


def run(folder: Path, *command: str) -> None:
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    result = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_recipes_work(tmp_path: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    by_page = [apply(ROOT / "docs" / "contributing" / page, tmp_path) for page in PAGES]
    assert all(by_page)
    tests = [test for tests in by_page for test in tests]
    run(tmp_path, "ruff", "check", "--no-cache", ".")
    run(tmp_path, "ruff", "format", "--no-cache", "--check", ".")
    run(tmp_path, "lint-imports", "--no-cache")
    run(tmp_path, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", OPERATIONS, *tests)
