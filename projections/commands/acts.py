"""Acts: requests to each PBX, and their outcomes."""

from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.acts import ActEvent


class Act(Row):
    """One act; the full request is in the log at position ``requested``.

    ``state`` is requested, sent, succeeded, failed or unknown, ``reason`` (of a failed act) as in schemas/acts.
    ``position`` is that of the event that set ``state``.
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


def request(row: Act | None, e: ActEvent) -> Act:
    # A second request with the same id is a copy from an import.
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


def mark_sent(row: Act | None, e: ActEvent) -> Act | None:
    return replace(row, state="sent", position=e.position) if row and row.state == "requested" else row


def end(row: Act | None, e: ActEvent) -> Act | None:
    # The late outcome of a commander that was considered dead is the truth: it replaces "unknown".
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
        "ActRequested": Handler(ActEvent, by_id, request),
        "ActSent": Handler(ActEvent, by_id, mark_sent),
        "ActSucceeded": Handler(ActEvent, by_id, end),
        "ActFailed": Handler(ActEvent, by_id, end),
        "ActUnknown": Handler(ActEvent, by_id, end),
    },
    is_state=False,
)
