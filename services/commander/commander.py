"""Does at one PBX what is asked for in the log, each request at most once, and writes down how it went.

One commander a PBX holds an advisory lock, and appends over the very connection that holds it: who has lost the lock
cannot write ActSent any more, and without ActSent in the log nothing is sent.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import structlog

from schemas.acts import Act, ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown
from schemas.log import RingledgerEvent
from schemas.refusals import DENIED
from schemas.settings import Pbx
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.protocol import LinkLostError
from services.commander.actions import PERFORM, PERFORM_AT_DESK, perform
from services.commander.actions.context import Desk
from services.commander.async_agi.follower import AsyncAgi
from services.commander.config_log import Told
from services.commander.link import CommanderLink
from services.commander.manager_reloads import ManagerReloads
from services.commander.pending import Unfinished, id_of, unfinished
from services.commander.sent_acts import Outcome, SentActs
from services.database import connection as database
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock, stand_by, try_lock
from services.database.notify import Channel
from services.log.append import append_events
from services.log.continuity import EMPTY_LOG, RewoundError, follow_end
from services.log.listener_link import listener_link, record_commander
from services.log.writer import WriterRun, own_event
from services.runtime.outage import Outage
from services.runtime.tasks import cancel_and_wait, set_after, wait_event

POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
GOOD_SECONDS = 4.5
"""A request that was not sent by then never is: whoever asked is told 504 after five seconds."""
OLDEST_SECONDS = 60.0
"""A request recorded so long before it was appended was made elsewhere, and imported (or a clock is wrong).

PostgreSQL's clock was set back where it is behind the log's last time of appending. Until it has caught up, a request
counts as appended when it was recorded. One that was recorded before the clock was set back has a time that is still to
come; its age is unknown, so it expires.
"""
REACH_SECONDS = 3.0
LISTENER_SECONDS = 0.5
SHOW_SECONDS = 2.0
"""Far below `COMMANDER_SECONDS`, after which a commander counts as gone."""

OLD_CLASSES_SECONDS = 60.0
"""An act that Asterisk denies has a session of that age end: its login may be from before a reload of manager.conf.

A user that cannot receive Reload events (class system) needs this; it logs in once a minute at most.
"""

REQUESTED = """
SELECT e.position, e.raw,
       abs(extract(epoch FROM now - CASE WHEN b.appended <= now THEN b.appended ELSE e.recorded END))::float8 AS age,
       extract(epoch FROM least(b.appended, now) - e.recorded)::float8 AS late
FROM (SELECT clock_timestamp() AS now) c
CROSS JOIN ledger.event e
CROSS JOIN LATERAL (SELECT appended FROM ledger.batch WHERE first <= e.position ORDER BY first DESC LIMIT 1) b
WHERE e.pbx = $1 AND e.source = 'ringledger' AND e.name = 'ActRequested' AND e.position > $2
ORDER BY e.position
"""
# An import may bring the end of an act together with its request.
LATER = """
SELECT raw FROM ledger.event
WHERE pbx = $1 AND source = 'ringledger' AND position > $2
  AND name IN ('ActSent', 'ActSucceeded', 'ActFailed', 'ActUnknown')
