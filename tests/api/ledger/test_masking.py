"""Secrets that an older listener left in clear are shown nowhere, and no search confirms a guess of one."""

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


async def test_events_of_an_older_log_are_shown_masked(client: Client, ledger: Ledger) -> None:
    last = await ledger.write(*OLD)
    found = json.loads(await get(client, PATH, after=last - len(OLD)))["events"]
    assert len(found) == len(OLD)
    assert [event.get("masked", False) for event in found] == [False, *[True] * (len(OLD) - 1)]
    for event in found[1:]:
        one = json.loads(await get(client, f"{PATH}/{event['position']}"))
        assert one["proof"]["check"].endswith("ringledger verify.")
    await get(client, PATH, format="ndjson")


@pytest.mark.parametrize("kind", ["channel", "uniqueid", "linkedid"])
async def test_a_search_finds_nothing_that_is_masked(client: Client, ledger: Ledger, kind: str) -> None:
    await ledger.write(*OLD)
    assert json.loads(await get(client, PATH, **{kind: CLEAR}))["events"] == []
    assert len(json.loads(await get(client, PATH, channel="PJSIP/1", pbx="pbx"))["events"]) == 4


async def test_views_and_stories_of_an_older_log_are_masked(client: Client, ledger: Ledger) -> None:
    last = await ledger.write(*OLD)
    await client.app[CHECKPOINTS].wait_folded(("channels",), last)
    detail = json.loads(await get(client, "/v1/admin/core/channels/1.1"))["result"]
    assert detail["variables"] == {"DB_PASSWORD": "********"}
    assert (detail["application"], detail["application_data"]) == ("Set", "DB_PASSWORD=********")
    story = json.loads(await get(client, "/v1/ledger/explain", model="channels", key='["1.1"]'))
    assert story["row"]["application_data"] == "DB_PASSWORD=********"


async def test_an_export_of_ami_is_masked(url: str, ledger: Ledger) -> None:
    await ledger.write(*OLD)
    out = io.BytesIO()
    assert await export_ami(url, "pbx", out) == 4
    assert CLEAR.encode() not in out.getvalue()
    assert out.getvalue().count(b"********") == 4
