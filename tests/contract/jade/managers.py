"""/manager/users: users with context and permissions (seed 001:3829-3964)."""

from collections.abc import AsyncGenerator
from typing import Any

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.people import knows
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

USERS = "/v1/manager/users"
NEW = {
    "context": Member("name", free=True),
    "name": Member("name", free=True),
    "username": Member("name", needed=True, ours=True),
    "password": Member("name", needed=True),
    "permissions": Member("list"),
}
CHANGED = {
    "context": Member("name", free=True),
    "name": Member("name", free=True),
    "username": Member("name", ours=True),
    "password": Member("name"),
    "permissions": Member("list"),
}


def record(world: World, context: str = "demo") -> dict[str, Any]:
    """Return the body of the seed's example, for a new user."""
    return {
        "context": context,
        "name": world.name("Name "),
        "username": world.name("user"),
        "password": world.secret(),
        "permissions": [{"permission": "user"}],
    }


async def shows(world: World, body: dict[str, Any]) -> None:
    """Assert that the list has the user whose record this is, and that the password is good."""
    made = await world.one(USERS, username=body["username"])
    shown = {name: value for name, value in body.items() if name != "password"}
    assert made == made | shown
    assert await knows(world, body["username"], body["password"])


@exercise("jade.manager.users.list", permission="manager")
async def users_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    reply = yield Ask(token=world.manager.token)
    shown = next(item for item in reply.items if item["uuid"] == person.uuid)
    assert shown["permissions"] == [{"permission": "user"}]


@exercise("jade.manager.users.create", permission="manager", members=NEW, unique=True)
async def users_create(world: World) -> AsyncGenerator[Ask, Reply]:
    ask = Ask(body=record(world), token=world.manager.token)
    yield ask
    await shows(world, ask.body)


@exercise("jade.manager.users.get", permission="manager")
async def users_get(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    reply = yield Ask(person.uuid, token=world.manager.token)
    assert (reply.result["username"], reply.result["permissions"]) == (person.username, [{"permission": "user"}])


@exercise("jade.manager.users.update", permission="manager", members=CHANGED)
async def users_update(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    ask = Ask(person.uuid, body=record(world, "demo-test"), token=world.manager.token)
    yield ask
    await shows(world, ask.body)
    assert (await world.one(USERS, username=ask.body["username"]))["uuid"] == person.uuid


@exercise("jade.manager.users.delete", permission="manager")
async def users_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    yield Ask(person.uuid, token=world.manager.token)
    await world.gone(USERS, person.uuid)
