"""Gaps over HTTP: a call and the figures of its time name the same gap, and are not complete."""

from datetime import UTC, datetime
from typing import Any

from api.app_keys import CHECKPOINTS
from schemas.log import Connected, Disconnected
from tests.support.api_client import Client
from tests.support.ledger import Ledger
from tests.support.scene import Scene, uid


def text_of(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds, 6), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def test_a_call_and_its_figures_name_the_gap(client: Client, ledger: Ledger) -> None:
    scene = Scene().own(Connected("127.0.0.1:5038")).talk(3)
    begin = scene.now - 1
    scene.own(Disconnected("eof", begin)).wait(5)
    end = scene.now
    scene.own(Connected("127.0.0.1:5038")).snapshot(1, 2).wait(2).part(1, 2)
    whole = Scene()
    whole.now = scene.now + 7200
    whole.new(8, "PJSIP/100-00000008", "100", exten="1").hangup(8)
    position = await ledger.write(*scene.events, *whole.events)
    await client.app[CHECKPOINTS].wait_folded(["calls", "gaps"], position)

    async def read(path: str) -> Any:
        reply = await client.get(path)
        assert reply.status == 200, await reply.text()
        return await reply.json()

    gap = {"reason": "disconnected", "from": text_of(begin), "until": text_of(end)}
    call = await read(f"/v1/calls/{uid(1)}")
    assert (call["complete"], call["gaps"]) == (False, [gap])
    other = await read(f"/v1/calls/{uid(8)}")
    assert (other["complete"], other["gaps"]) == (True, [])
    (first, last) = text_of(begin + 1), text_of(end + 3600)
    for kind in ("queues", "agents"):
        for period, gaps in (
            (f"from={first}&to={last}", [gap | {"pbx": "pbx", "reason": "eof"}]),
            (f"from={first}&to={last}&pbx=pbx", [gap | {"pbx": "pbx", "reason": "eof"}]),
            (f"from={first}&to={last}&pbx=other", []),
            (f"from={text_of(end + 1)}&to={last}", []),
        ):
            figures = await read(f"/v1/statistics/{kind}?{period}")
            assert (figures["complete"], figures["gaps"]) == (not gaps, gaps), (kind, period)
