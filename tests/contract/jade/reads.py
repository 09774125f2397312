"""The views of the PBX: lists and details of recorded state that the API does not write."""

from collections.abc import AsyncGenerator
from typing import Any

from tests.contract import operations
from tests.contract.jade.exercise import Exercise, Member
from tests.contract.jade.wire import Ask, Reply
from tests.contract.jade.world import World

FOUND_BY = {
    "jade.agents": "id",
    "jade.device_states": "device",
    "jade.peers": "peer",
    "jade.registries": "account",
    "jade.core.channels": "unique_id",
    "jade.core.modules": "name",
    "jade.core.systems": "id",
    "jade.park.parkedcalls": "parkee_unique_id",
    "jade.park.parkinglots": "name",
    "jade.pjsip.aors": "object_name",
    "jade.pjsip.auths": "object_name",
    "jade.pjsip.contacts": "id",
    "jade.pjsip.endpoints": "object_name",
    "jade.pjsip.registration_outbounds": "object_name",
    "jade.queue.entries": "unique_id",
    "jade.queue.members": "name",
    "jade.queue.queues": "name",
}
"""The member by which the documents find a detail."""


ENCODED = {"jade.pjsip.contacts": ";@", "jade.queue.members": "/"}
"""Letters in details that the seed writes with per cent (001:2836, 3483)."""


def listed(family: str) -> Exercise:
    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        reply = yield Ask(token=world.admin.token)
        assert reply.items, f"{family}: the recording holds none, nothing is shown"
        names = [item[FOUND_BY[family]] for item in reply.items]
        assert names == [item[FOUND_BY[family]] for item in (await world.shown(path_of(family))).items]

    return Exercise(f"{family}.list", run)


def detail(family: str) -> Exercise:
    member = FOUND_BY[family]
    in_body = "{detail}" not in operations()[f"{family}.get"].paths[0]

    async def run(world: World) -> AsyncGenerator[Ask, Reply]:
        item = hardest((await world.shown(path_of(family))).items, member)
        assert set(ENCODED.get(family, "")) <= set(item[member]), "the recording holds none that must be encoded"
        query = {"queue_name": item["queue_name"]} if family == "jade.queue.members" else {}
        if in_body:
            reply = yield Ask(query=query, body={member: item[member]}, token=world.admin.token)
        else:
            reply = yield Ask(item[member], query, token=world.admin.token)
        assert reply.result[member] == item[member]

    return Exercise(f"{family}.get", run, {member: Member("key", needed=True, ours=True)} if in_body else {})


def hardest(items: list[dict[str, Any]], member: str) -> dict[str, Any]:
    """Return the item whose detail has the most letters that a path cannot hold as they are."""
    return max(items, key=lambda item: len(set("/;@ %") & set(item[member])))


def path_of(family: str) -> str:
    return operations()[f"{family}.list"].paths[0]


MADE = [made(family) for family in FOUND_BY for made in (listed, detail)]
