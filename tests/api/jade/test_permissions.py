"""Permissions as things of their own: /admin/user/permissions."""

import pytest

from tests.api.conftest import PASSWORD, Client, Ledger, Serve, basic
from tests.support.people import NOBODYS, PERMISSIONS, by, head, listed, logged_in, made, one, person, refused


@pytest.fixture
async def client(serve: Serve) -> Client:
    client = await serve()
    client.session.headers.update(by(await logged_in(client, "admin", "admin")))
    return client


async def test_a_permission_is_given_read_changed_and_taken(client: Client) -> None:
    bob = await person(client, "bob")
    assert await refused(await client.post("/v1/me/login", headers=basic("bob", PASSWORD)), 403)
    reply = await client.post(PERMISSIONS, json={"user_uuid": bob.upper(), "permission": "user"})
    grant = await made(reply)
    assert reply.headers["Location"] == f"{PERMISSIONS}/{grant}"
    token = by(await logged_in(client, "bob"))
    found = {"uuid": grant, "user_uuid": bob, "username": "bob", "permission": "user"}
    assert await one(client, f"{PERMISSIONS}/{grant}") == found
    assert (await listed(client, PERMISSIONS))[1:] == [found]
    assert (await client.put(f"{PERMISSIONS}/{grant}", json={"permission": "manager"})).status == 200
    assert await one(client, f"{PERMISSIONS}/{grant}") == found | {"permission": "manager"}
    assert len(await listed(client, "/v1/manager/users", **token)) == 2
    assert (await client.put(f"{PERMISSIONS}/{grant}", json={"permission": "user"})).status == 200
    assert await refused(await client.get("/v1/manager/users", headers=token), 403)
    assert (await client.delete(f"{PERMISSIONS}/{grant}")).status == 200
    assert await refused(await client.get("/v1/me/contacts", headers=token), 403)
    assert await refused(await client.get(f"{PERMISSIONS}/{grant}"), 404)


async def test_what_a_user_was_made_with_can_be_taken_one_by_one(client: Client) -> None:
    await person(client, "bob", "user", "manager", "jeye")
    grants = (await listed(client, PERMISSIONS))[1:]
    assert [grant["permission"] for grant in grants] == ["jeye", "manager", "user"]
    assert len({grant["uuid"] for grant in grants}) == 3
    assert (await client.delete(f"{PERMISSIONS}/{grants[1]['uuid']}")).status == 200
    assert (await listed(client, PERMISSIONS))[1:] == [grants[0], grants[2]]


async def test_bad_input_changes_nothing(client: Client, ledger: Ledger) -> None:
    bob = await person(client, "bob", "user")
    admins, bobs = [grant["uuid"] for grant in await listed(client, PERMISSIONS)]
    before = await head(ledger)
    for body, status in (
        ({}, 400),
        ({"user_uuid": bob, "permission": "root"}, 400),
        ({"user_uuid": "bob", "permission": "user"}, 400),
        ({"user_uuid": NOBODYS, "permission": "user"}, 404),
        ({"user_uuid": bob, "permission": "user"}, 409),
    ):
        assert await refused(await client.post(PERMISSIONS, json=body), status)
    assert await refused(await client.put(f"{PERMISSIONS}/{bobs}", json={"permission": "root"}), 400)
    assert await refused(await client.put(f"{PERMISSIONS}/{bobs}", json={}), 400)
    for path in (f"{PERMISSIONS}/{NOBODYS}", f"{PERMISSIONS}/user", f"{PERMISSIONS}/a%2Fb%00"):
        assert await refused(await client.get(path), 404)
        assert await refused(await client.put(path, json={"permission": "user"}), 404)
        assert await refused(await client.delete(path), 404)
    assert "last" in await refused(await client.delete(f"{PERMISSIONS}/{admins}"), 409)
    assert "last" in await refused(await client.put(f"{PERMISSIONS}/{admins}", json={"permission": "user"}), 409)
    assert (await client.put(f"{PERMISSIONS}/{bobs}", json={"permission": "user"})).status == 200
    assert await head(ledger) == before


async def test_another_permission_that_the_user_has_already_is_refused(client: Client) -> None:
    await person(client, "bob", "user", "jeye")
    jeye = (await listed(client, PERMISSIONS))[1]
    assert await refused(await client.put(f"{PERMISSIONS}/{jeye['uuid']}", json={"permission": "user"}), 409)


async def test_admin_may_go_from_one_to_another(client: Client) -> None:
    await person(client, "bob", "admin")
    first, second = await listed(client, PERMISSIONS)
    assert (await client.delete(f"{PERMISSIONS}/{first['uuid']}")).status == 200
    assert await refused(await client.delete(f"{PERMISSIONS}/{second['uuid']}"), 403)
    token = by(await logged_in(client, "bob", "admin"))
    assert "last" in await refused(await client.delete(f"{PERMISSIONS}/{second['uuid']}", headers=token), 409)
