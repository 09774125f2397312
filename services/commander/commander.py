"""The commander of one PBX: it carries out the acts requested in the log, each at most once, and logs their outcome.

One commander per PBX holds an advisory lock, and appends over the very connection that holds it. So a commander that
has lost the lock cannot append ActSent, and without ActSent in the log it sends nothing.
"""

import asyncio

import asyncpg
import structlog

from schemas.settings import Pbx
from services.commander.link import CommanderLink
from services.commander.manager_reloads import ManagerReloads
from services.commander.sent_acts import SentActs
from services.commander.term import CommanderResources, CommanderTerm
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock, stand_by, try_lock
from services.database.notify import NotifyChannel
from services.log.continuity import RewoundError
from services.runtime.outage import Outage
from services.runtime.tasks import set_after

RETRY_SECONDS = 0.5

logger = structlog.get_logger()


class Commander:
    """One PBX's commander: `run` it. ``setting`` is the name of the setting with its AMI user."""

    def __init__(self, pbx: Pbx, url: str, setting: str = "RINGLEDGER_AMI") -> None:
        self.pbx = pbx
        self.resources = CommanderResources(
            pbx.name,
            url,
            CommanderLink(pbx, setting),
            SentActs(),
            ManagerReloads(pbx.name),
            Outage("commander_without_database", "commander_with_database", pbx=pbx.name),
        )
        self._log = logger.bind(pbx=pbx.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Run one term after the other until ``stop``. Raises unexpected errors, and may be run again then."""
        linking = asyncio.create_task(self.resources.link.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    await self._run_term(stop)
                except RewoundError as error:
                    self._log.error("log_went_back", error=str(error))
                except DATABASE_ERRORS as error:
                    self.resources.outage.fail(error)
                    await asyncio.wait([stopping], timeout=RETRY_SECONDS)
        finally:
            for task in (linking, stopping):
                task.cancel()
            await asyncio.wait([linking, stopping])
            self.resources.link.close()

    async def _run_term(self, stop: asyncio.Event) -> None:
        connection = await connect(self.resources.url, search_path="model, ledger")
        try:
            wake = asyncio.Event()
            stopping = asyncio.create_task(set_after(stop, wake))
            try:
                if await self._lock(connection, stop):
                    await connection.add_listener(NotifyChannel.ACTS, lambda *_: wake.set())
                    await CommanderTerm(self.resources, connection).run(stop, wake)
            finally:
                stopping.cancel()
        finally:
            connection.terminate()

    async def _lock(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        if await try_lock(connection, Lock.COMMANDER, self.pbx.name):
            return True
        self._log.info("commander_stands_by")
        return await stand_by(connection, Lock.COMMANDER, stop, self.pbx.name)
