"""A redaction of a number that calls, is called, dialled, forwarded to, an agent, in a file's name and in a record."""

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from schemas.log import NewEvent
from services.log.append import append_events
from services.projector import saved_states
from tests.projections.calls.story.scenes import blind, complete, connected, rung, waiting
from tests.support.program import Run, environment, run_program
from tests.support.redacting import NUMBER, fold, fold_from_scratch, tables, tables_holding
from tests.support.scene import Scene, uid

HOLDERS = {
    *("model.calls", "model.call_tags", "model.queue_passages", "model.agent_rings", "model.agent_hours"),
    *("model.agent_quarters", "ledger.saved_rows"),
}
CALLS = "SELECT body, story, passages, agent_rings FROM calls ORDER BY pbx, number"
TAGS = "SELECT kind, value FROM call_tags ORDER BY kind, value, pbx"


def with_number(scene: Scene) -> list[NewEvent]:
    """Give the number to the caller, to the member, and to his phone."""
    texts = {b"5550101": NUMBER, b"PJSIP/101": f"PJSIP/{NUMBER}", b"Bob Baker": NUMBER}
    events = []
    for event in scene.events:
        raw = event.raw
        for text, other in texts.items():
            raw = raw.replace(text, other.encode())
        events.append(replace(event, raw=raw))
    return events


def ended_call() -> list[NewEvent]:
    scene = connected(rung(waiting()))
    scene.var(1, "MIXMONITOR_FILENAME", f"/spool/{NUMBER}.wav").emit("MixMonitorStart", **scene.shown(1)).wait(4)
    blind(scene, by=2, transferee=1, to=NUMBER).leave(2, "b").leave(1, "b")
    complete(scene, 4, "transfer").hangup(2)
    scene.new(3, "PJSIP/102-00000003", "102", linked=1, state=0).dial(1, 3, NUMBER)
    scene.dial_end(1, 3, "CANCEL", Forward=f"Local/{NUMBER}@internal").hangup(3)
    scene.hangup(1).emit("Cdr", UniqueID=uid(1), LinkedID=uid(1), UserField=f"of {NUMBER}", BillableSeconds=4)
    return with_number(scene)


async def redact(url: str, data: Path) -> Run:
    environ = environment(url, data)
    return await run_program("redact", "--number", NUMBER, "--reason", "a request", environ=environ)


async def test_another_notation_is_another_number(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    """The digits of 555-1234 are those of the number, but only in the tags of calls: the log does not have it."""
    scene = Scene().new(1, "PJSIP/trunk-00000001", "555-1234", exten="600").hangup(1)
    await append_events(connection, "c", 1, 1, scene.events)
    await append_events(connection, "b", 1, 1, with_number(connected(rung(waiting()))))
    await fold(connection)
    with_digits = f"SELECT pbx FROM call_tags WHERE kind = 'number' AND value = '{NUMBER}' ORDER BY pbx"
    assert [row["pbx"] for row in await connection.fetch(with_digits)] == ["b", "c"]
    done = await redact(url, tmp_path)
    assert done.code == 0, done.err
    assert [row["pbx"] for row in await connection.fetch(with_digits)] == ["c"]
    again = await redact(url, tmp_path)
    assert (again.code, again.out.splitlines()[0]) == (
        0,
        "nothing to do: neither the log nor a read model contains it",
    )
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_no_number_is_left_in_a_call(
    url: str, connection: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_states, "SAVE_INTERVAL", 10)
    await append_events(connection, "a", 1, 1, ended_call())
    await append_events(connection, "b", 1, 1, with_number(connected(rung(waiting()))))
    await fold(connection)
    before, tags = await connection.fetch(CALLS), await connection.fetch(TAGS)
    assert set(await tables_holding(connection, NUMBER)) >= HOLDERS
    (ended, lasting) = before
    for name in ("parties", "rings", "forwards", "transfers", "queues", "recordings", "legs", "caller", "user_field"):
        assert NUMBER in str(ended["body"][name]), name
    assert (ended["story"], lasting["body"], NUMBER in str(lasting["story"])) == (None, None, True)

    done = await redact(url, tmp_path)
    assert (done.code, NUMBER in done.out + done.err) == (0, False), done.err
    assert "calls" in done.out
    assert await tables_holding(connection, NUMBER) == []
    after = await connection.fetch(CALLS)
    token = after[0]["body"]["caller"]["number"]
    assert token.startswith("redacted-")
    # Nothing else has changed, neither in the calls nor in the tags; a token has no digits, so no tag of a number.
    assert str(after) == str(before).replace(NUMBER, token)
    others = [(kind, value.replace(NUMBER, token)) for kind, value in tags if (kind, value) != ("number", NUMBER)]
    assert [tuple(tag) for tag in await connection.fetch(TAGS)] == sorted(others)
    assert await tables(connection) == await fold_from_scratch(connection)
