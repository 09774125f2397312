"""Configuration through the API at a real Asterisk: what is written works, what is not taken is put back."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.ami import AmiError
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.support.polling import eventually

DIALPLAN = "/v1/admin/dialplan/configurations/extensions.conf"
PJSIP = "/v1/admin/pjsip/configurations/pjsip.conf"
QUEUES = "/v1/admin/queue/configurations/queues.conf"
FILES = ("extensions.conf", "pjsip.conf", "pjsip_phones.conf", "pjsip_provider.conf", "queues.conf", "res_parking.conf")


async def get(ledger: Ledger, path: str) -> Any:
    async with ledger.client.get(path) as reply:
        assert reply.status == 200, f"{path}: {reply.status} {await reply.text()}"
        return (await reply.json())["result"]


async def ask(ledger: Ledger, method: str, path: str, body: Any = None, status: int = 200) -> str:
    """Ask for a change; return the message, which a success has not."""
    async with ledger.client.request(method, path, json=body) as reply:
        body = await reply.json()
        assert reply.status == status, f"{method} {path}: {body}"
        await shown(ledger, int(reply.headers.get("X-Ledger-Position", "0")))
        return str(body.get("message", ""))


async def shown(ledger: Ledger, position: int) -> None:
    """Wait until the views of files show what the log has at a position; an answer waits for that a second at most."""

    async def read() -> bool:
        async with ledger.client.get(PJSIP) as reply:
            return int(reply.headers["X-Ledger-Position"]) >= position

    await eventually(read, f"the views show position {position}")


async def there(ledger: Ledger) -> None:
    async def read() -> bool:
        async with ledger.client.get(PJSIP) as reply:
            return reply.status == 200

    await eventually(read, "the files have been read")


async def text(asterisk: Asterisk, file: str) -> str:
    return await asterisk.read(f"/etc/asterisk/{file}")


async def dialplan_of(asterisk: Asterisk) -> list[str]:
    """Return the phones' context, without the other lines of its file."""
    return [
        re.sub(r"\s*\[.*\.conf:[0-9]+\]|-= .* =-", "", line) for line in await asterisk.cli("dialplan show internal")
    ]


@pytest.fixture
async def configured(ledger: Ledger, asterisk: Asterisk) -> AsyncIterator[Ledger]:
    """Ringledger that has read the files, also what the last test put back; they are what they were afterwards."""
    await there(ledger)
    for path in ("queue/cfg_queues", "park/cfg_parkinglots", "dialplan/sdps"):
        await ask(ledger, "DELETE", f"/v1/admin/{path}/none", status=404)
    await ask(ledger, "DELETE", "/v1/manager/trunks/none", status=404)
    for file in FILES:
        await asterisk.shell("cp", f"/etc/asterisk/{file}", f"/tmp/{file}")
    yield ledger
    for file in FILES:
        await asterisk.shell("cp", f"/tmp/{file}", f"/etc/asterisk/{file}")
    for module in ("pbx_config", "app_queue", "res_parking", "res_pjsip", "res_pjsip_outbound_registration"):
        await asterisk.cli(f"module reload {module}.so")


