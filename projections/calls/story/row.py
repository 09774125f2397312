"""The row of a call, and the call of a row."""

import re
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from projections.calls.call_rows import CallRow, as_wire
from projections.calls.story.call import Legacy, OpenCall, by_wealth
from projections.calls.story.figures import agent_rings_of, passages_of
from projections.calls.story.ids import by_age, is_unique_id
from projections.calls.story.log_late import late_call, log_offers_of, log_passages_of, write_log
from projections.calls.story.log_overlap import all_passages
from projections.calls.story.outcomes import outcome_of, state_of
from projections.calls.story.render import Renderer, render
from projections.calls.story.summary import (
    aliases_of,
    ended_at,
    has_person,
    is_originated,
    seconds,
    sources_of,
    started_at,
    talk_seconds,
)
from schemas.calls import Call

WHOLE_SECOND = re.compile(rb':[0-9]{2}Z"')
"""A time without a fraction, as msgspec writes it; the wire has six digits always."""


def open_call_of(row: CallRow) -> OpenCall:
    """Return the working state of a call that lasts."""
    return msgspec.convert(row.story, OpenCall, strict=False)


class Ended(Struct):
    """A call that has ended, for as long as a batch may still change it."""

    call: Call
    number: int
    updated_at: datetime
    is_told: bool = True
    passages: list[dict[str, Any]] = field(default_factory=list)
    agent_rings: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, row: CallRow) -> "Ended":
        """Return the ended call of a row."""
        call = msgspec.convert(row.body, Call, strict=False)
        return cls(call, row.number, row.tm_update, passages=row.passages, agent_rings=row.agent_rings)

    @classmethod
    def of_call(cls, call: OpenCall) -> "Ended":
        """Return a call whose last channel has ended."""
        wire: Call = render(call)
        return cls(
            wire,
            call.number,
            call.updated_at,
            has_person(call),
            passages_of(call, wire.queues),
            agent_rings_of(call, wire.queues),
        )

    @property
    def source(self) -> str:
        """Return the source of the story: the richest one."""
        return by_wealth(self.call.sources)[0]

    def ids(self) -> set[str]:
        """Return every id by which the call is found."""
        return {self.call.linkedid, *self.call.aliases, *(leg.unique_id for leg in self.call.legs)}

    def legacy(self) -> Legacy:
        """Return what the call leaves to a richer story; queue_log's passages alone, since others lack the agent."""
        call = self.call
        return Legacy(
            self.number,
            sorted(filter(is_unique_id, self.ids())),
            list(call.sources),
            call.user_field or "",
            call.account_code or "",
            log_passages_of(self.passages),
            log_offers_of(self.agent_rings),
        )

    def inherit(self, legacy: Legacy) -> None:
        """Take what an open story of a poorer source leaves."""
        call = self.call
        self.number = min(self.number, legacy.number)
        call.aliases = sorted({*call.aliases, *(one for one in legacy.ids if one not in self.ids())}, key=by_age)
        call.sources = by_wealth((*call.sources, *legacy.sources))  # type: ignore[assignment]
        call.user_field = call.user_field or legacy.user_field or None
        call.account_code = call.account_code or legacy.account_code or None
        if legacy.passages or legacy.offers:
            late = late_call(self)
            late.log_passages += legacy.passages
            late.log_offers += legacy.offers
            write_log(self, late)


def call_of(row: CallRow) -> Call:
    """Return the object that is served, of a call that lasts or has ended."""
    if row.body is not None:
        return msgspec.convert(row.body, Call, strict=False)
    call: Call = render(open_call_of(row))
    return call


def open_row(call: OpenCall) -> CallRow:
    """Return the row of a call that lasts.

    Its columns are those of `render`, which makes also what no column has. That takes four times as long.
    """
    renderer = Renderer(call)
    first, started, ended = renderer.first_talk(), started_at(call), ended_at(call)
    queues = [renderer.passage(passage) for passage in all_passages(call)]
    return CallRow(
        pbx=call.pbx,
        tm_update=call.updated_at,
        linkedid=call.linkedid,
        number=call.number,
        started_at=started,
        answered_at=first.started_at if first else None,
        ended_at=ended,
        state=state_of(call),
        is_told=has_person(call),
        direction=renderer.direction(),
        outcome=None if ended is None else outcome_of(call, renderer.caller),
        is_originated=is_originated(call),
        is_transferred=any(renderer.party(transfer.by) for transfer in call.transfers),
        talk_seconds=talk_seconds(call.talks),
        duration_seconds=seconds(started, ended),
        aliases=aliases_of(call),
        sources=list(sources_of(call)),
        passages=passages_of(call, queues),
        agent_rings=agent_rings_of(call, queues),
        story=msgspec.to_builtins(call),
    )


def ended_row(ended: Ended) -> CallRow:
    """Return the row of a call that has ended."""
    call = ended.call
    return CallRow(
        pbx=call.pbx,
        tm_update=ended.updated_at,
        linkedid=call.linkedid,
        number=ended.number,
        started_at=call.started_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        state=call.state,
        is_told=True,
        direction=call.direction,
        outcome=call.outcome,
        is_originated=call.originated,
        is_transferred=bool(call.transfers),
        talk_seconds=call.talk_seconds,
        duration_seconds=call.duration_seconds,
        aliases=call.aliases,
        sources=list(call.sources),
        passages=ended.passages,
        agent_rings=ended.agent_rings,
        body=wire_of(call),
    )


def wire_of(call: Call) -> dict[str, Any]:
    """Return what `as_wire` returns, six times as fast where no time is a whole second."""
    raw = msgspec.json.encode(call)
    if WHOLE_SECOND.search(raw):
        return as_wire(call)
    decoded: dict[str, Any] = msgspec.json.decode(raw)
    return decoded
