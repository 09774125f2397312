"""Calls of AMI, CEL and queue_log of one time: the tables of the projector equal those of a rebuild."""

import random

import asyncpg
import pytest

from projections.calls.calls import CALLS
from projections.queues.agent_sessions import AGENT_SESSIONS
from schemas.log import NewEvent
from services.database.connection import connect
from services.projector.rebuild.diff import differences
from services.projector.rebuild.report import lines
from tests.captures import truth
from tests.support.queue_log_events import queue_log_events
from tests.support.recorded_events import snapshotted
from tests.support.story import append, fold_log

MODELS = (AGENT_SESSIONS, CALLS)
SOURCES = "SELECT count(*) FROM calls WHERE is_told AND sources::jsonb ? 'queue_log'"
DOUBLES = "SELECT count(*) FROM (SELECT 1 FROM queue_passages GROUP BY queue, entered_at HAVING count(*) > 1) AS d"


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rebuild_of_all_sources_finds_nothing(url: str, seed: int) -> None:
    dice = random.Random(seed)
    log = queue_log_events(truth("rich22", "queue_log"))
    ami: list[NewEvent] = list(snapshotted("rich22"))
    middle = dice.randrange(len(ami))
    parts = [log[: len(log) // 2], ami[:middle], log[len(log) // 2 :], ami[middle:]]
    if seed == 2:  # The file comes whole, after AMI.
        parts = [ami, log]
    for number, part in enumerate(parts, 1):
        await append(url, part, writer=number)
    await fold_log(url, MODELS, dice)
    connection: asyncpg.Connection = await connect(url, search_path="model, ledger")
    try:
        comparisons = await differences(url, MODELS)
        assert [one.differing for one in comparisons] == [0] * len(comparisons), lines(comparisons)
        assert await connection.fetchval(SOURCES) == sum(event.name == "ENTERQUEUE" for event in log)
        assert await connection.fetchval(DOUBLES) == 0
    finally:
        await connection.close()