async def test_written_queue_and_dialplan_take_a_call(configured: Ledger, asterisk: Asterisk) -> None:
    queue = {"name": "fresh", "data": {"strategy": "ringall", "timeout": "8", "member": "PJSIP/100,0,Alice Abel"}}
    await ask(configured, "POST", "/v1/admin/queue/cfg_queues", queue)
    dialplan = {
        "name": "fresh",
        "data": [
            {"exten": "> 900,1,Answer()"},
            {"same": "> n,Queue(fresh,,,,30)"},
            {"same": "> n,Hangup()"},
            {"exten": "> 901,1,Answer()"},
            {"same": "> n,Wait(30)"},
        ],
    }
    await ask(configured, "POST", "/v1/manager/sdialplans", dialplan)
    assert (await get(configured, "/v1/manager/sdialplans/fresh"))["data"] == dialplan["data"]
    # The phones' own context is written again, line for line, with one line more.
    internal = (await get(configured, "/v1/admin/dialplan/sdps/internal"))["data"]
    before = await dialplan_of(asterisk)
    await ask(configured, "PUT", "/v1/admin/dialplan/sdps/internal", {"data": [{"include": "> fresh"}, *internal]})
    after = await dialplan_of(asterisk)
    assert len(after) == len(before) + 1
    caller, member = await asterisk.phone("105"), await asterisk.phone("100")
    await (await caller.call("901").up()).hang_up()
    call = caller.call("900")
    ringing = await member.rung()
    ringing.answer()
    await call.up()

    async def served() -> bool:
        rows = await configured.rows("SELECT in_call FROM queue_members WHERE queue_name = 'fresh'")
        return [row["in_call"] for row in rows] == [1]

    await eventually(served, "the caller is served by the member of the new queue")
    await call.hang_up()
    await ringing.over()
    await ask(configured, "PUT", "/v1/admin/dialplan/sdps/internal", {"data": internal})
    assert await dialplan_of(asterisk) == before
    await ask(configured, "DELETE", "/v1/admin/queue/cfg_queues/fresh")
    await ask(configured, "DELETE", "/v1/manager/sdialplans/fresh")
    assert not [line for line in await asterisk.cli("queue show") if line.startswith("fresh ")]
    versions = (await get(configured, "/v1/admin/queue/configurations"))["list"]
    assert any("[fresh]" in version["data"] for version in versions if version["name"] != "queues.conf")


async def test_a_trunk_registers_at_a_second_asterisk(configured: Ledger, asterisk: Asterisk) -> None:
    beside = await Asterisk(asterisk.version, beside=asterisk).start()
    try:
        trunk = {"name": "beside", "hostname": beside.host, "username": "109", "password": "pw109"}
        await ask(configured, "POST", "/v1/manager/trunks", trunk)

        async def registered() -> bool:
            return bool((await get(configured, "/v1/manager/trunks/beside"))["status"] == "Registered")

        await eventually(registered, "the trunk is registered")
        assert [
            line for line in await beside.cli("pjsip show contacts") if f"109@{asterisk.host}" in line or "109/" in line
        ]
        assert (await get(configured, "/v1/manager/trunks/beside"))["password"] == "********"
        assert "pw109" in await text(asterisk, "pjsip.conf")
        leaks = await configured.rows("SELECT name FROM event WHERE position('pw109'::bytea IN raw) > 0")
        assert not leaks
        await ask(configured, "DELETE", "/v1/manager/trunks/beside")

        async def gone() -> bool:
            return not [line for line in await beside.cli("pjsip show contacts") if "109/" in line]

        await eventually(gone, "it is no longer registered")
        assert "beside" not in await text(asterisk, "pjsip.conf")
    finally:
        await beside.stop()


async def test_included_files_keep_their_sections(configured: Ledger, asterisk: Asterisk) -> None:
    await ask(configured, "POST", "/v1/manager/trunks", {"name": "more", "hostname": "127.0.0.1"})
    phones, main = await text(asterisk, "pjsip_phones.conf"), await text(asterisk, "pjsip.conf")
    assert "; One phone, its password and where it is registered, twelve times." in phones
    assert phones.count("[111]") == 3
    assert "[111]" not in main
    assert '#include "pjsip_phones.conf"' in main
    old = (await get(configured, PJSIP))["data"]
    assert old.count("[111]") == 3
    # A value changes in its place, a password that is masked stays.
    await ask(configured, "PUT", PJSIP, {"data": old.replace("Leo Lang", "Leo Long")})
    assert "Leo Long" in await text(asterisk, "pjsip_phones.conf")
    assert "password = pw111" in await text(asterisk, "pjsip_phones.conf")
    assert [line for line in await asterisk.cli("pjsip show endpoint 111") if "Leo Long" in line]
    phone = await asterisk.phone("111")
    assert await phone.register() == 200
    # Lines can not be added there, and nothing has changed then.
    before = [await text(asterisk, file) for file in ("pjsip.conf", "pjsip_phones.conf")]
    more = (await get(configured, PJSIP))["data"].replace("aors = 111", "aors = 111\nlanguage = de")
    words = await ask(configured, "PUT", PJSIP, {"data": more}, 409)
    assert words.startswith("[111] is in an included file")
    after = [await text(asterisk, file) for file in ("pjsip.conf", "pjsip_phones.conf")]
    assert [meaning_of(text) for text in after] == [meaning_of(text) for text in before]


