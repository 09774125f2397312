"""Messages: the changes of each event, and the id of each message.

The id of a message is the position of its event. If an event has several messages, only the last one has the bare
position; those before it have ``position.number``, from 1. So a client can continue after any message.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from api.http.errors import ApiError
from api.stream.resources import StoredItem, StreamCatalog, StreamResource
from api.stream.topics import TopicFilter, topic_of
from projections.engine.step import Change, StepFold
from schemas.log import RecordedEvent

LAST_NUMBER = 1 << 62
ID = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)

MessageId = tuple[int, int]
"""A position, and the number of a message there, or `LAST_NUMBER` for the last one."""


def parse_id(text: str) -> MessageId:
    """Return the parts of an id. Raises ApiError 400."""
    match = ID.fullmatch(text)
    if match is None:
        raise ApiError(400, "last_event_id: the id of a message, or a position of the log")
    return int(match[1]), int(match[2]) if match[2] else LAST_NUMBER


class StreamMessage(Struct, frozen=True):
    """One change; ``topic`` as `topics.topic_of` returns it.

    ``content`` is its JSON. With ``restore`` it is what a `StoredItem` stores of the object that is under ``name``.
    """

    message_id: MessageId
    topic: str
    pbx: str
    content: bytes
    name: str = ""
    restore: Callable[[bytes], dict[str, Any]] | None = None

    @property
    def data(self) -> bytes:
        """The JSON of the message; that of a stored object is made at each reading."""
        return self.content if self.restore is None else self.encode(self.restore(self.content))

    def encode(self, item: dict[str, Any]) -> bytes:
        """Return the JSON of the message with this object."""
        place = {"topic": self.topic[:-1], "position": self.message_id[0], "id": self.id}
        return msgspec.json.encode({self.name: item} | place)

    @property
    def id(self) -> str:
        """The id as text, which a client sends back as Last-Event-ID."""
        position, number = self.message_id
        return str(position) if number == LAST_NUMBER else f"{position}.{number}"


class MessageBatch(Struct):
    """The next messages, up to ``position``; of the event there only some if it is not ``is_whole``.

    ``encoded`` is what was made of them for one filter, so that it is encoded once for all streams of that filter.
    """

    messages: list[StreamMessage]
    position: int
    is_whole: bool = True
    encoded: dict[TopicFilter, list[bytes]] = field(default_factory=dict)


def messages_of(
    event: RecordedEvent, changes: Sequence[Change], step: StepFold, catalog: StreamCatalog
) -> list[StreamMessage]:
    """Return the messages of one event; ``step`` has folded it last."""
    verbs = [one for change in changes for one in _verbs(change, catalog.by_model[change.model])]
    messages = []
    for number, (resource, verb, row) in enumerate(verbs, 1):
        topic = topic_of(resource.path, resource.segments(row))
        message_id = (event.position, LAST_NUMBER if number == len(verbs) else number)
        name, item = f"{resource.name}.{verb}", resource.item
        if isinstance(item, StoredItem):
            messages.append(StreamMessage(message_id, topic, row.pbx, item.store(row, step), name, item.restore))
        else:
            message = StreamMessage(message_id, topic, row.pbx, b"", name)
            content = message.encode(item(row, event.recorded, step))
            messages.append(msgspec.structs.replace(message, content=content))
    return messages


def _verbs(change: Change, resource: StreamResource) -> list[tuple[StreamResource, str, Any]]:
    """Return a change as creations, updates and deletions. A row whose topic changes is deleted and created."""
    before, after = (
        None if row is None or not resource.is_shown(row) else row for row in (change.before, change.after)
    )
    if before is None and after is None:
        return []
    if before is None:
        return [(resource, "create", after)]
    if after is None:
        return [(resource, "delete", before)]
    if resource.segments(before) != resource.segments(after):
        return [(resource, "delete", before), (resource, "create", after)]
    return [(resource, "update", after)]
