"""The recipes of docs/contributing as changes: new files, and lines of present ones."""

import re
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NEW_FILE = re.compile(r"# ([\w./]+\.py)\n")
OLD_FILE = re.compile(r"--- a/([\w./]+)\n")


class RecipeError(Exception):
    """The recipe does not fit the code."""


def apply(page: Path, root: Path) -> list[str]:
    """Apply the changes of a page to the tree at ``root``; return the test files. Raises RecipeError."""
    tests = []
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            header = NEW_FILE.match(text)
            if header is None:
                raise RecipeError(f"{page.name}: a Python block begins with a comment that has its path")
            file = root / header[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text[header.end() :], encoding="utf-8")
            tests += [header[1]] if file.name.startswith("test_") else []
        else:
            header = OLD_FILE.match(text)
            if header is None:
                raise RecipeError(f"{page.name}: a diff begins with --- a/ and its path")
            change(root / header[1], text[header.end() :])
    return tests


def change(file: Path, diff: str) -> None:
    """Apply the hunks of a diff, which are separated by ``...``. Raises RecipeError."""
    content = file.read_text(encoding="utf-8")
    for hunk in re.split(r"^\.\.\.\n", diff, flags=re.MULTILINE):
        before, after = "".join(lines(hunk, " -")), "".join(lines(hunk, " +"))
        if content.count(before) != 1:
            raise RecipeError(f"{file} has {content.count(before)} places for this hunk:\n{hunk}")
        content = content.replace(before, after)
    file.write_text(content, encoding="utf-8")


def lines(hunk: str, marks: str) -> Iterator[str]:
    """Return the lines with one of these marks, without it; an empty line is context."""
    for line in hunk.splitlines(keepends=True):
        if (line[0] if line.strip() else " ") in marks:
            yield line[1:] if line.strip() else line