async def test_lines_outside_their_section_stay(configured: Ledger, asterisk: Asterisk) -> None:
    """Asterisk would write a line of ``[101](+)`` below the last section of its own file."""
    add = "printf '\\n[101](+)\\nlanguage = de\\n' >> /etc/asterisk/pjsip.conf"
    await asterisk.shell("sh", "-c", add)
    await ask(configured, "DELETE", "/v1/manager/trunks/none", status=404)
    old = (await get(configured, PJSIP))["data"]
    assert "language = de" in old
    before = await text(asterisk, "pjsip.conf"), meaning_of(await text(asterisk, "pjsip_phones.conf"))
    refusal = "pjsip.conf has lines of [101] in another file than its section: write them into the section, without (+)"
    trunk = {"name": "more", "hostname": "127.0.0.1"}
    assert await ask(configured, "POST", "/v1/manager/trunks", trunk, 409) == refusal
    assert await ask(configured, "PUT", PJSIP, {"data": old.replace("Leo Lang", "Leo Long")}, 409) == refusal
    assert (await text(asterisk, "pjsip.conf"), meaning_of(await text(asterisk, "pjsip_phones.conf"))) == before
    assert meaning_of(await text(asterisk, "ringledger-rehearsal.conf")) == []


async def test_lines_of_included_files_move_once(configured: Ledger, asterisk: Asterisk) -> None:
    """An included file adds a line to a section of pjsip.conf. After the first change it is in that section.

    Asterisk 16 also keeps the line in the included file, and the response names that.
    """
    await asterisk.shell("sh", "-c", "printf '\\n[global](+)\\ndebug = no\\n' >> /etc/asterisk/pjsip_provider.conf")
    await ask(configured, "DELETE", "/v1/manager/trunks/none", status=404)
    old = (await get(configured, PJSIP))["data"]
    new = old.replace("Leo Lang", "Leo Long")
    words = await ask(configured, "PUT", PJSIP, {"data": new}, 502)
    moved, _, result = words.partition("; ")
    assert moved == "Asterisk has written lines of an included file of pjsip.conf into another section"
    main = await text(asterisk, "pjsip.conf")
    assert main.index("[global]") < main.index("debug = no") < main.index("[udp]")
    assert meaning_of(await text(asterisk, "ringledger-rehearsal.conf")) == []
    if asterisk.version == "16":
        assert result.startswith("and the former content could not be restored")
        return
    assert result == "the former content has been restored"
    assert "debug = no" not in await text(asterisk, "pjsip_provider.conf")
    assert sorted((await get(configured, PJSIP))["data"].splitlines()) == sorted(old.splitlines())
    await ask(configured, "PUT", PJSIP, {"data": new})
    assert [line for line in await asterisk.cli("pjsip show endpoint 111") if "Leo Long" in line]


def meaning_of(text: str) -> list[str]:
    """Return the lines with a meaning: Asterisk writes the time into a comment, and quotes what it includes."""
    return [line.replace('"', "") for line in text.splitlines() if line and not line.startswith(";!")]


async def test_a_change_that_asterisk_ignores_is_undone(configured: Ledger, asterisk: Asterisk) -> None:
    before = meaning_of(await text(asterisk, "pjsip.conf"))
    old = (await get(configured, PJSIP))["data"]
    bad = old + "\n[worse]\ntype = endpoint\nno_such_option = yes\n"
    words = await ask(configured, "PUT", PJSIP, {"data": bad}, 502)
    assert words == "Asterisk has read pjsip.conf, but there is no endpoint worse; the former content has been restored"
    assert meaning_of(await text(asterisk, "pjsip.conf")) == before
    assert (await get(configured, PJSIP))["data"] == old
    words = await ask(configured, "PUT", PJSIP, {"data": old.replace("dtmf_mode = info", "dtmf_mode = loud")}, 502)
    assert words.startswith("Asterisk does not accept the changed endpoint 100; its log has the reason; the former")
    assert meaning_of(await text(asterisk, "pjsip.conf")) == before
    assert not [line for line in await asterisk.cli("pjsip show endpoints") if "trial" in line]
    twice = {"name": "twice", "data": [{"exten": "> 1,1,Answer()"}, {"exten": "> 1,1,Hangup()"}]}
    words = await ask(configured, "POST", "/v1/manager/sdialplans", twice, 502)
    assert words.startswith("Asterisk has read extensions.conf, but context twice has 1 of its 2 priorities")
    with pytest.raises(AmiError, match="dialplan show twice"):
        await asterisk.cli("dialplan show twice")
    mistake = "[general]\nstatic = yes\n[internal]\nexten => 100,1,Answer(\n"
    assert "line 4" in await ask(configured, "PUT", DIALPLAN, {"data": mistake}, 400)


