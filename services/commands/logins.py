"""Logins: a token is issued in a decision of its own, so that none outlives its user or password."""

import uuid

from aiohttp import web

from api.app_keys import ACCOUNTS, FACTS, FRESHNESS
from api.http.errors import ApiError
from schemas.users import TokenIssued, TokenRevoked
from services.accounts.accounts import MODELS, User, token_hash
from services.commands.decide import deciding, folded


async def login(app: web.Application, user: User, client: str) -> str:
    """Issue a token to who has been verified; it is good everywhere in this process when this returns.

    ``client`` is the address of the user's client; later guesses from other addresses do not slow the user there.

    Raises ApiError 401 when the user or the password has been changed meanwhile.
    """
    token = str(uuid.uuid4())
    accounts = app[ACCOUNTS]
    async with deciding(app, set(MODELS)) as connection:
        now = accounts.by_name.get(user.username)
        if now is None or (now.uuid, now.password_hash) != (user.uuid, user.password_hash):
            raise ApiError(401, "the user was changed at this moment; try again")
        await accounts.places.add(connection, user.uuid, client)
        issued = TokenIssued(token_hash(token), user.uuid, actor=user.uuid)
        position = await app[FACTS].append(*accounts.expired(user), issued, connection=connection)
        await folded(app[FRESHNESS], set(MODELS), position)
    return token


async def logout(app: web.Application, user: User, token: str) -> None:
    """End a token."""
    position = await app[FACTS].append(TokenRevoked(token_hash(token), "logout", actor=user.uuid))
    await folded(app[FRESHNESS], set(MODELS), position)
