"""docs/guarantees.md names tests; a promise whose test is gone is none."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", (ROOT / "docs" / "guarantees.md").read_text()))
    files = list((ROOT / "tests").rglob("test_*.py"))
    there = {file.name for file in files}
    there.update(*(re.findall(r"def (test_\w+)\(", file.read_text()) for file in files))
    assert len(named) > 40
    assert named - there == set()
