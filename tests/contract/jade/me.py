"""The resources of the logged-in user: contacts and info, buddies, chats and their messages (seed 001:3966-4299)."""

from collections.abc import AsyncGenerator
from typing import Any

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.people import contact
from tests.contract.jade.wire import Ask, Person, Reply
from tests.contract.jade.world import World

BUDDIES, CONTACTS, CHATS, INFO = "/me/buddies", "/v1/me/contacts", "/me/chats", "/me/info"
MESSAGES = CHATS + "/{detail}/messages"
CHAT = {
    "name": Member("name", free=True),
    "detail": Member("name", free=True),
    "type": Member("number", needed=True),
    "members": Member("list", needed=True, ours=True),
}


async def buddy(world: World, person: Person) -> str:
    """Give the person a buddy; return who it is."""
    other = await world.person("user")
    reply = await world.send("POST", BUDDIES, Ask(body={"uuid_user": other.uuid}, token=person.token))
    assert reply.status == 200, reply.body
    return other.uuid


async def chat(world: World, person: Person, other: Person) -> str:
    """Have the person open a chat with the other one; return its uuid."""
    name = world.name("chat")
    body = {"name": name, "detail": "d", "type": 1, "members": [person.uuid, other.uuid]}
    reply = await world.send("POST", CHATS, Ask(body=body, token=person.token))
    assert reply.status == 200, reply.body
    made: str = (await world.one(CHATS, person, name=name))["uuid"]
    return made


async def say(world: World, person: Person, room: str, text: str) -> None:
    """Send a message."""
    reply = await world.send("POST", MESSAGES, Ask(room, body={"message": text}, token=person.token))
    assert reply.status == 200, reply.body


async def messages(world: World, person: Person, room: str) -> list[Any]:
    """Return the messages in the chat, newest first."""
    reply = await world.send("GET", MESSAGES, Ask(room, token=person.token))
    return [item["message"]["message"] for item in reply.items]


@exercise("jade.me.contacts.list", permission="user")
async def contacts_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person, stranger = await world.two("user")
    made = await contact(world, person.uuid)
    await contact(world, stranger.uuid)
    reply = yield Ask(token=person.token)
    assert [(item["uuid"], item["user_uuid"]) for item in reply.items] == [(made, person.uuid)]


@exercise("jade.me.info.get", permission="user")
async def info(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    made, room = await contact(world, person.uuid), await chat(world, person, other)
    reply = yield Ask(token=person.token)
    assert (reply.result["uuid"], reply.result["username"]) == (person.uuid, person.username)
    assert [item["uuid"] for item in reply.result["contacts"]] == [made]
    assert [item["uuid"] for item in reply.result["chats"]] == [room]


@exercise("jade.me.buddies.list", permission="user")
async def buddies_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("user")
    other = await buddy(world, person)
    reply = yield Ask(token=person.token)
    assert [item["uuid_user"] for item in reply.items] == [other]


@exercise(
    "jade.me.buddies.create",
    permission="user",
    members={"uuid_user": Member("uuid", needed=True, ours=True)},
    unique=True,
)
async def buddies_create(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    ask = Ask(body={"uuid_user": other.uuid}, token=person.token)
    yield ask
    assert [item["uuid_user"] for item in (await world.shown(BUDDIES, person)).items] == [ask.body["uuid_user"]]


@exercise("jade.me.chats.list", permission="user")
async def chats_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    reply = yield Ask(token=person.token)
    assert [item["uuid"] for item in reply.items] == [room]


@exercise("jade.me.chats.create", permission="user", members=CHAT, unique=True)
async def chats_create(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    body = {"name": "n", "detail": "d", "type": 1, "members": [person.uuid, other.uuid]}
    ask = Ask(body=body, token=person.token)
    yield ask
    (made,) = (await world.shown(CHATS, person)).items
    assert (made["name"], made["detail"]) == (ask.body["name"], ask.body["detail"])
    assert (made["room"]["type"], set(made["room"]["members"])) == (ask.body["type"], set(ask.body["members"]))
    assert made["room"]["uuid_creator"] == person.uuid


@exercise("jade.me.chats.get", permission="user")
async def chats_get(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    reply = yield Ask(room, token=person.token)
    assert (reply.result["uuid"], reply.result["detail"]) == (room, "d")


@exercise(
    "jade.me.chats.update",
    permission="user",
    members={"name": Member("name", free=True), "detail": Member("name", free=True)},
)
async def chats_update(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    ask = Ask(room, body={"name": "changed"}, token=person.token)
    yield ask
    shown = await world.one(CHATS, person, uuid=room)
    assert shown == shown | {"detail": "d"} | ask.body, "partial: what is not named stays"
    assert shown["tm_update"] is not None


@exercise("jade.me.chats.delete", permission="user")
async def chats_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    yield Ask(room, token=person.token)
    await world.gone(CHATS, room, person)
    assert (await world.shown(CHATS, person)).items == []


@exercise("jade.me.chats.messages.list", permission="user")
async def messages_list(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    for text in ("first", "second", "third"):
        await say(world, person, room, text)
    ask = Ask(room, {"timestamp": "2199-03-30T08:30:02.364443446Z", "count": "2"}, token=person.token)
    reply = yield ask
    assert [item["message"]["message"] for item in reply.items] == ["third", "second"]
    assert {item["uuid_owner"] for item in reply.items} == {person.uuid}


@exercise(
    "jade.me.chats.messages.create",
    permission="user",
    members={"message": Member("text", needed=True, free=True)},
)
async def messages_create(world: World) -> AsyncGenerator[Ask, Reply]:
    person, other = await world.two("user")
    room = await chat(world, person, other)
    ask = Ask(room, body={"message": "test message"}, token=person.token)
    yield ask
    assert await messages(world, person, room) == [ask.body["message"]]
    assert await messages(world, other, await room_of(world, other)) == [ask.body["message"]]


async def room_of(world: World, person: Person) -> str:
    """Return the only chat that the person has."""
    (only,) = (await world.shown(CHATS, person)).items
    uuid: str = only["uuid"]
    return uuid
