"""The right to listen to one PBX: one of several listeners holds the lease, the others stand by.

The holder renews every second. Another listener takes over when it has seen the same renewal for three seconds of its
own clock, with PostgreSQL answering all that time. So no two machines' clocks are compared, and an outage of PostgreSQL
does not cost the holder its lease. A takeover fences the old holder's writer: ``ledger.append`` refuses what that
writer recorded later.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import asyncpg
import structlog

from schemas.listener import ListenerState
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock
from services.listener.process_identity import is_dead, process_identity
from services.runtime.tasks import wait_event

RENEW_INTERVAL_SECONDS = 1.0
LEASE_SECONDS = 3.0
POLL_SECONDS = 0.5
QUERY_TIMEOUT_SECONDS = 10.0
LOCK_TIMEOUT = "5s"
"""Shorter than `QUERY_TIMEOUT_SECONDS`: an abandoned session would wait for the lock as long as its holder lives."""

CURRENT = "SELECT holder, renewals, host FROM ledger.listener WHERE pbx = $1 AND kind = $2"
INSERT = "INSERT INTO ledger.listener (pbx, kind, holder, host) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
# Under the lock of ledger.append: an append of the old holder is in the log before the fence, or it is refused. A dead
# holder ($7) needs no fence: it received all its events earlier, even if its clock was ahead.
TAKE_OVER = f"""
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
    """The lease of one term; ``is_held`` is whether this process has it now."""

    def __init__(self, url: str, pbx: str, kind: str, writer: int) -> None:
        self.pbx = pbx
        self.kind = kind
        self.writer = writer
        self.is_held = False
        self._decided = asyncio.Event()
        self._was_won = False
        self._url = url
        self._identity = process_identity()
        self._last_seen: tuple[int, int] | None = None
        self._since = 0.0
        self._other_is_alive = False
        self._connection: asyncpg.Connection | None = None
        self._log = logger.bind(pbx=pbx, kind=kind)

    async def stand_by(self, stop: asyncio.Event) -> None:
        """Wait until this process has the lease, or until ``stop``. Return at once, undecided, if PostgreSQL is away.

        Events that no listener reads are lost. So without PostgreSQL a listener listens, and `renew_until` decides
        later.
        """
        is_logged = False
        while not stop.is_set():
            try:
                if await self._try():
                    return
            except DATABASE_ERRORS as error:
                self._close()
                if not is_logged:
                    self._log.warning("lease_unknown", error=repr(error))
                    return
            if not is_logged:
                is_logged = True
                self._log.info("standing_by")
            await wait_event(stop, POLL_SECONDS)

    async def still_leader(self) -> bool:
        """Wait until PostgreSQL has decided whether this term had the lease, and return that."""
        await self._decided.wait()
        return self._was_won

    async def renew_until(self, over: asyncio.Event, status: Callable[[], ListenerState]) -> None:
        """Renew with the ``status`` until another listener has the lease; then set ``over``."""
        try:
            while not over.is_set():
                try:
                    if self.is_held:
                        is_lost = not await self._renew(status())
                    else:
                        is_lost = not await self._try() and self._other_is_alive
                except DATABASE_ERRORS as error:
                    self._log.debug("lease_not_renewed", error=repr(error))
                    self._close()
                    is_lost = False
                if is_lost:
                    self._log.warning("lease_lost")
                    self.is_held = False
                    self._decided.set()
                    over.set()
                await wait_event(over, RENEW_INTERVAL_SECONDS if self.is_held else POLL_SECONDS)
        finally:
            self._close()

    async def release(self) -> None:
        """Give the lease up, so that the next listener need not wait; without PostgreSQL it expires by itself."""
        if self.is_held:
            self.is_held = False
            with contextlib.suppress(*DATABASE_ERRORS):
                async with asyncio.timeout(1):
                    await (await self._connect()).execute(RELEASE, self.pbx, self.kind, self.writer)
        self._close()

    async def _try(self) -> bool:
        """Take the lease if it is free, or if the holder has not renewed it for `LEASE_SECONDS`."""
        async with asyncio.timeout(QUERY_TIMEOUT_SECONDS):
            connection = await self._connect()
            row = await connection.fetchrow(CURRENT, self.pbx, self.kind)
            if row is None:
                inserted = await connection.execute(INSERT, self.pbx, self.kind, self.writer, self._identity)
                return self._record_attempt(inserted == "INSERT 0 1", 0)
            holder, renewals, host = row
            now = time.monotonic()
            if self._last_seen != (holder, renewals):
                self._other_is_alive = self._last_seen is not None and self._last_seen[0] == holder != 0
                self._last_seen, self._since = (holder, renewals), now
            holder_is_dead = is_dead(host)
            if holder and now - self._since < LEASE_SECONDS and not holder_is_dead:
                return False
            arguments = (self.pbx, self.kind, self.writer, self._identity, holder, renewals, holder_is_dead)
            return self._record_attempt(await connection.fetchval(TAKE_OVER, *arguments) == 1, holder)

    def _record_attempt(self, is_won: bool, holder: int) -> bool:  # noqa: FBT001
        if is_won:
            self.is_held = self._was_won = True
            self._decided.set()
            if holder:
                self._log.warning("lease_taken_over", holder=holder)
        return is_won

    async def _renew(self, status: ListenerState) -> bool:
        async with asyncio.timeout(QUERY_TIMEOUT_SECONDS):
            connection = await self._connect()
            return str(await connection.execute(RENEW, self.pbx, self.kind, self.writer, status)) == "UPDATE 1"

    async def _connect(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await connect(self._url, application_name="ringledger lease", lock_timeout=LOCK_TIMEOUT)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._last_seen = None
