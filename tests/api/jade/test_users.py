"""Users: made, changed and deleted by admins and managers; their passwords and tokens."""

import asyncio
import contextlib
import re
from typing import Any

import pytest

from api.app_keys import ACCOUNTS
from services.accounts.accounts import token_hash
from services.accounts.hashing import USER_PLACES
from tests.contract import misfits, shapes
from tests.support.api_client import PASSWORD, Client, Serve, basic, bearer, log_in
from tests.support.ledger import Ledger
from tests.support.users import (
    MANAGED,
    UNKNOWN_UUID,
    USERS,
    create_user,
    created_uuid,
    error_message,
    get_list,
    get_result,
    log_position,
    own_events,
)

NEW = {"name": "test3", "password": "test3", "username": "test3"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SECRET = "hush-hush-4711"


async def test_a_user_is_created_changed_and_deleted(client: Client) -> None:
    reply = await client.post(USERS, json=NEW)
    uuid = await created_uuid(reply)
    assert UUID.fullmatch(uuid)
    assert reply.headers["Location"] == f"{USERS}/{uuid}"
    body = await (await client.get(USERS)).json()
    assert misfits(body, shapes()["jade.user.users.list"]["response"]) == []
    item = body["result"]["list"][1]
    assert (item["uuid"], item["username"], item["name"], item["password"]) == (uuid, "test3", "test3", "********")
    assert item["tm_create"] == item["tm_update"]
    assert await get_result(client, f"{USERS}/{uuid}") == item
    assert (await client.put(f"{USERS}/{uuid}", data='{"name": "test3 change"}')).status == 200
    changed = await get_result(client, f"{USERS}/{uuid}")
    assert changed["tm_update"] > changed["tm_create"]
    assert changed == item | {"name": "test3 change", "tm_update": changed["tm_update"]}
    assert (await client.delete(f"{USERS}/{uuid}")).status == 200
    assert await error_message(await client.get(f"{USERS}/{uuid}"), 404)
    assert [user["username"] for user in await get_list(client, USERS)] == ["admin"]


async def test_a_managed_user_has_context_and_permissions(client: Client) -> None:
    body: dict[str, Any] = NEW | {"context": "demo", "permissions": [{"permission": "user"}, {"permission": "jeye"}]}
    uuid = await created_uuid(await client.post(MANAGED, json=body))
    listing = await (await client.get(MANAGED)).json()
    assert misfits(listing, shapes()["jade.manager.users.list"]["response"]) == []
    item = await get_result(client, f"{MANAGED}/{uuid}")
    assert item == listing["result"]["list"][1]
    assert (item["context"], item["password"], item["tm_update"]) == ("demo", "********", None)
    assert item["permissions"] == [{"permission": "jeye"}, {"permission": "user"}]
    body |= {"context": "demo-test", "permissions": [{"permission": "user"}, {"permission": "manager"}]}
    assert (await client.put(f"{MANAGED}/{uuid}", json=body)).status == 200
    item = await get_result(client, f"{MANAGED}/{uuid}")
    assert (item["context"], item["permissions"]) == (
        "demo-test",
        [{"permission": "manager"}, {"permission": "user"}],
    )
    assert item["tm_update"] is not None
    assert (await client.delete(f"{MANAGED}/{uuid}")).status == 200
    assert await error_message(await client.get(f"{MANAGED}/{uuid}"), 404)


@pytest.mark.parametrize("path", [USERS, MANAGED])
@pytest.mark.parametrize(
    "wrong",
    [
        {"username": None},
        {"username": ""},
        {"username": "a:b"},
        {"username": "a\n"},
        {"username": "a\0"},
        {"username": "a" * 256},
        {"username": 1},
        {"password": None},
        {"password": ""},
        {"password": "x" * 1025},
        {"password": "********"},
        {"name": "a\r\nb"},
        {"permissions": "user"},
        {"permissions": ["user"]},
        {"permissions": [{"permission": "root"}]},
        {"permissions": [{}]},
    ],
)
async def test_bad_input_is_one_error_without_effect(
    client: Client, ledger: Ledger, path: str, wrong: dict[str, Any]
) -> None:
    before = await log_position(ledger)
    assert await error_message(await client.post(path, json=NEW | wrong), 400)
    admin = (await get_list(client, USERS))[0]["uuid"]
    if None not in wrong.values() and wrong != {"password": "********"}:
        assert await error_message(await client.put(f"{path}/{admin}", json=wrong), 400)
    assert await log_position(ledger) == before


@pytest.mark.parametrize("path", [USERS, MANAGED])
async def test_there_is_no_such_user(client: Client, ledger: Ledger, path: str) -> None:
    before = await log_position(ledger)
    for detail in (UNKNOWN_UUID, "admin", "no%2Fsuch%00", "%ff"):
        assert await error_message(await client.get(f"{path}/{detail}"), 404)
        assert await error_message(await client.put(f"{path}/{detail}", json={"name": "x"}), 404)
        assert await error_message(await client.delete(f"{path}/{detail}"), 404)
    assert await log_position(ledger) == before


async def test_concurrent_creations_take_a_name_once(client: Client, serve: Serve) -> None:
    other = await serve()
    other.session.headers.update(client.session.headers)
    replies = await asyncio.gather(*(c.post(USERS, json=NEW) for c in (client, other) * 4))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 7
    bob = await create_user(client, "bob")
    assert await error_message(await client.put(f"{USERS}/{bob}", json={"username": "test3"}), 409)
    assert (await client.put(f"{USERS}/{bob}", json={"username": "bob", "name": "Bob"})).status == 200
    assert (await client.put(f"{USERS}/{bob}", json={"username": "rob"})).status == 200
    assert await create_user(client, "bob")


async def test_a_repeated_creation_makes_no_second_user(client: Client, ledger: Ledger) -> None:
    replies = [await client.post(USERS, json=NEW, headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    assert len({await created_uuid(reply) for reply in replies}) == 1
    assert [reply.headers.get("Idempotency-Replayed") for reply in replies] == [None, "true", "true"]
    assert len(await own_events(ledger, "UserCreated")) == 2
    other = await client.post(USERS, json=NEW | {"password": "other"}, headers={"Idempotency-Key": "k1"})
    assert await error_message(other, 422)


async def test_no_clear_password_is_stored_served_or_logged(
    client: Client, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    body = {"username": "carol", "password": SECRET, "permissions": [{"permission": "user"}]}
    for _ in range(2):
        carol = await created_uuid(await client.post(MANAGED, json=body, headers={"Idempotency-Key": "k2"}))
    replies = [
        await client.post(MANAGED, json=body),
        await client.put(f"{USERS}/{carol}", json={"password": SECRET + "!"}, headers={"Idempotency-Key": "k3"}),
        await client.put(f"{USERS}/{carol}", json={"password": [SECRET]}),
        await client.put(f"{USERS}/{carol}", json={"password": SECRET * 100}),
        await client.post("/v1/me/login", headers=basic("carol", SECRET)),
        await client.get(f"{USERS}/{carol}"),
        await client.get(f"{MANAGED}/{carol}"),
    ]
    assert [reply.status for reply in replies] == [409, 200, 400, 400, 401, 200, 200]
    await log_in(client, "carol", password=SECRET + "!")
    for reply in replies:
        assert SECRET not in await reply.text()
        assert "argon2" not in await reply.text()
    tables = await ledger.connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('ledger', 'model')"
    )
    for (table,) in tables:
        rows = await ledger.connection.fetch(f"SELECT t::text FROM {table} t")
        whole = "\n".join(row["t"] for row in rows)
        assert SECRET not in whole
        assert SECRET.encode().hex() not in whole
    raws = b"".join([row["raw"] for row in await ledger.connection.fetch("SELECT raw FROM event")])
    assert SECRET.encode() not in raws
    assert raws.count(b"$argon2id$") == 3
    said_by_the_process = capfd.readouterr()
    assert SECRET not in said_by_the_process.out + said_by_the_process.err


async def test_a_new_password_ends_all_other_tokens(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "user", "admin")
    mine, other = await log_in(client, "bob"), await log_in(client, "bob", "admin")
    assert (await client.put(f"{USERS}/{bob}", json={"password": "one"}, headers=bearer(mine))).status == 200
    assert await get_list(client, "/v1/me/contacts", **bearer(mine)) == []
    assert await error_message(await client.get("/v1/me/contacts", headers=bearer(other)), 401)
    assert (await client.put(f"{MANAGED}/{bob}", json={"password": "two"})).status == 200
    assert await error_message(await client.get("/v1/me/contacts", headers=bearer(mine)), 401)
    assert await error_message(await client.post("/v1/me/login", headers=basic("bob", "one")), 401)
    await log_in(client, "bob", password="two")
    ended = await own_events(ledger, "TokenRevoked")
    assert [(e["token_hash"], e["reason"]) for e in ended] == [
        (token_hash(other), "password changed"),
        (token_hash(mine), "password changed"),
    ]


async def test_a_masked_password_keeps_the_present_one(client: Client, ledger: Ledger) -> None:
    await create_user(client, "bob", "user")
    bob = (await get_list(client, MANAGED))[1]
    token = await log_in(client, "bob")
    before = await log_position(ledger)
    assert (await client.put(f"{MANAGED}/{bob['uuid']}", json=bob)).status == 200
    assert await log_position(ledger) == before
    assert await get_list(client, "/v1/me/contacts", **bearer(token)) == []
    await log_in(client, "bob")


async def test_a_deletion_removes_user_tokens_and_contacts(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "user")
    first, second = await log_in(client, "bob"), await log_in(client, "bob")
    await client.post("/v1/admin/user/contacts", json={"user_uuid": bob, "type": "sip_peer", "target": "199"})
    assert len(await get_list(client, "/v1/me/contacts", **bearer(first))) == 1
    reply = await client.delete(f"{USERS}/{bob}")
    assert reply.status == 200
    for token in (first, second):
        assert await error_message(await client.get("/v1/me/contacts", headers=bearer(token)), 401)
    assert await error_message(await client.post("/v1/me/login", headers=basic("bob", PASSWORD)), 401)
    assert await get_list(client, "/v1/admin/user/contacts") == []
    assert [grant["username"] for grant in await get_list(client, "/v1/admin/user/permissions")] == ["admin"]
    assert await ledger.connection.fetchval("SELECT count(*) FROM tokens WHERE user_uuid = $1", bob) == 0
    deleted, *ended = await own_events(ledger, "UserDeleted", "TokenRevoked")
    assert (deleted["uuid"], deleted["actor"]) == (bob, (await get_list(client, USERS))[0]["uuid"])
    assert {(e["token_hash"], e["reason"]) for e in ended} == {(token_hash(t), "user deleted") for t in (first, second)}
    batch = await ledger.connection.fetch(
        "SELECT DISTINCT first FROM batch JOIN event ON position BETWEEN first AND last"
        " WHERE name IN ('UserDeleted', 'TokenRevoked')"
    )
    assert len(batch) == 1, "user and tokens end in one append"


async def test_the_last_admin_stays(client: Client, ledger: Ledger) -> None:
    admin = (await get_list(client, USERS))[0]["uuid"]
    before = await log_position(ledger)
    assert await error_message(await client.delete(f"{USERS}/{admin}"), 409)
    assert await error_message(await client.put(f"{MANAGED}/{admin}", json={"permissions": []}), 409)
    assert await log_position(ledger) == before
    second = await create_user(client, "second", "admin")
    token = await log_in(client, "second", "admin")
    ends = [
        client.delete(f"{USERS}/{admin}", headers=bearer(token)),
        client.delete(f"{USERS}/{second}"),
    ]
    statuses = [reply.status for reply in await asyncio.gather(*ends)]
    assert sorted(statuses) == [200, 401], "of two admins who delete each other at once one is left"
    assert await ledger.connection.fetchval("SELECT count(*) FROM users") == 1


async def test_a_manager_changes_no_admin_or_supervisor(client: Client, ledger: Ledger) -> None:
    admin = (await get_list(client, USERS))[0]["uuid"]
    await create_user(client, "mary", "manager")
    mary = bearer(await log_in(client, "mary", "manager"))
    body = {"username": "bob", "password": "x", "permissions": [{"permission": "user"}, {"permission": "manager"}]}
    bob = await created_uuid(await client.post(MANAGED, json=body, headers=mary))
    assert (await client.put(f"{MANAGED}/{bob}", json={"name": "Bob"}, headers=mary)).status == 200
    assert [user["username"] for user in await get_list(client, MANAGED, **mary)] == ["admin", "mary", "bob"]
    supervisor = await create_user(client, "sue", "supervisor")
    before = await log_position(ledger)
    with_admin = {"permissions": [{"permission": "admin"}]}
    with_supervisor = {"permissions": [{"permission": "supervisor"}]}
    for reply in (
        await client.post(MANAGED, json=NEW | with_supervisor, headers=mary),
        await client.put(f"{MANAGED}/{bob}", json=with_supervisor, headers=mary),
        await client.put(f"{MANAGED}/{supervisor}", json={"password": "mine"}, headers=mary),
        await client.delete(f"{MANAGED}/{supervisor}", headers=mary),
        await client.post(MANAGED, json=NEW | with_admin, headers=mary),
        await client.put(f"{MANAGED}/{bob}", json=with_admin, headers=mary),
        await client.put(f"{MANAGED}/{admin}", json={"password": "mine"}, headers=mary),
        await client.put(f"{MANAGED}/{admin}", json={"permissions": []}, headers=mary),
        await client.delete(f"{MANAGED}/{admin}", headers=mary),
        await client.get(USERS, headers=mary),
        await client.post(USERS, json=NEW, headers=mary),
    ):
        assert "admin" in await error_message(reply, 403)
    assert await log_position(ledger) == before
    assert (await client.delete(f"{MANAGED}/{bob}", headers=mary)).status == 200


async def test_a_revoked_permission_ends_waiting_decisions(client: Client, ledger: Ledger) -> None:
    bob = await create_user(client, "bob", "admin")
    token = bearer(await log_in(client, "bob", "admin"))
    replies = await asyncio.gather(
        client.put(f"{MANAGED}/{bob}", json={"permissions": [{"permission": "user"}]}),
        *(client.post(USERS, json={"username": f"u{n}", "password": "x"}, headers=token) for n in range(5)),
    )
    taken = next(e["position"] for e in await positions(ledger, "PermissionRevoked"))
    made_by_bob = [e["position"] for e in await positions(ledger, "UserCreated") if e["actor"] == bob]
    assert [p for p in made_by_bob if p > taken] == []
    assert sorted({reply.status for reply in replies} - {200, 403}) == []
    assert (await client.post(USERS, json=NEW, headers=token)).status == 403


async def positions(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    rows = await ledger.connection.fetch("SELECT position FROM event WHERE name = $1 ORDER BY position", name)
    return [event | dict(row) for event, row in zip(await own_events(ledger, name), rows, strict=True)]


async def test_passwords_that_wait_to_be_hashed_are_bounded(client: Client) -> None:
    accounts = client.app[ACCOUNTS]
    admin = accounts.by_name["admin"].uuid
    with contextlib.ExitStack() as share:
        for _ in range(USER_PLACES):
            share.enter_context(accounts._hashing._lanes["users"].reserve(admin))
        assert await error_message(await client.post(USERS, json=NEW), 429)
    assert await created_uuid(await client.post(USERS, json=NEW))
