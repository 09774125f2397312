"""The bench of calls and their statistics, from rows that PostgreSQL generates."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import asyncpg

from tests.bench.http import PASSWORD, Client, free_port
from tests.bench.report import Figure
from tests.bench.shared import connected_to
from tests.bench.stage import BrokenError, Stage
from tests.support.call_tables import create_tables, generate_calls, generate_passages

CALLS = 10_000_000
PASSAGES = 3_000_000
TRIES = 5
FILTERS = (
    *("limit=100", "pbx=pbx1", "number=103", "endpoint=PJSIP/trunk", "queue=queue42", "agent=Agent%207"),
    *("direction=transit", "direction=internal", "outcome=congestion", "outcome=answered", "state=ended"),
    *("transferred=true", "transferred=false", "min_talk=30", "min_talk=299", "min_talk=400", "min_talk=3600"),
)
MONTH = "from=2026-01-01T00:00:00%2B01:00&to=2026-02-01T00:00:00%2B01:00&timezone=Europe/Berlin"


@asynccontextmanager
async def served(stage: Stage, name: str) -> AsyncIterator[tuple[asyncpg.Connection, Client]]:
    """Yield a connection to a database with all tables, and a client of the API on it."""
    url, port = await stage.database(name), free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder),
        "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
        "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
    }
    with stage.ringledger("project", **environ), stage.ringledger("serve", **environ):
        client = await (await Client(port).open()).login()
        async with connected_to(url) as connection:
            await create_tables(connection)
            yield connection, client
        client.close()
    await stage.drop(name)


async def seconds(client: Client, path: str) -> tuple[float, int]:
    """Return how long a GET takes, and the size of its body."""
    start = time.perf_counter()
    status, _, body = await client.get(path)
    if status != 200:
        raise BrokenError(f"{path}: {status} {body[:300]!r}")
    return time.perf_counter() - start, len(body)


async def calls(stage: Stage, _: int, __: int, count: int = CALLS) -> list[Figure]:
    """A page of 100 of many calls by each filter; each request is another one, so no cache has its bytes."""
    async with served(stage, "calls") as (connection, client):
        await generate_calls(connection, count)
        await client.login()  # the first token may have ended while the rows were made
        taken: dict[str, list[float]] = {}
        for number in range(TRIES):
            for text in FILTERS:
                spent, _size = await seconds(client, f"/v1/calls?{text}&from=2025-01-01T00:00:{number:02}Z")
                taken.setdefault(text, []).append(spent)
    slowest = max(taken, key=lambda text: median(taken[text]))
    return [
        Figure("calls", "calls", count),
        Figure("calls", "a page by the usual filter", median(map(median, taken.values())) * 1000, "ms"),
        Figure("calls", f"by the slowest ({slowest})", median(taken[slowest]) * 1000, "ms", 50, at_most=True),
        Figure("calls", "the slowest single request", max(map(max, taken.values())) * 1000, "ms"),
    ]


async def statistics(stage: Stage, _: int, __: int, count: int = PASSAGES) -> list[Figure]:
    """A month of 100 queues by day and by hour; each request has another service level, so no cache has its bytes."""
    async with served(stage, "statistics") as (connection, client):
        await generate_passages(connection, count)
        by = {}
        for every in ("day", "hour"):
            spent = [
                await seconds(client, f"/v1/statistics/queues?{MONTH}&every={every}&sla={sla}")
                for sla in range(20, 20 + TRIES)
            ]
            by[every] = median(one for one, _ in spent), spent[0][1]
    return [
        Figure("statistics", "passages", count),
        Figure("statistics", "a month of 100 queues by day", by["day"][0], "s", 0.5, at_most=True),
        Figure("statistics", f"by hour ({by['hour'][1] >> 20} MB)", by["hour"][0], "s", 3, at_most=True),
    ]
