"""`ringledger calls` and `ringledger call ID`, in a script."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.calls.call_rows import CallId, CallRow, CallTag
from services.database.connection import connect
from tests.captures import wire
from tests.support.call_tables import create_tables, put_rows
from tests.support.ledger import open_ledger
from tests.support.program import Cli
from tests.support.recorded_events import events_of_wire

START = datetime(2026, 11, 23, 14, 3, tzinfo=UTC)


def party(number: str, name: str | None = None) -> dict[str, Any]:
    return {
        "channel": f"PJSIP/{number}-00000001",
        "unique_id": f"{number}.1",
        "endpoint": f"PJSIP/{number}",
        "number": number,
        "name": name,
    }


def at(second: int) -> str:
    return f"2026-11-23T14:03:{second:02}.000000Z"


CALLER, PHONE, OTHER = party("100", "Alice"), party("101", "Bob\x1b[31m"), party("102")
CALL: dict[str, Any] = {
    "linkedid": "1.1",
    "aliases": ["1.9"],
    "pbx": "berlin",
    "state": "ended",
    "complete": False,
    "sources": ["ami"],
    "direction": "internal",
    "originated": False,
    "started_at": at(0),
    "answered_at": at(5),
    "ended_at": at(50),
    "duration_seconds": 50.0,
    "talk_seconds": 40.0,
    "account_code": None,
    "user_field": None,
    "outcome": "answered",
    "hangup": {"at": at(49), "by": "caller", "party": CALLER, "cause": 16, "cause_text": "Normal Clearing"},
    "caller": CALLER | {"number_at_start": "100", "name_at_start": "Alice"},
    "answered_by": PHONE,
    "dialled": {"number": "600", "context": "default"},
    "destination": PHONE,
    "rings": [
        {"from": CALLER, "to": PHONE, "dialled": None, "queue": "sales", "started_at": at(1), "ringing_at": at(1)}
        | {"ended_at": at(5), "seconds": 4.0, "outcome": "answered"}
    ],
    "conversations": [
        {"parties": [CALLER, PHONE], "started_at": at(5), "ended_at": at(20), "seconds": 15.0, "conference": None},
        {"parties": [CALLER, OTHER], "started_at": at(22), "ended_at": None, "seconds": None, "conference": None},
    ],
    "transfers": [
        {"kind": "blind", "at": at(20), "by": PHONE, "transferee": CALLER, "to": [OTHER], "number": "102"}
        | {"context": "default", "outcome": "answered"}
    ],
    "queues": [
        {"queue": "sales", "party": CALLER, "entered_at": at(0), "position": 1, "left_at": at(5)}
        | {"wait_seconds": 5.0, "answered_at": at(5), "talk_seconds": 15.0, "outcome": "answered", "key": None}
        | {"agent": {"name": "Bob", "interface": "PJSIP/101"}, "ended_by": "transfer", "ring_no_answers": 0}
    ],
    "holds": [{"by": PHONE, "from": at(10), "until": at(12)}],
    "recordings": [{"path": "/a.wav", "party": CALLER, "started_at": at(6), "ended_at": None}],
    **{name: [] for name in ("parties", "pickups", "forwards", "parks", "conferences", "voicemails", "legs", "gaps")},
}


@pytest.fixture
async def cli(url: str) -> Cli:
    connection = await connect(url, search_path="model, ledger")
    await create_tables(connection)
    row = CallRow(
        pbx="berlin",
        tm_update=START,
        linkedid="1.1",
        number=7,
        started_at=START,
        answered_at=START,
        ended_at=START,
        state="ended",
        is_told=True,
        direction="internal",
        outcome="answered",
        is_originated=False,
        is_transferred=True,
        talk_seconds=40.0,
        duration_seconds=50.0,
        body=CALL,
    )
    await put_rows(connection, "calls", [row])
    await put_rows(connection, "call_ids", [CallId("berlin", one, "1.1", 7) for one in ("1.1", "1.9")])
    await put_rows(connection, "call_tags", [CallTag("berlin", "1.1", "queue", "sales", START, 7)])
    await connection.close()
    return Cli(url)


async def test_calls_are_listed_by_their_filters(cli: Cli) -> None:
    run = await cli.run(
        "calls", "--queue", "sales", "--transferred", "--min-talk", "30", "--from", "2026-11-23T00:00:00Z"
    )
    head, line = run.out.splitlines()
    assert head.split("\t")[:3] == ["started", "pbx", "linked id"]
    assert line.split("\t")[1:] == [
        *("berlin", "1.1", "Alice 100 (PJSIP/100)", "Bob\\x1b[31m 101 (PJSIP/101)", "answered", "40.0", "50.0"),
    ]
    (one,) = json.loads((await cli.run("calls", "--json")).out)
    assert one["linkedid"] == "1.1"
    assert "legs" not in one
    assert (await cli.run("calls", "--pbx", "none")).out.count("\n") == 1


async def test_a_story_has_the_order_of_time(cli: Cli) -> None:
    run = await cli.run("call", "1.9")
    assert (run.code, "\x1b" in run.out) == (0, False)
    assert "no positions: the events of this call are archived" in run.err
    lines = [line.split(maxsplit=2)[1:] for line in run.out.split("\n\n")[1].splitlines()]
    assert [(passed, text.split(" (")[0]) for passed, text in lines] == [
        ("+0.0s", "Alice 100"),
        ("+0.0s", "Alice 100"),
        ("+1.0s", "Alice 100"),
        ("+5.0s", "Bob\\x1b[31m 101"),
        ("+5.0s", "queue sales: answered by Bob after 5.0 s"),
        ("+5.0s", "talk: Alice 100"),
        ("+6.0s", "recording of Alice 100"),
        ("+10.0s", "Bob\\x1b[31m 101"),
        ("+12.0s", "end: Bob\\x1b[31m 101"),
        ("+20.0s", "blind transfer by Bob\\x1b[31m 101"),
        ("+20.0s", "end of talk after 15.0 s: Alice 100"),
        ("+22.0s", "talk: Alice 100"),
        ("+49.0s", "hangup by caller, cause 16"),
        ("+50.0s", "the call ends"),
    ]
    assert json.loads((await cli.run("call", "1.9", "--json", "--pbx", "berlin")).out) == CALL


async def test_a_story_has_the_positions_behind_it(url: str) -> None:
    ledger = await open_ledger(url)
    await ledger.write(*events_of_wire(wire("rich22")[:600_000]))
    await ledger.fold()
    linkedid, number = await ledger.connection.fetchrow(
        "SELECT linkedid, number FROM calls WHERE outcome = 'answered' AND ended_at IS NOT NULL ORDER BY number LIMIT 1"
    )
    run = await Cli(url).run("call", linkedid)
    names = {row[0]: row[1] for row in await ledger.connection.fetch("SELECT position, name FROM ledger.event")}
    await ledger.close()
    shown = {}
    for line in run.out.split("\n\n")[1].splitlines():
        text, _, positions = line.rpartition("  [")
        shown[text.split(maxsplit=2)[2]] = [names[int(position)] for position in positions.rstrip("]").split()]
    (first, *_) = shown
    assert shown[first] == [names[number]] == ["CEL"]
    assert next(some for text, some in shown.items() if " rings " in text)[0] == "DialBegin"
    assert next(some for text, some in shown.items() if text.startswith("talk: ")) == ["BridgeEnter"]
    assert next(some for text, some in shown.items() if text.startswith("end of talk")) == ["BridgeLeave"]
    assert shown["the call ends"] == ["Hangup"]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("call", "2.2"), "not found: call 2.2", 1),
        (("calls", "--state", "up"), "--state: dialling", 2),
        (("calls", "--from", "today"), "--from: 'today' is not a time", 2),
        (("calls", "--number", "abc"), "--number: has no digits", 2),
    ],
)
async def test_bad_arguments_are_one_line(cli: Cli, arguments: tuple[str, ...], message: str, code: int) -> None:
    run = await cli.run(*arguments)
    assert (run.code, run.out) == (code, "")
    assert message in run.err
