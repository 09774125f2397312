"""An event's proof, checked by somebody who has nothing but the answer."""

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
from tests.support.api_client import Client, RecordedApi, Serve, admin_token
from tests.support.ledger import Ledger

PATH = "/v1/ledger/events"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def proved(client: Client, position: int) -> dict[str, Any]:
    reply = await client.get(f"{PATH}/{position}")
    assert reply.status == 200
    found: dict[str, Any] = await reply.json()
    assert found["event"]["position"] == position
    return found


def microseconds(text: str | None) -> str:
    return "" if text is None else str((datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1))


def leaf(event: dict[str, Any], salt: str) -> str:
    raw = event["raw"].encode() if event["encoding"] == "utf-8" else base64.b64decode(event["raw"])
    said = [microseconds(event["occurred"]), microseconds(event["recorded"]), event["source"], event["name"]]
    return sha256(bytes.fromhex(salt) + "".join(f"{one}\0" for one in said).encode() + raw).hexdigest()


def link(batch: dict[str, Any]) -> str:
    times = [microseconds(batch[name]) for name in ("appended", "earliest")]
    pbx = batch["pbx"].encode()
    said = [*(str(batch[name]) for name in ("first", "last", "connection", "ordinal")), *times, str(len(pbx))]
    leaves = bytes.fromhex("".join(batch["leaves"]))
    return sha256(bytes.fromhex(batch["previous"]) + " ".join(said).encode() + b" " + pbx + leaves).hexdigest()


def check(found: dict[str, Any]) -> None:
    event, proof = found["event"], found["proof"]
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


async def test_every_batch_is_proved_from_the_first_to_the_head(recorded: RecordedApi) -> None:
    position, before, batches = 1, "00" * 32, 0
    while True:
        found = await proved(recorded.client, position)
        check(found)
        batch, head = found["proof"]["batch"], found["proof"]["head"]
        assert (batch["first"], batch["previous"]) == (position, before)
        position, before, batches = batch["last"] + 1, batch["hash"], batches + 1
        if batch["last"] == head["position"]:
            break
    assert before == head["hash"]
    assert batches > 15


@pytest.mark.parametrize("position", [1, 2, 4096, 4097, 5000, 70_001])
async def test_an_event_is_the_one_of_the_list_with_its_proof(recorded: RecordedApi, position: int) -> None:
    found = await proved(recorded.client, position)
    check(found)
    listed = await recorded.client.get(PATH, params={"after": position - 1, "limit": 1})
    assert found["event"] == (await listed.json())["events"][0]


async def test_a_forged_event_does_not_prove(recorded: RecordedApi) -> None:
    found = await proved(recorded.client, 5000)
    for name, value in (
        ("name", "Hangup2"),
        ("source", "ari"),
        ("occurred", None),
        ("recorded", "2026-01-01T00:00:00Z"),
    ):
        assert leaf({**found["event"], name: value}, found["proof"]["salt"]) != found["proof"]["leaf"]
    assert link({**found["proof"]["batch"], "ordinal": 2}) != found["proof"]["batch"]["hash"]


async def test_odd_bytes_prove_and_masked_ones_say_that_they_do_not(serve: Serve, ledger: Ledger) -> None:
    client = await serve()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    odd = [b"\0\xff\xfe", b"", "Event: Ö\r\n\r\n".encode()]
    said = [NewEvent("ami", "Né\n x", at, time.time(), raw) for raw in odd for at in (None, 0.000_001)]
    last = await ledger.write(*said, pbx="b ü")
    for position in range(last - len(said) + 1, last + 1):
        check(await proved(client, position))
    users = await client.get(PATH, params={"name": "UserCreated"})
    event = (await users.json())["events"][0]
    kept = await ledger.connection.fetchval("SELECT password_hash FROM users")
    assert event["headers"]["password_hash"] == "********"
    found = await proved(client, event["position"])
    assert (found["event"], found["event"]["masked"]) == (event, True)
    assert kept not in await (await client.get(f"{PATH}/{event['position']}")).text()
    assert leaf(event, found["proof"]["salt"]) != found["proof"]["leaf"]
    assert found["proof"]["check"].endswith("ringledger verify.")
    check(found)


async def test_a_redacted_event_is_proved_as_it_is_and_says_by_what(serve: Serve, ledger: Ledger, url: str) -> None:
    client = await serve()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    raw = b"Event: Newchannel\r\nCallerIDNum: 5551234\r\nCallerIDName: Jane Roe\r\n\r\n"
    position = await ledger.write(NewEvent("ami", "Newchannel", None, time.time(), raw))
    sealed = (await proved(client, position))["proof"]
    assert sealed["redacted"] == []
    await redact(url, RedactionPattern("number", "5551234"), "redacted-gggggggggggg")
    await redact(url, RedactionPattern("text", "Jane Roe"), "redacted-hhhhhhhhhhhh")
    found = await proved(client, position)
    check(found)
    assert "redacted-gggggggggggg" in found["event"]["raw"]
    assert "redacted-hhhhhhhhhhhh" in found["event"]["raw"]
    proof = found["proof"]
    assert (proof["leaf"], proof["batch"]) == (sealed["leaf"], sealed["batch"])
    assert len({sealed["salt"], proof["salt"]}) == 2
    assert "This event was redacted" in proof["check"]
    for change in proof["redacted"]:
        said = await proved(client, change["by"])
        check(said)
        assert [position, change["before"], change["after"]] in json.loads(said["event"]["raw"])["changes"]
    assert len(proof["redacted"]) == 2
    with pytest.raises(AssertionError):
        check({**found, "proof": {**proof, "redacted": []}})


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
async def test_what_is_no_position_of_the_log(recorded: RecordedApi, position: str, status: int) -> None:
    reply = await recorded.client.get(f"{PATH}/{position}")
    body = await reply.json()
    assert (reply.status, body["statuscode"]) == (status, status)
    assert body["message"]
