"""adpmas and adps: dialplans for asynchronous AGI, and what they belong to (seed 001:1205-1615)."""

import uuid
from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

ADPMAS, ADPS = "/v1/admin/dialplan/adpmas", "/v1/admin/dialplan/adps"
ADPMA = {"name": Member("name", needed=True, free=True, ours=True), "detail": Member("name", free=True)}
ADP = {
    "name": Member("name", needed=True, free=True, ours=True),
    "dpma_uuid": Member("uuid", needed=True, ours=True),
    "sequence": Member("number", needed=True),
    "command": Member("name", free=True),
    "detail": Member("name", free=True),
}
OTHER_ADPMA = {"name": Member("name", free=True), "detail": Member("name", free=True)}
OTHER_ADP = {
    "name": Member("name", free=True),
    "dpma_uuid": Member("uuid", ours=True),
    "sequence": Member("number"),
    "command": Member("name", free=True),
    "detail": Member("name", free=True),
}


async def adpma(world: World) -> str:
    """Make one; return its uuid."""
    name = world.name("dpma")
    reply = await world.send("POST", ADPMAS, Ask(body={"name": name, "detail": "d"}, token=world.admin.token))
    assert reply.status == 200, reply.body
    made: str = (await world.one(ADPMAS, name=name))["uuid"]
    return made


async def adp(world: World) -> tuple[str, str]:
    """Make one; return its uuid and that of its adpma."""
    name, dpma_uuid = world.name("dialplan"), await adpma(world)
    body = {"name": name, "dpma_uuid": dpma_uuid, "sequence": 1}
    reply = await world.send("POST", ADPS, Ask(body=body, token=world.admin.token))
    assert reply.status == 200, reply.body
    return (await world.one(ADPS, name=name))["uuid"], dpma_uuid


@exercise("jade.dialplan.adpmas.list")
async def adpmas_list(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await adpma(world)
    reply = yield Ask(token=world.admin.token)
    assert [item["uuid"] for item in reply.items].count(made) == 1


@exercise("jade.dialplan.adpmas.create", members=ADPMA)
async def adpmas_create(world: World) -> AsyncGenerator[Ask, Reply]:
    ask = Ask(body={"name": world.name("dpma"), "detail": "test dpma dpma"}, token=world.admin.token)
    yield ask
    made = await world.one(ADPMAS, **ask.body)
    assert made["tm_update"] is None
    uuid.UUID(made["uuid"])


@exercise("jade.dialplan.adpmas.get")
async def adpmas_get(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await adpma(world)
    reply = yield Ask(made, token=world.admin.token)
    assert (reply.result["uuid"], reply.result["detail"]) == (made, "d")


@exercise("jade.dialplan.adpmas.update", members=OTHER_ADPMA)
async def adpmas_update(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await adpma(world)
    ask = Ask(made, body={"name": world.name("other")}, token=world.admin.token)
    yield ask
    item = await world.one(ADPMAS, uuid=made)
    assert item == item | {"detail": "d"} | ask.body, "partial: what is not named stays"
    assert item["tm_update"] is not None


@exercise("jade.dialplan.adpmas.delete")
async def adpmas_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await adpma(world)
    yield Ask(made, token=world.admin.token)
    await world.gone(ADPMAS, made)


@exercise("jade.dialplan.adps.list")
async def adps_list(world: World) -> AsyncGenerator[Ask, Reply]:
    made, _ = await adp(world)
    reply = yield Ask(token=world.admin.token)
    assert [item["uuid"] for item in reply.items].count(made) == 1


@exercise("jade.dialplan.adps.create", members=ADP)
async def adps_create(world: World) -> AsyncGenerator[Ask, Reply]:
    body = {"name": world.name("dialplan"), "dpma_uuid": await adpma(world), "sequence": 1}
    ask = Ask(body=body, token=world.admin.token)
    yield ask
    made = await world.one(ADPS, **ask.body)
    expected = {"command": None, "detail": None, "tm_update": None} | ask.body
    assert made == made | expected


@exercise("jade.dialplan.adps.get")
async def adps_get(world: World) -> AsyncGenerator[Ask, Reply]:
    made, dpma_uuid = await adp(world)
    reply = yield Ask(made, token=world.admin.token)
    assert (reply.result["uuid"], reply.result["dpma_uuid"], reply.result["sequence"]) == (made, dpma_uuid, 1)


@exercise("jade.dialplan.adps.update", members=OTHER_ADP)
async def adps_update(world: World) -> AsyncGenerator[Ask, Reply]:
    made, _ = await adp(world)
    name = (await world.one(ADPS, uuid=made))["name"]
    ask = Ask(made, body={"uuid": made, "dpma_uuid": await adpma(world), "sequence": 10}, token=world.admin.token)
    yield ask
    item = await world.one(ADPS, uuid=made)
    assert item == item | {"name": name} | ask.body, "partial: what is not named stays"
    assert item["tm_update"] is not None


@exercise("jade.dialplan.adps.delete")
async def adps_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    made, _ = await adp(world)
    yield Ask(made, token=world.admin.token)
    await world.gone(ADPS, made)
