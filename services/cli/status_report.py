"""Reads the status of links, spools, models and gaps, and its faults, from the database alone."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import asyncpg
from msgspec import Struct

from projections import ALL
from projections.pbx.links import refused_lists, unanswered_lists
from schemas.refusals import refused_list, refused_login
from services.database.connection import connect, snapshot
from services.database.errors import NoLedgerError
from services.log.listener_link import COMMANDER_TTL_SECONDS, COMMANDERS, LISTENER_TTL_SECONDS, trouble_of
from services.log.read import head_position
from services.log.times import rfc3339

READY = "SELECT to_regclass('ledger.commander') IS NOT NULL"
FOLDED = "SELECT to_regclass('model.links') IS NOT NULL AND to_regclass('model.gaps') IS NOT NULL"
# The age of the oldest event that a model has not folded.
MODELS = """
SELECT c.model, c.position, c.error, extract(epoch FROM clock_timestamp() - e.recorded)::float8 AS behind
FROM ledger.checkpoint c
LEFT JOIN LATERAL (
    SELECT recorded FROM ledger.event WHERE position > c.position ORDER BY position LIMIT 1
) e ON true
WHERE c.place = 'model'
ORDER BY c.model
"""
# $1 is the number of seconds without a renewal after which a listener counts as gone.
LINKS = """
SELECT k.pbx, k.state, k.since, k.healed, k.reason, k.failed,
       CASE WHEN k.state = 'down' THEN k.refused ELSE '' END AS refused,
       k.state = 'up' AND l.renewed < clock_timestamp() - make_interval(secs => $1) AS alone
FROM model.links k LEFT JOIN ledger.listener l ON l.pbx = k.pbx AND l.kind = 'ami'
ORDER BY k.pbx
"""
# A PBX that was removed from the settings a month ago is not a fault.
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

MAX_LAG_SECONDS = 5.0


class Status(Struct, frozen=True):
    """Lines for the user, and the faults, one sentence each."""

    lines: list[str]
    faults: list[str]


async def read_status(url: str, users: Mapping[str, str] = MappingProxyType({})) -> Status:
    """Return the status; ``users`` are the AMI users of the settings, by PBX.

    Raises NoLedgerError and the errors of PostgreSQL.
    """
    connection = await connect(url, search_path="ledger", application_name="ringledger status")
    try:
        if not await connection.fetchval(READY):
            raise NoLedgerError
        async with snapshot(connection):
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
    by_name = {row["model"]: row for row in rows}
    lines, faults, behind = list[str](), list[str](), dict[int, list[str]]()
    for model in ALL:
        row = by_name.get(model.name)
        if row is None:
            faults.append(f"read model {model.name} does not exist yet")
            continue
        lines.append(f"model {model.name}: position {row['position']}")
        if row["error"]:
            faults.append(f"read model {model.name} has stopped: {row['error']}")
        elif row["position"] < head and (row["behind"] or 0.0) > MAX_LAG_SECONDS:
            behind.setdefault(head - row["position"], []).append(model.name)
    return Status(lines, faults + [_behind(events, names) for events, names in behind.items()])


def _behind(events: int, names: list[str]) -> str:
    """Return one fault for all models of one lag: without a projector every model is behind."""
    if len(names) == len(ALL):
        return f"all read models are {events} events behind: check that `ringledger project` runs (`up` runs it)"
    verb = "is" if len(names) == 1 else "are"
    return f"read model{'s' if len(names) > 1 else ''} {', '.join(names)} {verb} {events} events behind"


def _listeners(rows: Sequence[asyncpg.Record]) -> Status:
    lines, faults = list[str](), list[str]()
    for row in rows:
        name = f"{row['pbx']} ({row['kind']})"
        spool = f"{row['events']} ({row['bytes']} bytes) in its spool"
        if row["age"] > LISTENER_TTL_SECONDS:
            faults.append(f"no listener of {name} has been running for {row['age']:.0f} s")
            lines.append(f"listener of {name}: {_not_running(row['age'])}; it left {spool}")
        else:
            link = "up" if row["up"] else "down"
            lines.append(f"listener of {name}: link {link}, {row['waiting']} events in memory, {spool}")
        if row["error"]:
            faults.append(f"the spool of {name} does not accept events: {row['error']}")
    if not rows:
        faults.append("no listener has ever run")
    return Status(lines, faults)


def _links(rows: Sequence[asyncpg.Record], users: Mapping[str, str]) -> Status:
    lines, faults = list[str](), list[str]()
    for row in rows:
        pbx = f"PBX {row['pbx']}"
        healed = ", healed" if row["healed"] else ""
        if row["alone"]:
            lines.append(f"{pbx}: down, its listener is not running")
        else:
            lines.append(f"{pbx}: {row['state']} since {rfc3339(row['since'], 'seconds')}{healed}")
        if row["refused"]:
            faults.append(f"{pbx}: {refused_login(row['refused'], users.get(row['pbx'], ''))}")
        elif row["state"] != "up":
            faults.append(f"{pbx}: no link: {row['reason']}")
        elif not row["healed"]:
            faults.append(f"{pbx}: not all lists are complete since the link came up")
        faults += [f"{pbx}: {refused_list(action, words)}" for action, words in refused_lists(row["failed"]).items()]
        faults += [f"{pbx}: no response to {action}" for action in unanswered_lists(row["failed"])]
    return Status(lines, faults)


def _gaps(rows: Sequence[asyncpg.Record]) -> Status:
    """Return the last gaps; an open or unhealed one is already a fault of its link."""
    lines = []
    for row in rows:
        start = rfc3339(row["from_time"], "seconds")
        until = rfc3339(row["until_time"], "seconds") if row["until_time"] else "now"
        healed = f"healed {rfc3339(row['healed_time'], 'seconds')}" if row["healed_time"] else "not healed"
        lines.append(f"gap of {row['pbx']}: {start} to {until}, {healed}: {row['reason']}")
    return Status(lines, [])


def _commanders(rows: Sequence[asyncpg.Record], refused: Collection[str]) -> Status:
    """Return the commanders; one whose listener is refused waits for the listener, and its own trouble is outdated."""
    lines, faults = list[str](), list[str]()
    for row in rows:
        is_old = row["age"] > COMMANDER_TTL_SECONDS
        lines.append(f"commander of {row['pbx']}: {_not_running(row['age']) if is_old else 'link ' + row['link']}")
        if row["trouble"] and not is_old and row["pbx"] not in refused:
            faults.append(f"PBX {row['pbx']}: {trouble_of(row['link'], row['trouble'])}")
    return Status(lines, faults)


def _not_running(seconds: float) -> str:
    return f"not running, last update {seconds:.0f} s ago"
