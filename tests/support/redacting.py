"""Events with a number in every place, and what must hold after its redaction."""

import re
from typing import Any

import asyncpg
import msgspec

from projections import ALL
from schemas.log import Connected, NewEvent, Rejected
from services.log import redactions
from services.log.chain import LEAF_BYTES, SALT_BYTES, ZERO_LINK, SealedBatch, leaf, split
from services.projector import swap
from services.projector.projector import Projector
from services.retention.redact_pattern import RedactionPattern
from tests.support.chain import BATCHES, EVENTS
from tests.support.model_rows import rows

NUMBER = "5551234"
PATTERN = RedactionPattern("number", NUMBER)
TOKEN = "redacted-ghijklmnopqr"
AT = 1795308983.5
ALL_EVENTS = """
SELECT position, connection, ordinal, occurred, recorded, month, pbx, source, name, raw
FROM ledger.event ORDER BY position
"""
REJECTED = Rejected("ami", "X", "e", b"Event: X\r\nA: 5551234\r\n\r\n")

VARIETY = [
    *(
        NewEvent("ami", raw[7:].partition(b"\r")[0].decode(), 1.0, AT, raw)
        for raw in (
            b"Event: Newchannel\r\nChannel: PJSIP/5551234-0000001a\r\nCallerIDNum: 5551234\r\nUniqueid: 1.34\r\n\r\n",
            b'Event: VarSet\r\nUniqueid: 1.34\r\nVariable: X\xff\r\nValue: "Jane Roe" <sip:5551234@x>\r\n\r\n',
            b"Event: DialBegin\r\nDialString: trunk/5551234\r\nDialString: 15551234\r\n\r\n",
        )
    ),
    NewEvent("ari", "ChannelCreated", 1.0, AT, b'{"caller":{"name":"Jane Roe","number":"5551234"},"n":5551234}'),
    NewEvent("ringledger", "Connected", 1.0, AT, msgspec.json.encode(Connected("5551234.example", "x"))),
    NewEvent("ringledger", "Rejected", 1.0, AT, msgspec.json.encode(REJECTED)),
    NewEvent("cdr_csv", "Cdr", None, AT, b'"","5551234","100","x","""Jane Roe"" <5551234>","PJSIP/5551234-0000001a"'),
    NewEvent("cel_csv", "Cel", None, AT, b'"CHAN_START","1795308983.34","Jane Roe","5551234"'),
    NewEvent("queue_log", "ENTERQUEUE", None, AT, b"1795308983|1795308983.34|q|NONE|ENTERQUEUE||5551234|1"),
    NewEvent("ami", "Hangup", 1.0, AT, b"Event: Hangup\r\nUniqueid: 1795308983.5551234\r\n\r\n"),
]
"""One event of every source with the number, and a last one that has other digits of that kind."""


async def fold(connection: asyncpg.Connection) -> None:
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert projector.stopped == {}


async def tables(connection: asyncpg.Connection) -> dict[str, Any]:
    """Return every row of every read model, and the state of its fold."""
    state: dict[str, Any] = {**await rows(connection)}
    state["states"] = await connection.fetch(
        "SELECT model, place, version, position, state FROM ledger.checkpoint ORDER BY model"
    )
    state["unfit"] = await connection.fetch("SELECT * FROM ledger.unfit ORDER BY model, position")
    return state


async def fold_from_scratch(connection: asyncpg.Connection) -> dict[str, Any]:
    for model in ALL:
        await swap.drop(connection, model.name, "model")
    await connection.execute("DELETE FROM ledger.checkpoint; DELETE FROM ledger.unfit")
    await fold(connection)
    return await tables(connection)


async def verify_leaves(connection: asyncpg.Connection) -> redactions.Redactions:
    """Compute the chain again: each event has its sealed leaf, or the leaf that a redaction recorded."""
    recorded = await redactions.read_redactions(connection)
    before, ended = ZERO_LINK, 0
    for batch in [SealedBatch(*row) for row in await connection.fetch(BATCHES)]:
        assert (batch.first, batch.hash) == (ended + 1, batch.link(before))
        rows = await connection.fetch(EVENTS, batch.first, batch.last)
        each = zip(rows, split(batch.leaves, LEAF_BYTES), split(batch.salts, SALT_BYTES), strict=True)
        for position, (row, sealed, salt) in enumerate(each, batch.first):
            now = leaf(salt, *row)
            assert recorded.leaves.get(position, (sealed, sealed)) == (sealed, now), position
        before, ended = batch.hash, batch.last
    assert tuple(await connection.fetchrow("SELECT position, hash FROM ledger.head")) == (ended, before)
    assert await connection.fetchval("SELECT sum(count) FROM ledger.name") == ended
    return recorded


async def tables_holding(connection: asyncpg.Connection, number: str) -> list[str]:
    """Return the tables that hold the digits, except as a fraction or as a number in JSON."""
    names = await connection.fetch(
        "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = ANY ($1::regnamespace[]::oid[])",
        ["ledger", "model", "rebuild"],
    )
    holding = []
    for (name,) in names:
        rows = await connection.fetch(f"SELECT t FROM {name} t")
        whole = re.compile(rf'(?<![0-9.])(?<!"n":){number}(?![0-9])')
        values = [v.decode("latin-1") if isinstance(v, bytes) else repr(v) for (row,) in rows for v in row]
        if any(map(whole.search, values)):
            holding.append(name)
    return holding
