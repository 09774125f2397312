"""Redaction of the log removes the number, changes nothing else, and the chain lists the changes."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from schemas.log import NewEvent, Redacted, Rejected
from services.database.locks import Lock
from services.integrity.damage import DamageError
from services.integrity.verify import verify_log
from services.log.append import append_events
from services.log.chain import LEAF_BYTES, SALT_BYTES, leaf, split
from services.log.redactions import RedactionError
from services.retention import redact, redact_log
from services.retention.redact import RedactError
from services.retention.redact_pattern import RedactionPattern
from tests.support.redacting import ALL_EVENTS, NUMBER, PATTERN, TOKEN, VARIETY, verify_leaves


async def salt(connection: asyncpg.Connection, position: int) -> bytes:
    result: bytes = await connection.fetchval("SELECT ledger.salt($1)", position)
    return result


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def test_only_the_number_changes_in_each_event(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 7, 1, VARIETY[:6])
    await append_events(connection, "other", 7, 1, VARIETY[6:])
    before = await connection.fetch(ALL_EVENTS)
    done = await redact.redact(url, PATTERN, TOKEN, "asked for it")

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
    assert (done.events.total(), done.unchanged, done.first, done.last) == (9, 2, 1, 9)

    output = [msgspec.json.decode(row["raw"], type=Redacted) for row in after[-2:]]
    assert [(row["pbx"], row["name"], row["source"]) for row in after[-2:]] == [
        ("pbx", "Redacted", "ringledger"),
        ("other", "Redacted", "ringledger"),
    ]
    assert {(s.kind, s.token, s.reason, s.actor) for s in output} == {("number", TOKEN, "asked for it", redact.actor())}
    assert [[p for p, _, _ in s.changes] for s in output] == [[1, 2, 3, 4, 5, 6], [7, 8, 9]]
    assert set((await verify_leaves(connection)).leaves) == set(range(1, 10))


async def test_a_second_redaction_follows_the_first(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 7, 1, VARIETY)
    await redact.redact(url, PATTERN, TOKEN, "Jane Roe asked for it")
    done = await redact.redact(url, RedactionPattern("text", "Jane Roe"), "redacted-vvvvvvvvvvvv")
    assert sorted(name for _, name in done.events) == ["Cdr", "Cel", "ChannelCreated", "Redacted", "VarSet"]
    output = await verify_leaves(connection)
    assert [s.line().partition(", 20")[0] for s in output.summaries] == [
        f"{TOKEN}: a number in 9 events",
        "redacted-vvvvvvvvvvvv: a text in 5 events",
    ]
    assert output.summaries[0].reasons == ("redacted-vvvvvvvvvvvv asked for it",)
    assert not await connection.fetchval("SELECT count(*) FROM event WHERE raw LIKE '%Jane%'")


async def test_rows_that_changed_meanwhile_are_left(connection: asyncpg.Connection) -> None:
    """The function refuses a row with another leaf or of another PBX; nothing is changed."""
    await append_events(connection, "pbx", 1, 1, VARIETY[:2])
    before = await connection.fetch(ALL_EVENTS)
    good = leaf(await salt(connection, 1), 1_000_000, 1795308983_500_000, "ami", "Newchannel", VARIETY[0].raw)
    for pbx, positions, leaves, raws in (
        ("pbx", [1], [bytes(32)], [b"x"]),
        ("other", [1], [good], [b"x"]),
        ("pbx", [1, 2], [good, bytes(32)], [b"x", b"y"]),
        ("pbx", [], [], []),
        ("pbx", [1, 1], [good, good], [b"x", b"y"]),
    ):
        with pytest.raises(asyncpg.SerializationError, match="events are what was read"):
            await connection.execute(
                redact_log.REDACT, pbx, "number", TOKEN, "", "root", positions, leaves, raws, ["channels"]
            )
    assert await connection.fetch(ALL_EVENTS) == before
    assert await connection.fetchval("SELECT count(*) FROM ledger.stale") == 0


async def test_a_change_without_redaction_is_named(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 1, 1, VARIETY)
    await redact.redact(url, PATTERN, TOKEN)
    await verify_leaves(connection)
    after = await connection.fetch(ALL_EVENTS)
    assert [s.events for s in (await verify_log(url)).redactions] == [9]
    old = VARIETY[9]
    sealed = leaf(await salt(connection, 10), 1_000_000, 1795308983_500_000, old.source, old.name, old.raw)
    forged = Redacted(12, "number", TOKEN, "", "root", ((10, sealed.hex(), "0" * 64),))
    for position, named, raw in (
        (10, 10, b"never redacted"),
        (1, 1, b"redacted, and then changed"),
        (1, 1, VARIETY[0].raw),  # taken back
        (11, 1, msgspec.json.encode(forged)),  # the Redacted event itself: nothing seals 1 any more
        (11, 11, b"{}"),
    ):
        attempt = connection.transaction()
        await attempt.start()
        await connection.execute("UPDATE event SET raw = $2 WHERE position = $1", position, raw)
        with pytest.raises((AssertionError, RedactionError)):
            await verify_leaves(connection)
        await attempt.rollback()
        await connection.execute("UPDATE event SET raw = $2 WHERE position = $1", position, raw)
        with pytest.raises((DamageError, RedactionError), match=rf"^event {named} "):
            await verify_log(url)
        was = after[position - 1]["raw"]
        await connection.execute("UPDATE event SET raw = $2 WHERE position = $1", position, was)
    await verify_leaves(connection)
    output = NewEvent("ringledger", "Redacted", 1.0, 1.0, msgspec.json.encode(forged))
    await append_events(connection, "pbx", 5, 1, [output])
    with pytest.raises(AssertionError):  # the event differs from its redaction
        await verify_leaves(connection)
    with pytest.raises(DamageError, match=r"^event 10 altered"):
        await verify_log(url)


async def test_the_old_leaf_confirms_no_guess(url: str, connection: asyncpg.Connection) -> None:
    """All that is left in the database beside the leaf, and the true bytes as a guess: no salt there makes the leaf."""
    await append_events(connection, "pbx", 7, 1, VARIETY)
    before = await connection.fetch(ALL_EVENTS)
    old = await connection.fetchval("SELECT salts FROM batch WHERE first = 1")
    await redact.redact(url, PATTERN, TOKEN)
    once = await connection.fetch(ALL_EVENTS)
    salts = await connection.fetchval("SELECT salts FROM batch WHERE first = 1")
    await redact.redact(url, RedactionPattern("text", "Jane Roe"), "redacted-vvvvvvvvvvvv")
    twice = await connection.fetchval("SELECT salts FROM batch WHERE first = 1")
    changed = [
        [a != b for a, b in zip(split(x, SALT_BYTES), split(y, SALT_BYTES), strict=True)]
        for x, y in ((old, salts), (salts, twice))
    ]
    assert changed[0] == [True] * 9 + [False]
    assert [at for at, new in enumerate(changed[1], 1) if new] == [2, 4, 7, 8]

    retained = b"".join([row[0] for row in await connection.fetch("SELECT salts FROM batch")])
    leaves = split(await connection.fetchval("SELECT leaves FROM batch WHERE first = 1"), LEAF_BYTES)
    records = [
        msgspec.json.decode(r["raw"], type=Redacted) for r in await connection.fetch(ALL_EVENTS) if r[8] == "Redacted"
    ]
    output = {bytes.fromhex(one) for t in records for _, *both in t.changes for one in both} | set(leaves)
    for rows, still in ((before, {10}), (once, {1, 3, 5, 6, 9, 10})):
        for row in rows[:10]:
            times = None if row[3] is None else microseconds(row[3]), microseconds(row[4])
            every = {leaf(salt, *times, *row[7:]) for salt in [b"", bytes(SALT_BYTES), *split(retained, SALT_BYTES)]}
            assert bool(every & output) == (row["position"] in still), row["position"]
    await verify_log(url)


async def test_a_ledger_is_verified_while_it_is_redacted(url: str, connection: asyncpg.Connection) -> None:
    for number in range(200):
        await append_events(connection, "pbx", 7, number * 10 + 1, VARIETY)
    done = asyncio.Event()

    async def looking() -> list[int]:
        result: list[int] = []
        while not done.is_set() or not result:
            result.append(sum(s.events for s in (await verify_log(url)).redactions))
        return result

    looks = asyncio.create_task(looking())
    for number, text in enumerate(("5551234", "1795308983", "15551234")):
        await redact.redact(url, RedactionPattern("number", text), f"redacted-{'ghi'[number] * 12}")
    done.set()
    result = await looks
    assert result == sorted(result)
    assert sum(s.events for s in (await verify_log(url)).redactions) >= 2000


async def test_another_logs_redactions_are_not_of_this_one(url: str, connection: asyncpg.Connection) -> None:
    await append_events(connection, "pbx", 7, 1, VARIETY)
    await redact.redact(url, PATTERN, TOKEN)
    foreign = await connection.fetchval("SELECT raw FROM event WHERE position = 11")
    await append_events(connection, "pbx", 8, 1, [NewEvent("ringledger", "Redacted", 1.0, 1.0, foreign)])
    verified_ = await verify_log(url)
    assert (verified_.events, [s.events for s in verified_.redactions]) == (12, [9])


async def test_concurrent_redactions_and_revealing_reasons_are_refused(
    url: str, connection: asyncpg.Connection
) -> None:
    await append_events(connection, "pbx", 1, 1, VARIETY)
    before = await connection.fetch(ALL_EVENTS)
    with pytest.raises(RedactError, match="--reason") as error:
        await redact.redact(url, PATTERN, TOKEN, "he called from +5551234")
    assert NUMBER not in str(error.value)
    await connection.execute("SELECT pg_advisory_lock($1)", Lock.RETENTION)
    with pytest.raises(RedactError, match="another redaction"):
        await redact.redact(url, PATTERN, TOKEN)
    assert await connection.fetch(ALL_EVENTS) == before
