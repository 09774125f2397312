"""Logins: each token is issued in a decision, so that it does not outlive its user or password."""

import uuid

from schemas.users import TokenIssued, TokenRevoked
from services.accounts.accounts import MODELS, Account, token_hash
from services.commands.context import CommandContext
from services.commands.decide import decision_lock, wait_folded
from services.runtime.errors import Forbidden, Unauthenticated


async def login(context: CommandContext, username: str, password: str, *, permission: str, client: str) -> str:
    """Return a new token for the user with this name and password; ``client`` is the address of the user's client.

    Raises Unauthenticated, TooMany after too many failures, and Forbidden where the user lacks the permission.
    """
    user = await context.accounts.verify(username, password, client)
    if not user.may(permission):
        raise Forbidden(f"permission {permission} is needed")
    return await issue_token(context, user, client)


async def issue_token(context: CommandContext, user: Account, client: str) -> str:
    """Issue a token to a verified user; every dialect of this process accepts it when this returns.

    Later guesses from other addresses than ``client`` do not slow the user there. Raises Unauthenticated when the user
    or the password changed meanwhile.
    """
    token = str(uuid.uuid4())
    accounts = context.accounts
    async with decision_lock(context, set(MODELS)) as connection:
        now = accounts.by_name.get(user.username)
        if now is None or (now.uuid, now.password_hash) != (user.uuid, user.password_hash):
            raise Unauthenticated("the user was changed at this moment; try again")
        await accounts.places.add(connection, user.uuid, client)
        issued = TokenIssued(token_hash(token), user.uuid, actor=user.uuid)
        position = await context.writer.append(*accounts.expired(user), issued, connection=connection)
        await wait_folded(context.checkpoints, set(MODELS), position)
    return token


async def logout(context: CommandContext, user: Account, token: str) -> None:
    """End a token."""
    position = await context.writer.append(TokenRevoked(token_hash(token), "logout", actor=user.uuid))
    await wait_folded(context.checkpoints, set(MODELS), position)
