"""Secrets that an older listener stored in clear are masked everywhere, and no search confirms a guess."""

import io
import json
import time
from typing import Any

import pytest

from api.app_keys import CHECKPOINTS
from schemas.log import NewEvent
from services.transfer.export_ami import export_ami
from tests.support.api_client import Client
from tests.support.ledger import Ledger

PATH = "/v1/ledger/events"
CLEAR = "hunter2"
HEAD = "Channel: PJSIP/1\r\nUniqueid: 1.1\r\n"


def ami(name: str, headers: str) -> NewEvent:
    return NewEvent("ami", name, None, time.time(), f"Event: {name}\r\n{HEAD}{headers}\r\n\r\n".encode())


OLD = (
    ami("Newchannel", "Channel: PJSIP/1"),
    ami("VarSet", f"Variable: DB_PASSWORD\r\nValue: {CLEAR}"),
    ami("Newexten", f"Application: Set\r\nAppData: DB_PASSWORD={CLEAR}"),
    ami("UserEvent", f"UserEvent: x\r\nPinChannel: {CLEAR}\r\nCookie: {CLEAR}"),
    NewEvent("ari", "ChannelVarset", None, time.time(), b'{"variable":"API_KEY","value":"%b"}' % CLEAR.encode()),
    NewEvent("ringledger", "Odd", time.time(), time.time(), b'{"type":"Odd","pwd":"%b"}' % CLEAR.encode()),
    NewEvent("cdr_csv", "Cdr", time.time(), time.time(), b'"","Authenticate","%b"\n' % CLEAR.encode()),
)


async def get(client: Client, path: str, **query: Any) -> str:
    reply = await client.get(path, params=query)
    text = await reply.text()
    assert reply.status == 200, text
    assert CLEAR not in text
    return text


async def test_events_of_an_older_log_are_masked(client: Client, ledger: Ledger) -> None:
    last = await ledger.write(*OLD)
    events = json.loads(await get(client, PATH, after=last - len(OLD)))["events"]
    assert len(events) == len(OLD)
    assert [event.get("masked", False) for event in events] == [False, *[True] * (len(OLD) - 1)]
    for event in events[1:]:
        detail = json.loads(await get(client, f"{PATH}/{event['position']}"))
        assert detail["proof"]["check"].endswith("ringledger verify.")
    await get(client, PATH, format="ndjson")


@pytest.mark.parametrize("kind", ["channel", "uniqueid", "linkedid"])
async def test_a_search_does_not_match_masked_values(client: Client, ledger: Ledger, kind: str) -> None:
    await ledger.write(*OLD)
    assert json.loads(await get(client, PATH, **{kind: CLEAR}))["events"] == []
    assert len(json.loads(await get(client, PATH, channel="PJSIP/1", pbx="pbx"))["events"]) == 4


async def test_views_and_explanations_mask_older_logs(client: Client, ledger: Ledger) -> None:
    last = await ledger.write(*OLD)
    await client.app[CHECKPOINTS].wait_folded(("channels",), last)
    detail = json.loads(await get(client, "/v1/admin/core/channels/1.1"))["result"]
    assert detail["variables"] == {"DB_PASSWORD": "********"}
    assert (detail["application"], detail["application_data"]) == ("Set", "DB_PASSWORD=********")
    explanation = json.loads(await get(client, "/v1/ledger/explain", model="channels", key='["1.1"]'))
    assert explanation["row"]["application_data"] == "DB_PASSWORD=********"


async def test_an_ami_export_is_masked(url: str, ledger: Ledger) -> None:
    await ledger.write(*OLD)
    out = io.BytesIO()
    assert await export_ami(url, "pbx", out) == 4
    assert CLEAR.encode() not in out.getvalue()
    assert out.getvalue().count(b"********") == 4
