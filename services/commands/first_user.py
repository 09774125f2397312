"""The first user: `admin`, made at the first start; the settings' password is made true at every start."""

import asyncio
import uuid

import structlog

from schemas.log import Ours
from schemas.settings import Settings
from schemas.users import PasswordChanged, TokenRevoked, UserCreated
from services.accounts.accounts import MODELS, Accounts
from services.accounts.passwords import admin_password, hash_password, matches, password_file
from services.database import faults
from services.database.locks import Lock, locked
from services.database.pool import Pool
from services.log import append as log
from services.log.writer import Facts
from services.projector.checkpoints import Freshness
from services.runtime.outage import Outage

RETRY_SECONDS = 1.0

logger = structlog.get_logger()


async def seed(pool: Pool, facts: Facts, freshness: Freshness, accounts: Accounts, settings: Settings) -> None:
    """See to it that `admin` can log in; waits as long as it takes for database and projector."""
    outage = Outage("first_user_delayed", "first_user_ready")
    while True:
        try:
            # Of several API processes that start together, one looks and writes at a time.
            async with pool.acquire() as connection, locked(connection, Lock.FIRST_USER):
                await freshness.folded(MODELS, await log.head(connection))
                wanted = await asyncio.to_thread(_wanted, accounts, settings)
                if wanted:
                    await freshness.folded(MODELS, await facts.append(*wanted, connection=connection))
        except faults.ANY as error:
            outage.fail(error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            outage.recover(quiet_seconds=0.0)
            return


def _wanted(accounts: Accounts, settings: Settings) -> list[Ours]:
    admin = accounts.by_name.get("admin")
    if admin is None:
        if any(user.may("admin") for user in accounts.by_name.values()):
            return []
        password = admin_password(settings)
        logger.info("first_user_created", username="admin", password_in=_where(settings))
        new = UserCreated(
            str(uuid.uuid4()), "admin", "Administrator", hash_password(password), ("admin",), origin="settings"
        )
        return [new]
    if not settings.admin_password and (admin.chosen_by == "user" or not password_file(settings).exists()):
        return []
    password = admin_password(settings)
    if matches(admin.password_hash, password):
        return []
    logger.info("password_changed", username="admin", password_in=_where(settings))
    return [
        PasswordChanged(admin.uuid, hash_password(password), origin="settings"),
        *(TokenRevoked(hashed, "password changed") for hashed in accounts.of(admin.uuid)),
    ]


def _where(settings: Settings) -> str:
    return "RINGLEDGER_ADMIN_PASSWORD" if settings.admin_password else str(password_file(settings))
