"""The proof of an event, checked from the response alone."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from schemas.log import NewEvent
from services.retention.redact import redact
from services.retention.redact_pattern import RedactionPattern
from tests.support.api_client import Client, RecordedApi, Serve, serve_as_admin
from tests.support.ledger import Ledger

PATH = "/v1/ledger/events"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def get_proof(client: Client, position: int) -> dict[str, Any]:
    reply = await client.get(f"{PATH}/{position}")
    assert reply.status == 200
    body: dict[str, Any] = await reply.json()
    assert body["event"]["position"] == position
    return body


def microseconds(text: str | None) -> str:
    return "" if text is None else str((datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1))


def leaf(event: dict[str, Any], salt: str) -> str:
    raw = event["raw"].encode() if event["encoding"] == "utf-8" else base64.b64decode(event["raw"])
    fields = [microseconds(event["occurred"]), microseconds(event["recorded"]), event["source"], event["name"]]
    return sha256(bytes.fromhex(salt) + "".join(f"{one}\0" for one in fields).encode() + raw).hexdigest()


def link(batch: dict[str, Any]) -> str:
    times = [microseconds(batch[name]) for name in ("appended", "earliest")]
    pbx = batch["pbx"].encode()
    fields = [*(str(batch[name]) for name in ("first", "last", "connection", "ordinal")), *times, str(len(pbx))]
    leaves = bytes.fromhex("".join(batch["leaves"]))
    return sha256(bytes.fromhex(batch["previous"]) + " ".join(fields).encode() + b" " + pbx + leaves).hexdigest()


def check(body: dict[str, Any]) -> None:
    event, proof = body["event"], body["proof"]
    batch = proof["batch"]
    assert batch["first"] <= event["position"] <= batch["last"]
    assert len(batch["leaves"]) == batch["last"] - batch["first"] + 1
    assert proof["leaf"] == batch["leaves"][event["position"] - batch["first"]]
    leaves = [proof["leaf"], *(change["after"] for change in proof["redacted"])]
    assert [change["before"] for change in proof["redacted"]] == leaves[:-1]
    if "masked" not in event:
        assert leaf(event, proof["salt"]) == leaves[-1]
    assert link(batch) == batch["hash"]
    assert (event["pbx"], event["appended"]) == (batch["pbx"], batch["appended"])
    assert event["ordinal"] == batch["ordinal"] + event["position"] - batch["first"]
    assert proof["check"].startswith("Times are microseconds")


async def test_every_batch_up_to_the_head_is_proved(recorded: RecordedApi) -> None:
    position, before, batches = 1, "00" * 32, 0
    while True:
        body = await get_proof(recorded.client, position)
        check(body)
        batch, head = body["proof"]["batch"], body["proof"]["head"]
        assert (batch["first"], batch["previous"]) == (position, before)
        position, before, batches = batch["last"] + 1, batch["hash"], batches + 1
        if batch["last"] == head["position"]:
            break
    assert before == head["hash"]
    assert batches > 15


@pytest.mark.parametrize("position", [1, 2, 4096, 4097, 5000, 70_001])
async def test_a_proof_has_the_event_of_the_list(recorded: RecordedApi, position: int) -> None:
    body = await get_proof(recorded.client, position)
    check(body)
    reply = await recorded.client.get(PATH, params={"after": position - 1, "limit": 1})
    assert body["event"] == (await reply.json())["events"][0]


async def test_a_forged_event_fails_the_proof(recorded: RecordedApi) -> None:
    body = await get_proof(recorded.client, 5000)
    for name, value in (
        ("name", "Hangup2"),
        ("source", "ari"),
        ("occurred", None),
        ("recorded", "2026-01-01T00:00:00Z"),
    ):
        assert leaf({**body["event"], name: value}, body["proof"]["salt"]) != body["proof"]["leaf"]
    assert link({**body["proof"]["batch"], "ordinal": 2}) != body["proof"]["batch"]["hash"]


async def test_odd_bytes_are_proved_and_masked_ones_not(serve: Serve, ledger: Ledger) -> None:
    client = await serve_as_admin(serve)
    odd = [b"\0\xff\xfe", b"", "Event: Ö\r\n\r\n".encode()]
    events = [NewEvent("ami", "Né\n x", at, time.time(), raw) for raw in odd for at in (None, 0.000_001)]
    last = await ledger.write(*events, pbx="b ü")
    for position in range(last - len(events) + 1, last + 1):
        check(await get_proof(client, position))
    users = await client.get(PATH, params={"name": "UserCreated"})
    event = (await users.json())["events"][0]
    password_hash = await ledger.connection.fetchval("SELECT password_hash FROM users")
    assert event["headers"]["password_hash"] == "********"
    body = await get_proof(client, event["position"])
    assert (body["event"], body["event"]["masked"]) == (event, True)
    assert password_hash not in await (await client.get(f"{PATH}/{event['position']}")).text()
    assert leaf(event, body["proof"]["salt"]) != body["proof"]["leaf"]
    assert body["proof"]["check"].endswith("ringledger verify.")
    check(body)


async def test_a_proof_names_the_redactions_of_its_event(serve: Serve, ledger: Ledger, url: str) -> None:
    client = await serve_as_admin(serve)
    raw = b"Event: Newchannel\r\nCallerIDNum: 5551234\r\nCallerIDName: Jane Roe\r\n\r\n"
    position = await ledger.write(NewEvent("ami", "Newchannel", None, time.time(), raw))
    sealed = (await get_proof(client, position))["proof"]
    assert sealed["redacted"] == []
    await redact(url, RedactionPattern("number", "5551234"), "redacted-gggggggggggg")
    await redact(url, RedactionPattern("text", "Jane Roe"), "redacted-hhhhhhhhhhhh")
    body = await get_proof(client, position)
    check(body)
    assert "redacted-gggggggggggg" in body["event"]["raw"]
    assert "redacted-hhhhhhhhhhhh" in body["event"]["raw"]
    proof = body["proof"]
    assert (proof["leaf"], proof["batch"]) == (sealed["leaf"], sealed["batch"])
    assert len({sealed["salt"], proof["salt"]}) == 2
    assert "This event was redacted" in proof["check"]
    for change in proof["redacted"]:
        redaction = await get_proof(client, change["by"])
        check(redaction)
        assert [position, change["before"], change["after"]] in json.loads(redaction["event"]["raw"])["changes"]
    assert len(proof["redacted"]) == 2
    with pytest.raises(AssertionError):
        check({**body, "proof": {**proof, "redacted": []}})


@pytest.mark.parametrize(
    ("position", "status"),
    [
        ("0", 404),
        ("999999999", 404),
        ("9223372036854775807", 404),
        ("9223372036854775808", 404),
        ("9" * 40, 404),
        ("9" * 41, 400),
        ("-1", 400),
        ("1.5", 400),
        ("x", 400),
        ("%C2%B2", 400),
        ("%00", 400),
        ("1%2F2", 400),
        ("1?limit=5", 400),
    ],
)
async def test_a_position_outside_the_log_is_refused(recorded: RecordedApi, position: str, status: int) -> None:
    reply = await recorded.client.get(f"{PATH}/{position}")
    body = await reply.json()
    assert (reply.status, body["statuscode"]) == (status, status)
    assert body["message"]
