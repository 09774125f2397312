"""Calls that CEL alone gives equal those of AMI, member by member, but for the facts that CEL lacks."""

from functools import cache

import pytest

from schemas.ami.call import HangupRequest
from schemas.calls import Call
from tests.projections.calls.story.recorded import NAMES
from tests.projections.calls.story.sources import events_of, table_of
from tests.support.cel_comparison import CLOSE, is_close, unequal_members


@cache
def calls(name: str, source: str) -> dict[str, Call]:
    return table_of(events_of(name)[source]).calls()


def unequal(name: str, source: str, seconds: float, *left_out: str) -> list[tuple[str, str]]:
    """Return (linked id, member) of each difference to AMI."""
    return [
        (linkedid, member)
        for linkedid, call in calls(name, "ami").items()
        for member in unequal_members(call, calls(name, source)[linkedid], seconds, *left_out)
    ]


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
