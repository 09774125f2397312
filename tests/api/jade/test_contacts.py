"""Contacts: the phone of each user, and the state of that phone."""

import re
from typing import Any

import pytest

from schemas.log import Connected
from tests.captures import wire
from tests.contract import misfits, shapes
from tests.support.api_client import Client, Serve, bearer, log_in
from tests.support.folding import ami
from tests.support.ledger import Ledger
from tests.support.users import (
    CONTACTS,
    UNKNOWN_UUID,
    create_contact,
    create_user,
    error_message,
    get_list,
    get_result,
    log_position,
)


def recorded(name: str) -> bytes:
    """Return the first event of this name in the recording."""
    match = re.search(rb"Event: %b\r\n.*?\r\n\r\n" % name.encode(), wire("rich22"), re.DOTALL)
    assert match
    return match.group()


# All events of Asterisk about the endpoint 100 and its auth.
ENDPOINT, AUTH = recorded("EndpointDetail"), recorded("AuthDetail")
PEER = ami(
    "PeerEntry", Channeltype="SIP", ObjectName="legacy1", ChanObjectType="peer", IPaddress="192.0.2.60", IPport=5060
)


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve()
    client.session.headers.update(bearer(await log_in(client, "admin", "admin")))
    await ledger.write(Connected("192.0.2.10:5038"), ENDPOINT, AUTH, PEER, pbx="berlin")
    return client


@pytest.fixture
async def bob(client: Client) -> str:
    return await create_user(client, "bob", "user")


async def test_a_contact_is_made_read_changed_and_deleted(client: Client, bob: str) -> None:
    body = {"user_uuid": bob, "type": "pjsip_endpoint", "target": "100", "name": "desk", "detail": "3rd floor"}
    reply = await client.post(CONTACTS, json=body)
    assert reply.status == 200
    path = reply.headers["Location"]
    item = await get_result(client, path)
    assert item.items() >= body.items()
    assert path == f"{CONTACTS}/{item['uuid']}"
    assert await get_list(client, CONTACTS) == [item]
    assert (await client.put(path, json={"name": "sofa", "detail": None})).status == 200
    changed = await get_result(client, path)
    assert changed == item | {"name": "sofa", "tm_update": changed["tm_update"]}
    assert changed["tm_update"] > item["tm_update"]
    alice = await create_user(client, "alice")
    moved = {"user_uuid": alice, "type": "sip_peer", "target": "legacy1", "pbx": "berlin"}
    assert (await client.put(path, json=moved)).status == 200
    assert (await get_result(client, path)).items() >= moved.items()
    assert (await client.delete(path)).status == 200
    assert await error_message(await client.get(path), 404)
    assert await get_list(client, CONTACTS) == []


async def test_contact_info_is_the_state_of_its_endpoint(client: Client, ledger: Ledger, bob: str) -> None:
    await create_contact(client, bob, "100")
    token = bearer(await log_in(client, "bob"))
    body = await (await client.get("/v1/me/contacts", headers=token)).json()
    assert misfits(body, shapes()["jade.me.contacts.list"]["response"]) == []
    (mine,) = body["result"]["list"]
    assert await get_list(client, "/me/contacts", **token) == [mine]
    documented = {"id": "100", "password": "********", "public_url": "sip:100@192.0.2.10", "realm": ""}
    endpoint = await get_result(client, "/v1/admin/pjsip/endpoints/100")
    assert mine["info"] == endpoint | documented
    assert (mine["pbx"], mine["user_uuid"]) == ("berlin", bob)
    assert endpoint["device_state"]
    other = AUTH.replace(b"Realm: ", b"Realm: example.com").replace(b"Username: 100", b"Username: alice")
    await ledger.write(
        other,
        ami("Newchannel", Channel="PJSIP/100-00000001", Uniqueid="1.1", Linkedid="1.1"),
        pbx="berlin",
    )
    info = await until_told(client, token, "realm", "example.com")
    assert info == endpoint | documented | {"id": "alice", "realm": "example.com", "active_channels": "1"}
    reply = await client.get("/v1/me/contacts", headers=token)
    assert "pw100" not in await reply.text()


async def until_told(client: Client, token: dict[str, str], member: str, value: str) -> dict[str, Any]:
    """Wait, as a dashboard does, until the contact's info shows it."""
    headers = dict(token)
    while True:
        reply = await client.get("/v1/me/contacts", params={"wait": "10"}, headers=headers)
        if reply.status == 200:
            info: dict[str, Any] = (await reply.json())["result"]["list"][0]["info"]
            if info.get(member) == value:
                return info
        headers["If-None-Match"] = reply.headers["ETag"]


