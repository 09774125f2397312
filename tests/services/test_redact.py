"""Redacting the log and what is made of it: nothing of the number is left, and nothing else has changed."""

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from projections import ALL
from schemas.log import Connected, Received, Redacted, Rejected
from services import database, log, redact, redactions
from services.chain import BEGINNING, LEAF, Batch, leaf
from services.forget import Forgetting, UnfinishedError
from services.project import project
from services.projector import Projector
from services.redact import RedactError
from services.tables import Table
from services.wanted import Wanted
from tests.captures import wire
from tests.services.test_chain import BATCHES, EVENTS
from tests.test_spine import ingested

NUMBER = "5551234"
TOKEN = "redacted-ghijklmnopqr"
COLUMNS = "position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw"
ALL_EVENTS = f"SELECT {COLUMNS} FROM ledger.event ORDER BY position"
PROGRAM = Path(sys.executable).parent / "ringledger"


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await database.connect(url, search_path="model, ledger")
    yield opened
    await opened.close()


async def fold(connection: asyncpg.Connection) -> None:
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert projector.stopped == {}


async def tables(connection: asyncpg.Connection) -> dict[str, Any]:
    """Return every row of every model, and what models remember; the places of checkpoints are not of the models."""
    found: dict[str, Any] = {}
    for model in ALL:
        key = ", ".join(("pbx", *model.key))
        found[model.name] = await connection.fetch(f"SELECT * FROM {Table(model, 'model').name} ORDER BY {key}")
    found["states"] = await connection.fetch(
        "SELECT model, place, version, position, state FROM ledger.checkpoint ORDER BY model"
    )
    found["unfit"] = await connection.fetch("SELECT * FROM ledger.unfit ORDER BY model, position")
    return found


async def folded_from_scratch(connection: asyncpg.Connection) -> dict[str, Any]:
    for model in ALL:
        await connection.execute(f"DROP TABLE {Table(model, 'model').name}")
    await connection.execute("DELETE FROM ledger.checkpoint; DELETE FROM ledger.unfit")
    await fold(connection)
    return await tables(connection)


async def verified(connection: asyncpg.Connection) -> redactions.Redactions:
    """Compute the chain anew: every event has the leaf that was sealed, or the one that a redaction says."""
    said = await redactions.read(connection)
    before, ended = BEGINNING, 0
    for batch in [Batch(*row) for row in await connection.fetch(BATCHES)]:
        assert (batch.first, batch.hash) == (ended + 1, batch.link(before))
        rows = await connection.fetch(EVENTS, batch.first, batch.last)
        for offset, row in enumerate(rows):
            position, sealed, now = batch.first + offset, batch.leaves[offset * LEAF :][:LEAF], leaf(*row)
            assert said.leaves.get(position, (sealed, sealed)) == (sealed, now), position
        before, ended = batch.hash, batch.last
    assert tuple(await connection.fetchrow("SELECT position, hash FROM ledger.head")) == (ended, before)
    assert await connection.fetchval("SELECT sum(count) FROM ledger.name") == ended
    return said


async def held(connection: asyncpg.Connection, number: str) -> list[str]:
    """Return every table of ours that holds the digits, but for where they are a fraction or a number in JSON."""
    names = await connection.fetch(
        "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = ANY ($1::regnamespace[]::oid[])",
        ["ledger", "model", "rebuild"],
    )
    found = []
    for (name,) in names:
        rows = await connection.fetch(f"SELECT t FROM {name} t")
        whole = re.compile(rf'(?<![0-9.])(?<!"n":){number}(?![0-9])')
        values = [v.decode("latin-1") if isinstance(v, bytes) else repr(v) for (row,) in rows for v in row]
        if any(map(whole.search, values)):
            found.append(name)
    return found


