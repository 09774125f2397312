"""POST /me/calls: the originate at Asterisk when one user calls another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.app_keys import CHECKPOINTS
from services.commander.commander import Commander
from tests.support.api_client import Client, Serve, bearer, log_in
from tests.support.fake_ami import FakeAmi, block
from tests.support.folding import ami as event
from tests.support.ledger import Ledger
from tests.support.users import UNKNOWN_UUID, create_contact, create_user, error_message, get_list, own_events

PATH = "/v1/me/calls"


def endpoint(name: str) -> bytes:
    return event("EndpointList", ObjectType="endpoint", ObjectName=name)


PEER = event("PeerEntry", Channeltype="SIP", ObjectName="legacy1", ChanObjectType="peer")


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve()
    client.session.headers.update(bearer(await log_in(client, "admin", "admin")))
    await ledger.write(*map(endpoint, ("100", "101", "102")), PEER)
    return client


@pytest.fixture
async def ami(ledger: Ledger) -> AsyncIterator[FakeAmi]:
    """A PBX with a commander, which takes every order."""
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        fake.replies["Originate"] = lambda action: block(
            "Response: Success", f"ActionID: {action['ActionID']}", "Message: Originate successfully queued"
        )
        running = asyncio.create_task(Commander(fake.pbx(), ledger.url).run(stop))
        yield fake
        stop.set()
        await running


@pytest.fixture
async def alice(client: Client) -> str:
    uuid = await create_user(client, "alice", "user", name='Alice "Al" \\ Smith')
    await create_contact(client, uuid, "100")
    return uuid


@pytest.fixture
async def bob(client: Client) -> str:
    uuid = await create_user(client, "bob", "user")
    await create_contact(client, uuid, "101")
    return uuid


async def test_my_phone_is_rung_and_dials_the_others(
    client: Client, ledger: Ledger, ami: FakeAmi, alice: str, bob: str
) -> None:
    token = bearer(await log_in(client, "alice"))
    reply = await client.post(PATH, json={"uuid_user": bob}, headers=token | {"Idempotency-Key": "once"})
    assert (reply.status, (await reply.json()).keys()) == (200, {"api_ver", "statuscode", "timestamp"})
    (action,) = ami.actions_named("Originate")
    assert (
        action.items()
        >= {
            "Channel": "PJSIP/100",
            "Application": "Dial",
            "Data": "PJSIP/101,30",
            "CallerID": '"Alice Al  Smith" <100>',
            "Timeout": "30000",
            "Async": "true",
        }.items()
    )
    assert "Exten" not in action
    (requested,) = await own_events(ledger, "ActRequested")
    assert requested["actor"] == alice
    again = await client.post(PATH, json={"uuid_user": bob}, headers=token | {"Idempotency-Key": "once"})
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert len(ami.actions_named("Originate")) == 1


async def test_contacts_can_be_chosen(client: Client, ami: FakeAmi, alice: str, bob: str) -> None:
    second = await create_contact(client, alice, "102")
    legacy = await create_contact(client, bob, "legacy1", type="sip_peer")
    token = bearer(await log_in(client, "alice"))
    body = {"uuid_contact": legacy.upper(), "uuid_my_contact": second.upper()}
    assert (await client.post("/me/calls", json=body, headers=token)).status == 200
    (action,) = ami.actions_named("Originate")
    assert (action["Channel"], action["Data"]) == ("PJSIP/102", "SIP/legacy1,30")
    assert action["CallerID"].endswith("<102>")


@pytest.mark.usefixtures("alice")
async def test_both_must_be_at_one_pbx(client: Client, ledger: Ledger, ami: FakeAmi, bob: str) -> None:
    await ledger.write(endpoint("200"), pbx="wien")
    carol = await create_user(client, "carol", "user")
    await create_contact(client, carol, "200")
    token = bearer(await log_in(client, "alice"))
    assert "same PBX" in await error_message(await client.post(PATH, json={"uuid_user": carol}, headers=token), 409)
    assert await error_message(await client.post(f"{PATH}?pbx=wien", json={"uuid_user": bob}, headers=token), 404)
    position = await ledger.write(endpoint("200"))
    await client.app[CHECKPOINTS].wait_folded(("pjsip_endpoints",), position)
    assert (await client.post(PATH, json={"uuid_user": carol}, headers=token)).status == 200
    assert [action["Data"] for action in ami.actions_named("Originate")] == ["PJSIP/200,30"]


async def test_an_impossible_call_is_not_requested(
    client: Client, ledger: Ledger, ami: FakeAmi, alice: str, bob: str
) -> None:
    carol = await create_user(client, "carol", "user")
    await create_contact(client, carol, "no-such")
    token = bearer(await log_in(client, "alice"))
    own = (await get_list(client, "/v1/me/contacts", **token))[0]["uuid"]
    his = (await get_list(client, "/v1/me/contacts", **bearer(await log_in(client, "bob"))))[0]["uuid"]
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 400),
        ({"uuid_user": bob, "uuid_contact": his}, 400),
        ({"uuid_user": "bob"}, 400),
        ({"uuid_user": alice}, 400),
        ({"uuid_contact": own}, 400),
        ({"uuid_user": UNKNOWN_UUID}, 404),
        ({"uuid_contact": UNKNOWN_UUID}, 404),
        ({"uuid_user": carol}, 404),
        ({"uuid_user": bob, "uuid_my_contact": UNKNOWN_UUID}, 409),
        ({"uuid_user": bob, "uuid_my_contact": his}, 409),
    ]
    for body, status in cases:
        assert await error_message(await client.post(PATH, json=body, headers=token), status), body
    silent = bearer(await log_in(client, "carol"))
    assert await error_message(await client.post(PATH, json={"uuid_user": bob}, headers=silent), 409)
    assert await own_events(ledger, "ActRequested") == []
    assert ami.actions_named("Originate") == []


@pytest.mark.usefixtures("alice")
async def test_a_call_has_the_refusal_of_asterisk(client: Client, ami: FakeAmi, bob: str) -> None:
    ami.replies["Originate"] = lambda action: block(
        "Response: Error", f"ActionID: {action['ActionID']}", "Message: Originate Access Forbidden"
    )
    token = bearer(await log_in(client, "alice"))
    reply = await client.post(PATH, json={"uuid_user": bob}, headers=token)
    assert await error_message(reply, 502) == "Originate Access Forbidden"
