"""The commander dies, is absent, or has no link: no act is done twice, and none after its time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.ledger import Ledger
from tests.e2e.link import Link
from tests.e2e.truth import QUEUE_MEMBERS, agree
from tests.support.polling import eventually

MEMBERS = "/v1/admin/queue/members"
ACTS = """
SELECT name FROM event WHERE source = 'ringledger' AND name LIKE 'Act%' AND raw LIKE $1 ORDER BY position
"""


@pytest.fixture
async def ledger(asterisk: Asterisk, start_ledger: StartLedger, link: Link) -> AsyncIterator[Ledger]:
    """One whose commander has a link of its own, and has acted over it."""
    ledger = await start_ledger(asterisk.host)
    await ledger.snapshot()
    await ledger.kill_commander()
    ledger.start_commander(link.port)
    assert (await add(ledger, "PJSIP/107"))[0] == 200
    yield ledger
    await asterisk.ami.act("QueueRemove", Queue="support", Interface="PJSIP/107")
    await ledger.stop()


async def add(ledger: Ledger, interface: str, key: str = "") -> tuple[int, dict[str, Any]]:
    body, headers = {"queue_name": "support", "location": interface}, {"Idempotency-Key": key} if key else {}
    async with ledger.client.post(MEMBERS, json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def remove(ledger: Ledger, interface: str) -> int:
    path = f"{MEMBERS}/{interface.replace('/', '%2F')}?queue_name=support"
    async with ledger.client.delete(path) as reply:
        return reply.status


async def there(asterisk: Asterisk, interface: str) -> bool:
    return f"support {interface}" in await QUEUE_MEMBERS.asterisk(asterisk)


async def acts(ledger: Ledger, position: int) -> list[str]:
    """Return what became of the act that was requested at a position."""
    (row,) = await ledger.rows("SELECT id FROM acts WHERE requested = $1", position)
    return [row["name"] for row in await ledger.rows(ACTS, f"%{row['id']}%".encode())]


async def test_it_dies_between_sending_and_the_answer(ledger: Ledger, asterisk: Asterisk, link: Link) -> None:
    link.muted = True
    adding = asyncio.create_task(add(ledger, "PJSIP/108", "once"))
    await eventually(lambda: there(asterisk, "PJSIP/108"), "Asterisk has done it")
    await ledger.kill_commander()
    await asterisk.ami.act("QueueRemove", Queue="support", Interface="PJSIP/108")
    ledger.start_commander()
    status, body = await adding
    assert (status, body["message"]) == (504, "the commander ended before the PBX had responded")
    again, repeated = await add(ledger, "PJSIP/108", "once")
    assert (again, repeated["message"], repeated["position"]) == (status, body["message"], body["position"])
    assert await remove(ledger, "PJSIP/107") == 200, "the new one acts"
    assert not await there(asterisk, "PJSIP/108"), "and has not done it again"
    assert await acts(ledger, body["position"]) == ["ActRequested", "ActSent", "ActUnknown"]
    await agree(ledger, asterisk, "as it was")
    assert (await add(ledger, "PJSIP/107"))[0] == 200


async def test_it_is_absent(ledger: Ledger, asterisk: Asterisk, monkeypatch: pytest.MonkeyPatch) -> None:
    await ledger.kill_commander()
    with monkeypatch.context() as patch:
        # As it is without a test's patience: it expires before the answer comes, and the commander may only be away.
        patch.setattr("services.commands.act.OUTCOME_SECONDS", 5.0)
        patch.setattr("services.commander.executor.REQUEST_TTL_SECONDS", 4.5)
        status, body = await add(ledger, "PJSIP/108")
        assert status == 504
        ledger.start_commander()
        await ledger.own_event("ActFailed", "expired", after=body["position"])
    assert await remove(ledger, "PJSIP/107") == 200, "it acts again"
    assert not await there(asterisk, "PJSIP/108"), "and not too late"
    await agree(ledger, asterisk, "as it was")
    assert await acts(ledger, body["position"]) == ["ActRequested", "ActFailed"]
    assert (await add(ledger, "PJSIP/107"))[0] == 200


async def test_it_has_no_link(ledger: Ledger, asterisk: Asterisk, link: Link) -> None:
    await link.close()
    status, body = await add(ledger, "PJSIP/108")
    assert (status, body["message"]) == (503, "no link to the PBX pbx")
    assert await acts(ledger, body["position"]) == ["ActRequested", "ActFailed"]
    assert not await there(asterisk, "PJSIP/108")
    await ledger.kill_commander()
    ledger.start_commander()
    assert (await add(ledger, "PJSIP/108"))[0] == 200, "with a link it can"
    assert await there(asterisk, "PJSIP/108")
    assert await remove(ledger, "PJSIP/108") == 200
