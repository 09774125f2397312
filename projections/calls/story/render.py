"""The wire object of a call, made from its working state."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from projections.calls.call_records import endpoint_of
from projections.calls.story import items as working
from projections.calls.story.call import OpenCall
from projections.calls.story.hangups import hangup_of
from projections.calls.story.ids import by_age
from projections.calls.story.items import PERSON, Leg, Talk
from projections.calls.story.legs import identity
from projections.calls.story.log_overlap import all_passages
from projections.calls.story.outcomes import outcome_of, role_of, state_of, transfer_outcome
from projections.calls.story.people import by_start, caller_of, persons_of
from projections.calls.story.summary import (
    aliases_of,
    ended_at,
    is_originated,
    seconds,
    sources_of,
    started_at,
    talk_seconds,
)
from schemas import calls as wire
from schemas.call_settings import is_trunk

TOLERANCE = timedelta(seconds=2)
"""How long after the agent's own last conversation AgentComplete may come in a call that he did not hand on."""


class Renderer:
    """One call while it is rendered: each party is made once."""

    def __init__(self, call: OpenCall) -> None:
        self.call = call
        self.caller = caller_of(call)
        self._parties: dict[str, wire.Party | None] = {}

    def party(self, unique_id: str) -> wire.Party | None:
        """Return the party of a unique id, None where no person's channel has it."""
        if unique_id not in self._parties:
            self._parties[unique_id] = self._make(unique_id)
        return self._parties[unique_id]

    def _make(self, unique_id: str) -> wire.Party | None:
        leg = self.call.legs.get(unique_id)
        if leg is not None and leg.kind != PERSON:
            return None
        if leg is not None:
            number, name = identity(leg, is_caller=leg is self.caller)
            return wire.Party(leg.channel, unique_id, endpoint_of(leg.channel) or "", number or None, name or None)
        guest = self.call.guests.get(unique_id)
        if guest is None:
            return None
        endpoint = endpoint_of(guest.channel) or ""
        return wire.Party(guest.channel, unique_id, endpoint, guest.number or None, guest.name or None)

    def parties(self, ids: Iterable[str]) -> list[wire.Party]:
        """Return the parties of these ids that have one."""
        return [party for unique_id in ids if (party := self.party(unique_id)) is not None]

    def first_talk(self) -> Talk | None:
        """Return the caller's first conversation."""
        caller = self.caller
        return next((t for t in self.call.talks if caller is not None and caller.unique_id in t.persons), None)

    def render(self) -> wire.Call:
        """Return the whole object."""
        call, caller = self.call, self.caller
        legs = sorted(call.legs.values(), key=by_start)
        started, ended = started_at(call), ended_at(call)
        is_over = ended is not None
        first = self.first_talk()
        by = self.answerer(first)
        return wire.Call(
            linkedid=call.linkedid,
            aliases=aliases_of(call),
            pbx=call.pbx,
            state="ended" if is_over else state_of(call),
            complete=not call.gaps,
            sources=sources_of(call),
            direction=self.direction(),
            originated=is_originated(call),
            started_at=started,
            answered_at=first.started_at if first else None,
            ended_at=ended,
            duration_seconds=seconds(started, ended),
            talk_seconds=talk_seconds(call.talks),
            account_code=call.account_code
            or (caller.account_code if caller else "")
            or call.spare_account_code
            or None,
            user_field=call.user_field or None,
            outcome=outcome_of(call, caller) if is_over else None,
            hangup=self.hangup() if is_over else None,
            caller=self.caller_party(),
            dialled=self.dialled(),
            answered_by=by,
            destination=self.destination(by),
            parties=self.call_parties(),
            rings=[self.ring(r) for r in call.rings if self.party(r.to)],
            conversations=[self.conversation(t) for t in call.talks],
            transfers=[self.transfer(t) for t in call.transfers if self.party(t.by)],
            pickups=[
                wire.Pickup(p.at, who, of)
                for p in call.pickups
                if (who := self.party(p.by)) is not None and (of := self.party(p.of)) is not None
            ],
            forwards=[wire.Forward(f.at, who, f.to) for f in call.forwards if (who := self.party(f.by)) is not None],
            queues=[self.passage(p) for p in all_passages(call)],
            holds=[
                wire.Hold(by=who, from_=h.started_at, until=h.ended_at)
                for h in call.holds
                if (who := self.party(h.by)) is not None
            ],
            parks=[self.park(p, who) for p in call.parks if (who := self.party(p.party)) is not None],
            conferences=[
                wire.Conference(c.name, who, c.started_at, c.ended_at)
                for c in call.conferences
                if (who := self.party(c.party)) is not None
            ],
            voicemails=[
                wire.Voicemail(v.mailbox, who, v.at)
                for v in call.voicemails
                if (who := self.party(v.party)) is not None
            ],
            recordings=self.recordings(),
            legs=[leg_of(leg) for leg in legs],
            gaps=[wire.CallGap(g.reason, g.started_at, g.ended_at) for g in call.gaps],  # type: ignore[arg-type]
        )

    def answerer(self, first: Talk | None) -> wire.Party | None:
        """Return who first spoke with the caller."""
        if first is None or self.caller is None:
            return None
        others = [person for person in first.persons if person != self.caller.unique_id]
        dialled = [u for u in others if u in self.call.legs and self.call.legs[u].is_dialled]
        return self.party((dialled or others)[0]) if others else None

    def direction(self) -> wire.Direction | None:
        """Return the direction, by the trunks' patterns that held when the call began."""
        call = self.call
        if not call.trunks:
            return None
        is_inbound = self.caller is not None and is_trunk(endpoint_of(self.caller.channel) or "", call.trunks)
        first = self.first_dialled()
        is_outbound = first is not None and is_trunk(endpoint_of(first.channel) or "", call.trunks)
        return ("transit" if is_outbound else "inbound") if is_inbound else "outbound" if is_outbound else "internal"

    def first_dialled(self) -> Leg | None:
        """Return the first person dialled; a phone that was dialled before the link began has no ring."""
        legs = self.call.legs
        dialled = [(r.started_at, legs[r.to]) for r in self.call.rings if r.to in legs and self.counts_as_dialled(r)]
        first = min(dialled, key=lambda pair: pair[0], default=None)
        for leg in legs.values():
            is_joined = leg.is_dialled and leg.kind == PERSON and not leg.dialler and not leg.is_originated
            if is_joined and leg is not self.caller and (first is None or leg.started_at < first[0]):
                first = (leg.started_at, leg)
        return None if first is None else first[1]

    def counts_as_dialled(self, ring: working.Ring) -> bool:
        """Return whether a ring is a call to somebody, and not that of the caller's own phone."""
        return self.caller is None or ring.to != self.caller.unique_id

    def caller_party(self) -> wire.Caller | None:
        """Return the caller."""
        if self.caller is None or (party := self.party(self.caller.unique_id)) is None:
            return None
        leg = self.caller
        return wire.Caller(
            party.channel,
            party.unique_id,
            party.endpoint,
            party.number,
            party.name,
            leg.number_at_start or None,
            leg.name_at_start or None,
        )

    def dialled(self) -> wire.Dialled:
        """Return the caller's first extension; of an originated call without one, the first person's number."""
        if self.caller is not None and self.caller.exten:
            return wire.Dialled(self.caller.exten, self.caller.context or None)
        for ring in self.call.rings:
            # The PBX dialled the caller himself, also through a Local channel.
            if self.caller is not None and self.caller.is_dialled and self.counts_as_dialled(ring):
                party = self.party(ring.to)
                return wire.Dialled(party.number if party else None, None)
        return wire.Dialled(None, None)

    def destination(self, by: wire.Party | None) -> wire.Destination:
        """Return who answered; else who was rung last; else only the dialled number."""
        if by is None:
            rung = [self.party(r.to) for r in self.call.rings if self.counts_as_dialled(r)]
            by = rung[-1] if rung else None
        if by is None:
            return wire.Destination(number=self.dialled().number)
        return wire.Destination(by.channel, by.unique_id, by.endpoint, by.number, by.name)

    def call_parties(self) -> list[wire.CallParty]:
        """Return everybody who took part: the persons of the call, and agents who are logged in."""
        items = []
        for unique_id, joined, left in persons_of(self.call):
            party = self.party(unique_id)
            if party is None:
                continue
            talks = [talk for talk in self.call.talks if unique_id in talk.persons]
            items.append(
                wire.CallParty(
                    party.channel,
                    unique_id,
                    party.endpoint,
                    party.number,
                    party.name,
                    role_of(self.call, self.caller, unique_id),
                    bool(talks),
                    joined,
                    left,
                    talk_seconds(talks),
                )
            )
        return items

    def ring(self, ring: working.Ring) -> wire.Ring:
        """Return a ring."""
        to = self.party(ring.to)
        assert to is not None
        return wire.Ring(
            from_=self.party(ring.source),
            to=to,
            dialled=ring.dialled or None,
            queue=ring.queue or None,
            started_at=ring.started_at,
            ringing_at=ring.ringing_at,
            ended_at=ring.ended_at,
            seconds=seconds(ring.started_at, ring.ended_at),
            outcome=ring.outcome or None,  # type: ignore[arg-type]
        )

    def conversation(self, talk: Talk) -> wire.Conversation:
        """Return a conversation."""
        return wire.Conversation(
            self.parties(sorted(talk.persons, key=self.seniority)),
            talk.started_at,
            talk.ended_at,
            seconds(talk.started_at, talk.ended_at),
            talk.conference or None,
        )

    def seniority(self, person: str) -> tuple[bool, bool, tuple[int, int, str]]:
        """Return the key that sorts the persons of a conversation: the caller first, then by age, guests last."""
        is_caller = self.caller is not None and person == self.caller.unique_id
        return not is_caller, person not in self.call.legs, by_age(person)

    def transfer(self, transfer: working.Transfer) -> wire.Transfer:
        """Return a transfer."""
        by = self.party(transfer.by)
        assert by is not None
        return wire.Transfer(
            kind=transfer.kind,  # type: ignore[arg-type]
            at=transfer.at,
            by=by,
            transferee=self.party(transfer.transferee),
            to=self.parties(transfer.to),
            number=transfer.number or None,
            context=transfer.context or None,
            outcome=transfer_outcome(self.call, transfer),
        )

    def passage(self, passage: working.Passage) -> wire.Passage:
        """Return a passage; the agent's talk ends with his own last conversation, whatever AgentComplete counts."""
        talk, ended_by = passage.talk, passage.ended_by
        if passage.answered_at is not None:
            left = self.left_talk(passage)
            handed_on = any(t.by == passage.agent and t.at >= passage.answered_at for t in self.call.transfers)
            end = passage.completed_at or (left if not self.talks_now(passage.agent) else None)
            if left is not None and end is not None and (talk is None or handed_on or end - left > TOLERANCE):
                is_unnoticed = handed_on and passage.ended_by != "transfer"
                if talk is None or is_unnoticed or end - left > TOLERANCE:
                    talk = max(round((left - passage.answered_at).total_seconds(), 6), 0.0)
                ended_by = "transfer" if handed_on else ended_by
        return wire.Passage(
            queue=passage.queue,
            party=self.party(passage.party),
            entered_at=passage.entered_at,
            position=passage.position,
            left_at=passage.left_at,
            wait_seconds=passage.wait,
            answered_at=passage.answered_at,
            talk_seconds=talk,
            outcome=passage.outcome or None,  # type: ignore[arg-type]
            agent=wire.Agent(passage.member or passage.interface, passage.interface or None)
            if passage.answered_at is not None
            else None,
            ended_by=ended_by or None,  # type: ignore[arg-type]
            key=passage.key or None,
            ring_no_answers=passage.ring_no_answers,
        )

    def left_talk(self, passage: working.Passage) -> datetime | None:
        """Return the end of the agent's last conversation in this call, before he answers another passage of it."""
        ends = [
            talk.ended_at
            for talk in self.call.talks
            if passage.agent in talk.persons
            and talk.ended_at is not None
            and passage.answered_at is not None
            and talk.ended_at >= passage.answered_at
            and (passage.completed_at is None or talk.started_at <= passage.completed_at)
        ]
        return max(ends, default=None)

    def talks_now(self, person: str) -> bool:
        """Return whether a person is in an open conversation."""
        return any(talk.ended_at is None and person in talk.persons for talk in self.call.talks)

    def park(self, stay: working.Park, party: wire.Party) -> wire.Park:
        """Return a stay in a parking lot."""
        return wire.Park(
            party=party,
            by=stay.by or None,
            lot=stay.lot,
            space=stay.space,
            from_=stay.started_at,
            until=stay.ended_at,
            outcome=stay.outcome or None,  # type: ignore[arg-type]
            retrieved_by=self.party(stay.retrieved_by),
        )

    def recordings(self) -> list[wire.Recording]:
        """Return the recordings that hold something: their channel was up."""
        items = []
        for recording in self.call.recordings:
            leg, party = self.call.legs.get(recording.leg), self.recorded(recording)
            if leg is not None and leg.answered_at is not None and party is not None:
                items.append(wire.Recording(recording.path or None, party, recording.started_at, recording.ended_at))
        return items

    def recorded(self, recording: working.Recording) -> wire.Party | None:
        """Return whom a recording holds: of a half of a Local channel, the person behind or beyond it."""
        answered = (u for u, leg in self.call.legs.items() if leg.dialler == recording.leg and leg.answered_at)
        caller = self.caller.unique_id if self.caller is not None else ""
        parties = (self.party(one) for one in (recording.leg, recording.party, *answered, caller))
        return next((party for party in parties if party is not None), None)

    def hangup(self) -> wire.Hangup | None:
        """Return how the call ended."""
        at, by, unique_id, leg = hangup_of(self.call, self.caller)
        if at is None:
            return None
        party = self.party(unique_id)
        return wire.Hangup(
            at,
            by,  # type: ignore[arg-type]
            party,
            leg.cause if leg else None,
            (leg.cause_text or None) if leg else None,
        )


def leg_of(leg: Leg) -> wire.CallLeg:
    """Return a leg."""
    return wire.CallLeg(
        unique_id=leg.unique_id,
        channel=leg.channel,
        linkedids=list(leg.linkedids),
        local=leg.kind == working.LOCAL,
        started_at=leg.started_at,
        answered_at=leg.answered_at,
        ended_at=leg.ended_at,
        cause=leg.cause,
        cause_text=leg.cause_text or None,
        quality=wire.Quality(*leg.quality) if leg.quality else None,
    )


def render(call: OpenCall) -> Any:
    """Return the wire object of a call."""
    return Renderer(call).render()
