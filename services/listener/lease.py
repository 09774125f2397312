"""The right to listen to one PBX: of several listeners one holds the lease, the others stand by.

The holder renews every second. Whoever sees the same renewal for three seconds of its own clock, with PostgreSQL
answering all that time, takes over; so no two machines' clocks are compared, and PostgreSQL's own absence costs
nobody the lease. Taking over fences the old holder's writer: what it recorded later is refused by ``ledger.append``.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import msgspec
import structlog

from schemas.listener import ListenerState
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock
from services.runtime.clock import boot_id
from services.runtime.tasks import wait_event

RENEW_SECONDS = 1.0
LEASE_SECONDS = 3.0
LOOK_SECONDS = 0.5
ANSWER_SECONDS = 10.0

SEEN = "SELECT holder, renewals, host FROM ledger.listener WHERE pbx = $1 AND kind = $2"
FIRST = "INSERT INTO ledger.listener (pbx, kind, holder, host) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
# With the lock of ledger.append: what the old holder is appending is in the log before it is fenced, or refused. A
# holder that is dead ($7) needs no fence: all that it heard came before, whatever its clock said.
TAKE = f"""
WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({Lock.APPEND:d})),
taken AS (
    UPDATE ledger.listener
    SET holder = $3, host = $4, renewals = renewals + 1, renewed = now(), status = '{{}}'
    FROM locked
    WHERE pbx = $1 AND kind = $2 AND holder = $5 AND renewals = $6
    RETURNING pbx
),
fenced AS (
    INSERT INTO ledger.connection AS c (pbx, connection, last_ordinal, last_recorded, fenced)
    SELECT pbx, $5, 0, '-infinity', clock_timestamp() FROM taken WHERE $5 <> 0 AND NOT $7
    ON CONFLICT (pbx, connection) DO UPDATE SET fenced = excluded.fenced
)
SELECT count(*) FROM taken
"""
RENEW = """
UPDATE ledger.listener SET renewals = renewals + 1, renewed = now(), status = $4
WHERE pbx = $1 AND kind = $2 AND holder = $3
"""
RELEASE = "UPDATE ledger.listener SET holder = 0, renewals = renewals + 1 WHERE pbx = $1 AND kind = $2 AND holder = $3"

logger = structlog.get_logger()


class Lease:
    """One term's lease."""

    def __init__(self, url: str, pbx: str, kind: str, writer: int) -> None:
        self.pbx = pbx
        self.kind = kind
        self.writer = writer
        self.held = False
        self._decided = asyncio.Event()
        self._won = False
        self._url = url
        self._host = this_process()
        self._seen: tuple[int, int] | None = None
        self._since = 0.0
        self._another_lives = False
        self._connection: asyncpg.Connection | None = None
        self._log = logger.bind(pbx=pbx, kind=kind)

    async def stand_by(self, stop: asyncio.Event) -> None:
        """Wait until the lease is ours, or until ``stop``. Return at once, undecided, if PostgreSQL is away.

        What a PBX says while nobody reads is gone, so without PostgreSQL a listener listens; `keep` decides later.
        """
        told = False
        while not stop.is_set():
            try:
                if await self._try():
                    return
            except DATABASE_ERRORS as error:
                self._close()
                if not told:
                    self._log.warning("lease_unknown", error=repr(error))
                    return
            if not told:
                told = True
                self._log.info("standing_by")
            await wait_event(stop, LOOK_SECONDS)

    async def ours(self) -> bool:
        """Wait until it is known whether the lease was ours at first, and say so."""
        await self._decided.wait()
        return self._won

    async def keep(self, status: Callable[[], ListenerState], over: asyncio.Event) -> None:
        """Renew, with ``status``, until the lease is another's; then set ``over``."""
        try:
            while not over.is_set():
                try:
                    if self.held:
                        lost = not await self._renew(status())
                    else:
                        lost = not await self._try() and self._another_lives
                except DATABASE_ERRORS as error:
                    self._log.debug("lease_not_renewed", error=repr(error))
                    self._close()
                    lost = False
                if lost:
                    self._log.warning("lease_lost")
                    self.held = False
                    self._decided.set()
                    over.set()
                await wait_event(over, RENEW_SECONDS if self.held else LOOK_SECONDS)
        finally:
            self._close()

    async def release(self) -> None:
        """Give it back, so that another need not wait; if PostgreSQL is away it ends by itself."""
        if self.held:
            self.held = False
            with contextlib.suppress(*DATABASE_ERRORS):
                async with asyncio.timeout(1):
                    await (await self._connected()).execute(RELEASE, self.pbx, self.kind, self.writer)
        self._close()

    async def _try(self) -> bool:
        """Look who holds it, and take it if nobody does, or if the holder has not renewed for long."""
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await self._connected()
            row = await connection.fetchrow(SEEN, self.pbx, self.kind)
            if row is None:
                inserted = await connection.execute(FIRST, self.pbx, self.kind, self.writer, self._host)
                return self._take(inserted == "INSERT 0 1", 0)
            holder, renewals, host = row
            now = time.monotonic()
            if self._seen != (holder, renewals):
                self._another_lives = self._seen is not None and self._seen[0] == holder != 0
                self._seen, self._since = (holder, renewals), now
            dead = is_dead(host)
            if holder and now - self._since < LEASE_SECONDS and not dead:
                return False
            arguments = (self.pbx, self.kind, self.writer, self._host, holder, renewals, dead)
            return self._take(await connection.fetchval(TAKE, *arguments) == 1, holder)

    def _take(self, taken: bool, holder: int) -> bool:  # noqa: FBT001
        if taken:
            self.held = self._won = True
            self._decided.set()
            if holder:
                self._log.warning("lease_taken_over", holder=holder)
        return taken

    async def _renew(self, status: ListenerState) -> bool:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await self._connected()
            said = msgspec.json.encode(status).decode()
            return str(await connection.execute(RENEW, self.pbx, self.kind, self.writer, said)) == "UPDATE 1"

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await asyncpg.connect(
                self._url, timeout=ANSWER_SECONDS, server_settings={"application_name": "ringledger lease"}
            )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._seen = None


def this_process() -> str:
    """Name this machine, its boot, this process and its start, so that another on the same machine sees it die."""
    pid = os.getpid()
    return f"{socket.gethostname()} {boot_id()} {pid} {_started(pid)}"


def is_dead(host: str) -> bool:
    """Say whether what `this_process` named was on this machine and is there no more."""
    name, _, rest = host.partition(" ")
    boot, _, rest = rest.partition(" ")
    pid, _, started = rest.partition(" ")
    return (name, boot) == (socket.gethostname(), boot_id()) and pid.isdecimal() and _started(int(pid)) != started


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
