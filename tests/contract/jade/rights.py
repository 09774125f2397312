"""Permissions: /admin/user/permissions (headed only, seed 001:3789; members as the original has them)."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.people import PERMISSIONS
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

PERMISSION = {"user_uuid": Member("uuid", needed=True, ours=True), "permission": Member("key", needed=True)}


async def right(world: World) -> tuple[str, str]:
    """Give a new user the permission ``user``; return that permission's uuid and the user's."""
    person = await world.person()
    body = {"user_uuid": person.uuid, "permission": "user"}
    reply = await world.send("POST", PERMISSIONS, Ask(body=body, token=world.admin.token))
    assert reply.status == 200, reply.body
    return (await world.one(PERMISSIONS, **body))["uuid"], person.uuid


@exercise("jade.user.permissions.list")
async def permissions_list(world: World) -> AsyncGenerator[Ask, Reply]:
    made, user_uuid = await right(world)
    reply = yield Ask(token=world.admin.token)
    assert [(i["uuid"], i["user_uuid"]) for i in reply.items].count((made, user_uuid)) == 1


@exercise("jade.user.permissions.create", members=PERMISSION, unique=True)
async def permissions_create(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person()
    assert (await world.send("GET", "/me/info", Ask(token=person.token))).status == 403
    ask = Ask(body={"user_uuid": person.uuid, "permission": "user"}, token=world.admin.token)
    yield ask
    await world.one(PERMISSIONS, **ask.body)
    assert (await world.shown("/me/info", person)).result["uuid"] == person.uuid


@exercise("jade.user.permissions.get")
async def permissions_get(world: World) -> AsyncGenerator[Ask, Reply]:
    made, user_uuid = await right(world)
    reply = yield Ask(made, token=world.admin.token)
    assert (reply.result["user_uuid"], reply.result["permission"]) == (user_uuid, "user")


@exercise("jade.user.permissions.update", members={"permission": Member("key", needed=True)})
async def permissions_update(world: World) -> AsyncGenerator[Ask, Reply]:
    made, user_uuid = await right(world)
    yield Ask(made, body={"permission": "admin"}, token=world.admin.token)
    await world.one(PERMISSIONS, user_uuid=user_uuid, permission="admin")


@exercise("jade.user.permissions.delete")
async def permissions_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    made, user_uuid = await right(world)
    yield Ask(made, token=world.admin.token)
    await world.gone(PERMISSIONS, made)
    assert user_uuid not in [item["user_uuid"] for item in (await world.shown(PERMISSIONS)).items]
