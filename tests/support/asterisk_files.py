"""Lines of Asterisk's own files, and the events that an import made of them."""

from typing import Any

import asyncpg
import msgspec

from schemas.log import Imported
from tests.support.program import Run, environment, run_program

IMPORTED_EVENTS = """
SELECT source, name, extract(epoch FROM occurred)::float8 AS occurred, occurred = recorded AS alike, raw
FROM ledger.event WHERE source <> 'ringledger' ORDER BY position
"""
IMPORTED = "SELECT raw FROM ledger.event WHERE name = 'Imported' AND source = 'ringledger' ORDER BY position"


async def fetch_rows(url: str, query: str = IMPORTED_EVENTS) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    result: list[asyncpg.Record] = await connection.fetch(query)
    await connection.close()
    return result


def cdr(start: str, end: str, seconds: int, unique_id: str = "", destination: str = "200") -> str:
    columns = [
        "",
        "100",
        destination,
        "internal",
        '""Ann"" <100>',
        "PJSIP/100-00000001",
        "PJSIP/200-00000002",
        "Dial",
        "",
    ]
    columns += [start, start, end]
    text = ",".join(f'"{c}"' for c in columns) + f',{seconds},{seconds},"ANSWERED","DOCUMENTATION"'
    return text + (f',"{unique_id}",""\n' if unique_id else "\n")


async def fetch_openings(url: str) -> list[Imported]:
    return [msgspec.json.decode(row[0], type=Imported) for row in await fetch_rows(url, IMPORTED)]


async def fetch_log(url: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await fetch_rows(url, "SELECT * FROM ledger.event ORDER BY position")]


async def run_import(url: str, *arguments: str) -> Run:
    return await run_program("import", *arguments, environ=environment(url))
