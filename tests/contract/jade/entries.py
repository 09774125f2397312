"""Parking lots and queues in their files: cfg_parkinglots, cfg_queues, and PUT and DELETE of a parking lot."""

from collections.abc import AsyncGenerator
from typing import Any

from tests.contract.jade.exercise import Exercise, Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

FAMILIES = {
    "jade.park.cfg_parkinglots": ("/v1/admin/park/cfg_parkinglots", {"context": "lab", "parkpos": "880-889"}),
    "jade.queue.cfg_queues": ("/v1/admin/queue/cfg_queues", {"strategy": "ringall", "timeout": "15"}),
}
"""For each family, its path, and options that Asterisk accepts."""
NEW = {"name": Member("name", needed=True, ours=True), "data": Member("map")}
CHANGED = {"data": Member("map", needed=True)}
LOTS, CFG_LOTS = "/v1/admin/park/parkinglots", "/v1/admin/park/cfg_parkinglots"


async def entry(world: World, family: str) -> str:
    """Make one; return its name."""
    path, data = FAMILIES[family]
    name = world.name("test")
    reply = await world.send("POST", path, Ask(body={"name": name, "data": data}, token=world.admin.token))
    assert reply.status == 200, reply.body
    return name


def listed(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await entry(world, family)
        reply = yield Ask(token=world.admin.token)
        assert [i["data"] for i in reply.items if i["name"] == name] == [FAMILIES[family][1]]

    return Exercise(f"{family}.list", run)


def created(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        path, data = FAMILIES[family]
        ask = Ask(body={"name": world.name("test"), "data": data}, token=world.admin.token)
        yield ask
        assert (await world.one(path, name=ask.body["name"]))["data"] == ask.body["data"]

    return Exercise(f"{family}.create", run, NEW, at_pbx=True, unique=True)


def detail(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await entry(world, family)
        reply = yield Ask(name, token=world.admin.token)
        assert (reply.result["name"], reply.result["data"]) == (name, FAMILIES[family][1])

    return Exercise(f"{family}.get", run)


def updated(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        path, data = FAMILIES[family]
        name, (option, _) = await entry(world, family), next(iter(data.items()))
        ask = Ask(name, body={"data": {**data, option: "changed"}}, token=world.admin.token)
        yield ask
        shown = (await world.one(path, name=name))["data"]
        assert shown == shown | ask.body["data"]

    return Exercise(f"{family}.update", run, CHANGED, at_pbx=True, tells="log")


def deleted(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await entry(world, family)
        yield Ask(name, token=world.admin.token)
        await world.gone(FAMILIES[family][0], name)

    return Exercise(f"{family}.delete", run, at_pbx=True, tells="log")


MADE = [made(family) for family in FAMILIES for made in (listed, created, detail, updated, deleted)]


def options(start: str) -> dict[str, Any]:
    """Return the body of the seed's example (001:2344); its values begin as in the file, after ``=``."""
    return {
        "context": "> edvina_park",
        "parkpos": f"> {start}",
        "findslot": "> next",
        "comebacktoorigin": "no",
        "comebackdialtime": "90",
        "comebackcontext": "edvinapark-timeout",
        "parkedmusicclass": "edvina",
    }


@exercise(
    "jade.park.parkinglots.update",
    members={name: Member("option") for name in options("")},
    at_pbx=True,
    tells="log",
    open_body=True,
)
async def lot_updated(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await entry(world, "jade.park.cfg_parkinglots")
    ask = Ask(name, body=options("800-900"), token=world.admin.token)
    yield ask
    shown = (await world.one(CFG_LOTS, name=name))["data"]
    bare = {option: value.removeprefix("> ") for option, value in ask.body.items()}
    assert {option: shown[option].removeprefix("> ") for option in bare} == bare
    await world.settled()  # the lots themselves are listed after the reload
    lot = await world.one(LOTS, name=name)
    assert (lot["start_space"], lot["stop_spcae"]) == ("800", "900")


@exercise("jade.park.parkinglots.delete", at_pbx=True, tells="log")
async def lot_deleted(world: World) -> AsyncGenerator[Ask, Reply]:
    name = await entry(world, "jade.park.cfg_parkinglots")
    yield Ask(name, token=world.admin.token)
    await world.gone(CFG_LOTS, name)
    await world.settled()
    await world.gone(LOTS, name)
