"""The story of a call in a form that a scene can write: persons are phones, and nothing in it depends on the pace."""

from dataclasses import dataclass, field
from typing import Any

from schemas.calls import Agent, Call, Party, Passage, Transfer


@dataclass
class Story:
    """A call as GET /v1/calls/{id} serves it. The defaults are those of a call that comes to nothing.

    A person is the phone of his channel: ``101`` for PJSIP/101-0000000a. A second channel of the same phone is
    ``101'``. ``numbers`` has the persons whose number is not their phone's. Each list is in the order of the call's.
    """

    caller: str | None
    dialled: str | None
    outcome: str | None = None
    hangup: str | None = None
    answered_by: str | None = None
    destination: str | None = None
    rings: list[str] = field(default_factory=list)
    talks: list[str] = field(default_factory=list)
    transfers: list[str] = field(default_factory=list)
    pickups: list[str] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    parks: list[str] = field(default_factory=list)
    conferences: list[str] = field(default_factory=list)
    voicemails: list[str] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    callees: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    numbers: dict[str, str | None] = field(default_factory=dict)
    direction: str | None = "internal"
    originated: bool = False
    complete: bool = True
    state: str = "ended"


class Persons:
    """The short names of a call's persons, in the order in which they joined."""

    def __init__(self, call: Call) -> None:
        self._names: dict[str, str] = {}
        for party in call.parties:
            name = party.endpoint.partition("/")[2]
            while name in self._names.values():
                name += "'"
            self._names[party.unique_id] = name

    def name(self, party: Party | None) -> str:
        """Return the short name of a party, ``pbx`` for none."""
        return "pbx" if party is None else self._names.get(party.unique_id, party.channel)

    def all(self, parties: list[Party]) -> str:
        return " ".join(map(self.name, parties))


def story_of(call: Call) -> Story:
    """Return the story of a call."""
    persons = Persons(call)
    name = persons.name
    destination = call.destination
    return Story(
        caller=name(call.caller) if call.caller else None,
        dialled=call.dialled.number,
        outcome=call.outcome,
        hangup=hangup_text(call, persons),
        answered_by=name(call.answered_by) if call.answered_by else None,
        destination=persons.name(destination_party(call)) if destination.unique_id else destination.number,
        rings=[
            f"{name(ring.from_)} > {name(ring.to)} {ring.outcome}" + (f" in {ring.queue}" if ring.queue else "")
            for ring in call.rings
        ],
        talks=[
            persons.all(talk.parties) + (f" in {talk.conference}" if talk.conference else "")
            for talk in call.conversations
        ],
        transfers=[transfer_text(one, persons) for one in call.transfers],
        pickups=[f"{name(pickup.by)} of {name(pickup.of)}" for pickup in call.pickups],
        forwards=[f"{name(forward.by)} to {forward.to}" for forward in call.forwards],
        queues=[passage_text(passage, persons) for passage in call.queues],
        holds=[name(hold.by) for hold in call.holds],
        parks=[
            f"{name(park.party)} by {park.by} {park.outcome}"
            + (f" by {name(park.retrieved_by)}" if park.retrieved_by else "")
            for park in call.parks
        ],
        conferences=[f"{name(stay.party)} in {stay.name}" for stay in call.conferences],
        voicemails=[f"{name(mail.party)} to {mail.mailbox}" for mail in call.voicemails],
        recordings=[f"{name(recording.party)} {recording.path}" for recording in call.recordings],
        callees=[name(party) for party in call.parties if party.role == "callee"],
        agents=[name(party) for party in call.parties if party.role == "agent"],
        numbers={
            name(party): party.number for party in call.parties if party.number != party.endpoint.partition("/")[2]
        },
        direction=call.direction,
        originated=call.originated,
        complete=call.complete,
        state=call.state,
    )


def destination_party(call: Call) -> Party | None:
    """Return the destination as the party that it is."""
    return next((party for party in call.parties if party.unique_id == call.destination.unique_id), None)


def hangup_text(call: Call, persons: Persons) -> str | None:
    """Write who ended a call: ``caller 100``, or ``pbx``."""
    if call.hangup is None or call.hangup.party is None:
        return call.hangup.by if call.hangup else None
    return f"{call.hangup.by} {persons.name(call.hangup.party)}"


def transfer_text(transfer: Transfer, persons: Persons) -> str:
    """Write a transfer: ``blind by 101: 100 to 102 (102) answered``, the extension in parentheses."""
    to = persons.all(transfer.to) or "-"
    by, transferee = persons.name(transfer.by), persons.name(transfer.transferee)
    return f"{transfer.kind} by {by}: {transferee} to {to} ({transfer.number}) {transfer.outcome}"


def passage_text(passage: Passage, persons: Persons) -> str:
    """Write a passage: ``sales: 105 answered by Alice Abel, ended by caller``."""
    agent: Agent | None = passage.agent
    text = f"{passage.queue}: {persons.name(passage.party)} {passage.outcome}"
    text += f" by {agent.name}" if agent else ""
    text += f", ended by {passage.ended_by}" if passage.ended_by else ""
    text += f", key {passage.key}" if passage.key else ""
    return text + (f", {passage.ring_no_answers} missed" if passage.ring_no_answers else "")


def check_sound(call: Call) -> None:
    """Fail unless an ended call leaves nothing open, and its times and lists are in order."""
    lasting: list[Any] = [
        *(ring.ended_at for ring in call.rings),
        *(ring.outcome for ring in call.rings),
        *(talk.ended_at for talk in call.conversations),
        *(hold.until for hold in call.holds),
        *(park.until for park in call.parks),
        *(stay.until for stay in call.conferences),
        *(passage.outcome for passage in call.queues),
        *(leg.ended_at for leg in call.legs),
        *(party.left_at for party in call.parties),
        call.ended_at,
        call.hangup,
        call.outcome,
    ]
    assert None not in lasting, call
    assert call.ended_at is not None
    assert call.started_at <= (call.answered_at or call.started_at) <= call.ended_at
    assert (call.answered_at is None) == (call.answered_by is None)
    for times in (
        [ring.started_at for ring in call.rings],
        [talk.started_at for talk in call.conversations],
        [transfer.at for transfer in call.transfers],
    ):
        assert times == sorted(times)
    persons = {party.unique_id for party in call.parties}
    talks = [talk for talk in call.conversations if not talk.conference]  # others come to a conference by other calls
    named = [*(ring.to for ring in call.rings), *(p for talk in talks for p in talk.parties)]
    assert {party.unique_id for party in named} <= persons
    assert call.talk_seconds <= call.duration_seconds if call.duration_seconds is not None else False
