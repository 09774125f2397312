"""Messages: what is told of each event that changed something, and how each message is named.

A message's id is its event's position; where an event has several, only the last has the bare position, and those
before it ``position.number`` (from 1). So who has read any of them can say which, and goes on with the very next.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from api.http.errors import ApiError
from api.stream.resources import StreamCatalog, StreamResource
from api.stream.topics import topic_of
from projections.engine.step import Change, InStep
from schemas.log import Recorded

WHOLE_EVENT = 1 << 62
ID = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)

MessageId = tuple[int, int]
"""How far somebody has read: a position, and the number of a message there or (`WHOLE`) all of that event's."""


def parse_id(text: str) -> MessageId:
    """Return where an id stands. Raises ApiError 400."""
    found = ID.fullmatch(text)
    if found is None:
        raise ApiError(400, "last_event_id: the id of a message, or a position of the log")
    return int(found[1]), int(found[2]) if found[2] else WHOLE_EVENT


class Message(Struct, frozen=True):
    """One change: ``data`` is its JSON, ``topic`` as `topics.topic_of` returns it."""

    place: MessageId
    topic: str
    pbx: str
    data: bytes

    @property
    def id(self) -> str:
        """What a client sends back as Last-Event-ID."""
        position, number = self.place
        return str(position) if number == WHOLE_EVENT else f"{position}.{number}"


def messages_of(event: Recorded, changes: Sequence[Change], step: InStep, catalog: StreamCatalog) -> list[Message]:
    """Return the messages of one event; ``step`` has folded it last."""
    verbs = [one for change in changes for one in _verbs(change, catalog.by_model[change.model])]
    messages = []
    for number, (resource, verb, row) in enumerate(verbs, 1):
        topic = topic_of(resource.path, resource.segments(row))
        place = (event.position, WHOLE_EVENT if number == len(verbs) else number)
        message = Message(place, topic, row.pbx, b"")
        data = {
            f"{resource.name}.{verb}": resource.item(row, event.recorded, step),
            "topic": topic[:-1],
            "position": event.position,
            "id": message.id,
        }
        messages.append(msgspec.structs.replace(message, data=msgspec.json.encode(data)))
    return messages


def _verbs(change: Change, resource: StreamResource) -> list[tuple[StreamResource, str, Any]]:
    """Return a change as creations, updates and deletions. A row whose topic changes is deleted and created."""
    before, after = change.before, change.after
    if before is None:
        return [(resource, "create", after)]
    if after is None:
        return [(resource, "delete", before)]
    if resource.segments(before) != resource.segments(after):
        return [(resource, "delete", before), (resource, "create", after)]
    return [(resource, "update", after)]
