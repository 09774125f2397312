"""The row of a call: columns to find it by, and either its working state or the whole object that is served."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from projections.calls.story.call import OpenCall
from projections.calls.story.outcomes import state_of
from projections.calls.story.render import has_person, render
from projections.engine.model import Row
from schemas.calls import Call


class CallRow(Row):
    """One call. ``number`` is the log position of its first event: it orders and pages.

    Exactly one of ``story`` (working state of a call that lasts) and ``body`` (the object of an ended one) is set; both
    are JSON. ``is_told`` is False while no person takes part.
    """

    linkedid: str
    number: int
    started_at: datetime
    state: str
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    direction: str | None = None
    outcome: str | None = None
    is_told: bool = True
    is_originated: bool = False
    is_transferred: bool = False
    talk_seconds: float = 0.0
    duration_seconds: float | None = None
    aliases: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    body: dict[str, Any] | None = None
    story: dict[str, Any] | None = None

    def open_call(self) -> OpenCall:
        """Return the working state of a call that lasts."""
        return msgspec.convert(self.story, OpenCall, strict=False)


class Ended(Struct):
    """A call that has ended, for as long as a batch may still change it."""

    call: Call
    number: int
    updated_at: datetime
    is_told: bool = True

    @classmethod
    def of(cls, row: CallRow) -> "Ended":
        """Return the ended call of a row."""
        return cls(msgspec.convert(row.body, Call, strict=False), row.number, row.tm_update)

    def ids(self) -> set[str]:
        """Return every id by which the call is found."""
        return {self.call.linkedid, *self.call.aliases, *(leg.unique_id for leg in self.call.legs)}


def call_of(row: CallRow) -> Call:
    """Return the object that is served, of a call that lasts or has ended."""
    if row.body is not None:
        return msgspec.convert(row.body, Call, strict=False)
    call: Call = render(row.open_call())
    return call


def open_row(call: OpenCall) -> CallRow:
    """Return the row of a call that lasts."""
    told: Call = render(call)
    row = _row(told, call.number, call.updated_at)
    row.is_told = has_person(call)
    row.state = state_of(call)
    row.story = msgspec.to_builtins(call)
    return row


def ended_row(ended: Ended) -> CallRow:
    """Return the row of a call that has ended."""
    row = _row(ended.call, ended.number, ended.updated_at)
    row.body = msgspec.to_builtins(ended.call)
    return row


def _row(call: Call, number: int, updated_at: datetime) -> CallRow:
    return CallRow(
        pbx=call.pbx,
        tm_update=updated_at,
        linkedid=call.linkedid,
        number=number,
        started_at=call.started_at,
        state=call.state,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        direction=call.direction,
        outcome=call.outcome,
        is_originated=call.originated,
        is_transferred=bool(call.transfers),
        talk_seconds=call.talk_seconds,
        duration_seconds=call.duration_seconds,
        aliases=call.aliases,
        sources=list(call.sources),
    )
