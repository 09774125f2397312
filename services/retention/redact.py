"""``ringledger redact``: a person's number or name becomes a token in the log and in all that is made of it."""

import os
import pwd
from collections import Counter
from collections.abc import Callable

import asyncpg
from msgspec import Struct, field

from projections import ALL
from projections.engine.subscriptions import event_names_of
from services.database import connection as database
from services.database.errors import NO_LEDGER, NO_LEDGER_MESSAGE, UNREACHABLE, explain
from services.database.locks import Lock, try_lock
from services.log.archives import last_archived
from services.log.chain import leaf
from services.log.read import head_position
from services.retention.redact_models import Forgetting, UnfinishedError
from services.retention.redact_pattern import Wanted
from services.runtime.progress import Bar

WINDOW = 10_000
CHUNK = 2_000
"""So many events are changed at once: what tells of them is 300 kB long."""
ROUNDS = 2
"""How often the end of the log is looked at again, for what was said meanwhile."""


FOUND = """
SELECT position, pbx, source, name, ledger.microseconds(occurred), ledger.microseconds(recorded), raw,
       tableoid::regclass::text, ledger.salt(position)
FROM ledger.event
WHERE position > $1 AND position <= $2
  AND (raw LIKE ANY ($3::bytea[]) OR (source = 'ringledger' AND name = 'Rejected'))
ORDER BY position
"""
ARCHIVED = """
SELECT file FROM ledger.archive
UNION ALL
SELECT 'table archived.' || relname FROM pg_class WHERE relnamespace = 'archived'::regnamespace AND relkind = 'r'
ORDER BY 1
"""
REDACT = "SELECT ledger.redact($1, $2, $3, $4, $5, $6, $7, $8, $9)"


class RedactError(Exception):
    """It cannot be done, and nothing was; the message says why."""


class Redaction(Struct):
    """What was found and done: events by (PBX, name) that were given the token, or would be.

    ``kept`` counts events that hold the same characters where they are something else. ``models`` were built anew, or
    hold it, when nothing was to be done. ``archived`` are files and tables of archived months, which are not reached.
    """

    token: str
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: int = 0
    last: int = 0
    kept: int = 0
    models: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)


class Change(Struct):
    """One event with its new bytes, and the leaf of what it was."""

    position: int
    leaf: bytes
    raw: bytes
    name: str


