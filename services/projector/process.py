"""The projector process: it holds the lock, follows the log, and reconnects when PostgreSQL is back."""

import asyncio
import gc
from collections.abc import Mapping

import asyncpg
import structlog

from projections import ALL
from schemas.call_settings import CallSettings
from services.database import compatible
from services.database.connection import connect
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock, stand_by
from services.database.notify import NotifyChannel
from services.log.call_settings import write_call_settings
from services.log.continuity import RewoundError
from services.projector.projector import POLL_SECONDS, Projector
from services.runtime.outage import QUIET_SECONDS, Outage
from services.runtime.tasks import set_after, wait_event

logger = structlog.get_logger()


async def project(
    url: str,
    stop: asyncio.Event,
    is_active: asyncio.Event | None = None,
    until: Mapping[str, int] | None = None,
    calls: CallSettings | None = None,
) -> None:
    """Keep all read models up to date until ``stop``; a second projector on the same database stands by.

    ``is_active`` is set while this projector holds the lock. Models in ``until`` go no further than that position.
    ``calls`` are recorded in the log first, if they differ from the last ones there. Raises IncompatibleError.
    """
    is_active = is_active or asyncio.Event()
    outage = Outage("database_failed", "database_reachable")
    while not stop.is_set():
        try:
            await _hold(url, stop, is_active, until, calls=calls, outage=outage)
        except RewoundError as error:
            logger.error("log_went_back", error=str(error))  # noqa: TRY400 (the message is all there is)
        except DATABASE_ERRORS as error:
            outage.fail(error)
            await wait_event(stop, POLL_SECONDS)


async def _hold(
    url: str,
    stop: asyncio.Event,
    is_active: asyncio.Event,
    until: Mapping[str, int] | None,
    *,
    calls: CallSettings | None,
    outage: Outage,
) -> None:
    # A crash of PostgreSQL loses rows and checkpoint together; both are folded again from the durable log.
    connection = await connect(url, search_path="model, ledger", synchronous_commit="off")
    # A batch creates tens of thousands of objects and no cycles; collecting cycles that often is a tenth of the work.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    reader: asyncpg.Connection | None = None
    try:
        if not await stand_by(connection, Lock.PROJECTOR, stop):
            return
        await compatible.check(connection)
        if calls is not None:
            await _write_settings(url, calls)
        is_active.set()
        wake = asyncio.Event()
        reader = await connect(url, search_path="model, ledger")
        projector = Projector(connection, ALL, until, reader=reader)

        def on_request(*_: object) -> None:
            projector.is_requested.set()
            wake.set()

        await connection.add_listener(NotifyChannel.LOG, lambda *_: wake.set())
        await connection.add_listener(NotifyChannel.REBUILD, on_request)
        waker = asyncio.create_task(set_after(stop, wake))
        await projector.open()
        logger.info("projecting", models=len(projector.cursors), stopped=projector.stopped)
        steady = asyncio.get_running_loop().call_later(QUIET_SECONDS, outage.recover)
        try:
            await projector.run(stop, wake)
        finally:
            steady.cancel()
            waker.cancel()
            await projector.close()
    finally:
        is_active.clear()
        if reader is not None:
            reader.terminate()
        connection.terminate() if not stop.is_set() else await connection.close()


async def _write_settings(url: str, calls: CallSettings) -> None:
    # A durable commit: a fact must not be lost, as the projector's own commits may be.
    connection = await connect(url)
    try:
        await write_call_settings(connection, calls)
    finally:
        await connection.close()
