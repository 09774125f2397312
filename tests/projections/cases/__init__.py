"""Small inputs from public reports, as a real Asterisk 22 sends them: one folder for each case.

``lists.ami`` holds the items of lists, each list after a line ``### Action``; ``input.ami`` holds the events after it.
"""

from collections.abc import Iterator
from pathlib import Path

from projections.engine.model import ReadModel
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block

HERE = Path(__file__).parent


class Case:
    """One case, whose lists are folded into ``models``; `after` folds its events."""

    def __init__(self, name: str, *models: ReadModel) -> None:
        self._events = list(blocks((HERE / name / "input.ami").read_text()))
        self.tables = FoldSpec(*models)
        lists = HERE / name / "lists.ami"
        for part in lists.read_text().split("### ")[1:] if lists.exists() else ():
            action, _, text = part.partition("\n")
            snapshot = ListSnapshot(action)
            items = [snapshot.item(name, **headers) for name, headers in pairs(text)]
            self.tables.given([snapshot.start, *items, snapshot.end, snapshot.over])

    def after(self, number: int | None = None) -> FoldSpec:
        """Fold the first ``number`` events, all without a number, and return the tables."""
        number = len(self._events) if number is None else number
        self.tables.given(self._events[:number])
        del self._events[:number]
        return self.tables


def pairs(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each block's event name and its other headers."""
    for part in text.strip().split("\n\n"):
        lines = (line.partition(":") for line in part.split("\n"))
        headers = {name: value.strip() for name, _, value in lines}
        yield headers.pop("Event"), headers


def blocks(text: str) -> Iterator[NewEvent]:
    for name, headers in pairs(text):
        yield block(name, 1000.0, **headers)
