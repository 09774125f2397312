"""Tokens: logins that have not ended. Only the hash of a token is stored."""

from datetime import UTC, datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.users import TokenEvent


class Token(Row):
    """One login; ``used`` is the last recorded use of the token (see TokenUsed)."""

    token_hash: str
    user_uuid: str
    issued: datetime
    used: datetime


def by_hash(e: TokenEvent) -> Key | None:
    # Only Ringledger's own events have no pbx: an event of this name from a PBX creates no login.
    return (e.token_hash,) if not e.pbx else None


def issue(row: Token | None, e: TokenEvent) -> Token:
    return row or Token(pbx="", tm_update=e.at, token_hash=e.token_hash, user_uuid=e.user_uuid, issued=e.at, used=e.at)


def use(row: Token | None, e: TokenEvent) -> Token | None:
    when = datetime.fromtimestamp(e.used, UTC)
    return replace(row, used=when) if row and when > row.used else row


def revoke(_row: Token | None, _e: TokenEvent) -> None:
    return None


TOKENS = ReadModel(
    name="tokens",
    version=1,
    row=Token,
    key=("token_hash",),
    on={
        "TokenIssued": Handler(TokenEvent, by_hash, issue),
        "TokenUsed": Handler(TokenEvent, by_hash, use),
        "TokenRevoked": Handler(TokenEvent, by_hash, revoke, deletes_unseen=True),
    },
)
