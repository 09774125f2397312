"""Names that users choose become details of paths: each is found again under its name, or refused with nothing done."""

import pytest

from tests.contract import operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import put_to
from tests.contract.jade.wire import Ask
from tests.contract.jade.world import World

FAMILIES = ("jade.park.cfg_parkinglots", "jade.queue.cfg_queues", "jade.manager.sdialplans", "jade.manager.trunks")
"""Families whose objects are named by their creator, and not by a uuid."""
NAMES = (
    *("Grüße 😀", "שלום", "e\u0301", "a b", "a.b", "a+b", "a%2Fb", "a%", "x" * 60),
    *("a/b", "a@b", "a:b", "a?b#c", "a&b=c", "a\\b", '"a"', "a,b", "a(b)", "(!)", "..", "."),
    *("a;b", "a]b", "[a]", "#include", " a", "a ", "\t", "a\r\nb", "general", "x" * 80, "x" * 300),
)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_name_is_a_detail_or_is_refused(world: World, family: str) -> None:
    made = 0
    for name in NAMES:
        async with put_to(world, EXERCISES[f"{family}.create"]) as (ask, finished):
            ask.body["name"] = name if name in {"general", ".", ".."} else name[:1] + world.name("") + name[1:]
            await world.settled()
            head = await world.head()
            reply = await world.send("POST", operations()[f"{family}.create"].paths[0], ask)
            if reply.status == 200:
                await finished(reply)
                made += 1
                detail = await world.send(
                    "GET", operations()[f"{family}.get"].paths[0], Ask(ask.body["name"], token=ask.token)
                )
                assert (detail.status, detail.body.get("result", {}).get("name")) == (200, ask.body["name"])
                gone = Ask(ask.body["name"], token=ask.token)
                reply = await world.send("DELETE", operations()[f"{family}.delete"].paths[0], gone)
                assert reply.status == 200, f"{name!r} was made and cannot be removed: {reply.body}"
            else:
                assert reply.status in {400, 409}, f"{name!r}: {reply.body}"
                assert reply.status == 409 or await world.head() == head, f"{name!r}: the log has grown"
    assert made > 5
