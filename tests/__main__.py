"""Run the tests: ``python -m tests [--fast | --changed | PART]``.

Without arguments everything runs at once. The tests without containers use both cores by three workers, each with a
PostgreSQL of its own. The container tests mostly wait for Asterisk, so both versions run beside them.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tests.support.debian import CACHES

HERE = Path(__file__).parent
PYTEST = (sys.executable, "-m", "pytest")
TIMEOUT_SECONDS = 1800
"""A guard against a hanging run: a test that takes longer fails, with the stacks of all threads."""

NO_CONTAINERS = ("-m", "not container", "-n", "3", "--dist", "worksteal")
CONTAINERS = (("-m", "container and not asterisk16"), ("-m", "asterisk16"))
SHARED = ("tests/support/", "tests/conftest.py", "tests/captures/", "pyproject.toml", "schemas/")
"""A change here concerns every test."""


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case []:
            return run_together(NO_CONTAINERS, *CONTAINERS)
        case ["--fast"]:
            return finish(start(NO_CONTAINERS, None))
        case ["--changed"]:
            parts = changed_parts(changed_files())
            print("tests of the changes:", *(parts or ["none"]), flush=True)  # noqa: T201
            return finish(start([*NO_CONTAINERS, *parts], None)) if parts else 0
        case [part] if (HERE / part).exists():
            return finish(start([f"tests/{part}"], None))
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201
            return 2


def run_together(live: Sequence[str], *others: Sequence[str]) -> int:
    """Run pytest with each of the options at once. Print the output of ``live`` as it comes, then that of the others.

    Return 0 if all pass.
    """
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in others]
        processes = [start(options, output) for options, output in zip(others, outputs, strict=True)]
        codes = [finish(start(live, None))]
        for process, output in zip(processes, outputs, strict=True):
            codes.append(finish(process))
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()
    return next((code for code in codes if code), 0)


def start(options: Sequence[str], output: IO[bytes] | None) -> "subprocess.Popen[bytes]":
    environ = {"PYTEST_TIMEOUT": str(TIMEOUT_SECONDS), **os.environ}
    if environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # Each worker would compile every test again. The folder keeps the tree as clean as the variable asks for.
        environ.setdefault("PYTHONPYCACHEPREFIX", str(CACHES / "bytecode"))
    return subprocess.Popen([*PYTEST, *options], stdout=output, stderr=output and subprocess.STDOUT, env=environ)


def finish(process: "subprocess.Popen[bytes]") -> int:
    """Return the exit status. Ctrl-C reaches the process too, which cleans up before it ends."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait() or 130


def changed_files() -> list[str]:
    """Return the files that differ from the branch main, and those that git does not track yet."""
    branches = git("for-each-ref", "--format=%(refname)", "refs/heads/main", "refs/remotes/origin/main")
    base = git("merge-base", "HEAD", branches[0])[0]
    return sorted({*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")})


def changed_parts(files: Sequence[str]) -> list[str]:
    """Return the test files that changed, and the test folder of each room whose code changed."""
    if any(file.startswith(SHARED) for file in files):
        return ["tests"]
    parts = set()
    for file in files:
        if file.startswith("tests/"):
            is_test = Path(file).name.startswith("test_") and file.endswith(".py") and Path(file).exists()
            parts.add(file if is_test else str(Path(file).parent))
        elif (HERE / Path(file).parent).is_dir() and Path(file).parent != Path():
            parts.add(f"tests/{Path(file).parent}")
    return sorted(part for part in parts if Path(part).exists() and not any(part.startswith(f"{p}/") for p in parts))


def git(*arguments: str) -> list[str]:
    return subprocess.check_output(["git", *arguments], text=True, cwd=HERE.parent).splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
