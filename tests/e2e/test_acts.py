"""Acts through the API at a real Asterisk: done there, by its own CLI, and shown by the views when the answer comes."""

import re
from typing import Any
from urllib.parse import quote

from yarl import URL

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.ledger import Ledger
from tests.e2e.stories import RELOAD_SECONDS, connect_phones, park_call, wait_callers
from tests.e2e.truth import CORE, MODULES, QUEUE_MEMBERS, agree

CHANNELS = "/v1/admin/core/channels"
MODULE = "/v1/admin/core/modules"
MEMBERS = "/v1/admin/queue/members"
IDS = "SELECT unique_id FROM channels WHERE channel LIKE $1"
INJECTED = "SELECT count(*) FROM event WHERE name = 'UserEvent' AND convert_from(raw, 'UTF8') LIKE '%Injected%'"


async def ask(ledger: Ledger, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Make a request, and return status and message."""
    async with ledger.client.request(method, URL(path, encoded=True), json=body) as reply:
        return reply.status, (await reply.json()).get("message", "")


async def status(ledger: Ledger, path: str) -> int:
    return (await ask(ledger, "GET", path))[0]


def member(name: str, queue: str = "support") -> str:
    return f"{MEMBERS}/{quote(name, safe='')}?queue_name={queue}"


async def test_a_channel(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await connect_phones(asterisk, "100", "101")
    await agree(ledger, asterisk, "talking")
    (row,) = await ledger.rows(IDS, "PJSIP/101-%")
    path = f"{CHANNELS}/{row['unique_id']}"
    assert await ask(ledger, "DELETE", path) == (200, "")
    assert await status(ledger, path) == 404
    await bob.over()
    await alice.over()
    assert (await agree(ledger, asterisk, "hung up"))["channels"] == {}
    assert (await ask(ledger, "DELETE", path))[0] == 404


async def test_a_parked_call(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, _ = await park_call(ledger, asterisk, "700")
    (row,) = await ledger.rows("SELECT parkee_unique_id AS id FROM parked_calls")
    path = f"/v1/admin/park/parkedcalls/{row['id']}"
    assert await ask(ledger, "DELETE", path) == (200, "")
    assert await status(ledger, path) == 404
    await alice.over()
    state = await agree(ledger, asterisk, "hung up")
    assert state["parked_calls"] == state["channels"] == {}
    assert (await ask(ledger, "DELETE", path))[0] == 404


async def test_a_caller_in_a_queue(ledger: Ledger, asterisk: Asterisk) -> None:
    stays = await (await asterisk.phone("105")).call("204").up()
    await wait_callers(asterisk, 1)
    goes = await (await asterisk.phone("106")).call("204").up()
    await wait_callers(asterisk, 2)
    await agree(ledger, asterisk, "two wait")
    (row,) = await ledger.rows("SELECT unique_id FROM queue_entries WHERE channel LIKE 'PJSIP/106-%'")
    path = f"/v1/admin/queue/entries/{row['unique_id']}"
    assert await ask(ledger, "DELETE", path) == (200, "")
    assert await status(ledger, path) == 404
    await goes.over()
    state = await agree(ledger, asterisk, "one waits")
    assert [key.split("-")[0] for key in state["queue_entries"]] == ["empty PJSIP/105"]
    assert not stays.ended.is_set()


async def test_a_module(ledger: Ledger, asterisk: Asterisk) -> None:
    path = f"{MODULE}/app_dictate"
    assert (await agree(ledger, asterisk, "at rest", CORE))["modules"]["app_dictate"] == ("Running",)
    assert await ask(ledger, "POST", path) == (409, "Could not load module.")
    assert await ask(ledger, "DELETE", path) == (200, "")
    assert "app_dictate" not in await MODULES.asterisk(asterisk)
    assert await status(ledger, path) == 404
    await agree(ledger, asterisk, "unloaded", CORE, seconds=RELOAD_SECONDS)
    assert (await ask(ledger, "DELETE", path))[0] == 404
    assert (await ask(ledger, "PUT", path))[0] == 404
    assert await ask(ledger, "POST", path) == (200, "")
    assert (await MODULES.asterisk(asterisk))["app_dictate"] == ("Running",)
    assert await status(ledger, path) == 200
    await agree(ledger, asterisk, "loaded", CORE, seconds=RELOAD_SECONDS)


async def test_module_acts_are_refused_as_in_asterisk(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await agree(ledger, asterisk, "at rest", (MODULES,))
    missing = (502, "Could not load module.") if asterisk.version == "16" else (404, "Module not found.")
    assert await ask(ledger, "POST", f"{MODULE}/app_none") == missing
    assert await ask(ledger, "DELETE", f"{MODULE}/chan_pjsip") == (502, "Could not unload module.")
    assert await ask(ledger, "PUT", f"{MODULE}/app_dictate") == (502, "Module does not support reload action.")
    assert await agree(ledger, asterisk, "as before", (MODULES,)) == before


SOUNDS = "/usr/share/asterisk/sounds/en"


async def test_a_module_reads_its_file_again(ledger: Ledger, asterisk: Asterisk) -> None:
    file = "/etc/asterisk/musiconhold.conf"
    await asterisk.shell(
        "sh", "-c", f"cp {file} /tmp/moh; printf '[acted]\\nmode=files\\ndirectory={SOUNDS}\\n' >> {file}"
    )
    try:
        assert await ask(ledger, "PUT", f"{MODULE}/res_musiconhold") == (200, "")
        assert "Class: acted" in await asterisk.cli("moh show classes")
    finally:
        await asterisk.shell("cp", "/tmp/moh", file)
    assert await ask(ledger, "PUT", f"{MODULE}/res_musiconhold.so") == (200, "")
    assert "Class: acted" not in await asterisk.cli("moh show classes")


async def test_a_member_comes_pauses_and_goes(ledger: Ledger, asterisk: Asterisk) -> None:
    hugo = {"queue_name": "support", "location": "PJSIP/107", "name": "Hugo Hall", "penalty": 2}
    path = member("Hugo Hall")

    async def agreed(when: str) -> tuple[Any, ...]:
        # name, state_interface, penalty, membership, in_call, paused, reason, status, taken
        return (await agree(ledger, asterisk, when))["queue_members"]["support PJSIP/107"]

    assert await ask(ledger, "POST", MEMBERS, hugo) == (200, "")
    assert await status(ledger, path) == 200
    assert (await agreed("added"))[:4] == ("Hugo Hall", "PJSIP/107", 2, "dynamic")
    assert (await ask(ledger, "POST", MEMBERS, hugo))[0] == 409
    assert (await ask(ledger, "POST", MEMBERS, {**hugo, "queue_name": "SUPPORT"}))[0] == 409
    lunch = {"paused": True, "paused_reason": 'lunch, "long": x=1; ü'}
    assert await ask(ledger, "PUT", path, lunch) == (200, "")
    assert (await agreed("paused"))[5:7] == (1, lunch["paused_reason"])
    assert await ask(ledger, "PUT", path, {"paused": 0, "penalty": 5, "ring_inuse": 1}) == (200, "")
    state = await agreed("back")
    assert (state[2], state[5]) == (5, 0)
    async with ledger.client.get(path) as reply:
        assert (await reply.json())["result"]["ring_inuse"] == 1
    assert [line for line in await asterisk.cli("queue show support") if re.search("Hugo.*ringinuse enabled", line)]
    assert await ask(ledger, "DELETE", path) == (200, "")
    assert await status(ledger, path) == 404
    tables = await agree(ledger, asterisk, "gone")
    assert "support PJSIP/107" not in tables["queue_members"]
    assert (await ask(ledger, "DELETE", path))[0] == 404


async def test_a_member_with_another_state_starts_paused(ledger: Ledger, asterisk: Asterisk) -> None:
    ivy = {"queue_name": "support", "interface": "Local/108@internal/n", "name": "Ivy", "state_interface": "PJSIP/108"}
    assert await ask(ledger, "POST", MEMBERS, {**ivy, "paused": 1}) == (200, "")
    state = (await agree(ledger, asterisk, "added"))["queue_members"]["support Local/108@internal/n"]
    assert (state[1], state[5]) == ("PJSIP/108", 1)
    assert await ask(ledger, "DELETE", member("Ivy")) == (200, "")
    await agree(ledger, asterisk, "gone")


async def test_queue_acts_are_refused_as_in_asterisk(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await agree(ledger, asterisk, "at rest")
    status, words = await ask(ledger, "POST", MEMBERS, {"queue_name": "none", "location": "PJSIP/107"})
    assert (status, "No such queue" in words) == (404, True)
    status, words = await ask(ledger, "DELETE", member("Bob Baker", "sales"))
    assert (status, "not dynamic" in words) == (502, True)
    status, words = await ask(ledger, "POST", MEMBERS, {"queue_name": "sales", "location": "PJSIP/101"})
    assert (status, "Already there" in words) == (409, True)
    assert await agree(ledger, asterisk, "as before") == before


async def test_a_member_of_queues_conf_is_paused(ledger: Ledger, asterisk: Asterisk) -> None:
    for paused in (1, 0):
        assert await ask(ledger, "PUT", member("Bob Baker", "sales"), {"paused": paused}) == (200, "")
        state = await QUEUE_MEMBERS.asterisk(asterisk)
        assert state["sales PJSIP/101"][5] == paused
        await agree(ledger, asterisk, f"paused: {paused}")


HOSTILE = "\r\n\r\nAction: UserEvent\r\nUserEvent: Injected\r\n\r\n"


async def test_nothing_is_slipped_to_asterisk(ledger: Ledger, asterisk: Asterisk) -> None:
    before = await agree(ledger, asterisk, "at rest")
    tail = quote(HOSTILE, safe="")
    tried = [
        ("DELETE", f"{CHANNELS}/1.1{tail}", None),
        ("DELETE", f"/v1/admin/park/parkedcalls/1.1{tail}", None),
        ("DELETE", f"/v1/admin/queue/entries/1.1{tail}", None),
        *((method, f"{MODULE}/app_dictate{tail}", None) for method in ("POST", "PUT", "DELETE")),
        ("POST", MEMBERS, {"queue_name": "support", "location": f"PJSIP/107{HOSTILE}"}),
        ("POST", MEMBERS, {"queue_name": f"support{HOSTILE}", "location": "PJSIP/107"}),
        ("POST", MEMBERS, {"queue_name": "support", "location": "PJSIP/107", "name": f"Hugo{HOSTILE}"}),
        ("POST", MEMBERS, {"queue_name": "support", "location": "PJSIP/107", "state_interface": HOSTILE}),
        ("PUT", member("Bob Baker", "sales"), {"paused": True, "paused_reason": HOSTILE}),
        ("DELETE", f"{member('Bob Baker', 'sales')}{tail}", None),
    ]
    for method, path, body in tried:
        assert (await ask(ledger, method, path, body))[0] == 400, (method, path, body)
    assert await agree(ledger, asterisk, "nothing has changed") == before
    (row,) = await ledger.rows(INJECTED)
    assert row["count"] == 0


async def test_acts_without_their_class_are_refused(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    ledger = await start_ledger(asterisk.host, user="callonly")
    await ledger.own_event("Connected")
    before = await MODULES.asterisk(asterisk), await QUEUE_MEMBERS.asterisk(asterisk)
    assert await ask(ledger, "POST", f"{MODULE}/app_dictate") == (502, "Permission denied")
    new = {"queue_name": "support", "location": "PJSIP/107"}
    assert await ask(ledger, "POST", MEMBERS, new) == (502, "Permission denied")
    assert (await MODULES.asterisk(asterisk), await QUEUE_MEMBERS.asterisk(asterisk)) == before
    await ledger.stop()
