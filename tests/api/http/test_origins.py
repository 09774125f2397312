"""Pages of other sites cannot use a visitor's cookie for writes; this site's own pages can."""

from ipaddress import ip_network

import pytest
from aiohttp import WSServerHandshakeError

from tests.support.api_client import PASSWORD, Client, Serve, admin_token, basic
from tests.support.ledger import Ledger
from tests.support.users import MANAGED, error_message, log_position

EVIL = "https://evil.example"
NEW = {"username": "eve", "password": PASSWORD, "name": "Eve"}


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve(trusted_proxies=(ip_network("127.0.0.2"),))


@pytest.fixture
async def cookie(client: Client) -> dict[str, str]:
    return {"Cookie": f"authtoken={await admin_token(client)}"}


def home(client: Client) -> str:
    return str(client.make_url("")).rstrip("/")


FOREIGN: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:x"},
    {"Origin": "http://[127.0.0.1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": EVIL, "Authorization": "Basic eDp5"},
    {"Origin": EVIL, "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
]


async def test_another_site_cannot_use_the_cookie(client: Client, ledger: Ledger, cookie: dict[str, str]) -> None:
    before = await log_position(ledger)
    for page in FOREIGN:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in (MANAGED, f"{MANAGED}/x", "/v1/admin/login", "/v1/me/calls"):
                reply = await client.request(method, path, json=NEW, headers=cookie | page)
                assert "another site" in await error_message(reply, 403)
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/v1/ws", headers=cookie | page)
    assert await log_position(ledger) == before


async def test_the_own_site_can_use_the_cookie(client: Client, cookie: dict[str, str]) -> None:
    pages: list[dict[str, str]] = [
        {"Origin": home(client)},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
        {"Host": "pbx.example", "Origin": "https://pbx.example"},
        {"Host": "pbx.example:443", "Origin": "https://pbx.example"},
        {"Host": "PBX.example", "Origin": "https://pbx.example:443"},
    ]
    for number, page in enumerate(pages):
        reply = await client.post(MANAGED, json=NEW | {"username": f"u{number}"}, headers=cookie | page)
        assert reply.status == 200, (page, await reply.text())


async def test_a_trusted_proxy_names_the_own_site(serve: Serve) -> None:
    client = await serve(trusted_proxies=(ip_network("127.0.0.0/8"),))
    cookie = {"Cookie": f"authtoken={await admin_token(client)}", "X-Forwarded-Host": "pbx.example, inner.example"}
    pages = (
        ({"X-Forwarded-Proto": "https", "Origin": "https://pbx.example"}, 200),
        ({"X-Forwarded-Proto": "https", "Origin": "https://inner.example"}, 200),
        ({"X-Forwarded-Proto": "wss", "Origin": "https://pbx.example:443"}, 200),
        ({"X-Forwarded-Proto": "https", "Origin": "http://pbx.example"}, 403),
        ({"X-Forwarded-Proto": "https", "Origin": EVIL}, 403),
    )
    for number, (page, status) in enumerate(pages):
        reply = await client.post(MANAGED, json=NEW | {"username": f"u{number}"}, headers=cookie | page)
        assert reply.status == status, (page, await reply.text())


async def test_any_page_can_send_a_token(client: Client, cookie: dict[str, str]) -> None:
    token = cookie["Cookie"].partition("=")[2]
    headers = cookie | {"Origin": EVIL}
    by_query = await client.post(MANAGED, params={"authtoken": token}, json=NEW, headers=headers)
    by_header = await client.post(
        MANAGED, json=NEW | {"username": "f"}, headers=headers | {"Authorization": f"Bearer {token}"}
    )
    assert (by_query.status, by_header.status) == (200, 200)
    assert (await client.post("/v1/admin/login", headers=basic("admin", PASSWORD) | {"Origin": EVIL})).status == 200


async def test_reads_with_a_foreign_cookie_change_nothing(
    client: Client, ledger: Ledger, cookie: dict[str, str]
) -> None:
    before = await log_position(ledger)
    for path in {r.resource.canonical for r in client.app.router.routes() if r.method == "GET" and r.resource}:
        if path not in {"/v1/events", "/v1/ws"}:
            reply = await client.get(path.replace("{", "").replace("}", ""), headers=cookie | {"Origin": EVIL})
            assert reply.status in {200, 400, 404, 503}, path
    assert await log_position(ledger) == before
