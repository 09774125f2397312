"""Tokens: logins that have not ended. The token itself is not known here, only its hash."""

from datetime import UTC, datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.users import TokenEvent


class Token(Row):
    """One login; ``used`` is when the token was last used, as far as that was written down (see TokenUsed)."""

    token_hash: str
    user_uuid: str
    issued: datetime
    used: datetime


def by_hash(e: TokenEvent) -> Key | None:
    # Only our own events have no pbx: a PBX that sends an event of this name logs nobody in.
    return (e.token_hash,) if not e.pbx else None


def issued(row: Token | None, e: TokenEvent) -> Token:
    return row or Token(pbx="", tm_update=e.at, token_hash=e.token_hash, user_uuid=e.user_uuid, issued=e.at, used=e.at)


def used(row: Token | None, e: TokenEvent) -> Token | None:
    when = datetime.fromtimestamp(e.used, UTC)
    return replace(row, used=when) if row and when > row.used else row


def revoked(_row: Token | None, _e: TokenEvent) -> None:
    return None


TOKENS = ReadModel(
    name="tokens",
    version=1,
    row=Token,
    key=("token_hash",),
    on={
        "TokenIssued": Handler(TokenEvent, by_hash, issued),
        "TokenUsed": Handler(TokenEvent, by_hash, used),
        "TokenRevoked": Handler(TokenEvent, by_hash, revoked, deletes_unseen=True),
    },
)
