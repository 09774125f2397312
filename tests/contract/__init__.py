"""The contract: every documented operation, and the shape of what it answers."""

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

HERE = Path(__file__).parent
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
}


class Operation(Struct, frozen=True):
    """One row of operations.tsv; ``paths`` is the path with every documented and inferred other form."""

    id: str
    method: str
    paths: tuple[str, ...]
    notes: tuple[str, ...]


@cache
def operations() -> dict[str, Operation]:
    with (HERE / "operations.tsv").open(encoding="utf-8", newline="") as file:
        collected = {}
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            notes = tuple(row["notes"].split("; "))
            more = [note.partition("=")[2] for note in notes if note.startswith(("alt=", "alt-inferred="))]
            collected[row["id"]] = Operation(row["id"], row["method"], (row["path"], *more), notes)
        return collected


@cache
def shapes() -> dict[str, Any]:
    collected: dict[str, Any] = json.loads((HERE / "shapes.json").read_text(encoding="utf-8"))
    return collected


def misfits(value: Any, shape: Any, optional: frozenset[str] = frozenset(), at: str = "") -> list[str]:
    """Return the places where ``value`` differs from ``shape``. Members that the shape does not name are allowed."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        if len(shape) == 1 and next(iter(shape)).startswith("{"):
            return [m for k, v in value.items() for m in misfits(v, next(iter(shape.values())), optional, f"{at}.{k}")]
        collected = []
        for name, inner in shape.items():
            path = f"{at}.{name}".lstrip(".")
            if name in value:
                collected += misfits(value[name], inner, optional, path)
            elif path not in optional:
                collected.append(f"{path}: missing")
        return collected
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no array"]
        return [m for item in value for m in misfits(item, shape[0], optional, f"{at}.[]")]
    return [] if any(_is(value, kind) for kind in shape.split("|")) else [f"{at}: {value!r} is no {shape}"]


def _is(value: Any, kind: str) -> bool:
    if kind == "any":
        return True
    if kind == "timestamp":
        return isinstance(value, str) and _timestamp(value)
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, TYPES[kind])


def _timestamp(text: str) -> bool:
    import re
    from datetime import datetime

    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", text):
        return False
    datetime.fromisoformat(text[:19])
    return True