VARIETY = [
    Received("ami", "Newchannel", 1.0, 1795308983.5, b"Event: Newchannel\r\nChannel: PJSIP/5551234-0000001a\r\nUniqueid: 1795308983.34\r\nLinkedid: 1795308983.34\r\nCallerIDNum: 5551234\r\n\r\n"),
    Received("ami", "VarSet", 1.0, 1795308983.5, b"Event: VarSet\r\nChannel: PJSIP/5551234-0000001a\r\nUniqueid: 1795308983.34\r\nVariable: X\xff\r\nValue: \"Jane Roe\" <sip:5551234@192.0.2.1>\r\n\r\n"),
    Received("ami", "DialBegin", 1.0, 1795308983.5, b"Event: DialBegin\r\nDialString: trunk/5551234\r\nDialString: 15551234\r\n\r\n"),
    Received("ari", "ChannelCreated", 1.0, 1795308983.5, b'{"type":"ChannelCreated","channel":{"name":"PJSIP/5551234-0000001a","caller":{"name":"Jane Roe","number":"5551234"},"n":5551234}}'),
    Received("ringledger", "Connected", 1.0, 1795308983.5, msgspec.json.encode(Connected("5551234.example", "x"))),
    Received("ringledger", "Rejected", 1.0, 1795308983.5, msgspec.json.encode(Rejected("ami", "X", "e", b"Event: X\r\nA: 5551234\r\n\r\n"))),
    Received("cdr_csv", "Cdr", None, 1795308983.5, b'"","5551234","100","x","""Jane Roe"" <5551234>","PJSIP/5551234-0000001a"'),
    Received("cel_csv", "Cel", None, 1795308983.5, b'"CHAN_START","1795308983.34","Jane Roe","5551234"'),
    Received("queue_log", "ENTERQUEUE", None, 1795308983.5, b"1795308983|1795308983.34|q|NONE|ENTERQUEUE||5551234|1"),
    Received("ami", "Hangup", 1.0, 1795308983.5, b"Event: Hangup\r\nUniqueid: 1795308983.5551234\r\n\r\n"),
]  # fmt: skip


async def test_every_kind_of_event_and_nothing_but_the_number(url: str, connection: asyncpg.Connection) -> None:
    await log.append(connection, "pbx", 7, 1, VARIETY[:6])
    await log.append(connection, "other", 7, 1, VARIETY[6:])
    before = await connection.fetch(ALL_EVENTS)
    done = await redact.redact(url, Wanted("number", NUMBER), TOKEN, "asked for it")

    after = await connection.fetch(ALL_EVENTS)
    assert len(after) == len(before) + 2  # one event for each PBX
    for old, new in zip(before, after, strict=False):
        assert tuple(old)[:-1] == tuple(new)[:-1]
        raw = new["raw"]
        if new["name"] == "Rejected":
            assert msgspec.json.decode(raw, type=Rejected).raw == b"Event: X\r\nA: " + TOKEN.encode() + b"\r\n\r\n"
            continue
        assert raw.replace(TOKEN.encode(), NUMBER.encode()) == old["raw"]
        if new["name"] != "Hangup":
            assert TOKEN.encode() in raw
    assert b'"n":5551234' in after[3]["raw"]
    assert b"DialString: 15551234" in after[2]["raw"]
    assert (done.events.total(), done.kept, done.first, done.last) == (9, 2, 1, 9)

    said = [msgspec.json.decode(row["raw"], type=Redacted) for row in after[-2:]]
    assert [(row["pbx"], row["name"], row["source"]) for row in after[-2:]] == [
        ("pbx", "Redacted", "ringledger"),
        ("other", "Redacted", "ringledger"),
    ]
    assert {(s.kind, s.token, s.reason, s.actor) for s in said} == {("number", TOKEN, "asked for it", redact.actor())}
    assert [[p for p, _, _ in s.changes] for s in said] == [[1, 2, 3, 4, 5, 6], [7, 8, 9]]
    assert set((await verified(connection)).leaves) == set(range(1, 10))
    assert base64.b64encode(NUMBER.encode())[:8] not in b"".join(row["raw"] for row in after)


