"""Masters of async dialplans and their commands, as people make and change them."""

import asyncio
import uuid
from typing import Any

import msgspec
import pytest

from services.commands.dialplans import MAX_COMMAND_BYTES
from tests.support.api_client import Client
from tests.support.ledger import Ledger
from tests.support.users import log_position

MASTERS, COMMANDS = "/v1/admin/dialplan/adpmas", "/v1/admin/dialplan/adps"
NOBODY = "1d47735d-2265-463c-908a-d37dea085c21"


async def ask(client: Client, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    """Ask as ``curl -d`` does, and return what was answered."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    data = None if body is None else msgspec.json.encode(body)
    async with client.request(method, path, data=data, headers=headers) as reply:
        body = await reply.json()
        assert (reply.status, body["statuscode"]) == (status, status), body
        if method != "GET":
            assert "result" not in body
        elif status == 200:
            return body["result"]
        return body | {"location": reply.headers.get("Location")}


async def master(client: Client, name: str = "test dpma") -> str:
    made: str = (await ask(client, "POST", MASTERS, {"name": name}))["location"].rpartition("/")[2]
    return made


async def command(client: Client, dpma_uuid: str, sequence: int, **more: Any) -> str:
    body = {"name": f"step {sequence}", "dpma_uuid": dpma_uuid, "sequence": sequence, **more}
    made: str = (await ask(client, "POST", COMMANDS, body))["location"].rpartition("/")[2]
    return made


async def listed(client: Client, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await ask(client, "GET", path))["list"]
    return items


async def test_a_master_from_beginning_to_end(client: Client, ledger: Ledger) -> None:
    body = await ask(client, "POST", MASTERS, {"name": "test dpma", "detail": "test dpma dpma"})
    one = body["location"]
    made = await ask(client, "GET", one)
    assert made == {
        "uuid": one.rpartition("/")[2],
        "name": "test dpma",
        "detail": "test dpma dpma",
        "tm_create": made["tm_create"],
        "tm_update": None,
    }
    assert await listed(client, MASTERS) == [made]
    await ask(client, "PUT", one, {"name": "test change name"})
    changed = await ask(client, "GET", one)
    assert changed == made | {"name": "test change name", "tm_update": changed["tm_update"]}
    assert changed["tm_update"] > made["tm_create"]
    await ask(client, "PUT", one, {"detail": None})
    assert (await ask(client, "GET", one))["detail"] is None
    await ask(client, "DELETE", one)
    await ask(client, "GET", one, status=404)
    names = [r["name"] for r in await ledger.connection.fetch("SELECT name FROM event WHERE name LIKE 'Adp%'")]
    assert names == ["AdpmaCreated", "AdpmaChanged", "AdpmaChanged", "AdpmaDeleted"]


async def test_a_command_from_beginning_to_end(client: Client) -> None:
    dpma_uuid = await master(client)
    one = f"{COMMANDS}/{await command(client, dpma_uuid, 1)}"
    made = await ask(client, "GET", one)
    assert made == {
        "uuid": one.rpartition("/")[2],
        "dpma_uuid": dpma_uuid,
        "sequence": 1,
        "name": "step 1",
        "detail": None,
        "command": None,
        "tm_create": made["tm_create"],
        "tm_update": None,
    }
    assert await listed(client, COMMANDS) == [made]
    other = await master(client, "other")
    await ask(client, "PUT", one, {"uuid": made["uuid"], "dpma_uuid": other, "sequence": 10})
    await ask(client, "PUT", one, {"command": "SAY DIGITS 42 #", "detail": "null"})
    changed = await ask(client, "GET", one)
    assert changed == made | {
        "dpma_uuid": other,
        "sequence": 10,
        "command": "SAY DIGITS 42 #",
        "detail": "null",
        "tm_update": changed["tm_update"],
    }
    assert changed["tm_update"] is not None
    await ask(client, "DELETE", one)
    await ask(client, "GET", one, status=404)
    assert await listed(client, COMMANDS) == []


async def test_a_change_that_changes_nothing_is_no_event(client: Client, ledger: Ledger) -> None:
    dpma_uuid = await master(client)
    made = await command(client, dpma_uuid, 1, command="NOOP")
    before = await log_position(ledger)
    await ask(client, "PUT", f"{COMMANDS}/{made}", {"sequence": 1, "command": "NOOP"})
    await ask(client, "PUT", f"{MASTERS}/{dpma_uuid}", {})
    assert await log_position(ledger) == before


async def test_commands_of_a_master_have_different_sequences(client: Client) -> None:
    one, other = await master(client), await master(client)
    first, second = await command(client, one, 1), await command(client, one, 2)
    await command(client, other, 1)
    body = await ask(client, "POST", COMMANDS, {"name": "x", "dpma_uuid": one, "sequence": 1}, 409)
    assert "sequence 1" in body["message"]
    await ask(client, "PUT", f"{COMMANDS}/{second}", {"sequence": 1}, 409)
    await ask(client, "PUT", f"{COMMANDS}/{second}", {"dpma_uuid": other, "sequence": 1}, 409)
    await ask(client, "DELETE", f"{COMMANDS}/{first}")
    await ask(client, "PUT", f"{COMMANDS}/{second}", {"sequence": 1})
    assert [c["sequence"] for c in await listed(client, COMMANDS)] == [1, 1]


async def test_one_of_two_requests_gets_the_sequence(client: Client) -> None:
    body = {"name": "x", "dpma_uuid": await master(client), "sequence": 7}
    replies = await asyncio.gather(*(client.post(COMMANDS, json=body) for _ in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]
    assert len(await listed(client, COMMANDS)) == 1


async def test_a_masters_end_is_that_of_its_commands(client: Client) -> None:
    one, other = await master(client), await master(client)
    gone = [await command(client, one, n) for n in (1, 2)]
    survivor = await command(client, other, 1)
    await ask(client, "DELETE", f"{MASTERS}/{one}")
    assert [c["uuid"] for c in await listed(client, COMMANDS)] == [survivor]
    await ask(client, "PUT", f"{COMMANDS}/{gone[0]}", {"name": "x"}, 404)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (MASTERS, {}, 400),
        (MASTERS, {"name": ""}, 400),
        (MASTERS, {"name": 5}, 400),
        (MASTERS, {"name": "a\0b"}, 400),
        (MASTERS, {"name": "x", "detail": "y" * 256}, 400),
        (COMMANDS, {"name": "x", "sequence": 1}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER"}, 400),
        (COMMANDS, {"dpma_uuid": "MASTER", "sequence": 1}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "no uuid", "sequence": 1}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": NOBODY, "sequence": 1}, 404),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": -1}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": 2**31}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": "1"}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": 1, "command": "NOOP\r\nAction: Hangup"}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": 1, "command": "NOOP\nx"}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": 1, "command": "NOOP\0"}, 400),
        (COMMANDS, {"name": "x", "dpma_uuid": "MASTER", "sequence": 1, "command": "ä" * MAX_COMMAND_BYTES}, 400),
    ],
)
async def test_a_bad_body_is_refused_and_changes_nothing(
    client: Client, ledger: Ledger, path: str, body: dict[str, Any], status: int
) -> None:
    dpma_uuid = await master(client)
    if body.get("dpma_uuid") == "MASTER":
        body = body | {"dpma_uuid": dpma_uuid}
    before = await log_position(ledger)
    assert (await ask(client, "POST", path, body, status))["message"]
    assert await log_position(ledger) == before


@pytest.mark.parametrize("path", [MASTERS, COMMANDS])
async def test_a_missing_object_cannot_be_changed(client: Client, path: str) -> None:
    for which in (NOBODY, "%00", "x"):
        await ask(client, "GET", f"{path}/{which}", status=404)
        await ask(client, "PUT", f"{path}/{which}", {"name": "x"}, 404)
        await ask(client, "DELETE", f"{path}/{which}", status=404)
    made = await master(client)
    one = f"{MASTERS}/{made}" if path == MASTERS else f"{COMMANDS}/{await command(client, made, 1)}"
    await ask(client, "PUT", one, {"name": ""}, 400)
    await ask(client, "PUT", one, {"dpma_uuid": str(uuid.uuid4())}, 200 if path == MASTERS else 404)


async def test_no_pbx_makes_one(client: Client, ledger: Ledger) -> None:
    forged = f"Event: AdpmaCreated\r\nuuid: {NOBODY}\r\nname: eve\r\n\r\n".encode()
    await ledger.write(forged)
    made = await master(client)
    assert [m["uuid"] for m in await listed(client, MASTERS)] == [made]
    assert [m["uuid"] for m in await listed(client, f"{MASTERS}?pbx=pbx")] == [made]
