"""The caller: /admin/info, /me/info, and the three logins."""

import pytest

from api.app_keys import ACCOUNTS, COMMANDS
from services.commands.logins import issue_token
from services.runtime.errors import Unauthenticated
from tests.contract import misfits, shapes
from tests.support.api_client import PASSWORD, Client, basic, bearer, log_in
from tests.support.ledger import Ledger
from tests.support.users import USERS, create_contact, create_user, error_message, get_list, get_result, log_position


async def test_an_admins_info_and_its_change(client: Client, ledger: Ledger) -> None:
    body = await (await client.get("/v1/admin/info")).json()
    assert misfits(body, shapes()["jade.admin.info.get"]["response"]) == []
    info = body["result"]
    assert (info["username"], info["name"], "password" in info) == ("admin", "Administrator", False)
    assert (await client.put("/admin/info", data='{"name": "Test Administrator"}')).status == 200
    changed = await get_result(client, "/admin/info")
    assert changed == info | {"name": "Test Administrator", "tm_update": changed["tm_update"]}
    other = bearer(await log_in(client, "admin", "admin"))
    assert (await client.put("/v1/admin/info", json={"password": "another one"})).status == 200
    assert await error_message(await client.get("/v1/admin/info", headers=other), 401)
    assert await get_result(client, "/v1/admin/info")
    await log_in(client, "admin", "admin", "another one")
    before = await log_position(ledger)
    assert await error_message(await client.put("/admin/info", json={"username": ""}), 400)
    assert "last" in await error_message(await client.put("/admin/info", json={"permissions": []}), 409)
    assert await log_position(ledger) == before


async def test_my_info_has_user_contacts_and_chats(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "user", name="Bob")
    await create_contact(client, bob, "100")
    await create_contact(client, (await get_list(client, USERS))[0]["uuid"], "101")
    token = bearer(await log_in(client, "bob"))
    reply = await client.get("/me/info", headers=token)
    body = await reply.json()
    assert misfits(body, shapes()["jade.me.info.get"]["response"]) == []
    me = body["result"]
    assert (me["uuid"], me["username"], me["name"], "password" in me) == (bob, "bob", "Bob", False)
    assert me["contacts"] == await get_list(client, "/v1/me/contacts", **token)
    assert (len(me["contacts"]), me["chats"]) == (1, [])
    assert int(reply.headers["X-Ledger-Position"]) == await log_position(ledger)
    again = await client.get("/v1/me/info", headers=token | {"If-None-Match": reply.headers["ETag"]})
    assert (again.status, again.headers["Vary"]) == (304, "Authorization, Cookie")
    assert (await client.put(f"{USERS}/{bob}", json={"name": "Robert"})).status == 200
    again = await client.get("/v1/me/info", headers=token | {"If-None-Match": reply.headers["ETag"]})
    assert (await again.json())["result"]["name"] == "Robert"
    admin = (await get_list(client, USERS))[0]["uuid"]
    chat = {"name": "lunch", "detail": "d", "type": 1, "members": [bob, admin]}
    before = again.headers["ETag"]
    assert (await client.post("/me/chats", json=chat, headers=token)).status == 200
    again = await client.get("/v1/me/info", headers=token | {"If-None-Match": before})
    body = await again.json()
    assert misfits(body, shapes()["jade.me.info.get"]["response"]) == []
    assert body["result"]["chats"] == await get_result(client, "/me/chats", **token)
    assert [chat["name"] for chat in body["result"]["chats"]] == ["lunch"]
    for query in ("as_of=1", "wait=1"):
        assert await error_message(await client.get(f"/me/info?{query}", headers=token), 400)


LOGINS = {
    "admin": {"admin": 200, "supervisor": 200, "manager": 403, "user": 403, "jeye": 403, "": 403},
    "manager": {"admin": 200, "supervisor": 403, "manager": 200, "user": 403, "jeye": 403, "": 403},
    "me": {"admin": 200, "supervisor": 403, "manager": 200, "user": 200, "jeye": 403, "": 403},
}


async def test_each_login_requires_its_permission(client: Client) -> None:
    for permission in ("supervisor", "manager", "user", "jeye", ""):
        await create_user(client, permission or "nothing", *filter(None, [permission]))
    for family, expected in LOGINS.items():
        for path in (f"/v1/{family}/login", f"/{family}/login"):
            for permission, status in expected.items():
                reply = await client.post(path, headers=basic(permission or "nothing", PASSWORD))
                assert reply.status == status, (path, permission)
                assert ("result" in await reply.json()) == (status == 200)
            assert await error_message(await client.post(path, headers={"Authorization": ""}), 401)


@pytest.mark.parametrize("family", ["admin", "manager", "me"])
async def test_a_token_ends_where_it_began(client: Client, family: str) -> None:
    token = await log_in(client, "admin", family)
    assert await get_result(client, "/v1/admin/info", **bearer(token))
    reply = await client.delete(f"/v1/{family}/login", params={"authtoken": token})
    assert (reply.status, "result" in await reply.json()) == (200, False)
    assert await error_message(await client.get("/v1/admin/info", headers=bearer(token)), 401)


async def test_a_login_during_a_password_change_is_refused(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "user")
    verified = await client.app[ACCOUNTS].verify("bob", PASSWORD, "")
    assert (await client.put(f"{USERS}/{bob}", json={"password": "new"})).status == 200
    before = await log_position(ledger)
    with pytest.raises(Unauthenticated, match="changed"):
        await issue_token(client.app[COMMANDS], verified, "127.0.0.1")
    assert await log_position(ledger) == before
