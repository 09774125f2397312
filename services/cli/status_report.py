"""``ringledger status``: what is heard, what waits, what is wrong, from the database alone."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import asyncpg
from msgspec import Struct

from projections import ALL
from projections.pbx.links import refused_lists, unanswered_lists
from schemas.refusals import refused_list, refused_login
from services.database import connection as database
from services.database.errors import NO_LEDGER_MESSAGE
from services.log.listener_link import COMMANDER_TTL_SECONDS, COMMANDERS, LISTENER_TTL_SECONDS, trouble_of
from services.log.read import head_position
from services.log.times import rfc3339

READY = "SELECT to_regclass('ledger.commander') IS NOT NULL"
FOLDED = "SELECT to_regclass('model.links') IS NOT NULL AND to_regclass('model.gaps') IS NOT NULL"
# How long ago the oldest event was recorded that a model has not folded.
MODELS = """
SELECT c.model, c.position, c.error, extract(epoch FROM clock_timestamp() - e.recorded)::float8 AS behind
FROM ledger.checkpoint c
LEFT JOIN LATERAL (
    SELECT recorded FROM ledger.event WHERE position > c.position ORDER BY position LIMIT 1
) e ON true
WHERE c.place = 'model'
ORDER BY c.model
"""
# $1 is after how many seconds without a renewal a listener is not there.
LINKS = """
SELECT k.pbx, k.state, k.since, k.healed, k.reason, k.failed,
       CASE WHEN k.state = 'down' THEN k.refused ELSE '' END AS refused,
       k.state = 'up' AND l.renewed < clock_timestamp() - make_interval(secs => $1) AS alone
FROM model.links k LEFT JOIN ledger.listener l ON l.pbx = k.pbx AND l.kind = 'ami'
ORDER BY k.pbx
"""
# A PBX that was taken out of the settings a month ago is no fault.
LISTENERS = """
SELECT pbx, kind, status ->> 'link' = 'up' AS up, coalesce((status ->> 'waiting')::bigint, 0) AS waiting,
       coalesce((status -> 'spool' ->> 'events')::bigint, 0) AS events,
       coalesce((status -> 'spool' ->> 'bytes')::bigint, 0) AS bytes,
       coalesce(status -> 'spool' ->> 'error', '') AS error,
       extract(epoch FROM clock_timestamp() - renewed)::float8 AS age
