"""Calls that CEL alone gives equal those of AMI, member by member, but for the facts that CEL lacks."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from schemas.ami.call import HangupRequest
from schemas.calls import Call, Party
from tests.projections.calls.story.recorded import NAMES
from tests.projections.calls.story.sources import events_of, table_of
from tests.support.calls import reasons

Members = dict[str, Callable[[Call], Any]]

CLOSE = 0.1
"""Seconds by which the times of AMI's and CEL's events about one moment differ at most."""


def uid(party: Party | None) -> str | None:
    return party.unique_id if party else None


EQUAL: Members = {
    "linkedid, aliases": lambda c: (c.linkedid, c.aliases),
    "complete, gaps": lambda c: (c.complete, reasons(c)),
    "originated": lambda c: c.originated,
    "direction": lambda c: c.direction,
    "account_code": lambda c: c.account_code,
    "caller": lambda c: c.caller,
    "dialled": lambda c: c.dialled,
    "answered_by": lambda c: c.answered_by,
    "destination": lambda c: c.destination,
    "parties": lambda c: [(uid(p), p.number, p.name, p.endpoint, p.answered) for p in c.parties],
    "roles": lambda c: [p.role == "caller" for p in c.parties],
    "rings": lambda c: [(uid(r.from_), r.to, r.outcome) for r in c.rings],
    "conversations": lambda c: [(t.parties, t.conference) for t in c.conversations],
    "transfers": lambda c: [(t.kind, t.by, t.transferee, t.to, t.number, t.context, t.outcome) for t in c.transfers],
    "pickups": lambda c: [(p.by, p.of) for p in c.pickups],
    "forwards": lambda c: [(f.by, f.to) for f in c.forwards],
    "parks": lambda c: [(p.party, p.by, p.lot, p.outcome, p.retrieved_by) for p in c.parks],
    "conferences": lambda c: [(s.name, s.party) for s in c.conferences],
    "voicemails": lambda c: [(v.mailbox, v.party) for v in c.voicemails],
    "legs": lambda c: [(g.unique_id, g.channel, g.linkedids, g.local, g.cause) for g in c.legs],
}
TIMES: dict[str, Callable[[Call], list[datetime | None]]] = {
    "call": lambda c: [c.started_at, c.answered_at, c.ended_at],
    "legs": lambda c: [at for g in c.legs for at in (g.started_at, g.answered_at, g.ended_at)],
    "rings": lambda c: [at for r in c.rings for at in (r.started_at, r.ended_at)],
    "conversations": lambda c: [at for t in c.conversations for at in (t.started_at, t.ended_at)],
    "transfers": lambda c: [t.at for t in c.transfers],
    "parks": lambda c: [at for p in c.parks for at in (p.from_, p.until)],
    "conferences": lambda c: [at for s in c.conferences for at in (s.from_, s.until)],
}


@cache
def calls(name: str, source: str) -> dict[str, Call]:
    return table_of(events_of(name)[source]).calls()


def is_close(one: datetime | None, other: datetime | None, seconds: float) -> bool:
    return one is other if one is None or other is None else abs((one - other).total_seconds()) < seconds


def unequal(name: str, source: str, seconds: float, *left_out: str) -> list[tuple[str, str]]:
    """Return (linked id, member) of each difference to AMI."""
    differences = []
    for linkedid, call in calls(name, "ami").items():
        other = calls(name, source)[linkedid]
        differences += [
            (linkedid, member) for member, of in EQUAL.items() if member not in left_out and of(call) != of(other)
        ]
        for member, of_times in TIMES.items():
            pairs = list(zip(of_times(call), of_times(other), strict=True))
            differences += [(linkedid, f"{member}: {pair}") for pair in pairs if not is_close(*pair, seconds)]
    return differences


@pytest.mark.parametrize("name", NAMES)
def test_cel_gives_the_calls_of_ami(name: str) -> None:
    assert calls(name, "cel").keys() == calls(name, "ami").keys()
    assert unequal(name, "cel", CLOSE) == []
    assert {tuple(call.sources) for call in calls(name, "cel").values()} == {("cel",)}


@pytest.mark.parametrize("name", NAMES)
def test_outcomes_equal_but_for_those_of_queues(name: str) -> None:
    """A caller who hangs up in a queue, or whose time there ends, has the outcome of one who waits for the PBX."""
    checked = 0
    for linkedid, call in calls(name, "ami").items():
        outcome = calls(name, "cel")[linkedid].outcome
        if call.outcome in {"abandoned", "timeout"}:
            assert outcome in {"cancelled", "pbx_only", "no_answer"}
            checked += 1
        else:
            assert outcome == call.outcome, linkedid
    assert checked > 40


@pytest.mark.parametrize("name", NAMES)
def test_hangups_equal_but_for_their_times(name: str) -> None:
    """CEL's HANGUP comes after the extension h, and both sides of a call may request the hangup at once."""
    requests = {e.unique_id: e.at for e in events_of(name)["ami"] if type(e) is HangupRequest}
    at_once = 0
    for linkedid, call in calls(name, "ami").items():
        hangup, other = call.hangup, calls(name, "cel")[linkedid].hangup
        if hangup is None or other is None:
            assert hangup is other
            continue
        assert (hangup.by, hangup.cause) == (other.by, other.cause)
        assert hangup.at <= other.at or is_close(hangup.at, other.at, CLOSE)
        if hangup.party != other.party:
            assert hangup.party is not None
            assert other.party is not None
            assert is_close(requests[hangup.party.unique_id], requests[other.party.unique_id], 0.001)
            at_once += 1
    assert at_once <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_whole_seconds_gives_the_calls(name: str) -> None:
    """The file holds the minutes after the recording too, so calls that lasted then have their ends."""
    lasting = {linkedid for linkedid, call in calls(name, "ami").items() if call.state != "ended"}
    assert 0 < len(lasting) < 10
    assert calls(name, "ami").keys() <= calls(name, "file").keys()
    # This file has the columns without an account code.
    differing = unequal(name, "file", 1.2, "account_code")
    assert {linkedid for linkedid, _ in differing} <= lasting
