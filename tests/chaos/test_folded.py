"""The comparison of tables and log can fail: it finds wrong, lost and invented rows, and stopped models."""

import time

import asyncpg
import pytest

from projections import ALL
from schemas.log import Connected, NewEvent
from services.database.connection import connect
from services.log.append import append_events
from services.projector.projector import Projector
from tests.chaos.folded import Folded, compare
from tests.chaos.wire import DifferenceError
from tests.support.folding import ListSnapshot, block, own
from tests.support.recorded_events import recording


@pytest.fixture
async def connection(url: str) -> asyncpg.Connection:
    connection = await connect(url, search_path="model, ledger")
    listing = ListSnapshot("CoreShowChannels", at=time.time())
    item = listing.item("CoreShowChannel", Channel="PJSIP/1-1", Uniqueid="7.1", ChannelState="6")
    odd = block("Newstate", Channel="PJSIP/1-1", Uniqueid="7.1", ChannelState="abc")
    events: list[NewEvent] = [own(Connected("host:5038"), time.time()), *recording("rich22")[:4000]]
    await append_events(connection, "pbx", 1, 1, [*events, listing.start, item, odd])
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance(700):
        pass
    return connection


async def folded(connection: asyncpg.Connection, at_least: int = 1) -> Folded:
    return await compare(connection, ALL, at_least, lambda *_: None)


FALSIFIED = (
    (
        "UPDATE model.links SET banner = 'x'",
        r"model links, row \('pbx',\), column banner: the fold has '', the table 'x'",
    ),
    ("DELETE FROM model.links", r"model links, row \('pbx',\): the fold has it, the table has not"),
    (
        'INSERT INTO model.queues SELECT (jsonb_populate_record(q, \'{"name": "zz"}\')).* FROM model.queues q LIMIT 1',
        r"model queues, row \('pbx', 'zz'\): the table has it, the fold has not",
    ),
    (
        "UPDATE model.queues SET tm_update = tm_update + interval '1 microsecond'",
        "model queues, row .*, column tm_update",
    ),
    (
        "UPDATE ledger.checkpoint SET error = 'position 7: no' WHERE model = 'agents'",
        "agents has stopped: position 7: no",
    ),
    ("UPDATE ledger.checkpoint SET position = position - 1 WHERE model = 'agents'", "the models are at 4003..4004"),
    ("DELETE FROM ledger.checkpoint WHERE model = 'agents'", "model agents: version . is not there"),
    ("UPDATE ledger.checkpoint SET state = '{}' WHERE model = 'channels'", "model channels remembers other things"),
    ("DELETE FROM ledger.unfit", r"ledger.unfit: \(4004, 'Newstate'"),
    ("DELETE FROM ledger.event WHERE position = 9", "log positions 9..9 are not there"),
    ("DELETE FROM ledger.event WHERE position = 4004", "log positions 4004..4004 are not there"),
    ("UPDATE ledger.event SET name = 'Hangup' WHERE position = 4003", "the table has it, the fold has not"),
)


async def test_tables_of_the_projector_equal_a_fold(connection: asyncpg.Connection) -> None:
    result = await folded(connection)
    assert result.events == 4004
    assert result.unfit == 1
    assert result.rows.keys() == {model.name for model in ALL}
    assert min(result.rows[name] for name in ("channels", "links", "queues", "device_states")) > 0
    with pytest.raises(DifferenceError, match="not together between 4005 and 4004"):
        await folded(connection, 4005)
    await connection.close()


@pytest.mark.parametrize(("falsify", "match"), FALSIFIED)
async def test_each_falsification_is_named(connection: asyncpg.Connection, falsify: str, match: str) -> None:
    assert not (await connection.execute(falsify)).endswith(" 0")
    with pytest.raises(DifferenceError, match=match):
        await folded(connection)
    await connection.close()
