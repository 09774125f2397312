"""The first user ``admin``: created at the first start, with the password of the settings at every start."""

import asyncio
import uuid

import structlog

from schemas.log import RingledgerEvent
from schemas.settings import Settings
from schemas.users import PasswordChanged, TokenRevoked, UserCreated
from services.accounts.accounts import MODELS, Accounts
from services.accounts.passwords import admin_password, hash_password, matches, password_file
from services.commands.context import CommandContext
from services.database.errors import DATABASE_ERRORS
from services.database.locks import Lock, locked
from services.log.read import head_position
from services.runtime.outage import Outage

RETRY_SECONDS = 1.0

logger = structlog.get_logger()


async def ensure_admin(context: CommandContext, settings: Settings) -> None:
    """Make sure that ``admin`` can log in; waits without limit for the database and the projector."""
    outage = Outage("first_user_delayed", "first_user_ready")
    checkpoints = context.checkpoints
    while True:
        try:
            # API processes that start together look and append one after the other.
            async with context.pool.acquire() as connection, locked(connection, Lock.FIRST_USER):
                await checkpoints.wait_folded(MODELS, await head_position(connection))
                facts = await asyncio.to_thread(_missing, context.accounts, settings)
                if facts:
                    await checkpoints.wait_folded(MODELS, await context.writer.append(*facts, connection=connection))
        except DATABASE_ERRORS as error:
            outage.fail(error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            outage.recover(quiet_seconds=0.0)
            return


def _missing(accounts: Accounts, settings: Settings) -> list[RingledgerEvent]:
    """Return the facts that are missing for ``admin`` to log in with the password of the settings."""
    admin = accounts.by_name.get("admin")
    if admin is None:
        if any(user.may("admin") for user in accounts.by_name.values()):
            return []
        password = admin_password(settings)
        logger.info("first_user_created", username="admin", password_in=_password_source(settings))
        new = UserCreated(
            str(uuid.uuid4()), "admin", "Administrator", hash_password(password), ("admin",), origin="settings"
        )
        return [new]
    if not settings.admin_password and (admin.chosen_by == "user" or not password_file(settings).exists()):
        return []
    password = admin_password(settings)
    if matches(admin.password_hash, password):
        return []
    logger.info("password_changed", username="admin", password_in=_password_source(settings))
    return [
        PasswordChanged(admin.uuid, hash_password(password), origin="settings"),
        *(TokenRevoked(hashed, "password changed") for hashed in accounts.token_hashes_of(admin.uuid)),
    ]


def _password_source(settings: Settings) -> str:
    return "RINGLEDGER_ADMIN_PASSWORD" if settings.admin_password else str(password_file(settings))
