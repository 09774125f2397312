"""Streamed resources: the messages, the topic and the object of each read model.

A resource is made of the row as the event left it, because no table holds every row between two batches. A test
compares it with the view, member by member, at every position of a recording. Durations are those at the time when the
event was recorded.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from projections.engine.step import StepFold

Item = Callable[[Any, datetime, StepFold], dict[str, Any]]
"""Makes the object of a row, of the time when the event was recorded, and of the rows of all models at that event."""


class StoredItem(Struct, frozen=True):
    """An object that takes long to make, so it is made only for a stream that reads its message.

    ``store`` returns the bytes that the message holds until then, of a row and the rows of all models at that event.
    ``restore`` makes the object of these bytes alone.
    """

    store: Callable[[Any, StepFold], bytes]
    restore: Callable[[bytes], dict[str, Any]]


class StreamResource(Struct, frozen=True):
    """Messages of one ``model``: ``name`` is area and kind, topics are ``path`` and then the row's ``segments``.

    A row that is not ``is_shown`` does not exist for clients.
    """

    name: str
    path: str
    model: str
    segments: Callable[[Any], tuple[str, ...]]
    item: Item | StoredItem
    is_shown: Callable[[Any], bool] = lambda _row: True


class StreamCatalog:
    """All resources of the streams."""

    def __init__(self, resources: Sequence[StreamResource]) -> None:
        self.resources = tuple(resources)
        self.by_model = {resource.model: resource for resource in resources}
        self.paths = tuple(f"{resource.path}/" for resource in resources)


def segments_of(*columns: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda row: tuple(getattr(row, column) for column in columns)


def without(*columns: str) -> Item:
    """Return an item of all columns but those that no view shows."""

    def item(row: Any, _at: datetime, _step: StepFold) -> dict[str, Any]:
        shown = asdict(row)
        for column in columns:
            del shown[column]
        return shown

    return item


def as_viewed(item: Callable[[dict[str, Any], datetime], dict[str, Any]]) -> Item:
    """Return the item of a view, made of a row."""
    return lambda row, at, _step: item(asdict(row), at)
