"""The plans with which PostgreSQL runs statements."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec

from services.database.connection import connect


async def plan(url: str, sql: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return the nodes of the plan with which PostgreSQL ran it."""
    connection: asyncpg.Connection = await connect(url, search_path="model, ledger")
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *parameters)
    await connection.close()
    return list(nodes(msgspec.json.decode(text)[0]["Plan"]))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)