FROM ledger.listener
WHERE renewed > clock_timestamp() - interval '31 days'
ORDER BY pbx, kind
"""
GAPS = """
SELECT pbx, from_time, until_time, healed_time, reason FROM model.gaps ORDER BY from_position DESC LIMIT 5
"""

LAG_SECONDS = 5.0


class NoLedgerError(Exception):
    """The database has no schema of this version."""


class Status(Struct, frozen=True):
    """Lines for people, and what is wrong, a sentence each; nothing is wrong where that is empty."""

    lines: list[str]
    faults: list[str]


async def status(url: str, users: Mapping[str, str] = MappingProxyType({})) -> Status:
    """Read the status; ``users`` are the AMI users of the settings, by PBX.

    Raises NoLedgerError, or what PostgreSQL does.
    """
    connection = await database.connect(url, search_path="ledger", application_name="ringledger status")
    try:
        if not await connection.fetchval(READY):
            raise NoLedgerError(NO_LEDGER_MESSAGE)
        async with database.snapshot(connection):
            head = await head_position(connection)
            folded = await connection.fetchval(FOLDED)
            links = await connection.fetch(LINKS, LISTENER_TTL_SECONDS) if folded else []
            parts = [
                _models(await connection.fetch(MODELS), head),
                _listeners(await connection.fetch(LISTENERS)),
                _links(links, users),
                _gaps(await connection.fetch(GAPS) if folded else []),
                _commanders(await connection.fetch(COMMANDERS), {row["pbx"] for row in links if row["refused"]}),
            ]
    finally:
        connection.terminate()
    lines = [line for part in parts for line in part.lines]
    return Status([f"log: position {head}", *lines], [fault for part in parts for fault in part.faults])


def _models(rows: Sequence[asyncpg.Record], head: int) -> Status:
    found = {row["model"]: row for row in rows}
    lines, faults = list[str](), list[str]()
    for model in ALL:
        row = found.get(model.name)
        if row is None:
            faults.append(f"read model {model.name} is not there yet")
            continue
        lines.append(f"model {model.name}: position {row['position']}")
        if row["error"]:
            faults.append(f"read model {model.name} has stopped: {row['error']}")
        elif row["position"] < head and (row["behind"] or 0.0) > LAG_SECONDS:
            faults.append(f"read model {model.name} is {head - row['position']} events behind")
    return Status(lines, faults)


def _listeners(rows: Sequence[asyncpg.Record]) -> Status:
    lines, faults = list[str](), list[str]()
    for row in rows:
        name = f"{row['pbx']} ({row['kind']})"
        spool = f"{row['events']} ({row['bytes']} bytes) in its spool"
        if row["age"] > LISTENER_TTL_SECONDS:
            faults.append(f"no listener of {name} has been there for {row['age']:.0f} s")
            lines.append(f"listener of {name}: {_absent(row['age'])}; it left {spool}")
        else:
            link = "up" if row["up"] else "down"
            lines.append(f"listener of {name}: link {link}, {row['waiting']} events wait in memory, {spool}")
        if row["error"]:
            faults.append(f"the spool of {name} refuses: {row['error']}")
    if not rows:
        faults.append("no listener has ever run")
    return Status(lines, faults)


def _links(rows: Sequence[asyncpg.Record], users: Mapping[str, str]) -> Status:
    lines, faults = list[str](), list[str]()
    for row in rows:
        pbx = f"PBX {row['pbx']}"
        healed = ", healed" if row["healed"] else ""
        if row["alone"]:
            lines.append(f"{pbx}: down, its listener is not there")
        else:
            lines.append(f"{pbx}: {row['state']} since {_time(row['since'])}{healed}")
        if row["refused"]:
            faults.append(f"{pbx}: {refused_login(row['refused'], users.get(row['pbx'], ''))}")
        elif row["state"] != "up":
            faults.append(f"{pbx}: no link: {row['reason']}")
        elif not row["healed"]:
            faults.append(f"{pbx}: not all lists have been answered since the link came up")
        faults += [f"{pbx}: {refused_list(action, words)}" for action, words in refused_lists(row["failed"]).items()]
        faults += [f"{pbx}: {action} is not answered" for action in unanswered_lists(row["failed"])]
    return Status(lines, faults)


def _gaps(rows: Sequence[asyncpg.Record]) -> Status:
    """Show the last gaps; one that is open, or not healed, is a fault of its link already."""
    lines = []
    for row in rows:
        until = _time(row["until_time"]) if row["until_time"] else "now"
        healed = f"healed {_time(row['healed_time'])}" if row["healed_time"] else "not healed"
        lines.append(f"gap of {row['pbx']}: {_time(row['from_time'])} to {until}, {healed}: {row['reason']}")
    return Status(lines, [])


def _commanders(rows: Sequence[asyncpg.Record], refused: Collection[str]) -> Status:
    """Show the commanders; one whose listener is refused waits for that, and its own trouble is of the past."""
    lines, faults = list[str](), list[str]()
    for row in rows:
        is_old = row["age"] > COMMANDER_TTL_SECONDS
        lines.append(f"commander of {row['pbx']}: {_absent(row['age']) if is_old else 'link ' + row['link']}")
        if row["trouble"] and not is_old and row["pbx"] not in refused:
            faults.append(f"PBX {row['pbx']}: {trouble_of(row['link'], row['trouble'])}")
    return Status(lines, faults)


def _absent(seconds: float) -> str:
    return f"not there, last heard from {seconds:.0f} s ago"


def _time(when: datetime) -> str:
    return rfc3339(when, "seconds")
