"""The composition root of the API: the aiohttp application, its shared objects, and every route."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from aiohttp import web

from api.app_keys import ACCOUNTS, CHECKPOINTS, COMMANDS, FAILED, HEARTBEAT, POOL, SEEDED, SETTINGS, VIEWS
from api.calls.stream import CALL_STREAM
from api.calls.views import ROUTES as CALL_ROUTES
from api.cospace.dialect import COSPACE
from api.http.access import ACCESS, Access
from api.http.connections.connections import CONNECTIONS, Connections, limit_requests
from api.http.connections.limits import Limits, file_limit
from api.http.dialect import DIALECTS, Dialects
from api.http.finishing import drain_writes, finish_writes
from api.http.middleware import render_errors
from api.http.origins import own_pages_only
from api.http.queues import QUEUES, QueueMetrics, Queues
from api.http.views.as_of import AsOfViews
from api.http.views.current import CurrentViews
from api.jade.dialect import jade
from api.jade.stream import CATALOG
from api.ledger.routes import ROUTES as LEDGER_ROUTES
from api.ops import health, metrics
from api.ops.request_metrics import REQUEST_METRICS, count_requests, request_metrics
from api.statistics.views import ROUTES as STATISTICS_ROUTES
from api.stream.hub import STREAMS, StreamHub
from api.stream.resources import StreamCatalog
from api.stream.routes import ROUTES as EVENT_ROUTES
from schemas.settings import Settings
from services.accounts.accounts import TOUCH_SECONDS, Accounts
from services.commands import first_user
from services.commands.context import CommandContext
from services.database.errors import UNREACHABLE
from services.database.heartbeat import Heartbeat
from services.database.pool import open_pool
from services.log.writer import EventWriter
from services.projector.checkpoints.watcher import CheckpointWatcher
from services.runtime.tasks import cancel_and_wait

TOUCH_EVERY_SECONDS = 60.0


def create(url: str, settings: Settings) -> web.Application:
    """Build the application; nothing is opened before it starts."""
    app = web.Application(middlewares=[finish_writes, count_requests, render_errors, limit_requests, own_pages_only])
    app[SETTINGS] = settings
    app[ACCOUNTS] = accounts = Accounts()
    app[HEARTBEAT] = heartbeat = Heartbeat(url)
    app[ACCESS] = access = Access(accounts)
    app[CHECKPOINTS] = CheckpointWatcher(url, follow=[accounts.follow, access.follow], heartbeat=heartbeat)
    app[SEEDED] = asyncio.Event()
    app[REQUEST_METRICS] = request_metrics()
    app[QUEUES] = Queues()
    app[REQUEST_METRICS].registry.register(QueueMetrics(app[QUEUES]))
    default = jade(settings)  # also serves the refusals of routes without a dialect: ledger, streams, health, metrics
    app[CONNECTIONS] = Connections(
        settings.trusted_proxies, app[REQUEST_METRICS].registry, Limits(file_limit()), default.failure
    )
    app.cleanup_ctx.extend([pool(url), streams(url), background, drain_writes])
    app.on_response_prepare.append(drop_server_header)
    app.on_shutdown.append(on_shutdown)
    app[DIALECTS] = dialects = Dialects([default, COSPACE])
    dialects.add_routes(app.router)
    app.add_routes([*health.ROUTES, *LEDGER_ROUTES, *CALL_ROUTES, *STATISTICS_ROUTES, *EVENT_ROUTES, *metrics.ROUTES])
    return app


def pool(url: str) -> Callable[[web.Application], AsyncIterator[None]]:
    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with await open_pool(url, app[HEARTBEAT], size=4, search_path="model, ledger") as app[POOL]:
            app[COMMANDS] = CommandContext(
                app[POOL], EventWriter(app[POOL]), app[CHECKPOINTS], app[ACCOUNTS], asyncio.Lock()
            )
            past = AsOfViews(app[POOL], app[QUEUES].as_of)
            app[VIEWS] = CurrentViews(app[POOL], app[CHECKPOINTS], past.render)
            yield
            past.stop()

    return opened


def streams(url: str) -> Callable[[web.Application], AsyncIterator[None]]:
    """Make the streams. They have their own connections, so that views need not wait for streams that catch up."""

    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with await open_pool(
            url, app[HEARTBEAT], size=3, search_path="model, ledger", application_name="ringledger events"
        ) as own:
            app[STREAMS] = StreamHub(own, app[CHECKPOINTS], StreamCatalog((*CATALOG.resources, CALL_STREAM)))
            yield
            await cancel_and_wait(app[STREAMS].tasks)

    return opened


async def background(app: web.Application) -> AsyncIterator[None]:
    """Follow the read models, create the first user, and save when tokens were used."""
    jobs: list[Coroutine[Any, Any, None]] = [
        app[HEARTBEAT].run(),
        app[CHECKPOINTS].run(),
        ensure_admin(app),
        save_token_uses(app),
    ]
    app[FAILED] = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(job) for job in jobs]
    for task in tasks:
        task.add_done_callback(lambda task: _report(app, task))
    yield
    if facts := app[ACCOUNTS].unsaved_uses(least=0.0):
        with contextlib.suppress(*UNREACHABLE):
            await app[COMMANDS].writer.append(*facts)
    await cancel_and_wait(tasks)


def _report(app: web.Application, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not app[FAILED].done():
        app[FAILED].set_exception(error)


async def ensure_admin(app: web.Application) -> None:
    """Create the first user, and again whenever an older backup of the log was restored."""
    while True:
        await first_user.ensure_admin(app[COMMANDS], app[SETTINGS])
        app[SEEDED].set()
        await app[CHECKPOINTS].wait_rewound()
        app[SEEDED].clear()


async def save_token_uses(app: web.Application) -> None:
    while True:
        await asyncio.sleep(TOUCH_EVERY_SECONDS)
        if facts := app[ACCOUNTS].unsaved_uses(TOUCH_SECONDS):
            with contextlib.suppress(*UNREACHABLE):
                await app[COMMANDS].writer.append(*facts)


async def drop_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    """Hide the server's name and version."""
    del response.headers["Server"]


async def on_shutdown(app: web.Application) -> None:
    """End all waiting requests and streams, so that the process can end."""
    app[CHECKPOINTS].stop()
    app[STREAMS].stop()
    app[QUEUES].stop()
