"""The rights of an AMI user in manager.conf of a real Asterisk, and Ringledger's warnings about them."""

from typing import Any

from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.ledger import Ledger
from tests.support.polling import eventually

USER = """
[{name}]
secret = {name}-secret
read = system,call,agent,user,reporting,cdr,dialplan
write = {write}
writetimeout = 5000
{more}
"""
ALL = "system,call,agent,reporting,originate,config"


async def user(asterisk: Asterisk, name: str, write: str, more: str = "") -> None:
    """Write a user into a file that manager.conf includes, and have Asterisk read it."""
    text = USER.format(name=name, write=write, more=more)
    file = f"/etc/asterisk/manager_{name}.conf"
    line = f"#include manager_{name}.conf"
    command = f"cat > {file} <<'END'\n{text}\nEND\ngrep -qF '{line}' /etc/asterisk/manager.conf || echo '{line}' >> "
    await asterisk.shell("sh", "-c", f"{command}/etc/asterisk/manager.conf")
    await asterisk.cli("module reload manager")


async def readyz(ledger: Ledger) -> dict[str, Any]:
    async with ledger.client.get("/readyz") as reply:
        body: dict[str, Any] = await reply.json()
        assert reply.status == 200, body
        return body


async def test_the_listener_has_the_only_session(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    await user(asterisk, "single", ALL, "allowmultiplelogin = no")
    ledger = await start_ledger(asterisk.host, user="single")
    await ledger.snapshot()

    async def named() -> bool:
        return any("allowmultiplelogin = no" in warning for warning in (await readyz(ledger))["warnings"])

    await eventually(named, "the commander's trouble is named")
    new = {"queue_name": "support", "location": "PJSIP/107"}
    async with ledger.client.post("/v1/admin/queue/members", json=new) as reply:
        assert reply.status == 503
        assert "allowmultiplelogin = no" in (await reply.json())["message"]
    shown = [line for line in await asterisk.cli("manager show connected") if line.split()[:1] == ["single"]]
    assert len(shown) == 1, shown
    assert await ledger.rows("SELECT FROM event WHERE name = 'LoginRefused'") == []
    await ledger.stop()


async def test_refused_lists_heal_after_a_manager_reload(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    await user(asterisk, "partial", "call")
    ledger = await start_ledger(asterisk.host, user="partial")
    await ledger.snapshot()
    link = (await readyz(ledger))["links"]["pbx"]
    assert link["healed"] is False
    assert {"CoreShowChannels", "Agents", "PJSIPShowEndpoints"} <= set(link["refused_lists"])
    assert "QueueStatus" not in link["refused_lists"]
    async with ledger.client.get("/v1/admin/core/channels") as reply:
        assert reply.headers["X-Ledger-Complete"] == "false"
    # A session keeps its classes, so that only a new login has those of the file.
    await user(asterisk, "partial", ALL)

    async def healed() -> bool:
        health = await readyz(ledger)
        return health["links"]["pbx"] == {"state": "up", "healed": True} and not health["warnings"]

    await eventually(healed, "all lists are allowed and answered")
    await ledger.stop()
