"""Every documented operation of jade, in every form, called as everybody: who is let in, and who is not.

A new row of operations.tsv fails here until `NEEDED` says which permission it wants.
"""

import re
import time
from typing import Any

import msgspec
import pytest

from schemas.log import Received
from schemas.users import TokenIssued
from services.accounts.accounts import IDLE_SECONDS, token_hash
from tests.api.conftest import Client, Ledger, Serve
from tests.contract import operations
from tests.support.people import MANAGED, NOBODYS, by, logged_in, person

NEEDED = (
    (r"POST /(admin|manager|me)/login", "password"),
    (r"\w+ /(agents|device_states|peers|registries)/?", "admin"),
    (r"\w+ /(pjsip/contacts|park/parkedcalls)/[^/]+", "admin"),
    (r"\w+ /admin/.+", "admin"),
    (r"\w+ /manager/.+", "manager"),
    (r"\w+ /me/.+", "user"),
)
"""What a request needs by method and path (without /v1): a permission, or HTTP Basic, which is no token."""

IN = "in"
STRANGERS: dict[str, int | str] = {"nobody": 401, "stranger": 401, "expired": 401, "deleted": 401}
EXPECTED: dict[str, dict[str, int | str]] = {
    "admin": STRANGERS | {"nothing": 403, "user": 403, "manager": 403, "admin": IN},
    "manager": STRANGERS | {"nothing": 403, "user": 403, "manager": IN, "admin": IN},
    "user": STRANGERS | {"nothing": 403, "user": IN, "manager": IN, "admin": IN},
    "password": STRANGERS | {"nothing": 401, "user": 401, "manager": 401, "admin": 401},
}
"""Who gets what. ``nothing`` is a user without permissions; IN is whatever the handler itself says."""

UNDOCUMENTED = [
    (method, form + path)
    for method, path in (
        ("POST", "/manager/login"),
        ("DELETE", "/manager/login"),
        ("POST", "/me/login"),
        ("DELETE", "/me/login"),
        ("POST", "/me/calls"),
    )
    for form in ("", "/v1")
]

ROWS = [o for o in operations().values() if o.id.startswith("jade.")]
CALLS = [(o.method, path) for o in ROWS for path in o.paths] + UNDOCUMENTED


def needed(method: str, path: str) -> str:
    """Return what the table says that this request needs; fail if it says nothing."""
    found = [what for pattern, what in NEEDED if re.fullmatch(pattern, f"{method} {path.removeprefix('/v1')}")]
    assert found, f"no expectation for {method} {path}"
    return found[0]


@pytest.fixture
async def client(serve: Serve) -> Client:
    client = await serve()
    client.session.headers.update(by(await logged_in(client, "admin", "admin")))
    return client


@pytest.fixture
async def tokens(client: Client, ledger: Ledger) -> dict[str, str]:
    """The token of everybody, by what they are; nobody's is empty."""
    found = {"nobody": "", "stranger": NOBODYS, "expired": "c0ffee00-0000-4000-8000-000000000001"}
    for name, permission in {"user": "user", "manager": "manager", "deleted": "admin", "nothing": "user"}.items():
        uuid = await person(client, name, permission)
        found[name] = await logged_in(client, name)
        if name == "deleted":
            assert (await client.delete(f"{MANAGED}/{uuid}")).status == 200
        if name == "nothing":
            assert (await client.put(f"{MANAGED}/{uuid}", json={"permissions": []})).status == 200
    found["admin"] = await logged_in(client, "admin")
    admin = await ledger.connection.fetchval("SELECT uuid FROM users WHERE username = 'admin'")
    when = time.time() - IDLE_SECONDS - 60
    issued = TokenIssued(token_hash(found["expired"]), admin)
    await ledger.write(Received("ringledger", "TokenIssued", when, when, msgspec.json.encode(issued)), pbx="")
    client.session.headers["Authorization"] = ""
    return found


async def got(client: Client, method: str, path: str, token: str) -> int | str:
    """Call it, and return a refusal's status, or that it was none."""
    body = "{}" if method in {"POST", "PUT"} else None
    filled = path.replace("{detail}", "no-such-thing")
    reply = await client.request(method, filled, headers=by(token) if token else {}, data=body)
    said: dict[str, Any] = await reply.json()
    assert said["statuscode"] == reply.status < 500, (method, path, said)
    assert reply.status != 405, (method, path)
    assert (reply.status, said.get("message")) != (404, "not found"), f"no route for {method} {path}"
    return reply.status if reply.status in {401, 403} else IN


async def test_everybody_gets_what_the_table_says(client: Client, tokens: dict[str, str]) -> None:
    wrong = []
    for method, path in CALLS:
        expected = EXPECTED[needed(method, path)]
        assert expected.keys() == tokens.keys()
        for who, token in tokens.items():
            ends = path.endswith("/login") and method == "DELETE" and expected[who] == IN
            asks = await logged_in(client, who) if ends else token
            if (found := await got(client, method, path, asks)) != expected[who]:
                wrong.append(f"{method} {path} as {who}: {found} instead of {expected[who]}")
    assert wrong == []


def test_every_row_has_an_expectation() -> None:
    assert len(ROWS) == 126
    for row in ROWS:
        for path in row.paths:
            assert needed(row.method, path)
    with pytest.raises(AssertionError, match="no expectation"):
        needed("GET", "/v1/anything")
