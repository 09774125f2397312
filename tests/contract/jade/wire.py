"""Requests and answers, and what every answer must be like."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from tests.contract import misfits

FORM = "application/x-www-form-urlencoded"
"""The content type that curl -d sends with every body."""
ENVELOPE = {"api_ver": "string", "statuscode": "integer", "timestamp": "timestamp"}


class Ask(Struct):
    """A request: what fills ``{detail}``, more of the query, the JSON body (none if None), and whose token it has."""

    detail: str = ""
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Reply(Struct, frozen=True):
    """An answer, whose envelope has been looked at."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def result(self) -> Any:
        return self.body["result"]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The list, in an object as most have it, or bare as in /me."""
        items: list[dict[str, Any]] = self.result["list"] if isinstance(self.result, dict) else self.result
        return items


class Person(Struct, frozen=True):
    """A user with a token."""

    uuid: str
    username: str
    token: str


def judge(what: str, reply: Reply, text: str, secrets: Iterable[str]) -> None:
    """Assert that this is the documented envelope, with nothing more around the result, and shows no password."""
    assert reply.status != 500, f"{what}: {text}"
    assert misfits(reply.body, ENVELOPE) == [], f"{what}: {text}"
    assert reply.body["api_ver"] == "0.1"
    assert reply.body["statuscode"] == reply.status, f"{what}: {text}"
    more = set(reply.body) - set(ENVELOPE)
    assert more <= ({"result"} if reply.status == 200 else {"message", "position", "line"}), f"{what}: {text}"
    assert not [secret for secret in secrets if secret in text], f"{what} shows a password"