async def test_a_name_goes_by_itself_and_a_second_redaction_follows_the_first(
    url: str, connection: asyncpg.Connection
) -> None:
    await log.append(connection, "pbx", 7, 1, VARIETY)
    await redact.redact(url, Wanted("number", NUMBER), TOKEN, "Jane Roe asked for it")
    done = await redact.redact(url, Wanted("text", "Jane Roe"), "redacted-vvvvvvvvvvvv")
    assert sorted(name for _, name in done.events) == ["Cdr", "Cel", "ChannelCreated", "Redacted", "VarSet"]
    said = await verified(connection)
    assert [s.line().partition(", 20")[0] for s in said.summaries] == [
        f"{TOKEN}: a number in 9 events",
        "redacted-vvvvvvvvvvvv: a text in 5 events",
    ]
    assert said.summaries[0].reasons == ("redacted-vvvvvvvvvvvv asked for it",)
    assert not await connection.fetchval("SELECT count(*) FROM event WHERE raw LIKE '%Jane%'")


@pytest.mark.parametrize(
    ("capture", "number", "built"),
    [
        ("rich22", "5551234", {"call_records", "channels", "statistics"}),
        ("rich16", "5550100", {"call_records", "channels", "statistics"}),
        ("rich22", "112", {"call_records", "device_states", "peers", "pjsip_endpoints", "queue_entries", "statistics"}),
        ("rich16", "1001", {"agents", "call_records", "device_states", "queue_members", "statistics"}),
    ],
)
async def test_the_models_of_a_recording_are_those_of_the_redacted_log(
    url: str, connection: asyncpg.Connection, capture: str, number: str, built: set[str]
) -> None:
    await ingested(url, wire(capture), 65536)
    await fold(connection)
    before = await connection.fetch(ALL_EVENTS)
    rows = {model.name: await connection.fetchval(f"SELECT count(*) FROM {model.name}") for model in ALL}
    done = await redact.redact(url, Wanted("number", number), TOKEN)
    assert built <= set(done.models)
    assert await Forgetting(connection, Wanted("number", number)).holding() == []
    assert len(number) < 5 or await held(connection, number) == []
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") == 0

    after = await connection.fetch(ALL_EVENTS)
    changed = [new["position"] for old, new in zip(before, after, strict=False) if old != new]
    assert changed == sorted((await verified(connection)).leaves)
    assert len(changed) == done.events.total() > 100
    for old, new in zip(before, after, strict=False):
        assert new["raw"].replace(TOKEN.encode(), number.encode()) == old["raw"]

    found = await tables(connection)
    assert {name: len(found[name]) for name in rows} == rows
    assert found == await folded_from_scratch(connection)
    assert found["unfit"] == []
    assert any(TOKEN in str(row) for row in found["call_records"])


async def test_rows_whose_keys_become_one_are_added_up(url: str, connection: asyncpg.Connection) -> None:
    cdr = (
        "Event: Cdr\r\nSource: {0}\r\nDestination: 100\r\nChannel: PJSIP/{0}-0000001a\r\nDestinationChannel: \r\n"
        "StartTime: 2026-11-22 01:00:00\r\nAnswerTime: 2026-11-22 01:00:02\r\nEndTime: 2026-11-22 01:00:05\r\n"
        "Duration: 5\r\nBillableSeconds: 3\r\nDisposition: ANSWERED\r\nUniqueID: 1795309200.{1}\r\n\r\n"
    )
    raws = [cdr.format(number, n).encode() for n, number in enumerate((NUMBER, TOKEN, "5559999"), 1)]
    at = 1795309205.0
    await log.append(connection, "pbx", 1, 1, [Received("ami", "Cdr", at, at, raw) for raw in raws])
    await fold(connection)
    endpoints = "SELECT name, calls FROM statistics WHERE scope = 'endpoint' AND period = '2026-11-22' ORDER BY name"
    assert len(await connection.fetch(endpoints)) == 3
    await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert [tuple(r) for r in await connection.fetch(endpoints)] == [("PJSIP/5559999", 1), (f"PJSIP/{TOKEN}", 2)]
    assert await tables(connection) == await folded_from_scratch(connection)


