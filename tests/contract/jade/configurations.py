"""The files behind dialplan, parking, pjsip and queues, as text (seed 001:1617-1692; three families headed only)."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Exercise, Member
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

FILES = {
    "dialplan": ("extensions.conf", "[{name}]\nexten => 100,1,NoOp(Grüße 😀)\n"),
    "park": ("res_parking.conf", "[{name}]\ncontext=lab\n"),
    "pjsip": ("pjsip.conf", "[{name}]\ntype=auth\nusername=u\npassword={secret}\n"),
    "queue": ("queues.conf", "[{name}]\nstrategy=ringall\n"),
}
"""For each area, its file, and the text that a test writes there."""
DATA = {"data": Member("text", needed=True)}


def added(world: World, area: str, before: str, name: str) -> dict[str, str]:
    """Return the body that adds something of this name to a text."""
    return {"data": before + "\n" + FILES[area][1].format(name=name, secret=world.secret())}


def path(area: str) -> str:
    return f"/v1/admin/{area}/configurations"


async def written(world: World, area: str) -> tuple[str, str]:
    """Write the file again with a new name added; return the name and the text before."""
    file = FILES[area][0]
    before = (await world.one(path(area), name=file))["data"]
    name = world.name("test")
    ask = Ask(file, body=added(world, area, before, name), token=world.admin.token)
    reply = await world.send("PUT", path(area) + "/{detail}", ask)
    assert reply.status == 200, reply.body
    return name, before


async def backups(world: World, area: str) -> dict[str, str]:
    """Return the dated copies of the file, by name."""
    start = FILES[area][0] + "."
    return {i["name"]: i["data"] for i in (await world.shown(path(area))).items if i["name"].startswith(start)}


def listed(area: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name, _ = await written(world, area)
        reply = yield Ask(token=world.admin.token)
        data = {item["name"]: item["data"] for item in reply.items}
        assert f"[{name}]" in data[FILES[area][0]]
        assert len(data) > 1, "the file and what it was before"

    return Exercise(f"jade.{area}.configurations.list", run)


def detail(area: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name, _ = await written(world, area)
        reply = yield Ask(FILES[area][0], token=world.admin.token)
        assert reply.result["name"] == FILES[area][0]
        assert f"[{name}]" in reply.result["data"]

    return Exercise(f"jade.{area}.configurations.get", run)


def updated(area: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        file = FILES[area][0]
        name, before, copies = world.name("test"), await world.one(path(area), name=file), await backups(world, area)
        ask = Ask(
            file,
            body=added(world, area, before["data"], name),
            token=world.admin.token,
        )
        yield ask
        after = (await world.one(path(area), name=file))["data"]
        assert f"[{name}]" in after
        assert "Grüße 😀" in after or area != "dialplan"
        (copy,) = set(await backups(world, area)) - set(copies)
        assert (await backups(world, area))[copy] == before["data"], "what it was before is kept under its date"

    return Exercise(f"jade.{area}.configurations.update", run, DATA, at_pbx=True)


def deleted(area: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        copies = await backups(world, area)
        await written(world, area)
        (copy,) = set(await backups(world, area)) - set(copies)
        yield Ask(copy, token=world.admin.token)
        await world.gone(path(area), copy)
        assert set(await backups(world, area)) == set(copies)
        await world.one(path(area), name=FILES[area][0])

    return Exercise(f"jade.{area}.configurations.delete", run)


MADE = [made(area) for area in FILES for made in (listed, detail, updated, deleted)]
