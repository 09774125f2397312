"""Read models after a redaction equal a fold of the redacted log, whichever process dies meanwhile."""

import asyncio

import asyncpg
import msgspec
import pytest

from projections import ALL
from schemas.log import NewEvent
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock, try_lock
from services.log.append import append_events
from services.log.read import head_position
from services.projector.process import project
from services.projector.projector import Projector
from services.retention import redact, redact_log
from services.retention.redact_models import ModelRedactor, UnfinishedError
from services.retention.redact_pattern import RedactionPattern
from tests.captures import wire
from tests.support.ledger import ingest_wire
from tests.support.redacting import (
    ALL_EVENTS,
    NUMBER,
    PATTERN,
    TOKEN,
    VARIETY,
    fold,
    fold_from_scratch,
    tables,
    tables_holding,
    verify_leaves,
)


@pytest.mark.parametrize(
    ("capture", "number", "built"),
    [
        ("rich22", "5551234", {"call_records", "channels", "statistics"}),
        ("rich16", "5550100", {"call_records", "channels", "statistics"}),
        ("rich22", "112", {"call_records", "device_states", "peers", "pjsip_endpoints", "queue_entries", "statistics"}),
        ("rich16", "1001", {"agents", "call_records", "device_states", "queue_members", "statistics"}),
    ],
)
async def test_models_equal_a_fold_after_redaction(
    url: str, connection: asyncpg.Connection, capture: str, number: str, built: set[str]
) -> None:
    await ingest_wire(url, wire(capture), 65536)
    await fold(connection)
    before = await connection.fetch(ALL_EVENTS)
    rows = {model.name: await connection.fetchval(f"SELECT count(*) FROM {model.name}") for model in ALL}
    done = await redact.redact(url, RedactionPattern("number", number), TOKEN)
    assert built <= set(done.models)
    assert await ModelRedactor(connection, RedactionPattern("number", number), TOKEN).affected_models() == []
    assert len(number) < 5 or await tables_holding(connection, number) == []
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") == 0

    after = await connection.fetch(ALL_EVENTS)
    changed = [new["position"] for old, new in zip(before, after, strict=False) if old != new]
    assert changed == sorted((await verify_leaves(connection)).leaves)
    assert len(changed) == done.events.total() > 100
    for old, new in zip(before, after, strict=False):
        assert new["raw"].replace(TOKEN.encode(), number.encode()) == old["raw"]

    result = await tables(connection)
    assert {name: len(result[name]) for name in rows} == rows
    assert result == await fold_from_scratch(connection)
    assert result["unfit"] == []
    assert any(TOKEN in str(row) for row in result["call_records"])


async def test_rows_whose_keys_become_one_are_added_up(url: str, connection: asyncpg.Connection) -> None:
    cdr = (
        "Event: Cdr\r\nSource: {0}\r\nDestination: 100\r\nChannel: PJSIP/{0}-0000001a\r\nDestinationChannel: \r\n"
        "StartTime: 2026-11-22 01:00:00\r\nAnswerTime: 2026-11-22 01:00:02\r\nEndTime: 2026-11-22 01:00:05\r\n"
        "Duration: 5\r\nBillableSeconds: 3\r\nDisposition: ANSWERED\r\nUniqueID: 1795309200.{1}\r\n\r\n"
    )
    raws = [cdr.format(number, n).encode() for n, number in enumerate((NUMBER, TOKEN, "5559999"), 1)]
    at = 1795309205.0
    await append_events(connection, "pbx", 1, 1, [NewEvent("ami", "Cdr", at, at, raw) for raw in raws])
    await fold(connection)
    endpoints = "SELECT name, calls FROM statistics WHERE scope = 'endpoint' AND period = '2026-11-22' ORDER BY name"
    assert len(await connection.fetch(endpoints)) == 3
    await redact.redact(url, PATTERN, TOKEN)
    assert [tuple(r) for r in await connection.fetch(endpoints)] == [("PJSIP/5559999", 1), (f"PJSIP/{TOKEN}", 2)]
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_memory_and_unfit_events_are_redacted(url: str, connection: asyncpg.Connection) -> None:
    """A queue's memory of members' names, and the words of an error."""
    called = b"Event: AgentCalled\r\nInterface: Local/5551234@agents/n\r\nMemberName: A\r\nDestChannel: x\r\n\r\n"
    agent = b"Event: Agents\r\nAgent: 7\r\nStatus: AGENT_IDLE\r\nTalkingTo: x\r\nCallStarted: no 5551234\r\n\r\n"
    for n, (name, raw) in enumerate((("AgentCalled", called), ("Agents", agent)), 1):
        await append_events(connection, "pbx", 1, n, [NewEvent("ami", name, None, 1795309205.0, raw)])
    await fold(connection)
    assert {"ledger.checkpoint", "ledger.unfit"} <= set(await tables_holding(connection, NUMBER))
    await redact.redact(url, PATTERN, TOKEN)
    assert await tables_holding(connection, NUMBER) == []
    result = await tables(connection)
    assert TOKEN in str(result["states"])
    assert [r["position"] for r in result["unfit"]] == [2]
    assert result == await fold_from_scratch(connection)


