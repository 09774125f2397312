"""One user calls another through the API: both phones ring, and they talk."""

from typing import Any

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CHANNELS, agree
from tests.support.api_client import bearer, log_in
from tests.support.polling import eventually
from tests.support.users import create_contact, create_user, error_message

PATH = "/v1/me/calls"

# No Newexten reports an application that no dialplan runs (pbx_exec in pbx.c), only the next snapshot does.
UNTOLD = ("channels.application", "channels.data")


async def user(ledger: Ledger, name: str, target: str) -> tuple[str, dict[str, str]]:
    """Make a user with that phone, once for the run; return the uuid and the headers of a login."""
    uuid = await create_user(ledger.client, name, "user", name=name.title())
    await create_contact(ledger.client, uuid, target)
    return uuid, bearer(await log_in(ledger.client, name))


async def test_both_phones_ring_and_talk(ledger: Ledger, asterisk: Asterisk) -> None:
    alice, bob = await asterisk.phone("100"), await asterisk.phone("101")
    _, token = await user(ledger, "alice", "100")
    called, _ = await user(ledger, "bob", "101")
    await ledger.caught_up(asterisk)
    info: Any = await (await ledger.client.get("/v1/me/info", headers=token)).json()
    mine = info["result"]["contacts"][0]["info"]
    assert (mine["id"], mine["password"]) == ("100", "********")
    assert mine["public_url"] == f"sip:100@{asterisk.host}"
    assert mine["device_state"] == "Not in use"

    reply = await ledger.client.post(PATH, json={"uuid_user": called}, headers=token)
    assert reply.status == 200, await reply.text()
    mine = await alice.rung()
    mine.answer()
    his = await bob.rung()
    assert '"Alice" <sip:100@' in his.remote
    his.answer()

    async def bridged() -> bool:
        rows = (await CHANNELS.asterisk(asterisk)).values()
        bridges = [row[9] for row in rows]
        return len(bridges) == 2 and bool(bridges[0]) and bridges[0] == bridges[1]

    await eventually(bridged, "both are in one bridge")
    tables = await agree(ledger, asterisk, "talking", untold=UNTOLD)
    assert len({row[9] for row in tables["channels"].values()}) == 1
    await mine.hang_up()
    assert await his.over() == 200
    tables = await agree(ledger, asterisk, "ended")
    assert tables["channels"] == {}


async def test_a_call_that_is_not_taken_ends(ledger: Ledger, asterisk: Asterisk) -> None:
    carol, dave = await asterisk.phone("102"), await asterisk.phone("103")
    _, token = await user(ledger, "carol", "102")
    called, _ = await user(ledger, "dave", "103")
    await ledger.caught_up(asterisk)
    assert (await ledger.client.post(PATH, json={"uuid_user": called}, headers=token)).status == 200
    mine = await carol.rung()
    mine.answer()
    his = await dave.rung()
    his.refuse()
    await mine.over()
    tables = await agree(ledger, asterisk, "ended")
    assert tables["channels"] == {}


async def test_whom_asterisk_does_not_have_is_not_called(ledger: Ledger, asterisk: Asterisk) -> None:
    await ledger.caught_up(asterisk)
    _, token = await user(ledger, "erin", "104")
    called, _ = await user(ledger, "nobody", "no-such")
    assert await error_message(await ledger.client.post(PATH, json={"uuid_user": called}, headers=token), 404)
