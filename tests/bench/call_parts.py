"""The bench of calls and their statistics, from rows that PostgreSQL generates."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import combinations, product
from statistics import median
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec

from api.calls.cursor import Place
from services.log.times import rfc3339_microseconds
from tests.bench.http import PASSWORD, Client
from tests.bench.report import Figure
from tests.bench.shared import connected_to
from tests.bench.stage import BrokenError, Stage, cpu, postgres
from tests.support.call_tables import create_tables
from tests.support.many_calls import filter_values, generate_calls
from tests.support.many_passages import generate_passages, generate_rings
from tests.support.ports import free_port

TRIES = 3
IDS = ("{old}.1", "{middle}.1", "{middle}.2", "{new}.2", "none", "{middle}.2?pbx=pbx1", "{middle}.2?pbx=none")
MONTH = "from=2026-01-01T00:00:00%2B01:00&to=2026-02-01T00:0{}:00%2B01:00&timezone=Europe/Berlin"


@asynccontextmanager
async def served(
    stage: Stage, name: str, generate: Callable[[asyncpg.Connection, int], Awaitable[None]], count: int
) -> AsyncIterator[tuple[Client, Callable[[], float]]]:
    """Yield a client of the API on a database with generated rows, and the reader of a clock.

    The clock counts the processor seconds of the API and of PostgreSQL. The client logs in when the rows are made,
    because the API ends connections and tokens that idle for minutes.
    """
    url, port = await stage.database(name), free_port()
    environ = {
        "RINGLEDGER_DATABASE_URL": url,
        "RINGLEDGER_DATA": str(stage.folder),
        "RINGLEDGER_HTTP": f"127.0.0.1:{port}",
        "RINGLEDGER_ADMIN_PASSWORD": PASSWORD,
    }
    with stage.ringledger("project", **environ), stage.ringledger("serve", **environ) as serve:
        (await (await Client(port).open()).login()).close()  # the projector has made its tables then
        async with connected_to(url) as connection:
            await create_tables(connection)
            await generate(connection, count)
        client = await (await Client(port).open()).login()
        yield client, lambda: sum(map(cpu, [serve.pid, *postgres(stage.server)]))
        client.close()
    await stage.drop(name)


async def seconds(client: Client, path: str, statuses: Container[int] = (200,)) -> tuple[float, int]:
    """Return how long a GET takes, and the size of its body."""
    start = time.perf_counter()
    status, _, body = await client.get(path)
    if status not in statuses:
        raise BrokenError(f"{path}: {status} {body[:300]!r}")
    return time.perf_counter() - start, len(body)


async def calls(stage: Stage, _: int, __: int, count: int = 1_000_000) -> list[Figure]:
    """A page of 100 of many calls by each filter and each pair of filters, and single calls by their ids.

    Each request has another time, so no cache has its bytes.
    """
    values = [(name, one) for name, some in filter_values(count).items() for one in some]
    alone = ["", *[_query(one) for one in values]]
    pairs = [f"{_query(one)}&{_query(other)}" for one, other in combinations(values, 2) if one[0] != other[0]]
    async with served(stage, "calls", generate_calls, count) as (client, used):
        by_one, _ = await _pages(client, alone)
        full, _ = await _pages(client, [f"{query}&full=true" for query in alone])
        start = used()
        by_two, cut = await _pages(client, pairs)
        processor = (used() - start) / (len(pairs) * (TRIES + 1))
        by_id = {path: await _best(client, _paths(path, count), {200, 404}) for path in IDS}
    return [
        Figure("calls", "calls", count),
        *_figures("a page by one filter", by_one),
        *_figures("with all lists", full),
        *_figures("a page by two filters", by_two),
        Figure("calls", "processor time of such a page, mean", processor * 1000, "ms"),
        Figure("calls", "of the pages by two filters are cut", 100 * cut / len(pairs), "%"),
        *_figures("a call by an id", by_id),
    ]


def _query(one: tuple[str, Any]) -> str:
    """Return a filter as a parameter of a request."""
    name, value = one
    if isinstance(value, tuple):
        value = Place(*value).cursor
    elif isinstance(value, datetime):
        value = rfc3339_microseconds(value)
    return urlencode({name: str(value).lower() if isinstance(value, bool) else value})


async def _pages(client: Client, queries: list[str]) -> tuple[dict[str, float], int]:
    """Return the seconds of a page by each query, and how many pages end before their calls do."""
    taken, cut = {}, 0
    for query in queries:
        paths = [f"/v1/calls?{query}&to=2100-01-01T00:00:0{number}Z" for number in range(TRIES)]
        taken[query] = await _best(client, paths, {200})
        _, _, body = await client.get(f"/v1/calls?{query}")
        page = msgspec.json.decode(body)
        cut += page["next"] is not None and len(page["calls"]) < 100
    return taken, cut


def _paths(path: str, count: int) -> list[str]:
    """Return the paths of neighbours: of old calls, of those in the middle, and of new ones."""
    return [
        f"/v1/calls/{path.format(old=count // 150 + n, middle=count // 2 + n, new=count - n)}" for n in range(TRIES)
    ]


async def _best(client: Client, paths: list[str], statuses: set[int]) -> float:
    """Return the seconds of the fastest of some GETs: other programs only add to them."""
    return min([(await seconds(client, path, statuses))[0] for path in paths])


def _figures(what: str, taken: dict[str, float]) -> list[Figure]:
    slowest = max(taken, key=lambda query: taken[query])
    return [
        Figure("calls", f"{what}, median", median(taken.values()) * 1000, "ms"),
        Figure("calls", f"{what}, slowest ({slowest[:60]})", taken[slowest] * 1000, "ms", 50, at_most=True),
    ]


async def statistics(stage: Stage, _: int, __: int, count: int = 3_000_000) -> list[Figure]:
    """A month of 100 queues, and of their agents, by day and by hour.

    Each request has another end, so no cache has its bytes.
    """
    async with served(stage, "statistics", generate_month, count) as (client, used):
        by = {}
        for kind, every in product(("queues", "agents"), ("day", "hour")):
            start = used()
            spent = [
                await seconds(client, f"/v1/statistics/{kind}?{MONTH.format(number)}&every={every}")
                for number in range(TRIES)
            ]
            by[kind, every] = median(one for one, _ in spent), spent[0][1], (used() - start) / TRIES
    figures = [Figure("statistics", "passages", count)]
    for (kind, every), (second, size, processor) in by.items():
        target = {"day": 0.5, "hour": 3.0}[every] if kind == "queues" else None
        name = f"a month of {kind} by {every} ({size / 2**20:.1f} MB)"
        figures.append(Figure("statistics", name, second, "s", target, at_most=True))
        figures.append(Figure("statistics", f"{kind} by {every}, processor time", processor, "s"))
    return figures


async def generate_month(connection: asyncpg.Connection, count: int) -> None:
    """Fill the empty tables of passages and of rings, and their sums."""
    await generate_passages(connection, count)
    await generate_rings(connection)
