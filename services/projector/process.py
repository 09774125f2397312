"""The projector process: holds the lock, follows the log, survives PostgreSQL's absence."""

import asyncio
import contextlib
import gc
from collections.abc import Mapping

import structlog

from projections import ALL
from services.database import compatible, faults
from services.database import connection as database
from services.database.locks import Channel, Lock, stand_by
from services.log.continuity import RewoundError
from services.projector.projector import POLL_SECONDS, Projector
from services.runtime.outage import QUIET_SECONDS, Outage

logger = structlog.get_logger()


async def project(
    url: str, stop: asyncio.Event, holding: asyncio.Event | None = None, upto: Mapping[str, int] | None = None
) -> None:
    """Keep all read models up to date until ``stop``; a second projector on the same database stands by.

    ``holding`` is set while it does not. Models in ``upto`` are taken no further than to that position. Raises
    NewerError.
    """
    holding = holding or asyncio.Event()
    outage = Outage("database_failed", "database_reachable")
    while not stop.is_set():
        try:
            await _hold(url, stop, holding, upto, outage)
        except RewoundError as error:
            logger.error("log_went_back", error=str(error))  # noqa: TRY400 (the message is all there is)
        except faults.ANY as error:
            outage.fail(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()


async def _hold(
    url: str, stop: asyncio.Event, holding: asyncio.Event, upto: Mapping[str, int] | None, outage: Outage
) -> None:
    # Rows and checkpoint are lost together when PostgreSQL crashes, and folded again from the log, which is durable.
    connection = await database.connect(url, search_path="model, ledger", synchronous_commit="off")
    # A batch makes tens of thousands of objects and no cycles; looking for cycles that often is a tenth of the work.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        if not await stand_by(connection, Lock.PROJECTOR, stop):
            return
        await compatible.check(connection)
        holding.set()
        wake = asyncio.Event()
        projector = Projector(connection, ALL, upto)

        def asked(*_: object) -> None:
            projector.asked.set()
            wake.set()

        await connection.add_listener(Channel.LOG, lambda *_: wake.set())
        await connection.add_listener(Channel.REBUILD, asked)
        waker = asyncio.create_task(_wake_at(stop, wake))
        await projector.open()
        logger.info("projecting", models=len(projector.followers), stopped=projector.stopped)
        steady = asyncio.get_running_loop().call_later(QUIET_SECONDS, outage.recover)
        try:
            await projector.run(stop, wake)
        finally:
            steady.cancel()
            waker.cancel()
    finally:
        holding.clear()
        connection.terminate() if not stop.is_set() else await connection.close()


async def _wake_at(stop: asyncio.Event, wake: asyncio.Event) -> None:
    await stop.wait()
    wake.set()
