"""What handlers find in the application."""

import asyncio

import asyncpg
from aiohttp import web

from api.accounts import Accounts
from api.freshness import Freshness
from api.views import Views
from schemas.settings import Settings
from services.facts import Facts

ACCOUNTS = web.AppKey("accounts", Accounts)
DECIDING = web.AppKey("deciding", asyncio.Lock)
"""One decision at a time in this process, so that those who wait take no connection of the pool."""
FACTS = web.AppKey("facts", Facts)
FAILED = web.AppKey("failed", asyncio.Future[None])
"""Ends with the error of a background task; the process cannot go on then."""
FRESHNESS = web.AppKey("freshness", Freshness)
POOL = web.AppKey("pool", asyncpg.Pool)
REFOLDING = web.AppKey("refolding", asyncio.Semaphore)
"""One refold at a time: it takes the CPU that views need."""
SEEDED = web.AppKey("seeded", asyncio.Event)
SETTINGS = web.AppKey("settings", Settings)
VIEWS = web.AppKey("views", Views)