ORDER BY position
"""

ACTS = msgspec.json.Decoder(ActRequested)

logger = structlog.get_logger()


class Commander:
    """One PBX's commander: `run` it. ``setting`` is the one that names its user."""

    def __init__(self, pbx: Pbx, url: str, setting: str = "RINGLEDGER_AMI") -> None:
        self.pbx = pbx
        self.link = CommanderLink(pbx, setting)
        self.url = url
        self.memory = SentActs()
        self.reloads = ManagerReloads(pbx.name)
        self.outage = Outage("commander_without_database", "commander_with_database", pbx=pbx.name)
        self._log = logger.bind(pbx=pbx.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Take one term after the other until ``stop``. Raises what nobody expected, and may be run again then."""
        linking = asyncio.create_task(self.link.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._term(stop)
                except RewoundError as error:
                    self._log.error("log_went_back", error=str(error))
                except DATABASE_ERRORS as error:
                    self.outage.fail(error)
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
            waking = asyncio.create_task(set_after(stop, wake))
            try:
                if await self._lock(connection, stop):
                    await connection.add_listener(Channel.ACTS, lambda *_: wake.set())
                    await Term(self, connection).run(stop, wake)
            finally:
                waking.cancel()
        finally:
            connection.terminate()

    async def _lock(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        if await try_lock(connection, Lock.COMMANDER, self.pbx.name):
            return True
        self._log.info("commander_stands_by")
        return await stand_by(connection, Lock.COMMANDER, stop, self.pbx.name)


class Term:
    """What one commander does while it holds the lock; another term has another writer, so no ordinal is used twice."""

    def __init__(self, commander: Commander, connection: asyncpg.Connection) -> None:
        self._commander = commander
        self._pbx = commander.pbx.name
        self._memory = commander.memory
        self._connection = connection
        self._log = logger.bind(pbx=self._pbx)
        self._writer = WriterRun()
        self._turn = asyncio.Lock()
        self._end = EMPTY_LOG
        self._told = Told(self._pbx, self._ask, self._append)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """End what earlier terms left, then do what is asked for, and drive the channels that wait in async AGI."""
        self._end = await follow_end(self._connection, EMPTY_LOG)
        await self._renew()  # before the first login
        left = await unfinished(self._connection, self._pbx)
        for act_id in left.sent:
            await self._append(self._memory.outcome_of(act_id))
        commander = self._commander
        driving = asyncio.create_task(AsyncAgi(self._pbx, commander.url, commander.link, self._append).run())
        following = asyncio.create_task(self._follow_listener())
        beside = (driving, following)
        for task in beside:
            task.add_done_callback(lambda _: wake.set())
        try:
            await self._act(left, beside, stop, wake)
        finally:
            await cancel_and_wait(beside)
            commander.link.pause()

    async def _follow_listener(self) -> None:
        """Have the link follow the listener's, and show how it is."""
        link = self._commander.link
        last: tuple[bool, str] | None = None
        at = 0.0
        while True:
            link.follow(await listener_link(self._ask, self._pbx))
            now = link.is_up, self._told.trouble if link.is_up else link.trouble
            if last != now or time.monotonic() - at > SHOW_SECONDS:
                last, at = now, time.monotonic()
                await record_commander(self._ask, self._pbx, is_up=now[0], trouble=now[1])
            await asyncio.sleep(LISTENER_SECONDS)

    async def _renew(self) -> None:
        """Have a new login after a reload of manager.conf; no act is under way here."""
        if await self._commander.reloads.has_new(self._ask):
            self._commander.link.outdate()
        self._commander.link.retire()

    async def _act(
        self, left: Unfinished, beside: Sequence[asyncio.Task[None]], stop: asyncio.Event, wake: asyncio.Event
    ) -> None:
        """Do what is asked for until ``stop``. Raises what a task beside it ended with: the term ends with it.

        Raises RewoundError when the log came back with older data: this term's place in it is void then.
        """
        after = left.after
        while not stop.is_set():
            wake.clear()
            for task in beside:
                if task.done():
                    task.result()
            self._memory.forget_old()
            await self._follow()
            await self._renew()
            rows = await self._ask(REQUESTED, self._pbx, after)
            for position, raw, age, late in rows:
                if stop.is_set():
                    return
                read = time.monotonic()
                if position in left.requested or position > left.head:
                    await self._perform(position, raw, read - age, late)
                after = position
            await self._follow()  # with what this term has appended
            self._commander.outage.recover()
            await self._told.look(await self._commander.link.linked(0))
            await wait_event(wake, POLL_SECONDS)

    async def _perform(self, position: int, raw: bytes, since: float, late: float) -> None:
        try:
            request = ACTS.decode(raw)
        except msgspec.ValidationError as error:
            # Of another version, or of somebody else's making: those behind it must not wait for ever.
            self._log.error("act_not_understood", position=position, error=str(error))
            return
        if late > OLDEST_SECONDS:
            self._log.warning("act_of_another_time", id=request.id, late=late)
            return
        if request.id in self._memory:
            # The log came back without the end of this act, which must not be sent a second time.
            await self._append(ActSent(request.id))
            await self._append(self._memory.outcome_of(request.id))
            return
        if late < -OLDEST_SECONDS:
            self._log.warning("act_of_another_time", id=request.id, late=late)
            if not await self._goes_on(position, request.id):
                await self._append(ActFailed(request.id, "expired", "the clock was set back before it could be done"))
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
            trouble = self._commander.link.trouble
            words = f"no link to the PBX {self._pbx}" + (f": {trouble}" if trouble else "")
            await self._append(ActFailed(request.id, "unreachable", words))
            return
        await self._append(ActSent(request.id))
        self._memory.add(request.id)
        try:
            outcome: Outcome = ActSucceeded(request.id, result=await perform(Desk(session, self._ask, self._told), act))
        except RefusedError as error:
            outcome = ActFailed(request.id, error.reason, str(error))
            if DENIED in str(error):
                self._commander.link.outdate(OLD_CLASSES_SECONDS)
        except LinkLostError:
            outcome = ActUnknown(request.id, "the link to the PBX was lost before it had answered")
        except TimeoutError:
            outcome = ActUnknown(request.id, "the PBX did not answer in time")
        except Exception:  # noqa: BLE001 (it is logged, and told as unknown: the next request is not to blame)
            self._log.exception("act_failed", act=request.act.get("act"), id=request.id)
            outcome = ActUnknown(request.id, "an error in Ringledger; see its log")
        self._memory.add(request.id, outcome)
        await self._append(outcome)

    async def _goes_on(self, position: int, act_id: str) -> bool:
        """Return whether the log has a later event of the act that was requested at ``position``."""
        rows = await self._ask(LATER, self._pbx, position)
        return any(id_of(row["raw"]) == act_id for row in rows)

    async def _follow(self) -> None:
        async with self._turn:
            self._end = await follow_end(self._connection, self._end)

    async def _ask(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        async with self._turn:
            rows: list[asyncpg.Record] = await self._connection.fetch(sql, *args)
            return rows

    async def _append(self, event: RingledgerEvent) -> None:
        received = own_event(event)
        async with self._turn:
            with self._writer.ordinals(1) as (number, first):
                await append_events(self._connection, self._pbx, number, first, [received])


def _known(acts: Sequence[type[Act]]) -> type[Act]:
    union = acts[0]
    for one in acts[1:]:
        union = union | one  # type: ignore[assignment]
    return union


KNOWN = _known([*PERFORM, *PERFORM_AT_DESK])