async def test_hard_values_and_long_sections(configured: Ledger, asterisk: Asterisk) -> None:
    hard = [
        '> 1,1,Set(A=a;b\\,c"d)',
        "> 1,2,NoOp(> ünï \t x)",
        "> 1,3,NoOp([x] #y = z => w)",
        "> 1,4,NoOp(" + 800 * "x" + ")",
    ]
    data = [{"exten": value} for value in hard] + [{"exten": f"> 2,{n},NoOp({n})"} for n in range(1, 201)]
    await ask(configured, "POST", "/v1/manager/sdialplans", {"name": "hard", "data": data})
    assert (await get(configured, "/v1/manager/sdialplans/hard"))["data"] == data
    shown = "\n".join(await asterisk.cli("dialplan show hard"))
    assert "Set(A=a;b" in shown
    assert "NoOp(200)" in shown
    await ask(configured, "PUT", "/v1/manager/sdialplans/hard", {"data": data[::-1][:100] + data[:4]}, 200)
    await ask(configured, "DELETE", "/v1/manager/sdialplans/hard")


async def test_templates(configured: Ledger, asterisk: Asterisk) -> None:
    old = (await get(configured, QUEUES))["data"]
    assert "[sales](queue)" in old
    assert old.count("servicelevel = 10") == 1
    new = (
        old.replace("servicelevel = 10", "servicelevel = 20") + "\n[more](!)\ntimeout = 7\n\n[heir](more)\nweight = 3\n"
    )
    await ask(configured, "PUT", QUEUES, {"data": new})
    assert (await get(configured, QUEUES))["data"] == new
    assert "[heir](more)" in await text(asterisk, "queues.conf")
    await ask(configured, "PUT", QUEUES, {"data": new.replace("timeout = 7", "timeout = 7\nretry = 2")})
    assert [line for line in await asterisk.cli("queue show heir") if line.startswith("heir ")]
    await ask(configured, "PUT", QUEUES, {"data": old})
    assert (await get(configured, QUEUES))["data"] == old


async def test_a_parking_lot(configured: Ledger, asterisk: Asterisk) -> None:
    lot = {"name": "fresh", "data": {"parkpos": "801-810", "context": "parkedfresh"}}
    await ask(configured, "POST", "/v1/admin/park/cfg_parkinglots", lot)
    await ask(configured, "PUT", "/v1/admin/park/parkinglots/fresh", {"parkpos": "> 801-820", "parkingtime": "7"})

    async def listed() -> bool:
        shown = "\n".join(await asterisk.cli("parking show fresh"))
        return "801-820" in shown and "7 sec" in shown

    await eventually(listed, "the lot is as it was asked for")
    await ask(configured, "DELETE", "/v1/admin/park/parkinglots/fresh")
    assert "fresh" not in await text(asterisk, "res_parking.conf")


async def test_an_edit_by_hand_is_noticed(configured: Ledger, asterisk: Asterisk) -> None:
    async with configured.client.get(QUEUES) as reply:
        tag = reply.headers["ETag"]
    await asterisk.shell("sh", "-c", "printf '[byhand]\\nstrategy = linear\\n' >> /etc/asterisk/queues.conf")
    async with configured.client.put(QUEUES, json={"data": "[general]\n"}, headers={"If-Match": tag}) as reply:
        assert reply.status == 409
        # Without a position the commander had read the file before the request, and the views show the edit.
        await shown(configured, int(reply.headers.get("X-Ledger-Position", 0)))
    assert "[byhand]" in (await get(configured, QUEUES))["data"]
