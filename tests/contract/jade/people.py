"""Users, their contacts and permissions: /admin/user (seed 001:3660-3791)."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World
from tests.support.api_client import basic

USERS, CONTACTS, PERMISSIONS = "/v1/admin/user/users", "/v1/admin/user/contacts", "/v1/admin/user/permissions"
USER = {
    "name": Member("name", free=True),
    "username": Member("name", needed=True, ours=True),
    "password": Member("name", needed=True),
}
CONTACT = {
    "user_uuid": Member("uuid", needed=True, ours=True),
    "type": Member("key", needed=True),
    "target": Member("name", needed=True, ours=True),
    "name": Member("name", free=True),
    "detail": Member("name", free=True),
}


async def knows(world: World, username: str, password: str) -> bool:
    """Tell whether that is the user's password: who has it but not the permission is refused in another way."""
    reply = await world.send("POST", "/v1/admin/login", Ask(headers=basic(username, password)))
    return reply.status in {200, 403}


@exercise("jade.user.users.list")
async def users_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    reply = yield Ask(token=world.admin.token)
    assert [(i["uuid"], i["username"]) for i in reply.items].count((person.uuid, person.username)) == 1


@exercise("jade.user.users.create", members=USER, unique=True)
async def users_create(world: World) -> AsyncGenerator[Ask, Reply]:
    body = {"name": world.name("Name "), "username": world.name("user"), "password": world.secret()}
    ask = Ask(body=body, token=world.admin.token)
    yield ask
    made = await world.one(USERS, username=ask.body["username"])
    assert made["name"] == ask.body["name"]
    assert await knows(world, made["username"], ask.body["password"])
    assert not await knows(world, made["username"], "another")


@exercise("jade.user.users.get")
async def users_get(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    reply = yield Ask(person.uuid, token=world.admin.token)
    assert (reply.result["uuid"], reply.result["username"]) == (person.uuid, person.username)


@exercise("jade.user.users.update", members={"name": Member("name", free=True), "password": Member("name")})
async def users_update(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    ask = Ask(person.uuid, body={"name": "changed"}, token=world.admin.token)
    yield ask
    shown = await world.one(USERS, uuid=person.uuid)
    assert (shown["name"], shown["username"]) == (ask.body["name"], person.username)


@exercise("jade.user.users.delete")
async def users_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    yield Ask(person.uuid, token=world.admin.token)
    await world.gone(USERS, person.uuid)
    assert (await world.send("GET", "/me/info", Ask(token=person.token))).status == 401


async def contact(world: World, user_uuid: str) -> str:
    """Make a contact of the user's; return its uuid."""
    body = await contact_of(world, user_uuid)
    reply = await world.send("POST", CONTACTS, Ask(body=body, token=world.admin.token))
    assert reply.status == 200, reply.body
    made: str = (await world.one(CONTACTS, **body))["uuid"]
    return made


async def contact_of(world: World, user_uuid: str) -> dict[str, str]:
    """Return the body that makes a contact."""
    endpoint = (await world.shown("/v1/admin/pjsip/endpoints")).items[0]["object_name"]
    name = world.name("contact")
    return {"user_uuid": user_uuid, "type": "pjsip_endpoint", "target": endpoint, "name": name, "detail": "d"}


@exercise("jade.user.contacts.list")
async def contacts_list(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await contact(world, (await world.person("user")).uuid)
    reply = yield Ask(token=world.admin.token)
    assert [item["uuid"] for item in reply.items].count(made) == 1


@exercise("jade.user.contacts.create", members=CONTACT)
async def contacts_create(world: World) -> AsyncGenerator[Ask, Reply]:
    ask = Ask(body=await contact_of(world, (await world.person("user")).uuid), token=world.admin.token)
    yield ask
    await world.one(CONTACTS, **ask.body)


@exercise("jade.user.contacts.get")
async def contacts_get(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    made = await contact(world, person.uuid)
    reply = yield Ask(made, token=world.admin.token)
    assert (reply.result["uuid"], reply.result["user_uuid"]) == (made, person.uuid)


@exercise(
    "jade.user.contacts.update",
    members={"name": Member("name", free=True), "detail": Member("name", free=True)},
)
async def contacts_update(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    made = await contact(world, person.uuid)
    before = await world.one(CONTACTS, uuid=made)
    ask = Ask(made, body={"name": "changed"}, token=world.admin.token)
    yield ask
    after = await world.one(CONTACTS, uuid=made)
    assert after == before | ask.body | {"tm_update": after["tm_update"]}


@exercise("jade.user.contacts.delete")
async def contacts_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    made = await contact(world, (await world.person("user")).uuid)
    yield Ask(made, token=world.admin.token)
    await world.gone(CONTACTS, made)
