"""From a request to the commander and back: the responses to acts in jade."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from schemas.acts import ActSent
from services.commander.commander import Commander
from services.commands import act as acting
from services.commands import commander_presence as commanders
from services.database.pool import Pool
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.fake_ami import FakeAmi, block
from tests.support.ledger import Ledger
from tests.support.polling import eventually
from tests.support.users import events_named

PATH = "/v1/admin/core/channels/1.1"
NEW = block(
    "Event: Newchannel",
    "Channel: PJSIP/100-00000001",
    "ChannelState: 6",
    "ChannelStateDesc: Up",
    "Uniqueid: 1.1",
    "Linkedid: 1.1",
)


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve_as_admin(serve)
    await ledger.write(NEW)

    async def there() -> bool:
        return (await client.get(PATH)).status == 200

    await eventually(there, "the channel is in the view")
    return client


Answer = Callable[[dict[str, str]], bytes]


def saying(*lines: str) -> Answer:
    return lambda action: block(lines[0], f"ActionID: {action['ActionID']}", *lines[1:])


@pytest.fixture
async def ami(ledger: Ledger) -> AsyncIterator[FakeAmi]:
    """A PBX with a commander; the PBX accepts a hangup unless a test sets another reply."""
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        fake.replies["Hangup"] = saying("Response: Success", "Message: Channel Hungup")
        running = asyncio.create_task(Commander(fake.pbx(), ledger.url).run(stop))
        yield fake
        stop.set()
        await running


async def test_an_act_is_answered_when_it_is_done(client: Client, ledger: Ledger, ami: FakeAmi) -> None:
    reply = await client.delete(PATH, headers={"X-Request-Id": "mine"})
    assert reply.status == 200
    assert (await reply.json()).keys() == {"api_ver", "statuscode", "timestamp"}
    assert [action["Channel"] for action in ami.actions_named("Hangup")] == ["PJSIP/100-00000001"]
    (requested,) = await events_named(ledger, "ActRequested")
    admin = await ledger.connection.fetchval("SELECT uuid FROM users")
    assert (requested["actor"], requested["dialect"], requested["request"]) == (admin, "jade", "mine")
    row = await ledger.connection.fetchrow("SELECT * FROM acts")
    assert (row["state"], row["act"], row["pbx"]) == ("succeeded", "channel.hangup", "pbx")
    assert reply.headers["X-Ledger-Position"] == str(row["position"])
    assert reply.headers["X-Request-Id"] == "mine"


@pytest.mark.parametrize(
    ("words", "status"), [("No such channel", 404), ("Permission denied", 502), ("Out of luck", 502)]
)
async def test_asterisks_refusal(client: Client, ledger: Ledger, ami: FakeAmi, words: str, status: int) -> None:
    ami.replies["Hangup"] = saying("Response: Error", f"Message: {words}")
    reply = await client.delete(PATH)
    body = await reply.json()
    assert (reply.status, body["statuscode"], body["message"]) == (status, status, words)
    assert body["position"] == await ledger.connection.fetchval("SELECT requested FROM acts")


async def test_a_hangup_of_a_missing_channel_is_404(client: Client, ledger: Ledger, ami: FakeAmi) -> None:
    assert (await client.delete("/v1/admin/core/channels/9.9")).status == 404
    assert await events_named(ledger, "ActRequested") == []
    assert ami.actions_named("Hangup") == []


SHOW = "INSERT INTO ledger.commander VALUES ('pbx', now() - make_interval(secs => $1), 'up', '')"


async def served(_pool: Pool, _pbx: str) -> bool:
    """Pretend that a commander is present for the check, and ends after it."""
    return True


async def test_a_sent_act_without_outcome_is_504(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = acting._append

    async def sent(*arguments: Any) -> acting.RequestedAct:
        requested = await append(*arguments)
        await ledger.write(ActSent(requested.id))
        return requested

    monkeypatch.setattr(acting, "OUTCOME_SECONDS", 0.3)
    monkeypatch.setattr(acting, "is_served", served)
    monkeypatch.setattr(acting, "_append", sent)
    reply = await client.delete(PATH)
    body = await reply.json()
    at = await ledger.connection.fetchval("SELECT position FROM event WHERE name = 'ActRequested'")
    assert (reply.status, body["statuscode"], body["position"]) == (504, 504, at)
    assert reply.headers["X-Ledger-Position"] == str(at)


@pytest.mark.parametrize("seconds", [None, 3600.0])
async def test_an_act_without_a_commander_is_not_recorded(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    monkeypatch.setattr(commanders, "START_SECONDS", 0.0)
    if seconds is not None:
        await ledger.connection.execute(SHOW, seconds)
    for headers in ({}, {"Idempotency-Key": "once"}, {"Idempotency-Key": "once"}):
        reply = await client.delete(PATH, headers=headers)
        assert (reply.status, "Retry-After" in reply.headers) == (503, True)
        message = (await reply.json())["message"]
        assert message.startswith("no commander serves the PBX pbx: ")
        assert message.endswith("the request was not recorded")
    assert await events_named(ledger, "ActRequested") == []


async def test_a_refused_act_may_be_repeated_by_key(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "once"}
    with monkeypatch.context() as patch:
        patch.setattr(commanders, "START_SECONDS", 0.0)
        assert (await client.delete(PATH, headers=headers)).status == 503
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        fake.replies["Hangup"] = saying("Response: Success", "Message: Channel Hungup")
        running = asyncio.create_task(Commander(fake.pbx(), ledger.url).run(stop))
        assert (await client.delete(PATH, headers=headers)).status == 200
        stop.set()
        await running
        await ledger.connection.execute("DELETE FROM ledger.commander")
        # The outcome is in the log, whether or not a commander is present now.
        monkeypatch.setattr(commanders, "START_SECONDS", 0.0)
        again = await client.delete(PATH, headers=headers)
        assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
        assert len(fake.actions_named("Hangup")) == 1


async def test_an_unsent_act_without_commander_is_503(
    client: Client, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "OUTCOME_SECONDS", 0.3)
    headers = {"Idempotency-Key": "once"}
    with monkeypatch.context() as patch:
        patch.setattr(acting, "is_served", served)
        reply = await client.delete(PATH, headers=headers)
    at = await ledger.connection.fetchval("SELECT position FROM event WHERE name = 'ActRequested'")
    body = await reply.json()
    assert (reply.status, body["position"], reply.headers["X-Ledger-Position"]) == (503, at, str(at))
    assert body["message"].endswith("the request was recorded, and will not be done")
    # The same request finds the recorded one, and is not recorded again.
    monkeypatch.setattr(commanders, "START_SECONDS", 0.0)
    again = await client.delete(PATH, headers=headers)
    assert (again.status, (await again.json())["position"]) == (503, at)
    assert len(await events_named(ledger, "ActRequested")) == 1


async def test_an_answer_that_was_lost(client: Client, ami: FakeAmi) -> None:
    ami.hangs_up_at.add("Hangup")
    reply = await client.delete(PATH)
    assert reply.status == 504
    assert "position" in await reply.json()


async def test_the_same_key_asks_once(client: Client, ledger: Ledger, ami: FakeAmi) -> None:
    headers = {"Idempotency-Key": "5f0c7bd5"}
    first = await client.delete(PATH, headers=headers)
    again = await client.delete(PATH, headers=headers)
    assert (first.status, again.status) == (200, 200)
    assert ("Idempotency-Replayed" in first.headers, "Idempotency-Replayed" in again.headers) == (False, True)
    assert first.headers["X-Ledger-Position"] == again.headers["X-Ledger-Position"]
    assert len(ami.actions_named("Hangup")) == 1
    stored = await ledger.connection.fetchval("SELECT string_agg(encode(raw, 'escape'), '') FROM event")
    assert "5f0c7bd5" not in stored


async def test_the_same_key_at_once_at_two_processes(serve: Serve, client: Client, ami: FakeAmi) -> None:
    other = await serve()
    other.session.headers["Authorization"] = client.session.headers["Authorization"]
    headers = {"Idempotency-Key": "once"}
    replies = await asyncio.gather(*(c.delete(PATH, headers=headers) for c in (client, other) * 3))
    assert [reply.status for reply in replies] == [200] * 6
    assert len(ami.actions_named("Hangup")) == 1


async def test_the_same_key_for_something_else(client: Client, ami: FakeAmi) -> None:
    headers = {"Idempotency-Key": "once"}
    assert (await client.delete(PATH, headers=headers)).status == 200
    assert (await client.delete(PATH, params={"pbx": "pbx"}, headers=headers)).status == 422
    assert len(ami.actions_named("Hangup")) == 1


async def test_a_failed_act_is_answered_again_by_key(client: Client, ami: FakeAmi) -> None:
    ami.replies["Hangup"] = saying("Response: Error", "Message: No such channel")
    headers = {"Idempotency-Key": "once"}
    replies = [await client.delete(PATH, headers=headers) for _ in range(2)]
    assert [reply.status for reply in replies] == [404, 404]
    assert len(ami.actions_named("Hangup")) == 1


@pytest.mark.parametrize("name", ["X-Request-Id", "Idempotency-Key"])
@pytest.mark.parametrize("value", ["with space", "x" * 300, "\u00e9"])
async def test_a_header_that_is_none(client: Client, ledger: Ledger, ami: FakeAmi, name: str, value: str) -> None:
    reply = await client.delete(PATH, headers={name: value})
    assert reply.status == 400
    assert name in (await reply.json())["message"]
    assert await events_named(ledger, "ActRequested") == []
    assert ami.actions_named("Hangup") == []
