"""Does at one PBX what is asked for in the log, each request at most once, and writes down how it went.

One commander a PBX holds an advisory lock, and appends over the very connection that holds it: who has lost the lock
cannot write ActSent any more, and without ActSent in the log nothing is sent.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import structlog

from schemas.acts import Act, ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown
from schemas.log import Ours, Received
from schemas.settings import Pbx
from services import database, log
from services.acts import PERFORM, PERFORM_AT_DESK, perform
from services.acts.asked import RefusedError
from services.acts.desk import Desk
from services.ami.protocol import LinkLostError
from services.async_agi.follow import AsyncAgi
from services.commander_link import CommanderLink
from services.configuration.told import Told
from services.tasks import ended
from services.unfinished import Unfinished, unfinished
from services.waking import CHANNEL

LOCK = 7310007
"""With the PBX's name it is a lock of two numbers, which are no part of the space of the locks of one."""
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
GOOD_SECONDS = 4.5
"""A request that was not sent by then never is: whoever asked is told 504 after five seconds."""
OLDEST_SECONDS = 60.0
"""A request recorded so long before it was appended was made elsewhere, and imported (or a clock is wrong)."""
REACH_SECONDS = 3.0

REQUESTED = """
SELECT e.position, e.raw, extract(epoch FROM clock_timestamp() - b.appended)::float8 AS age,
       extract(epoch FROM b.appended - e.recorded)::float8 AS late
FROM ledger.event e
CROSS JOIN LATERAL (SELECT appended FROM ledger.batch WHERE first <= e.position ORDER BY first DESC LIMIT 1) b
WHERE e.pbx = $1 AND e.source = 'ringledger' AND e.name = 'ActRequested' AND e.position > $2
ORDER BY e.position
"""

ACTS = msgspec.json.Decoder(ActRequested)
OUTCOME = ActSucceeded | ActFailed | ActUnknown

logger = structlog.get_logger()


