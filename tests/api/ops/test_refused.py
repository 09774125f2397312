"""Logins and lists that Asterisk refuses, in `/readyz`, the status and the headers."""

from typing import Any

from api.app_keys import CHECKPOINTS
from schemas.log import (
    Connected,
    LoginRefused,
    Minute,
    RingledgerEvent,
    SnapshotCompleted,
    SnapshotListed,
    SnapshotStarted,
)
from schemas.refusals import IN_USE, UNAUTHENTICATED, refused_files
from schemas.settings import Pbx
from services.commander.link import ONE_SESSION
from tests.support.api_client import Client, Serve
from tests.support.ledger import Ledger

LIST = SnapshotListed(5, "CoreShowChannels", "refused", "Permission denied")


async def readyz(client: Client, ledger: Ledger, *events: RingledgerEvent) -> tuple[int, dict[str, Any]]:
    """Append events of the PBX ``pbx``, wait for the fold, and return status and body of `/readyz`."""
    position = await ledger.write(*events)
    await client.app[CHECKPOINTS].wait_folded(("links",), position)
    reply = await client.get("/readyz", headers={"Authorization": ""})
    return reply.status, await reply.json()


async def test_readyz_names_refused_lists_and_stays_200(client: Client, ledger: Ledger) -> None:
    status, body = await readyz(
        client, ledger, Connected("a:1"), SnapshotStarted(5), LIST, SnapshotCompleted(5), Minute(60, "up", 1)
    )
    assert (status, body["reasons"]) == (200, [])
    refused = {"CoreShowChannels": "Permission denied"}
    assert body["links"]["pbx"] == {"state": "up", "healed": False, "refused_lists": refused}
    (warning,) = body["warnings"]
    for part in ("PBX pbx", "CoreShowChannels", "Permission denied", "channels", "system or reporting in write"):
        assert part in warning
    reply = await client.get("/v1/admin/core/channels")
    assert reply.headers["X-Ledger-Complete"] == "false"
    state = (await (await client.get("/v1/ledger/status")).json())["pbx"]["pbx"]
    assert (state["failed_lists"], state["refused_lists"], state["complete"]) == ([], refused, False)


async def test_readyz_names_no_list_that_is_allowed_again(client: Client, ledger: Ledger) -> None:
    lists = (SnapshotListed(6, "CoreShowChannels", "complete"), SnapshotCompleted(6), Minute(60, "up", 1))
    events = (Connected("a:1"), SnapshotStarted(5), LIST, SnapshotCompleted(5), SnapshotStarted(6), *lists)
    _, body = await readyz(client, ledger, *events)
    assert (body["links"]["pbx"], body["warnings"]) == ({"state": "up", "healed": True}, [])
    assert (await client.get("/v1/admin/core/channels")).headers["X-Ledger-Complete"] == "true"


async def test_readyz_is_503_while_the_login_is_refused(client: Client, ledger: Ledger) -> None:
    status, body = await readyz(client, ledger, LoginRefused("a:1", IN_USE))
    (reason,) = body["reasons"]
    assert status == 503
    assert "PBX pbx" in reason
    assert "allowmultiplelogin" in reason
    status, body = await readyz(client, ledger, Connected("a:1"))
    assert (status, body["reasons"]) == (200, [])


async def test_readyz_names_settings_for_a_wrong_secret(serve: Serve, ledger: Ledger) -> None:
    client = await serve(ami=(Pbx("pbx", "a", 5038, "lab", "wrong"),))
    row = "INSERT INTO ledger.commander VALUES ('pbx', now(), 'down', $1)"
    await ledger.connection.execute(row, ONE_SESSION)
    status, body = await readyz(client, ledger, LoginRefused("a:1", UNAUTHENTICATED))
    reason = (
        "PBX pbx: Asterisk refuses the login of lab (Authentication failed): check user and secret in RINGLEDGER_AMI"
        " and in manager.conf, and its permit lines"
    )
    assert (status, body["reasons"], body["warnings"]) == (503, [reason], [])


async def test_readyz_ignores_a_refused_login_without_a_listener(client: Client, ledger: Ledger) -> None:
    """A PBX that was removed from the settings keeps the refused state, because no listener updates it."""
    assert (await readyz(client, ledger, LoginRefused("a:1", "Authentication failed")))[0] == 503
    await ledger.connection.execute("UPDATE model.links SET tm_update = tm_update - interval '1 hour'")
    await client.app[CHECKPOINTS].refresh()
    assert (await client.get("/readyz")).status == 200


async def test_readyz_warns_of_a_commander_without_a_session(client: Client, ledger: Ledger) -> None:
    row = "INSERT INTO ledger.commander VALUES ($1, now() - make_interval(secs => $2), $3, $4)"
    unreadable = refused_files(["pjsip.conf"])
    rows = (
        ("a", 0, "down", ONE_SESSION),
        ("b", 3600, "down", "long ago"),
        ("c", 0, "up", ""),
        ("d", 0, "up", unreadable),
    )
    for values in rows:
        await ledger.connection.execute(row, *values)
    status, body = await readyz(client, ledger, Minute(60, "up", 1))
    assert (status, body["warnings"]) == (200, [f"PBX a: no act reaches it: {ONE_SESSION}", f"PBX d: {unreadable}"])
