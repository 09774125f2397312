"""The row of a call, and the call of a row."""

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct, field

from projections.calls.call_rows import CallRow, as_wire
from projections.calls.story import call as working
from projections.calls.story.call import Legacy, OpenCall, all_passages, by_age, by_wealth
from projections.calls.story.figures import agent_rings_of, passages_of
from projections.calls.story.outcomes import state_of
from projections.calls.story.render import has_person, render
from projections.queues.figures import AgentRing
from schemas.calls import Call, Party, Passage

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
            passages_of(call, wire),
            agent_rings_of(call, wire),
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
        has_log = "queue_log" in call.sources
        return Legacy(
            self.number,
            sorted(self.ids()),
            list(call.sources),
            call.user_field or "",
            call.account_code or "",
            [working_passage(one) for one in call.queues] if has_log else [],
            [working_offer(one) for one in self.agent_rings] if has_log else [],
        )

    def inherit(self, legacy: Legacy) -> None:
        """Take what an open story of a poorer source leaves."""
        call = self.call
        self.number = min(self.number, legacy.number)
        call.aliases = sorted({*call.aliases, *(one for one in legacy.ids if one not in self.ids())}, key=by_age)
        call.sources = by_wealth((*call.sources, *legacy.sources))  # type: ignore[assignment]
        call.user_field = call.user_field or legacy.user_field or None
        call.account_code = call.account_code or legacy.account_code or None
        queues = {one.queue for one in call.queues}
        passages = [one for one in legacy.passages if one.queue not in queues]
        offers = [one for one in legacy.offers if one.queue not in queues]
        if passages or offers:
            log = OpenCall(call.pbx, call.linkedid, 0, self.updated_at)
            log.log_passages, log.log_offers = passages, offers
            self._add_log(log)

    def _add_log(self, log: OpenCall) -> None:
        """Add the passages and offers of `log`, in the order of time."""
        parties = {party.unique_id: party for party in self.call.parties}
        wire: Call = render(log)
        for one, passage in zip(wire.queues, all_passages(log), strict=True):
            person = parties.get(passage.party)
            if person is not None:
                one.party = Party(person.channel, person.unique_id, person.endpoint, person.number, person.name)
        pairs = list(zip(self.call.queues, self.passages, strict=True))
        pairs += zip(wire.queues, passages_of(log, wire), strict=True)
        pairs.sort(key=lambda pair: pair[0].entered_at)
        self.call.queues = [one for one, _ in pairs]
        self.passages = [item | {"ordinal": ordinal} for ordinal, (_, item) in enumerate(pairs)]
        rings = [*self.agent_rings, *agent_rings_of(log, wire)]
        self.agent_rings = [item | {"ordinal": ordinal} for ordinal, item in enumerate(rings)]


def working_passage(one: Passage) -> working.Passage:
    """Return a passage of an ended call's object as working state."""
    party = one.party.unique_id if one.party else ""
    passage = working.Passage(one.queue, party, party, one.entered_at, one.position, one.left_at, one.wait_seconds)
    passage.answered_at, passage.talk, passage.outcome = one.answered_at, one.talk_seconds, one.outcome or ""
    if one.answered_at is not None and one.talk_seconds is not None:
        passage.completed_at = one.answered_at + timedelta(seconds=one.talk_seconds)
    if one.agent is not None:
        passage.member, passage.interface = one.agent.name, one.agent.interface or ""
    passage.ended_by, passage.key, passage.ring_no_answers = one.ended_by or "", one.key or "", one.ring_no_answers
    return passage


def working_offer(item: dict[str, Any]) -> working.Offer:
    """Return an item of ``agent_rings`` as working state; the start of the ring is not known any longer."""
    ring = msgspec.convert(item, AgentRing, strict=False)
    return working.Offer(ring.queue, ring.agent, ring.interface or "", "", ring.at, ring.at, ring.outcome or "")


def call_of(row: CallRow) -> Call:
    """Return the object that is served, of a call that lasts or has ended."""
    if row.body is not None:
        return msgspec.convert(row.body, Call, strict=False)
    call: Call = render(open_call_of(row))
    return call


def open_row(call: OpenCall) -> CallRow:
    """Return the row of a call that lasts."""
    wire: Call = render(call)
    row = _row(wire, call.number, call.updated_at)
    row.is_told = has_person(call)
    row.state = state_of(call)
    row.passages, row.agent_rings = passages_of(call, wire), agent_rings_of(call, wire)
    row.story = msgspec.to_builtins(call)
    return row


def ended_row(ended: Ended) -> CallRow:
    """Return the row of a call that has ended."""
    row = _row(ended.call, ended.number, ended.updated_at)
    row.passages, row.agent_rings = ended.passages, ended.agent_rings
    row.body = wire_of(ended.call)
    return row


def wire_of(call: Call) -> dict[str, Any]:
    """Return what `as_wire` returns, six times as fast where no time is a whole second."""
    raw = msgspec.json.encode(call)
    if WHOLE_SECOND.search(raw):
        return as_wire(call)
    decoded: dict[str, Any] = msgspec.json.decode(raw)
    return decoded


def _row(call: Call, number: int, updated_at: datetime) -> CallRow:
    return CallRow(
        pbx=call.pbx,
        tm_update=updated_at,
        linkedid=call.linkedid,
        number=number,
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
    )
