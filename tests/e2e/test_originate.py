"""The act channel.originate at a real Asterisk; what asks for it through the API is another test's."""

import time
import uuid
from typing import Any

import msgspec
import pytest

from schemas.acts import ActRequested, builtins
from schemas.acts.channel import ChannelOriginate
from schemas.log import NewEvent
from services.database.notify import notify_commander
from services.log.append import append_events
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.truth import CHANNELS, agree
from tests.support.polling import eventually

ENDED = "SELECT state, reason, message FROM acts WHERE id = $1 AND state NOT IN ('requested', 'sent')"
INJECTED = "SELECT count(*) FROM event WHERE name = 'UserEvent' AND convert_from(raw, 'UTF8') LIKE '%Injected%'"


async def order(ledger: Ledger, **call: Any) -> tuple[str, str, str]:
    """Have it called, and return how that went."""
    act_id, now = str(uuid.uuid4()), time.time()
    requested = ActRequested(act_id, builtins(ChannelOriginate(**call)))
    event = NewEvent("ringledger", "ActRequested", now, now, msgspec.json.encode(requested))
    await append_events(ledger.connection, "pbx", time.time_ns(), 1, [event])
    await notify_commander(ledger.connection, "pbx")
    (row,) = await eventually(lambda: ledger.rows(ENDED, act_id), "the act has ended")
    return row["state"], row["reason"], row["message"]


VALUES = {"PLAIN": "two words", "HARD": 'a,b="c" (d) [e] \\f;g=${h}', "_KEPT": "ü: 1"}


async def test_a_called_phone_continues_in_the_dialplan(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("100")
    call = {"channel": "PJSIP/100", "context": "internal", "exten": "504", "caller_id": "Zoë <999>"}
    done = await order(ledger, **call, account="sales", variables=VALUES)
    assert done == ("succeeded", "", "")
    ringing = await phone.rung()
    tables = await agree(ledger, asterisk, "ringing")
    (row,) = tables["channels"].values()
    assert (row[4], row[8]) == ("Ringing", "sales")
    ringing.answer()

    async def echoes() -> list[tuple[Any, ...]]:
        return [row for row in (await CHANNELS.asterisk(asterisk)).values() if row[5] == "Echo"]

    ((name, *_),) = await eventually(echoes, "the phone hears its echo")
    for variable, value in VALUES.items():
        got = dict(await asterisk.ami.act("Getvar", Channel=name, Variable=variable.lstrip("_")))
        assert got["Value"] == value
    number = dict(await asterisk.ami.act("Getvar", Channel=name, Variable="CALLERID(all)"))
    assert number["Value"] == '"Zoë" <999>'
    tables = await agree(ledger, asterisk, "answered")
    assert [row[2] for row in tables["channels"].values()] == ["504"]
    await ringing.hang_up()
    await agree(ledger, asterisk, "ended")


async def test_an_originate_times_out(ledger: Ledger, asterisk: Asterisk) -> None:
    phone = await asterisk.phone("100")
    assert (await order(ledger, channel="PJSIP/100", context="internal", exten="504", timeout=700))[0] == "succeeded"
    assert await (await phone.rung()).over() == 487
    assert (await agree(ledger, asterisk, "given up"))["channels"] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"exten": "504\r\n\r\nAction: UserEvent\r\nUserEvent: Injected"},
        {"variables": {"X": "1\r\n\r\nAction: UserEvent\r\nUserEvent: Injected"}},
        {"variables": {"SHELL(touch /tmp/x)": "1"}},
        {"variables": {"X": "x" * 1000}},
    ],
    ids=["exten", "value", "function", "long"],
)
async def test_an_invalid_originate_is_not_sent(ledger: Ledger, asterisk: Asterisk, wrong: dict[str, Any]) -> None:
    call = {"channel": "Local/answer@local", "context": "internal", "exten": "504", **wrong}
    state, reason, _ = await order(ledger, **call)
    assert (state, reason) == ("failed", "invalid")
    assert (await agree(ledger, asterisk, "nobody was called"))["channels"] == {}
    (row,) = await ledger.rows(INJECTED)
    assert row["count"] == 0


async def test_an_impossible_originate_is_refused(ledger: Ledger, asterisk: Asterisk) -> None:
    state, reason, message = await order(ledger, channel="nothing", context="internal", exten="504")
    assert (state, reason, bool(message)) == ("failed", "refused", True)
    assert (await agree(ledger, asterisk, "nobody was called"))["channels"] == {}