class Commander:
    """One PBX's commander: `run` it."""

    def __init__(self, pbx: Pbx, url: str) -> None:
        self.pbx = pbx
        self.link = CommanderLink(pbx)
        self.url = url
        self._known: dict[str, OUTCOME] = {}
        self._log = logger.bind(pbx=pbx.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Take one term after the other until ``stop``. Raises what nobody expected, and may be run again then."""
        linking = asyncio.create_task(self.link.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._term(stop)
                except (asyncpg.PostgresError, *database.UNREACHABLE) as error:
                    self._log.warning("commander_without_database", error=repr(error))
                    await asyncio.wait([stopping], timeout=RETRY_SECONDS)
        finally:
            for task in (linking, stopping):
                task.cancel()
            await asyncio.wait([linking, stopping])
            self.link.close()

    async def _term(self, stop: asyncio.Event) -> None:
        connection = await database.connect(self.url, search_path="model, ledger")
        try:
            wake = asyncio.Event()
            waking = asyncio.create_task(_wake_at(stop, wake))
            try:
                if await self._lock(connection, stop):
                    await connection.add_listener(CHANNEL, lambda *_: wake.set())
                    await Term(self, connection).run(stop, wake)
            finally:
                waking.cancel()
        finally:
            connection.terminate()

    async def _lock(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        told = False
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", LOCK, self.pbx.name):
            if not told:
                told = True
                self._log.info("commander_stands_by")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            if stop.is_set():
                return False
        return True


class Term:
    """What one commander does while it holds the lock; another term has another writer, so no ordinal is used twice."""

    def __init__(self, commander: Commander, connection: asyncpg.Connection) -> None:
        self._commander = commander
        self._pbx = commander.pbx.name
        self._known = commander._known  # noqa: SLF001 (what one term knew of its acts, the next one writes down)
        self._connection = connection
        self._log = logger.bind(pbx=self._pbx)
        self._writer = time.time_ns()
        self._appended = 0
        self._turn = asyncio.Lock()
        self._told = Told(self._pbx, self._ask, self._append)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """End what earlier terms left, then do what is asked for, and drive the channels that wait in async AGI."""
        left = await unfinished(self._connection, self._pbx)
        for act_id in left.sent:
            outcome = self._known.get(act_id) or ActUnknown(act_id, "the commander ended before the PBX had answered")
            await self._append(outcome)
        self._known.clear()
        commander = self._commander
        driving = asyncio.create_task(AsyncAgi(self._pbx, commander.url, commander.link, self._append).run())
        driving.add_done_callback(lambda _: wake.set())
        try:
            await self._act(left, driving, stop, wake)
        finally:
            await ended([driving])

    async def _act(
        self, left: Unfinished, driving: asyncio.Task[None], stop: asyncio.Event, wake: asyncio.Event
    ) -> None:
        """Do what is asked for until ``stop``. Raises what ``driving`` ended with: the term ends with it."""
        after = left.after
        while not stop.is_set():
            wake.clear()
            if driving.done():
                driving.result()
            rows = await self._ask(REQUESTED, self._pbx, after)
            for position, raw, age, late in rows:
                if stop.is_set():
                    return
                read = time.monotonic()
                if position in left.requested or position > left.head:
                    await self._perform(position, raw, read - age, late)
                after = position
            await self._told.look(await self._commander.link.linked(0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await wake.wait()

    async def _perform(self, position: int, raw: bytes, since: float, late: float) -> None:
        try:
            request = ACTS.decode(raw)
        except msgspec.ValidationError as error:
            # Of another version, or of somebody else's making: those behind it must not wait for ever.
            self._log.error("act_not_understood", position=position, error=str(error))
            return
        if abs(late) > OLDEST_SECONDS:
            self._log.warning("act_of_another_time", id=request.id, late=late)
            return
        until = since + GOOD_SECONDS
        try:
            act: Act = msgspec.convert(request.act, KNOWN)
        except msgspec.ValidationError as error:
            await self._append(ActFailed(request.id, "impossible", f"this commander cannot do that: {error}"))
            return
        if time.monotonic() > until:
            await self._append(ActFailed(request.id, "expired", "nobody could do it in time, and nobody will"))
            return
        session = await self._commander.link.linked(min(until - time.monotonic(), REACH_SECONDS))
        if session is None:
            await self._append(ActFailed(request.id, "unreachable", f"no link to the PBX {self._pbx}"))
            return
        await self._append(ActSent(request.id))
        try:
            outcome: OUTCOME = ActSucceeded(request.id, result=await perform(Desk(session, self._ask, self._told), act))
        except RefusedError as error:
            outcome = ActFailed(request.id, error.reason, str(error))
        except LinkLostError:
            outcome = ActUnknown(request.id, "the link to the PBX was lost before it had answered")
        except TimeoutError:
            outcome = ActUnknown(request.id, "the PBX did not answer in time")
        except Exception:  # noqa: BLE001 (it is logged, and told as unknown: the next request is not to blame)
            self._log.exception("act_failed", act=request.act.get("act"), id=request.id)
            outcome = ActUnknown(request.id, "an error in Ringledger; see its log")
        self._known[request.id] = outcome
        await self._append(outcome)
        del self._known[request.id]

    async def _ask(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        async with self._turn:
            rows: list[asyncpg.Record] = await self._connection.fetch(sql, *args)
            return rows

    async def _append(self, event: Ours) -> None:
        now = time.time()
        received = Received("ringledger", type(event).__name__, now, now, msgspec.json.encode(event))
        async with self._turn:
            # Forgotten until it has worked: who was cancelled does not know whether this ordinal is taken, and what is
            # appended next would count as appended.
            writer, appended = self._writer, self._appended + 1
            self._writer, self._appended = time.time_ns(), 0
            await log.append(self._connection, self._pbx, writer, appended, [received])
            self._writer, self._appended = writer, appended


def _known(acts: Sequence[type[Act]]) -> type[Act]:
    union = acts[0]
    for one in acts[1:]:
        union = union | one  # type: ignore[assignment]
    return union


KNOWN = _known([*PERFORM, *PERFORM_AT_DESK])


async def _wake_at(stop: asyncio.Event, wake: asyncio.Event) -> None:
    await stop.wait()
    wake.set()
