"""A write and its repetition: under its key it has one effect; without, the second is refused where it must be."""

import uuid

import msgspec
import pytest

from tests.contract import operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import ROWS, put_to
from tests.contract.jade.world import World

LOGINS = {"jade.admin.login.create", "jade.admin.login.delete"}
WRITES = [row for row in ROWS if operations()[row].method != "GET" and row not in LOGINS]
UNIQUE = [row for row in ROWS if EXERCISES[row].unique]
DELETES = [row for row in WRITES if operations()[row].method == "DELETE"]

EVENTS = """
SELECT raw FROM ledger.event
WHERE source = 'ringledger' AND position > $1 AND convert_from(raw, 'UTF8')::jsonb ->> 'request' = $2
"""


@pytest.mark.parametrize("row", WRITES)
async def test_a_keyed_request_is_done_once_and_attributed(world: World, row: str) -> None:
    method, path = operations()[row].method, operations()[row].paths[0]
    async with put_to(world, EXERCISES[row]) as (ask, finished):
        head = await world.head()
        request = f"contract-{uuid.uuid4()}"
        ask.headers |= {"Idempotency-Key": str(uuid.uuid4()), "X-Request-Id": request}
        first = await world.send(method, path, ask)
        assert first.status == 200, first.body
        async with world.unchanged():
            again = await world.send(method, path, ask)
        assert (again.status, again.headers.get("Idempotency-Replayed")) == (200, "true")
        await finished(again)
        events = [msgspec.json.decode(raw) for (raw,) in await world.connection.fetch(EVENTS, head, request)]
    assert events
    assert {event["actor"] for event in events} == {world.owner(ask.token)}
    assert {event["dialect"] for event in events} == {"jade"}


SECRETS = [row for row in WRITES if "password" in EXERCISES[row].members] + ["jade.pjsip.configurations.update"]
SHOWN = "SELECT name FROM ledger.event WHERE position > $1 AND position(convert_to($2, 'UTF8') IN raw) > 0"


@pytest.mark.parametrize("row", SECRETS)
async def test_no_password_is_in_the_log(world: World, row: str) -> None:
    async with put_to(world, EXERCISES[row]) as (ask, finished):
        head, password = await world.head(), world.secret()
        if "password" in EXERCISES[row].members:
            ask.body["password"] = password
        reply = await world.send(operations()[row].method, operations()[row].paths[0], ask)
        assert reply.status == 200, reply.body
        await finished(reply)
        await world.settled()
        assert await world.head() > head
        for secret in world.secrets:
            assert await world.connection.fetch(SHOWN, head, secret) == []


@pytest.mark.parametrize("row", UNIQUE)
async def test_an_existing_object_is_409(world: World, row: str) -> None:
    exercise, operation = EXERCISES[row], operations()[row]
    async with put_to(world, exercise) as (ask, _):
        first = await world.send(operation.method, operation.paths[0], ask)
        assert first.status == 200, first.body
        async with world.unchanged("pbx" if exercise.tells == "pbx" else "log" if exercise.at_pbx else "nothing"):
            assert (await world.send(operation.method, operation.paths[0], ask)).status == 409


@pytest.mark.parametrize("row", DELETES)
async def test_a_deleted_object_is_404(world: World, row: str) -> None:
    operation = operations()[row]
    async with put_to(world, EXERCISES[row]) as (ask, finished):
        first = await world.send(operation.method, operation.paths[0], ask)
        assert first.status == 200, first.body
        await world.settled()
        async with world.unchanged(EXERCISES[row].tells):
            assert (await world.send(operation.method, operation.paths[0], ask)).status == 404
        await finished(first)


@pytest.mark.parametrize("row", [row for row in ROWS if EXERCISES[row].at_pbx])
async def test_a_refusal_of_the_pbx_is_502(world: World, row: str) -> None:
    operation = operations()[row]
    async with put_to(world, EXERCISES[row]) as (ask, _):
        world.pbx.refuses = "Permission denied"
        try:
            reply = await world.send(operation.method, operation.paths[0], ask)
        finally:
            world.pbx.refuses = ""
        assert reply.status == 502, reply.body
        assert "Permission denied" in reply.body["message"]