BREAK = """
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM ledger.event WHERE name = 'Redacted') > 2 THEN
        RAISE EXCEPTION 'crash' USING ERRCODE = 'admin_shutdown';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER crash AFTER INSERT ON ledger.event EXECUTE FUNCTION crash();
"""


async def test_a_crash_between_chunks_is_continued(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingest_wire(url, wire("rich22")[:3_500_000], 65536)
    await fold(connection)
    monkeypatch.setattr(redact_log, "CHUNK_EVENTS", 20)
    await connection.execute(BREAK)
    with pytest.raises(UnfinishedError, match="run this again") as error:
        await redact.redact(url, PATTERN, TOKEN)
    assert NUMBER not in str(error.value)
    assert len((await verify_leaves(connection)).leaves) == 40
    assert await connection.fetchval("SELECT count(*) FROM event WHERE raw LIKE '%5551234%'") > 0

    # A projector that starts now ignores the mark, which stays.
    await fold(connection)
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") > 0
    await connection.execute("DROP TRIGGER crash ON ledger.event")
    done = await redact.redact(url, PATTERN, TOKEN)
    assert done.events.total() > 20
    assert await tables_holding(connection, NUMBER) == []
    assert len((await verify_leaves(connection)).leaves) == 40 + done.events.total()
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_a_crash_before_the_rebuild_is_repaired(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingest_wire(url, wire("rich22")[:3_500_000], 65536)
    await fold(connection)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("services.retention.redact_models._project_until_served", killed)
    with pytest.raises(asyncio.CancelledError):
        await redact.redact(url, PATTERN, TOKEN)
    assert "model.call_records" in await tables_holding(connection, NUMBER)
    monkeypatch.undo()
    # The next projector rebuilds them.
    await fold(connection)
    assert await tables_holding(connection, NUMBER) == []
    done = await redact.redact(url, PATTERN, TOKEN)
    assert (done.events.total(), done.models) == (0, [])
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_a_running_projector_yields_and_returns(url: str, connection: asyncpg.Connection) -> None:
    await ingest_wire(url, wire("rich22")[:3_500_000], 65536)
    stop = asyncio.Event()
    running = asyncio.create_task(project(url, stop))
    received: asyncio.Queue[int] = asyncio.Queue()
    await connection.add_listener(
        "ringledger_model", lambda *a: received.put_nowait(msgspec.json.decode(a[3])["position"])
    )

    async def reaches(position: int) -> None:
        async with asyncio.timeout(300):
            while await received.get() < position:
                pass

    await reaches(await head_position(connection))
    done = await redact.redact(url, PATTERN, TOKEN)
    assert "call_records" in done.models
    assert await tables_holding(connection, NUMBER) == []
    await reaches(await append_events(connection, "pbx", 9, 1, VARIETY[9:]))
    assert not running.done()
    stop.set()
    await running
    assert await tables(connection) == await fold_from_scratch(connection)


async def test_events_read_ahead_are_not_folded(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 1, 1, [VARIETY[9], *VARIETY])
    ours, reader = await connect(url, search_path="model, ledger"), await connect(url, search_path="model, ledger")
    assert await try_lock(ours, Lock.PROJECTOR)
    projector = Projector(ours, ALL, reader=reader)
    await projector.open()
    assert await projector.advance(1) == 1
    assert await projector.advance(2) == 2
    await projector.events.reading()  # the batch with the number
    assert await tables_holding(connection, NUMBER) != []
    await redact.redact(url, PATTERN, TOKEN)
    with pytest.raises(DATABASE_ERRORS):
        await projector.advance(2)
    await projector.close()
    reader.terminate()
    await fold(connection)
    assert await tables_holding(connection, NUMBER) == []
    assert await tables(connection) == await fold_from_scratch(connection)


@pytest.mark.parametrize("times", [1, 2])
async def test_events_during_a_redaction_are_redacted(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await append_events(connection, "pbx", 1, 1, VARIETY)
    await fold(connection)
    rebuild, built = ModelRedactor.rebuild, 0

    async def interrupted(forgetting: ModelRedactor, url: str, models: list[str]) -> None:
        nonlocal built
        built += 1
        await rebuild(forgetting, url, models)
        if built <= times:
            await append_events(connection, "pbx", 1 + built, 1, VARIETY)
            await fold(connection)

    monkeypatch.setattr(ModelRedactor, "rebuild", interrupted)
    if times == 1:
        assert (await redact.redact(url, PATTERN, TOKEN)).events.total() == 18
        assert await tables_holding(connection, NUMBER) == []
        assert await tables(connection) == await fold_from_scratch(connection)
    else:
        with pytest.raises(UnfinishedError, match="new events contain the text, and so do calls, channels, links"):
            await redact.redact(url, PATTERN, TOKEN)
    await verify_leaves(connection)


async def test_a_model_that_cannot_be_folded_is_named(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 1, 1, VARIETY)
    await fold(connection)
    await connection.execute(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF to_regclass('rebuild.channels') IS NOT NULL THEN"
        " ALTER TABLE rebuild.channels ADD CHECK (false); END IF; END $$;"
        "CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no()"
    )
    with pytest.raises(UnfinishedError, match=r"^channels cannot be rebuilt, and the old rows are still served"):
        await redact.redact(url, PATTERN, TOKEN)
    await connection.execute("DROP EVENT TRIGGER no")
    await verify_leaves(connection)
    done = await redact.redact(url, PATTERN, TOKEN)
    assert done.models
    assert await tables_holding(connection, NUMBER) == []


SAVED = (
    """
    INSERT INTO ledger.saved SELECT m, 1, p, now(), p, '{}', true
    FROM unnest(ARRAY['channels', 'modules']) AS m, unnest(ARRAY[1, 9]) AS p
    """,
    """INSERT INTO ledger.saved_rows VALUES ('channels', 1, 1, 0, '[]'), ('channels', 1, 9, 0, '["5551234"]')""",
)
PINNED = (
    """
    INSERT INTO ledger.saved VALUES
    ('channels', 1, 8, now(), 7,
     '{"memory": {"pbx": {"PJSIP/5551234": ["+5551234", 5551234, "15551234"]}}}', true, true)
    """,
    """INSERT INTO ledger.saved_rows VALUES ('channels', 1, 7, 0, '[["PJSIP/5551234-0000001a", 1.5551234]]')""",
)


async def test_saved_states_that_may_hold_it_go(url: str, connection: asyncpg.Connection) -> None:
    quiet = NewEvent("ami", "FullyBooted", None, 1795308983.5, b"Event: FullyBooted\r\n\r\n")
    await append_events(connection, "pbx", 1, 1, [quiet, *VARIETY])
    await fold(connection)
    for statement in SAVED:
        await connection.execute(statement)
    await redact.redact(url, PATTERN, TOKEN)
    left = await connection.fetch("SELECT model, position FROM ledger.saved ORDER BY 1, 2")
    assert [tuple(r) for r in left] == [("channels", 1), ("modules", 1), ("modules", 9)]
    assert await connection.fetchval("SELECT array_agg(changed) FROM ledger.saved_rows") == [1]
    assert await tables_holding(connection, NUMBER) == []


@pytest.mark.parametrize("archived", [False, True])
async def test_pinned_states_are_rewritten(url: str, connection: asyncpg.Connection, *, archived: bool) -> None:
    await append_events(connection, "pbx", 1, 1, VARIETY[9:] if archived else VARIETY)
    await fold(connection)
    for statement in PINNED:
        await connection.execute(statement)
    done = await redact.redact(url, PATTERN, TOKEN)
    assert "channels" in done.models
    [state] = await connection.fetch("SELECT state::text FROM ledger.saved")
    assert msgspec.json.decode(state[0]) == {"memory": {"pbx": {f"PJSIP/{TOKEN}": [f"+{TOKEN}", 5551234, "15551234"]}}}
    rows = await connection.fetchval("SELECT rows::text FROM ledger.saved_rows")
    assert rows == f'[["PJSIP/{TOKEN}-0000001a", 1.5551234]]'
    assert await ModelRedactor(connection, PATTERN, TOKEN).affected_models() == []


async def test_a_running_rebuild_starts_over(url: str, connection: asyncpg.Connection) -> None:
    """It has folded the old bytes; so have the tables of a model whose version was raised."""
    await ingest_wire(url, wire("rich22")[:3_500_000], 65536)
    await fold(connection)
    projector = Projector(connection, ALL)
    await projector.open()
    await connection.execute("INSERT INTO ledger.rebuild (model) SELECT unnest($1::text[])", [m.name for m in ALL])
    await projector.start_requested()
    places = "SELECT model FROM ledger.checkpoint WHERE place = 'rebuild' AND position > 0"
    while not await connection.fetchval("SELECT count(*) FROM rebuild.channels WHERE caller_id_num = $1", NUMBER):
        assert await projector.advance(100)
    assert len(await connection.fetch(places)) > 5
    done = await redact.redact(url, PATTERN, TOKEN)
    assert done.events.total() > 20
    assert await connection.fetch(places) == []
    assert await tables_holding(connection, NUMBER) == []
    assert await tables(connection) == await fold_from_scratch(connection)
