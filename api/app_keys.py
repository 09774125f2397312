"""The keys of an application's shared objects."""

import asyncio

from aiohttp import web

from api.http.views.current import CurrentViews
from schemas.settings import Settings
from services.accounts.accounts import Accounts
from services.commands.context import CommandContext
from services.database.heartbeat import Heartbeat
from services.database.pool import Pool
from services.projector.checkpoints.watcher import CheckpointWatcher

ACCOUNTS = web.AppKey("accounts", Accounts)
COMMANDS = web.AppKey("commands", CommandContext)
FAILED = web.AppKey("failed", asyncio.Future[None])
"""Gets the error of a background task; the process ends then."""
CHECKPOINTS = web.AppKey("checkpoints", CheckpointWatcher)
HEARTBEAT = web.AppKey("heartbeat", Heartbeat)
POOL = web.AppKey("pool", Pool)
SEEDED = web.AppKey("seeded", asyncio.Event)
SETTINGS = web.AppKey("settings", Settings)
VIEWS = web.AppKey("views", CurrentViews)
