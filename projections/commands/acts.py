"""Acts: what was asked of each PBX, and what came of it."""

from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.acts import ActEvent


class Act(Row):
    """One request; what it asked for in full stands in the log at ``requested``.

    ``state`` is requested, sent, succeeded, failed or unknown, ``reason`` (of a failed one) as in schemas/acts.
    ``position`` is that of the event that told ``state``.
    """

    id: str
    act: str
    actor: str
    dialect: str
    request: str
    requested: int
    requested_at: datetime
    position: int
    state: str
    reason: str = ""
    message: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def by_id(e: ActEvent) -> Key:
    return (e.id,)


def requested(row: Act | None, e: ActEvent) -> Act:
    # A second request of the same id is a copy that an import brought.
    return row or Act(
        pbx=e.pbx,
        tm_update=e.at,
        id=e.id,
        act=str(e.act.get("act", "")),
        actor=e.actor,
        dialect=e.dialect,
        request=e.request,
        requested=e.position,
        requested_at=e.at,
        position=e.position,
        state="requested",
    )


def sent(row: Act | None, e: ActEvent) -> Act | None:
    return replace(row, state="sent", position=e.position) if row and row.state == "requested" else row


def ended(row: Act | None, e: ActEvent) -> Act | None:
    # What a commander that was thought dead tells after all is the truth: it takes the place of "unknown".
    if row is None or row.state in {"succeeded", "failed"}:
        return row
    state = e.type.removeprefix("Act").lower()
    return replace(row, state=state, reason=e.reason, message=e.message, result=e.result, position=e.position)


ACTS = ReadModel(
    name="acts",
    version=1,
    row=Act,
    key=("id",),
    on={
        "ActRequested": Handler(ActEvent, by_id, requested),
        "ActSent": Handler(ActEvent, by_id, sent),
        "ActSucceeded": Handler(ActEvent, by_id, ended),
        "ActFailed": Handler(ActEvent, by_id, ended),
        "ActUnknown": Handler(ActEvent, by_id, ended),
    },
    is_state=False,
)
