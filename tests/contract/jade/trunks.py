"""/manager/trunks (headed only, seed 001:3811-3827; members as the original has them: one trunk is pjsip objects)."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

TRUNKS = "/v1/manager/trunks"
OPTIONS = ("server_uri", "client_uri", "username", "contact", "context", "hostname", "match")
CHANGED = {"password": Member("name")} | {option: Member("name") for option in OPTIONS}
NEW = CHANGED | {"name": Member("name", needed=True, ours=True)}


def options(world: World) -> dict[str, str]:
    """Return a trunk to a provider, with a password of its own."""
    return {
        "server_uri": "sip:sip.example.com:5060",
        "client_uri": "sip:jade@sip.example.com:5060",
        "username": "jade",
        "password": world.secret(),
        "contact": "sip:sip.example.com:5060",
        "context": "lab",
        "hostname": "sip.example.com",
        "match": "192.0.2.7",
    }


async def trunk(world: World) -> str:
    """Make one; return its name."""
    name = world.name("trunk")
    reply = await world.send("POST", TRUNKS, Ask(body={"name": name, **options(world)}, token=world.admin.token))
    assert reply.status == 200, reply.body
    return name


@exercise("jade.manager.trunks.list", permission="manager")
async def trunks_list(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await trunk(world)
    reply = yield Ask(token=world.manager.token)
    assert [item["name"] for item in reply.items].count(name) == 1


@exercise("jade.manager.trunks.create", permission="manager", members=NEW, at_pbx=True, unique=True)
async def trunks_create(world: World) -> AsyncGenerator[Ask, Reply]:
    ask = Ask(body={"name": world.name("trunk"), **options(world)}, token=world.manager.token)
    yield ask
    shown = await world.one(TRUNKS, name=ask.body["name"])
    sent = {name: value for name, value in ask.body.items() if name != "password"}
    assert {name: shown.get(name) for name in sent} == sent


@exercise("jade.manager.trunks.get", permission="manager")
async def trunks_get(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await trunk(world)
    reply = yield Ask(name, token=world.manager.token)
    assert (reply.result["name"], reply.result["username"]) == (name, "jade")


@exercise("jade.manager.trunks.update", permission="manager", members=CHANGED, at_pbx=True, tells="log")
async def trunks_update(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await trunk(world)
    before = await world.one(TRUNKS, name=name)
    ask = Ask(name, body={"server_uri": "sip:other.example.com:5060"}, token=world.manager.token)
    yield ask
    after = await world.one(TRUNKS, name=name)
    sent = {name: value for name, value in ask.body.items() if name != "password"}
    assert after == before | sent | {name: after[name] for name in ("tm_update", "hostname")}


@exercise("jade.manager.trunks.delete", permission="manager", at_pbx=True, tells="log")
async def trunks_delete(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await trunk(world)
    yield Ask(name, token=world.manager.token)
    await world.gone(TRUNKS, name)