async def test_what_a_model_remembers_and_what_did_not_fit_is_forgotten(
    url: str, connection: asyncpg.Connection
) -> None:
    """A queue's memory of members' names, and the words of an error."""
    called = b"Event: AgentCalled\r\nInterface: Local/5551234@agents/n\r\nMemberName: A\r\nDestChannel: x\r\nQueue: q\r\n\r\n"
    agent = b"Event: Agents\r\nAgent: 7\r\nStatus: AGENT_IDLE\r\nTalkingTo: x\r\nCallStarted: no 5551234\r\n\r\n"
    for n, (name, raw) in enumerate((("AgentCalled", called), ("Agents", agent)), 1):
        await log.append(connection, "pbx", 1, n, [Received("ami", name, None, 1795309205.0, raw)])
    await fold(connection)
    assert {"ledger.checkpoint", "ledger.unfit"} <= set(await held(connection, NUMBER))
    await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert await held(connection, NUMBER) == []
    found = await tables(connection)
    assert TOKEN in str(found["states"])
    assert [r["position"] for r in found["unfit"]] == [2]
    assert found == await folded_from_scratch(connection)


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


async def test_a_crash_between_two_chunks_leaves_what_verifies_and_the_next_run_ends_it(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingested(url, wire("rich22")[:3_500_000], 65536)
    await fold(connection)
    monkeypatch.setattr(redact, "CHUNK", 20)
    await connection.execute(BREAK)
    with pytest.raises(UnfinishedError, match="run this again") as error:
        await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert NUMBER not in str(error.value)
    assert len((await verified(connection)).leaves) == 40
    assert await connection.fetchval("SELECT count(*) FROM event WHERE raw LIKE '%5551234%'") > 0

    # A projector that starts now goes on as if nothing were; the mark stays.
    await fold(connection)
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") > 0
    await connection.execute("DROP TRIGGER crash ON ledger.event")
    done = await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert done.events.total() > 20
    assert await held(connection, NUMBER) == []
    assert len((await verified(connection)).leaves) == 40 + done.events.total()
    assert await tables(connection) == await folded_from_scratch(connection)


async def test_a_crash_before_the_models_are_built_is_made_good(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ingested(url, wire("rich22")[:3_500_000], 65536)
    await fold(connection)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched, pytest.raises(asyncio.CancelledError):
        patched.setattr("services.forget._until_served", killed)
        await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert "model.call_records" in await held(connection, NUMBER)
    # Whoever projects next builds them anew by itself.
    await fold(connection)
    assert await held(connection, NUMBER) == []
    done = await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert (done.events.total(), done.models) == (0, [])
    assert await tables(connection) == await folded_from_scratch(connection)


async def test_a_projector_that_runs_is_sent_away_and_comes_back(url: str, connection: asyncpg.Connection) -> None:
    await ingested(url, wire("rich22")[:3_500_000], 65536)
    stop = asyncio.Event()
    running = asyncio.create_task(project(url, stop))
    heard: asyncio.Queue[int] = asyncio.Queue()
    await connection.add_listener(
        "ringledger_model", lambda *a: heard.put_nowait(msgspec.json.decode(a[3])["position"])
    )

    async def reaches(position: int) -> None:
        async with asyncio.timeout(20):
            while await heard.get() < position:
                pass

    await reaches(await log.head(connection))
    done = await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert "call_records" in done.models
    assert await held(connection, NUMBER) == []
    await reaches(await log.append(connection, "pbx", 9, 1, VARIETY[9:]))
    assert not running.done()
    stop.set()
    await running
    assert await tables(connection) == await folded_from_scratch(connection)


async def test_a_model_that_cannot_be_folded_anew_is_named(
    url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(connection, "pbx", 1, 1, VARIETY)
    await fold(connection)
    await connection.execute(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF to_regclass('rebuild.channels') IS NOT NULL THEN"
        " ALTER TABLE rebuild.channels ADD CHECK (false); END IF; END $$;"
        "CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no()"
    )
    with pytest.raises(UnfinishedError, match=r"^channels cannot be folded anew and is still served"):
        await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    await connection.execute("DROP EVENT TRIGGER no")
    await verified(connection)
    done = await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert done.models
    assert await held(connection, NUMBER) == []


SAVED = """
CREATE TABLE ledger.saved (
    model text NOT NULL, version int NOT NULL, position bigint NOT NULL, latest timestamptz NOT NULL,
    changed bigint NOT NULL, state jsonb NOT NULL, whole boolean NOT NULL, kept boolean NOT NULL DEFAULT false,
    PRIMARY KEY (model, version, position)
);
CREATE TABLE ledger.saved_rows (
    model text NOT NULL, version int NOT NULL, changed bigint NOT NULL, part int NOT NULL, rows json NOT NULL,
    PRIMARY KEY (model, version, changed, part)
);
INSERT INTO ledger.saved SELECT m, 1, p, now(), p, '{}', true FROM unnest(ARRAY['channels', 'modules']) m, unnest(ARRAY[1, 9]) p;
INSERT INTO ledger.saved_rows SELECT model, version, changed, 0, format('[{"x":"%s"}]', $1)::json FROM ledger.saved WHERE model = 'channels';
"""


async def test_saved_states_that_may_hold_it_go(url: str, connection: asyncpg.Connection) -> None:
    quiet = Received("ami", "FullyBooted", None, 1795308983.5, b"Event: FullyBooted\r\n\r\n")
    await log.append(connection, "pbx", 1, 1, [quiet, *VARIETY])
    await fold(connection)
    for statement in SAVED.split(";\n"):
        if statement.strip():
            await connection.execute(
                statement.replace("$1", f"'{NUMBER}'" if "saved_rows SELECT" in statement else "$1")
            )
    await connection.execute("DELETE FROM ledger.saved_rows WHERE changed = 1")
    await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    left = await connection.fetch("SELECT model, position FROM ledger.saved ORDER BY 1, 2")
    assert [tuple(r) for r in left] == [("channels", 1), ("modules", 1), ("modules", 9)]
    assert await held(connection, NUMBER) == []


async def test_rows_that_are_not_what_was_read_are_left(url: str, connection: asyncpg.Connection) -> None:
    """The function takes no row whose leaf is another, nor one of another PBX, and says so; nothing is changed."""
    await log.append(connection, "pbx", 1, 1, VARIETY[:2])
    before = await connection.fetch(ALL_EVENTS)
    good = leaf(1_000_000, 1795308983_500_000, "ami", "Newchannel", VARIETY[0].raw)
    for pbx, positions, leaves, raws in (
        ("pbx", [1], [bytes(32)], [b"x"]),
        ("other", [1], [good], [b"x"]),
        ("pbx", [1, 2], [good, bytes(32)], [b"x", b"y"]),
        ("pbx", [], [], []),
        ("pbx", [1, 1], [good, good], [b"x", b"y"]),
    ):
        with pytest.raises(asyncpg.SerializationError, match="events are what was read"):
            await connection.execute(
                redact.REDACT, pbx, "number", TOKEN, "", "root", positions, leaves, raws, ["channels"]
            )
    assert await connection.fetch(ALL_EVENTS) == before
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") == 0


async def test_what_nobody_redacted_is_still_found(url: str, connection: asyncpg.Connection) -> None:
    await log.append(connection, "pbx", 1, 1, VARIETY)
    await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    await verified(connection)
    old = VARIETY[9]
    claim = (10, leaf(1_000_000, 1795308983_500_000, old.source, old.name, old.raw).hex(), "0" * 64)
    forged = Redacted("number", TOKEN, "", "root", (claim,))
    for position, raw in (
        (10, b"never redacted"),
        (1, b"redacted, and then changed"),
        (1, VARIETY[0].raw),  # taken back
        (11, msgspec.json.encode(forged)),  # what the redaction said
    ):
        attempt = connection.transaction()
        await attempt.start()
        await connection.execute("UPDATE event SET raw = $2 WHERE position = $1", position, raw)
        with pytest.raises(AssertionError):
            await verified(connection)
        await attempt.rollback()
    await verified(connection)
    said = Received("ringledger", "Redacted", 1.0, 1.0, msgspec.json.encode(forged))
    await log.append(connection, "pbx", 5, 1, [said])
    with pytest.raises(AssertionError):  # what stands there is not what it says
        await verified(connection)


async def test_two_at_once_and_a_reason_that_tells_it_are_refused(url: str, connection: asyncpg.Connection) -> None:
    await log.append(connection, "pbx", 1, 1, VARIETY)
    before = await connection.fetch(ALL_EVENTS)
    with pytest.raises(RedactError, match="--reason") as error:
        await redact.redact(url, Wanted("number", NUMBER), TOKEN, "he called from +5551234")
    assert NUMBER not in str(error.value)
    await connection.execute("SELECT pg_advisory_lock($1)", redact.LOCK)
    with pytest.raises(RedactError, match="another redaction"):
        await redact.redact(url, Wanted("number", NUMBER), TOKEN)
    assert await connection.fetch(ALL_EVENTS) == before


def run(url: str, data: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "RINGLEDGER_DATABASE_URL": url, "RINGLEDGER_DATA": str(data)}
    command = [PROGRAM, "redact", *arguments]
    return subprocess.run(command, env=environ, input=stdin, capture_output=True, text=True, check=False)


async def test_the_command(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    """It never repeats the number; a second run has nothing to do; a dry run and bad input change nothing."""
    data = tmp_path / "data"
    await log.append(connection, "pbx", 7, 1, VARIETY)
    await fold(connection)
    before = await connection.fetch(ALL_EVENTS)
    said = []

    async def ran(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        done = await asyncio.to_thread(run, url, data, *arguments, stdin=stdin)
        said.append(done.stdout + done.stderr)
        return done.returncode, done.stdout, done.stderr

    assert await ran("--number", "12") == (
        2,
        "",
        "ringledger: --number: 3 to 20 digits and nothing else but a + before them\n",
    )
    assert (await ran())[0] == (await ran("--number", NUMBER, "--text", "Jane Roe"))[0] == 2
    assert (await ran("--number", NUMBER, "--reason", f"of {NUMBER}"))[0] == 2
    code, out, _ = await ran("--number", NUMBER, "--dry-run")
    assert code == 0
    assert "9 events hold it (positions 1 to 9):\n" in out
    assert "read models that hold it: channels, links\n" in out
    assert await connection.fetch(ALL_EVENTS) == before

    code, out, _ = await ran("--number", "-", "--reason", "asked for it", stdin=f"+{NUMBER}\n")
    assert code == 0
    assert re.match(r"redacted-[g-v]{12}: 9 events redacted \(positions 1 to 9\):\n", out)
    assert "folded anew: call_records, channels, " in out
    head = await log.head(connection)
    code, out, _ = await ran("--number", NUMBER)
    assert (code, out) == (
        0,
        "nothing to do: neither the log nor a read model holds it\n"
        "2 events hold the same characters as a part of something else, and keep them\n",
    )
    assert await log.head(connection) == head
    assert NUMBER not in "".join(said)
    assert await held(connection, NUMBER) == []
    assert await tables(connection) == await folded_from_scratch(connection)


async def test_without_a_ledger_and_without_a_database(server_url: str, tmp_path: Path) -> None:
    nothing = await asyncio.to_thread(run, server_url, tmp_path, "--number", NUMBER)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "`ringledger migrate`" in nothing.stderr
    nowhere = await asyncio.to_thread(run, "postgresql://127.0.0.1:1/x", tmp_path, "--number", NUMBER)
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert "not to be reached" in nowhere.stderr
