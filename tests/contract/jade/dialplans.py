"""Static dialplans, which are contexts of extensions.conf, and trunks: /admin/dialplan/sdps, /manager."""

from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Exercise, Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

FAMILIES = {"jade.dialplan.sdps": "/v1/admin/dialplan/sdps", "jade.manager.sdialplans": "/v1/manager/sdialplans"}
PERMISSIONS = {"jade.dialplan.sdps": "admin", "jade.manager.sdialplans": "manager"}
MADE_AT = FAMILIES["jade.manager.sdialplans"]
LINES = [{"exten": "> 100,1,NoOp(Grüße 😀)"}, {"same": "> n,Hangup()"}]
OTHER = [{"exten": "> 200,1,Answer()"}, {"same": "> n,Hangup()"}]


def asker(world: World, family: str) -> str:
    """Return the token of a user with the least permission that may write the family."""
    return (world.admin if PERMISSIONS[family] == "admin" else world.manager).token


async def context(world: World) -> str:
    """Make a dialplan; return its name."""
    name = world.name("test")
    reply = await world.send("POST", MADE_AT, Ask(body={"name": name, "data": LINES}, token=world.admin.token))
    assert reply.status == 200, reply.body
    return name


def listed(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await context(world)
        reply = yield Ask(token=asker(world, family))
        assert [item["data"] for item in reply.items if item["name"] == name] == [LINES]

    return Exercise(f"{family}.list", run, permission=PERMISSIONS[family])


def detail(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await context(world)
        reply = yield Ask(name, token=asker(world, family))
        assert (reply.result["name"], reply.result["data"]) == (name, LINES)

    return Exercise(f"{family}.get", run, permission=PERMISSIONS[family])


def updated(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await context(world)
        ask = Ask(name, body={"data": OTHER}, token=asker(world, family))
        yield ask
        assert (await world.one(FAMILIES[family], name=name))["data"] == ask.body["data"]

    return Exercise(
        f"{family}.update", run, {"data": Member("list", needed=True)}, PERMISSIONS[family], at_pbx=True, tells="log"
    )


def deleted(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        name = await context(world)
        yield Ask(name, token=asker(world, family))
        for path in FAMILIES.values():
            await world.gone(path, name)

    return Exercise(f"{family}.delete", run, permission=PERMISSIONS[family], at_pbx=True, tells="log")


MADE = [made(family) for family in FAMILIES for made in (listed, detail, updated, deleted)]


@exercise(
    "jade.manager.sdialplans.create",
    permission="manager",
    members={"name": Member("name", needed=True, ours=True), "data": Member("list")},
    at_pbx=True,
    unique=True,
)
async def created(world: World) -> AsyncGenerator[Ask, Reply]:
    ask = Ask(body={"name": world.name("test"), "data": LINES}, token=world.manager.token)
    yield ask
    for path in FAMILIES.values():
        assert (await world.one(path, name=ask.body["name"]))["data"] == ask.body["data"]
