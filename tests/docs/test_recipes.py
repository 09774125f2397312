"""The recipes of docs/contributing work: applied to a copy of the code, their own tests pass."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.docs.recipes import apply

PAGES = ("add-a-model.md", "add-a-view.md", "add-a-dialect.md")
COPIED = ("api", "projections", "schemas", "services", "tests", "pyproject.toml")


def test_the_recipes_work(tmp_path: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    tests = [test for page in PAGES for test in apply(ROOT / "docs" / "contributing" / page, tmp_path)]
    assert len(tests) == len(PAGES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
