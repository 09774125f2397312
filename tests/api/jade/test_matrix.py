"""Every documented operation of jade, in every form, called as everybody: who is let in, and who is not.

A new row of operations.tsv fails here until `NEEDED` has the permission that it needs.
"""

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from api.app_keys import CHECKPOINTS
from schemas.log import NewEvent
from schemas.users import TokenIssued
from services.accounts.accounts import IDLE_SECONDS, token_hash
from tests.contract import operations
from tests.support.api_client import Client, admin_token, api_starter, bearer, log_in
from tests.support.database import READ_MODELS, cloned
from tests.support.ledger import Ledger, open_ledger, projector_task
from tests.support.users import MANAGED, UNKNOWN_UUID, create_user

NEEDED = (
    (r"POST /(admin|manager|me)/login", "password"),
    (r"GET /(agents|device_states|peers|registries)/?", "supervisor"),
    (r"GET /(pjsip/contacts|park/parkedcalls)/[^/]+", "supervisor"),
    (r"GET /admin/core/(channels|modules|systems)(/[^/]+)?", "supervisor"),
    (r"GET /admin/park/(parkedcalls|parkinglots)(/[^/]+)?", "supervisor"),
    (r"GET /admin/pjsip/(aors|auths?|contacts|endpoints|registration_outbounds)(/[^/]+)?", "supervisor"),
    (r"GET /admin/queue/(entries|members|queues)(/[^/]+)?", "supervisor"),
    (r"DELETE /admin/login", "supervisor"),
    (r"\w+ /admin/.+", "admin"),
    (r"\w+ /manager/.+", "manager"),
    (r"\w+ /me/.+", "user"),
)
"""The permission that a request requires, by method and path (without /v1); or HTTP Basic in place of a token."""

IN = "in"
STRANGERS: dict[str, int | str] = {"nobody": 401, "stranger": 401, "expired": 401, "deleted": 401}
EXPECTED: dict[str, dict[str, int | str]] = {
    "admin": STRANGERS | {"nothing": 403, "user": 403, "manager": 403, "supervisor": 403, "admin": IN},
    "supervisor": STRANGERS | {"nothing": 403, "user": 403, "manager": 403, "supervisor": IN, "admin": IN},
    "manager": STRANGERS | {"nothing": 403, "user": 403, "manager": IN, "supervisor": 403, "admin": IN},
    "user": STRANGERS | {"nothing": 403, "user": IN, "manager": IN, "supervisor": 403, "admin": IN},
    "password": STRANGERS | {"nothing": 401, "user": 401, "manager": 401, "supervisor": 401, "admin": 401},
}
"""The status for each user. ``nothing`` is a user without permissions; IN is any response of the handler itself."""

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
    """Return the permission that this request needs by the table; fail without one."""
    matches = [what for pattern, what in NEEDED if re.fullmatch(pattern, f"{method} {path.removeprefix('/v1')}")]
    assert matches, f"no expectation for {method} {path}"
    return matches[0]


class Callers(Struct):
    """One API process for all tests of the file, and the token of each caller; the anonymous caller's is empty."""

    client: Client
    tokens: dict[str, str]


@pytest.fixture(scope="module")
async def callers(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    async with cloned(postgresql_url, READ_MODELS) as url:
        ledger = await open_ledger(url)
        async with projector_task(ledger), api_starter(ledger, tmp_path_factory.mktemp("data")) as serve:
            client = await serve()
            yield Callers(client, await make_tokens(client, ledger))
        await ledger.close()


async def make_tokens(client: Client, ledger: Ledger) -> dict[str, str]:
    client.session.headers.update(bearer(await admin_token(client)))
    tokens = {"nobody": "", "stranger": UNKNOWN_UUID, "expired": "c0ffee00-0000-4000-8000-000000000001"}
    grants = {"user": "user", "manager": "manager", "deleted": "admin", "nothing": "user", "supervisor": "supervisor"}
    for name, permission in grants.items():
        uuid = await create_user(client, name, permission)
        tokens[name] = await log_in(client, name, "admin" if name == "supervisor" else "me")
        if name == "deleted":
            assert (await client.delete(f"{MANAGED}/{uuid}")).status == 200
        if name == "nothing":
            assert (await client.put(f"{MANAGED}/{uuid}", json={"permissions": []})).status == 200
    tokens["admin"] = await log_in(client, "admin")
    admin = await ledger.connection.fetchval("SELECT uuid FROM users WHERE username = 'admin'")
    when = time.time() - IDLE_SECONDS - 60
    issued = TokenIssued(token_hash(tokens["expired"]), admin)
    event = NewEvent("ringledger", "TokenIssued", when, when, msgspec.json.encode(issued))
    await client.app[CHECKPOINTS].wait_folded(("tokens",), await ledger.write(event, pbx=""))
    client.session.headers["Authorization"] = ""
    return tokens


async def got(client: Client, method: str, path: str, token: str) -> int | str:
    """Call it, and return a refusal's status, or that it was none."""
    body = "{}" if method in {"POST", "PUT"} else None
    filled = path.replace("{detail}", "no-such-thing")
    reply = await client.request(method, filled, headers=bearer(token) if token else {}, data=body)
    answer: dict[str, Any] = await reply.json()
    assert answer["statuscode"] == reply.status < 500, (method, path, answer)
    assert reply.status != 405, (method, path)
    assert (reply.status, answer.get("message")) != (404, "not found"), f"no route for {method} {path}"
    return reply.status if reply.status in {401, 403} else IN


@pytest.mark.parametrize("row", CALLS, ids=" ".join)
async def test_each_operation_admits_only_its_permission(callers: Callers, row: tuple[str, str]) -> None:
    method, path = row
    expected = EXPECTED[needed(method, path)]
    assert expected.keys() == callers.tokens.keys()
    statuses = {}
    for caller, token in callers.tokens.items():
        # A logout that works ends its token, so it gets one of its own.
        is_logout = path.endswith("/login") and method == "DELETE" and expected[caller] == IN
        family = "admin" if caller == "supervisor" else "me"
        own = await log_in(callers.client, caller, family) if is_logout else token
        statuses[caller] = await got(callers.client, method, path, own)
    assert statuses == expected


def test_every_row_has_an_expectation() -> None:
    assert len(ROWS) == 126
    for row in ROWS:
        for path in row.paths:
            assert needed(row.method, path)
    with pytest.raises(AssertionError, match="no expectation"):
        needed("GET", "/v1/anything")