async def test_a_contact_shows_a_peer_or_nothing(client: Client, bob: str) -> None:
    peer = await create_contact(client, bob, "legacy1", type="sip_peer")
    nothing = await create_contact(client, bob, "no-such", name="later")
    info = (await get_result(client, f"{CONTACTS}/{peer}"))["info"]
    documented = {"id": "legacy1", "password": "********", "public_url": "sip:legacy1@192.0.2.10", "realm": ""}
    reply = await client.request("GET", "/peers/", json={"peer": "legacy1"})
    assert info == (await reply.json())["result"] | documented
    item = await get_result(client, f"{CONTACTS}/{nothing}")
    assert item["info"] == {"id": "", "password": "********", "public_url": "", "realm": ""}
    assert (item["name"], item["pbx"]) == ("later", "")


async def test_a_name_that_several_pbxes_have(client: Client, ledger: Ledger, bob: str) -> None:
    await ledger.write(Connected("192.0.2.99:5038"), ENDPOINT, AUTH, pbx="aachen")
    first = await create_contact(client, bob, "100")
    named = await create_contact(client, bob, "100", pbx="berlin")
    items = {item["uuid"]: (item["pbx"], item["info"]["public_url"]) for item in await get_list(client, CONTACTS)}
    assert items == {first: ("aachen", "sip:100@192.0.2.99"), named: ("berlin", "sip:100@192.0.2.10")}


async def test_each_user_sees_only_own_contacts(client: Client, bob: str) -> None:
    alice = await create_user(client, "alice", "user")
    his, hers = await create_contact(client, bob, "100"), await create_contact(client, alice, "100")
    for name, uuid in (("bob", his), ("alice", hers)):
        token = bearer(await log_in(client, name))
        assert [item["uuid"] for item in await get_list(client, "/v1/me/contacts", **token)] == [uuid]
    assert [item["uuid"] for item in await get_list(client, CONTACTS)] == [his, hers]


async def test_contacts_as_they_were(client: Client, ledger: Ledger, bob: str) -> None:
    uuid = await create_contact(client, bob, "100", name="desk")
    before = await log_position(ledger)
    assert (await client.delete(f"{CONTACTS}/{uuid}")).status == 200
    token = bearer(await log_in(client, "bob"))
    assert await get_list(client, "/v1/me/contacts", **token) == []
    (mine,) = await get_list(client, f"/v1/me/contacts?as_of={before}", **token)
    assert (mine["name"], mine["info"]["public_url"]) == ("desk", "sip:100@192.0.2.10")


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"user_uuid": None}, 400),
        ({"user_uuid": "bob"}, 400),
        ({"user_uuid": UNKNOWN_UUID}, 404),
        ({"type": "iax_peer"}, 400),
        ({"target": ""}, 400),
        ({"target": "100&PJSIP"}, 400),
        ({"target": "100,30,U(x)"}, 400),
        ({"target": "100/sip:x@example.com"}, 400),
        ({"target": "100\n"}, 400),
        ({"target": "x" * 81}, 400),
        ({"name": "a\r\nb"}, 400),
        ({"name": "a\0"}, 400),
        ({"detail": 1}, 400),
        ({"pbx": "paris"}, 404),
    ],
)
async def test_bad_input_changes_nothing(
    client: Client, ledger: Ledger, bob: str, wrong: dict[str, Any], status: int
) -> None:
    there = await create_contact(client, bob, "100")
    before = await log_position(ledger)
    body = {"user_uuid": bob, "type": "pjsip_endpoint", "target": "100"}
    assert await error_message(await client.post(CONTACTS, json=body | wrong), status)
    if None not in wrong.values():
        assert await error_message(await client.put(f"{CONTACTS}/{there}", json=wrong), status)
    assert await log_position(ledger) == before


async def test_there_is_no_such_contact(client: Client, ledger: Ledger) -> None:
    before = await log_position(ledger)
    for detail in (UNKNOWN_UUID, "100", "a%2Fb%00"):
        assert await error_message(await client.get(f"{CONTACTS}/{detail}"), 404)
        assert await error_message(await client.put(f"{CONTACTS}/{detail}", json={"name": "x"}), 404)
        assert await error_message(await client.delete(f"{CONTACTS}/{detail}"), 404)
    assert await log_position(ledger) == before
