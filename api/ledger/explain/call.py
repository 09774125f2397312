"""?call=<unique id>: the call's records, and every event that names it, from its beginning to its end.

All channels of a call share one linked id. A channel that was called by itself before it joined has its own linked id
until then. So an event belongs to the call if it holds the linked id of the record, or the requested unique id.
If cdr_manager.conf does not map LinkedID, the linked id comes from the channel's own events.
"""

from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web

from api.app_keys import POOL
from api.http.errors import ApiError
from api.http.query import MAX_BIGINT, QueryParams
from api.ledger import wire
from api.ledger.events import answer
from api.ledger.search import Search, SearchFilter
from api.ledger.value_match import CALL, UNIQUE_ID, ValueMatch, header
from services.database.pool import Pool
from services.log.archives import ArchiveCatalog, read_catalog
from services.log.times import rfc3339_microseconds, to_microseconds

LIMIT = 1_000
MAX_LIMIT = 10_000

RECORDS = """
SELECT pbx, position, unique_id, linked_id, channel, destination_channel, disposition, start_time, end_time,
       billable_seconds
FROM call_records
WHERE ($1::text IS NULL OR pbx = $1) AND (unique_id = $2::text OR linked_id = ANY($3::text[]))
ORDER BY position
"""
# The times are those of the listener's clock, because the PBX's may be wrong. The call began as long before its record
# was received as the PBX's clock shows between start and record. No event names a call a minute after its last record.
TIME = """
SELECT min(e.recorded - greatest(r.tm_update - r.start_time, interval '0')) - interval '5 minutes' AS since,
       (SELECT appended FROM ledger.batch WHERE first <= max(r.position) ORDER BY first DESC LIMIT 1)
           + interval '1 minute' AS until
FROM call_records r JOIN ledger.event e ON e.position = r.position
WHERE r.pbx = $1 AND r.position = ANY($2::bigint[])
"""


async def explain(request: web.Request) -> web.Response:
    params = QueryParams(request, "call", "pbx", "cursor", "limit")
    value = params.utf8("call")
    assert value is not None
    unique_id, pool = value.decode(), request.app[POOL]
    cursor, limit = params.position("cursor"), params.number("limit", LIMIT, MAX_LIMIT)
    records = await pool.fetch(RECORDS, params.text("pbx"), unique_id, [unique_id])
    if not records:
        raise ApiError(404, "not found: a call record with this unique or linked id")
    pbx = records[0]["pbx"]
    if any(record["pbx"] != pbx for record in records):
        raise ApiError(
            400, f"pbx: several PBXes have this call: {', '.join(sorted({record['pbx'] for record in records}))}"
        )
    async with pool.acquire() as connection:
        archived = await read_catalog(connection)
    linked = {record["linked_id"] for record in records if record["unique_id"] == unique_id and record["linked_id"]}
    time = await _time(pool, pbx, records)
    if not linked:
        linked = await _linked(pool, pbx, value, time) if time else {unique_id}
    records = await pool.fetch(RECORDS, pbx, unique_id, sorted(linked))
    time = await _time(pool, pbx, records)
    match = ValueMatch(CALL, frozenset({value, *(one.encode() for one in linked)}))
    # If all its records are archived, so are all its events.
    since, until = time or (None, None)
    after = max(cursor or 0, archived.position) if time else MAX_BIGINT
    search = Search(pool, SearchFilter(pbx=pbx, since=since, until=until, after=after, values=(match,)))
    events = [wire.event_ref(row) async for page in search.pages(limit) for row in page]
    gone = [
        {"position": record["position"], "month": archive.month, "file": archive.file}
        for record in records
        if (archive := archived.archive_of(record["position"])) is not None
    ]
    body = {
        "call": unique_id,
        "pbx": pbx,
        "linked_ids": sorted(linked),
        "records": [_record(record) for record in records],
        "events": events,
        "next": search.next,
        "scanned": search.scanned,
        "scanned_to": search.scanned_to,
        **({"archived": gone} if gone else {}),
        **({"archived_to": archived.position} if archived and _reaches(archived, since) else {}),
    }
    return answer(body, search.head)


def _reaches(archived: ArchiveCatalog, since: datetime | None) -> bool:
    return since is None or to_microseconds(since) <= archived.last_appended


async def _time(pool: Pool, pbx: str, records: list[asyncpg.Record]) -> tuple[datetime, datetime] | None:
    """Return the time span of the call's events, None if all its records are archived."""
    since, until = await pool.fetchrow(TIME, pbx, [record["position"] for record in records])
    return None if since is None else (since, until)


async def _linked(pool: Pool, pbx: str, unique_id: bytes, time: tuple[datetime, datetime]) -> set[str]:
    match = ValueMatch(UNIQUE_ID, frozenset({unique_id}))
    search = Search(pool, SearchFilter(pbx=pbx, source="ami", since=time[0], until=time[1], values=(match,)))
    linked_ids = {unique_id}
    async for page in search.pages(MAX_LIMIT):
        linked_ids |= {
            linked
            for row in page
            if header(row["raw"], b"uniqueid") == unique_id and (linked := header(row["raw"], b"linkedid"))
        }
    return {one.decode("utf-8", "replace") for one in linked_ids}


def _record(record: asyncpg.Record) -> dict[str, Any]:
    return {
        **record,
        "start_time": rfc3339_microseconds(record["start_time"]),
        "end_time": rfc3339_microseconds(record["end_time"]),
    }
