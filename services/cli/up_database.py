"""The database of ``ringledger up``: starts the embedded PostgreSQL, restarts it when it dies, and migrates."""

import asyncio

import asyncpg
import structlog

from services.database.cluster import EmbeddedError
from services.database.compatible import IncompatibleError
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.errors import MISCONFIGURED, UNREACHABLE
from services.database.migrate import migrate
from services.runtime.outage import Outage
from services.runtime.tasks import wait_event

WATCH_SECONDS = 1.0
RETRY_SECONDS = 1.0

logger = structlog.get_logger()


class UpError(Exception):
    """`up` cannot run here; the message gives the reason."""


async def start(embedded: Embedded, stop: asyncio.Event) -> None:
    """Start the embedded PostgreSQL, and return when it has started. Raises EmbeddedError."""
    logger.info("postgresql_starts", data=str(embedded.cluster.data), new=not embedded.exists)
    starting = asyncio.create_task(asyncio.to_thread(embedded.acquire))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await starting


async def watch(embedded: Embedded) -> None:
    """Restart the embedded PostgreSQL whenever it has died."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if not embedded.is_alive:
            logger.error("postgresql_ended", data=str(embedded.cluster.data))
            try:
                await asyncio.to_thread(embedded.start)
            except EmbeddedError as error:
                logger.error("postgresql_does_not_start", error=str(error))  # noqa: TRY400 (the message is enough)


async def apply_migrations(url: str, stop: asyncio.Event) -> None:
    """Migrate the database as soon as it can be reached. Raises UpError."""
    outage = Outage("database_unreachable", "database_reachable")
    while not stop.is_set():
        try:
            connection = await connect(url)
            try:
                for name in await migrate(connection):
                    logger.info("migrated", name=name)
            finally:
                connection.terminate()
        except MISCONFIGURED as error:
            raise UpError(f"RINGLEDGER_DATABASE_URL: {error}") from None
        except UNREACHABLE as error:
            outage.fail(error)
            await wait_event(stop, RETRY_SECONDS)
        except IncompatibleError as error:
            raise UpError(str(error)) from None
        except asyncpg.PostgresError as error:
            raise UpError(f"RINGLEDGER_DATABASE_URL: {error}") from None
        else:
            outage.recover(quiet_seconds=0.0)
            return
