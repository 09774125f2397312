"""What handlers find in the application."""

import asyncio

from aiohttp import web

from api.http.views import Views
from schemas.settings import Settings
from services.accounts.accounts import Accounts
from services.database.heartbeat import Heartbeat
from services.database.pool import Pool
from services.log.writer import Facts
from services.projector.checkpoints import Freshness

ACCOUNTS = web.AppKey("accounts", Accounts)
DECIDING = web.AppKey("deciding", asyncio.Lock)
"""One decision at a time in this process, so that those who wait take no connection of the pool."""
FACTS = web.AppKey("facts", Facts)
FAILED = web.AppKey("failed", asyncio.Future[None])
"""Ends with the error of a background task; the process cannot go on then."""
FRESHNESS = web.AppKey("freshness", Freshness)
HEARTBEAT = web.AppKey("heartbeat", Heartbeat)
POOL = web.AppKey("pool", Pool)
SEEDED = web.AppKey("seeded", asyncio.Event)
SETTINGS = web.AppKey("settings", Settings)
VIEWS = web.AppKey("views", Views)
