"""Which models handle which events, and which headers of them are read."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from projections.engine.headers import HeaderSubset
from projections.engine.model import ReadModel

SNAPSHOT_EVENTS = frozenset({"SnapshotStarted", "SnapshotListed", "SnapshotCompleted", "Disconnected"})
"""Ringledger's own events that begin, complete and end snapshots; models with ``lists`` take them all."""

Subscriptions = dict[str, tuple[HeaderSubset | None, tuple[int, ...]]]
"""For each event name, the headers that are read (None for all), and the indexes of the models that handle it."""


def event_names_of(model: ReadModel) -> frozenset[str]:
    """Return the names of all events that the model handles."""
    return frozenset(model.on) | SNAPSHOT_EVENTS if model.lists else frozenset(model.on)


def subscriptions_of(models: Sequence[ReadModel]) -> Subscriptions:
    """Return the events that these models handle; other events need not even be read from the log."""
    shapes: dict[str, set[type[Any]]] = {}
    indexes: dict[str, tuple[int, ...]] = {}
    for index, model in enumerate(models):
        for name in event_names_of(model):
            indexes[name] = (*indexes.get(name, ()), index)
            shapes.setdefault(name, set()).add(model.on[name].shape if name in model.on else dict)
    return {name: (_headers(shapes[name]), of_models) for name, of_models in indexes.items()}


def _headers(shapes: set[Any]) -> HeaderSubset | None:
    if not all(issubclass(shape, Struct) for shape in shapes):
        return None
    return HeaderSubset(name for shape in shapes for name in _encoded_names(shape))


@cache
def _encoded_names(shape: type[Struct]) -> tuple[str, ...]:
    """Return the headers of a shape; msgspec takes 0.4 ms for it, and every stream hub reads those of all models."""
    return tuple(f.encode_name for f in msgspec.structs.fields(shape))
