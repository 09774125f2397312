"""Requests with an Idempotency-Key, so that a repeated request gets the earlier response and is not executed again."""

from typing import Any

from msgspec import field

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami import OwnEvent


class RequestEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """RequestAnswered and ActRequested, as the fold reads them; ``id`` is the act's."""

    actor: str = ""
    key: str = ""
    digest: str = ""
    id: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    location: str = ""


class Request(Row):
    """One request; ``act`` is the id of the requested act, empty for facts, which are decided at once."""

    actor: str
    key: str
    digest: str
    act: str
    position: int
    result: dict[str, Any]
    location: str


def by_key(e: RequestEvent) -> Key | None:
    return (e.actor, e.key) if e.key else None


def create(row: Request | None, e: RequestEvent) -> Request:
    return row or Request(
        pbx=e.pbx,
        tm_update=e.at,
        actor=e.actor,
        key=e.key,
        digest=e.digest,
        act=e.id,
        position=e.position,
        result=e.result,
        location=e.location,
    )


REQUESTS = ReadModel(
    name="requests",
    version=1,
    row=Request,
    key=("actor", "key"),
    on={
        "RequestAnswered": Handler(RequestEvent, by_key, create),
        "ActRequested": Handler(RequestEvent, by_key, create),
    },
    is_state=False,
)
