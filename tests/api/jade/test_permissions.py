"""Permissions as things of their own: /admin/user/permissions."""

from tests.support.api_client import PASSWORD, Client, basic, bearer, log_in
from tests.support.ledger import Ledger
from tests.support.users import (
    PERMISSIONS,
    UNKNOWN_UUID,
    create_user,
    created_uuid,
    error_message,
    get_list,
    get_result,
    log_position,
)


async def test_a_permission_is_given_read_changed_and_taken(client: Client) -> None:
    bob = await create_user(client, "bob")
    assert await error_message(await client.post("/v1/me/login", headers=basic("bob", PASSWORD)), 403)
    reply = await client.post(PERMISSIONS, json={"user_uuid": bob.upper(), "permission": "user"})
    grant = await created_uuid(reply)
    assert reply.headers["Location"] == f"{PERMISSIONS}/{grant}"
    token = bearer(await log_in(client, "bob"))
    item = {"uuid": grant, "user_uuid": bob, "username": "bob", "permission": "user"}
    assert await get_result(client, f"{PERMISSIONS}/{grant}") == item
    assert (await get_list(client, PERMISSIONS))[1:] == [item]
    assert (await client.put(f"{PERMISSIONS}/{grant}", json={"permission": "manager"})).status == 200
    assert await get_result(client, f"{PERMISSIONS}/{grant}") == item | {"permission": "manager"}
    assert len(await get_list(client, "/v1/manager/users", **token)) == 2
    assert (await client.put(f"{PERMISSIONS}/{grant}", json={"permission": "user"})).status == 200
    assert await error_message(await client.get("/v1/manager/users", headers=token), 403)
    assert (await client.delete(f"{PERMISSIONS}/{grant}")).status == 200
    assert await error_message(await client.get("/v1/me/contacts", headers=token), 403)
    assert await error_message(await client.get(f"{PERMISSIONS}/{grant}"), 404)


async def test_initial_permissions_can_be_revoked_one_by_one(client: Client) -> None:
    await create_user(client, "bob", "user", "manager", "jeye")
    grants = (await get_list(client, PERMISSIONS))[1:]
    assert [grant["permission"] for grant in grants] == ["jeye", "manager", "user"]
    assert len({grant["uuid"] for grant in grants}) == 3
    assert (await client.delete(f"{PERMISSIONS}/{grants[1]['uuid']}")).status == 200
    assert (await get_list(client, PERMISSIONS))[1:] == [grants[0], grants[2]]


async def test_bad_input_changes_nothing(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "user")
    admins, bobs = [grant["uuid"] for grant in await get_list(client, PERMISSIONS)]
    before = await log_position(ledger)
    for body, status in (
        ({}, 400),
        ({"user_uuid": bob, "permission": "root"}, 400),
        ({"user_uuid": "bob", "permission": "user"}, 400),
        ({"user_uuid": UNKNOWN_UUID, "permission": "user"}, 404),
        ({"user_uuid": bob, "permission": "user"}, 409),
    ):
        assert await error_message(await client.post(PERMISSIONS, json=body), status)
    assert await error_message(await client.put(f"{PERMISSIONS}/{bobs}", json={"permission": "root"}), 400)
    assert await error_message(await client.put(f"{PERMISSIONS}/{bobs}", json={}), 400)
    for path in (f"{PERMISSIONS}/{UNKNOWN_UUID}", f"{PERMISSIONS}/user", f"{PERMISSIONS}/a%2Fb%00"):
        assert await error_message(await client.get(path), 404)
        assert await error_message(await client.put(path, json={"permission": "user"}), 404)
        assert await error_message(await client.delete(path), 404)
    assert "last" in await error_message(await client.delete(f"{PERMISSIONS}/{admins}"), 409)
    assert "last" in await error_message(await client.put(f"{PERMISSIONS}/{admins}", json={"permission": "user"}), 409)
    assert (await client.put(f"{PERMISSIONS}/{bobs}", json={"permission": "user"})).status == 200
    assert await log_position(ledger) == before


async def test_a_permission_already_granted_is_refused(client: Client) -> None:
    await create_user(client, "bob", "user", "jeye")
    jeye = (await get_list(client, PERMISSIONS))[1]
    assert await error_message(await client.put(f"{PERMISSIONS}/{jeye['uuid']}", json={"permission": "user"}), 409)


async def test_admin_may_go_from_one_to_another(client: Client) -> None:
    await create_user(client, "bob", "admin")
    first, second = await get_list(client, PERMISSIONS)
    assert (await client.delete(f"{PERMISSIONS}/{first['uuid']}")).status == 200
    assert await error_message(await client.delete(f"{PERMISSIONS}/{second['uuid']}"), 403)
    token = bearer(await log_in(client, "bob", "admin"))
    assert "last" in await error_message(await client.delete(f"{PERMISSIONS}/{second['uuid']}", headers=token), 409)