def actor() -> str:
    """Return the name of the user who runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def redact(url: str, wanted: Wanted, token: str, reason: str = "", *, dry_run: bool = False) -> Redaction:
    """Redact; a listener and a projector may go on meanwhile. Run again after a crash, it does what is left.

    Each chunk of events, the event that tells of it, and the mark on the models that have folded them are committed
    together. Models are built anew afterwards, and what they held is served until then. Raises RedactError and
    UnfinishedError.
    """
    if wanted.stands_in(reason.encode()):
        raise RedactError("--reason holds what is to be redacted, and would be kept")
    try:
        connection = await database.connect(url, search_path="model, ledger")
    except UNREACHABLE as error:
        raise UnfinishedError(explain(error)) from None
    try:
        if not await try_lock(connection, Lock.RETENTION):
            raise RedactError("another redaction, or an archive, is under way")
        return await _Redactor(connection, wanted, token, reason).run(url, dry_run=dry_run)
    except NO_LEDGER:
        raise RedactError(NO_LEDGER_MESSAGE) from None
    except UNREACHABLE as error:
        raise UnfinishedError(f"{explain(error)}; it does what is left") from None
    finally:
        await connection.close()


class _Redactor:
    def __init__(self, connection: asyncpg.Connection, wanted: Wanted, token: str, reason: str) -> None:
        self._connection = connection
        self._wanted = wanted
        self._reason = reason
        self._done = Redaction(token)
        self._waiting: dict[str, list[Change]] = {}
        self._partitions: set[str] = set()

    async def run(self, url: str, *, dry_run: bool) -> Redaction:
        done = self._done
        forgetting = Forgetting(self._connection, self._wanted, done.token)
        done.archived = [row[0] for row in await self._connection.fetch(ARCHIVED)]
        begin = await last_archived(self._connection)
        if dry_run:
            await self._through_the_log(begin, self._note)
            done.models = await forgetting.holding()
            return done
        scanned = begin
        for _ in range(ROUNDS):
            scanned = await self._through_the_log(scanned, self._change)
            stale = await forgetting.stale()
            if not stale and not (stale := await forgetting.holding()):
                break
            await forgetting.build_anew(url, stale)
            done.models = sorted({*done.models, *stale})
        else:
            if held := await forgetting.holding():
                raise UnfinishedError(f"still held by {', '.join(held)}: it goes on being said; run this again later")
        if done.models or done.events:
            # What a run that did not come to its end has changed is not known here.
            events = sorted(self._partitions) or ["ledger.event"]
            await forgetting.wipe([*events, *(name.replace("event", "batch") for name in events)])
        return done

    async def _through_the_log(self, after: int, found: Callable[[str, Change], object]) -> int:
        """Have ``found`` told of every event after a position that holds it; return where the log ends."""
        with Bar("redacting") as progress:
            while after < (head := await head_position(self._connection)):
                upto = min(after + WINDOW, head)
                for row in await self._connection.fetch(FOUND, after, upto, self._wanted.patterns):
                    self._look(row, found)
                for pbx, changes in self._waiting.items():
                    while len(changes) >= CHUNK:
                        await self._commit(pbx, changes)
                after = upto
                progress.show(after, head)
        for pbx, changes in self._waiting.items():
            while changes:
                await self._commit(pbx, changes)
        return after

    def _look(self, row: asyncpg.Record, found: Callable[[str, Change], object]) -> None:
        position, pbx, source, name, occurred, recorded, raw, partition, salt = row
        new = self._wanted.rewritten(source, name, raw, self._done.token)
        self._done.kept += self._wanted.stands_in(new)
        if new != raw:
            self._partitions.add(partition)
            found(pbx, Change(position, leaf(salt, occurred, recorded, source, name, raw), new, name))

    def _note(self, pbx: str, change: Change) -> None:
        self._done.events[pbx, change.name] += 1
        self._done.first = min(self._done.first or change.position, change.position)
        self._done.last = max(self._done.last, change.position)

    def _change(self, pbx: str, change: Change) -> None:
        self._waiting.setdefault(pbx, []).append(change)

    async def _commit(self, pbx: str, changes: list[Change]) -> None:
        """Give one chunk of events their new bytes, and have it said."""
        chunk = changes[:CHUNK]
        names = {change.name for change in chunk}
        await self._connection.execute(
            REDACT,
            pbx,
            self._wanted.kind,
            self._done.token,
            self._reason,
            actor(),
            [c.position for c in chunk],
            [c.leaf for c in chunk],
            [c.raw for c in chunk],
            [m.name for m in ALL if names & event_names_of(m)],
        )
        del changes[: len(chunk)]
        for change in chunk:
            self._note(pbx, change)


def told(done: Redaction, *, dry_run: bool = False) -> str:
    """Say in a few lines what was done, or would be."""
    lines = []
    if events := done.events.total():
        where = f"positions {done.first} to {done.last}"
        lines.append(
            f"{events} events hold it ({where}):" if dry_run else f"{done.token}: {events} events redacted ({where}):"
        )
        for (pbx, name), count in sorted(done.events.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  {count:>9}  {name}{f' of {pbx}' if pbx else ''}")
    if done.models:
        lines.append(f"{'read models that hold it' if dry_run else 'folded anew'}: {', '.join(done.models)}")
    if not lines:
        lines.append("nothing to do: neither the log nor a read model holds it")
    if done.kept:
        lines.append(f"{done.kept} events hold the same characters as a part of something else, and keep them")
    if done.archived:
        lines.append(f"not reached, and may hold it still: {', '.join(done.archived)}")
    return "\n".join(lines)
