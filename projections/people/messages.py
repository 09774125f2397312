"""Messages of rooms. They stay when their author leaves or is deleted; a room without members is not readable."""

from datetime import datetime

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.social import MessageEvent


class Message(Row):
    """One message; ``posted`` is unique in its room, and is the order of the messages."""

    room_uuid: str
    posted: datetime
    uuid: str
    uuid_owner: str
    message: str


def by_time(e: MessageEvent) -> Key | None:
    return (e.room_uuid, e.posted) if not e.pbx else None


def post(row: Message | None, e: MessageEvent) -> Message:
    return row or Message(
        pbx="",
        tm_update=e.at,
        room_uuid=e.room_uuid,
        posted=e.posted,
        uuid=e.uuid,
        uuid_owner=e.user_uuid,
        message=e.message,
    )


MESSAGES = ReadModel(
    name="messages",
    version=1,
    row=Message,
    key=("room_uuid", "posted"),
    on={"MessagePosted": Handler(MessageEvent, by_time, post)},
    is_state=False,
)
