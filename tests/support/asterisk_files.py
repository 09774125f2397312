"""Lines of Asterisk's own files, and the events that an import made of them."""

import asyncpg

IMPORTED_EVENTS = """
SELECT source, name, extract(epoch FROM occurred)::float8 AS occurred, occurred = recorded AS alike, raw
FROM ledger.event WHERE source <> 'ringledger' ORDER BY position
"""


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
