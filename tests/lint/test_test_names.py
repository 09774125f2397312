"""A test's name is a short sentence with its subject first: at most eight words after ``test_``."""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAX_WORDS = 8
OPENINGS = re.compile(r"test_(what|who|whoever|whose|of|by|nor|nobody|somebody|everybody)_")


@functools.cache
def names() -> list[str]:
    files = sorted(TESTS.rglob("test_*.py"))
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    functions = [
        node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [function.name for function in functions if function.name.startswith("test_")]


def test_every_name_has_at_most_eight_words() -> None:
    assert [name for name in names() if len(name.split("_")) - 1 > MAX_WORDS] == []


def test_every_name_begins_with_its_subject() -> None:
    assert [name for name in names() if OPENINGS.match(name)] == []
