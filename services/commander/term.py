"""One term of a commander: the time during which it holds the lock of its PBX."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from services.commander.async_agi.follower import AsyncAgi
from services.commander.config_log import ConfigLog
from services.commander.executor import ActExecutor
from services.commander.link import CommanderLink
from services.commander.manager_reloads import ManagerReloads
from services.commander.pending import PendingActs, read_pending_acts
from services.commander.sent_acts import SentActs
from services.commander.term_log import TermLog
from services.log.listener_link import listener_link, record_commander
from services.runtime.outage import Outage
from services.runtime.tasks import cancel_and_wait, wait_event

POLL_SECONDS = 1.0
LISTENER_POLL_SECONDS = 0.5
STATUS_INTERVAL_SECONDS = 2.0
"""Far below `COMMANDER_TTL_SECONDS`, after which a commander counts as gone."""

REQUESTED = """
SELECT e.position, e.raw,
       abs(extract(epoch FROM now - CASE WHEN e.appended <= now THEN e.appended ELSE e.recorded END))::float8 AS age,
       extract(epoch FROM least(e.appended, now) - e.recorded)::float8 AS late
FROM (SELECT clock_timestamp() AS now) c
CROSS JOIN ledger.event_appended e
WHERE e.pbx = $1 AND e.source = 'ringledger' AND e.name = 'ActRequested' AND e.position > $2
ORDER BY e.position
"""


class CommanderResources(Struct, frozen=True):
    """The parts of a commander that outlive its terms."""

    pbx: str
    url: str
    link: CommanderLink
    sent_acts: SentActs
    reloads: ManagerReloads
    outage: Outage


class CommanderTerm:
    """The work of a term: pending acts, new acts, async AGI, configuration files, and the commander's status."""

    def __init__(self, commander: CommanderResources, connection: asyncpg.Connection) -> None:
        self._commander = commander
        self._pbx = commander.pbx
        self._connection = connection
        self._log = TermLog(connection, self._pbx)
        self._config_log = ConfigLog(self._pbx, self._log.fetch, self._log.append)
        self._executor = ActExecutor(self._pbx, commander.link, commander.sent_acts, self._log, self._config_log)

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """End the acts that earlier terms left, then carry out new ones and drive channels in async AGI."""
        await self._log.check_continuity()
        await self._renew_login()  # before the first login
        pending = await read_pending_acts(self._connection, self._pbx)
        commander = self._commander
        for act_id in pending.sent:
            await self._log.append(commander.sent_acts.outcome_of(act_id))
        agi = AsyncAgi(self._pbx, commander.url, commander.link, self._log.append)
        tasks = (asyncio.create_task(agi.run()), asyncio.create_task(self._follow_listener()))
        for task in tasks:
            task.add_done_callback(lambda _: wake.set())
        try:
            await self._carry_out(pending, tasks, stop, wake)
        finally:
            await cancel_and_wait(tasks)
            commander.link.pause()

    async def _follow_listener(self) -> None:
        """Keep the link in the state that the listener's link allows, and write the commander's status."""
        link = self._commander.link
        last: tuple[bool, str] | None = None
        written_at = 0.0
        while True:
            link.follow(await listener_link(self._log.fetch, self._pbx))
            status = link.is_up, self._config_log.trouble if link.is_up else link.trouble
            if last != status or time.monotonic() - written_at > STATUS_INTERVAL_SECONDS:
                last, written_at = status, time.monotonic()
                is_up, trouble = status
                await record_commander(self._log.fetch, self._pbx, is_up=is_up, trouble=trouble)
            await asyncio.sleep(LISTENER_POLL_SECONDS)

    async def _renew_login(self) -> None:
        """Log in again after a reload of manager.conf; no act is in progress here."""
        if await self._commander.reloads.is_reloaded(self._log.fetch):
            self._commander.link.outdate()
        self._commander.link.retire()

    async def _carry_out(
        self, pending: PendingActs, tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event, wake: asyncio.Event
    ) -> None:
        """Carry out acts until ``stop``. Raises the error of one of the ``tasks``, which ends the term.

        Raises RewoundError if the log came back with older data: the term's place in it is void then.
        """
        commander = self._commander
        after = pending.after
        while not stop.is_set():
            wake.clear()
            for task in tasks:
                if task.done():
                    task.result()
            commander.sent_acts.forget_old()
            await self._log.check_continuity()
            await self._renew_login()
            rows = await self._log.fetch(REQUESTED, self._pbx, after)
            for position, raw, age, late in rows:
                if stop.is_set():
                    return
                requested_at = time.monotonic() - age
                if position in pending.requested or position > pending.head:
                    await self._executor.execute(position, raw, requested_at, late)
                after = position
            await self._log.check_continuity()  # covers the events that this term has appended
            commander.outage.recover()
            await self._config_log.poll(await commander.link.session(0))
            await wait_event(wake, POLL_SECONDS)
