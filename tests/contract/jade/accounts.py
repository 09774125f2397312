"""Logins and who is logged in: /admin/login and /admin/info (seed 001:1814-1884)."""

import uuid
from collections.abc import AsyncGenerator

from tests.contract.jade.exercise import Member, exercise
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import PASSWORD, World
from tests.support.api_client import basic

INFO, SYSTEMS = "/v1/admin/info", "/v1/admin/core/systems"


@exercise("jade.admin.login.create")
async def login(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("admin")
    reply = yield Ask(headers=basic(person.username, PASSWORD))
    token = reply.result["authtoken"]
    assert str(uuid.UUID(token)) == token
    assert (await world.send("GET", SYSTEMS, Ask(token=token))).status == 200


@exercise("jade.admin.login.delete")
async def logout(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("admin")
    yield Ask(token=person.token)
    assert (await world.send("GET", SYSTEMS, Ask(token=person.token))).status == 401


@exercise("jade.admin.info.get")
async def info(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("admin")
    reply = yield Ask(token=person.token)
    assert (reply.result["uuid"], reply.result["username"]) == (person.uuid, person.username)
    assert "password" not in reply.result


@exercise("jade.admin.info.update", members={"name": Member("name", free=True)})
async def rename(world: World) -> AsyncGenerator[Ask, Reply]:
    person = await world.person("admin")
    ask = Ask(body={"name": "Another Name"}, token=person.token)
    yield ask
    shown = (await world.shown(INFO, person)).result
    assert (shown["name"], shown["username"]) == (ask.body["name"], person.username)
