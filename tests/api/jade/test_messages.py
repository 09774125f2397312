"""Messages: all of them, once, in one order, however one pages, and exactly as they were written."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from api.app_keys import CHECKPOINTS
from schemas.social import MessagePosted
from services.commands import messages
from tests.support.api_client import Client, Serve
from tests.support.ledger import Ledger
from tests.support.social import ALICE, BOB, CAROL, only_chat, open_room
from tests.support.users import ApiResponse, UserClient, add_user, append_facts, log_position

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve()


@pytest.fixture
async def alice(client: Client) -> UserClient:
    return await add_user(client, "alice", ALICE)


@pytest.fixture
async def bob(client: Client) -> UserClient:
    return await add_user(client, "bob", BOB)


@pytest.fixture
async def path(alice: UserClient, bob: UserClient) -> str:
    """The messages of Alice's chat with Bob."""
    return await open_room(alice, bob.uuid, kind=1) + "/messages"


async def post(who: UserClient, path: str, text: str, **headers: str) -> ApiResponse:
    return await who.ask("POST", path, {"message": text}, **headers)


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [m["message"]["message"] for m in messages]


async def page(who: UserClient, path: str, count: int, before: str | None) -> list[dict[str, Any]]:
    older = f"&timestamp={quote(before, safe='')}" if before else ""
    items: list[dict[str, Any]] = await who.get(f"{path}?count={count}{older}")
    assert len(items) <= count
    return items


async def test_itemsare_listed_newest_first_for_all_members(alice: UserClient, bob: UserClient, path: str) -> None:
    assert await alice.get(path) == []
    theirs = f"/v1/me/chats/{(await only_chat(bob))['uuid']}/messages"
    for who, where, text in ((alice, path, "one"), (bob, theirs, "two"), (alice, path, "three")):
        answer = await post(who, where, text)
        assert (answer.status, answer.result) == (200, None)
    items = await alice.get(path)
    assert texts(items) == ["three", "two", "one"]
    assert [m["uuid_owner"] for m in items] == [ALICE, BOB, ALICE]
    assert len({m["uuid"] for m in items}) == 3
    assert await bob.get(theirs) == items


async def test_pages_are_exact_while_others_write(serve: Serve) -> None:
    one, two = await serve(), await serve()
    alice, bob = await add_user(one, "alice", ALICE), await add_user(two, "bob", BOB)
    path = await open_room(alice, BOB, kind=1) + "/messages"
    await two.app[CHECKPOINTS].refresh()
    theirs = f"/me/chats/{(await only_chat(bob))['uuid']}/messages"
    first = {f"{who} {n}" for who in ("alice", "bob") for n in range(12)}
    await asyncio.gather(*(post(alice, path, t) if t < "b" else post(bob, theirs, t) for t in first))

    later = {f"later {n}" for n in range(12)}
    writing = asyncio.gather(*(post(bob, theirs, text) for text in later))
    pages: list[dict[str, Any]] = []
    while more := await page(alice, path, 5, pages[-1]["tm_create"] if pages else None):
        pages += more
    await writing
    assert len(texts(pages)) == len(set(texts(pages)))
    assert first <= set(texts(pages)) <= first | later

    await one.app[CHECKPOINTS].refresh()
    everything = await alice.get(path)
    assert set(texts(everything)) == first | later
    times = [m["tm_create"] for m in everything]
    assert times == sorted(set(times), reverse=True)
    # The pages are a tail of all messages: newer ones came while the pages were read.
    assert pages == everything[-len(pages) :]


def clock(at: datetime) -> SimpleNamespace:
    """A clock that does not advance."""
    return SimpleNamespace(now=lambda _zone: at, fromisoformat=datetime.fromisoformat)


async def test_messages_have_distinct_times_with_any_clock(
    alice: UserClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "datetime", clock(NOON))
    for text in ("one", "two", "three"):
        await post(alice, path, text)
    monkeypatch.setattr(messages, "datetime", clock(NOON - timedelta(hours=1)))
    await post(alice, path, "four")
    monkeypatch.setattr(messages, "datetime", clock(NOON + timedelta(hours=1)))
    await post(alice, path, "five")
    pages: list[dict[str, Any]] = []
    while more := await page(alice, path, 1, pages[-1]["tm_create"] if pages else None):
        pages += more
    assert texts(pages) == ["five", "four", "three", "two", "one"]
    assert [m["tm_create"] for m in pages] == [
        "2026-11-28T13:00:00Z",
        "2026-11-28T12:00:00.000003Z",
        "2026-11-28T12:00:00.000002Z",
        "2026-11-28T12:00:00.000001Z",
        "2026-11-28T12:00:00Z",
    ]
    # Older than is without the message of that time, also when the time has nanoseconds, as in the documents.
    for before, newest in (
        ("2026-11-28T12:00:00.000001Z", ["one"]),
        ("2026-11-28T12:00:00.000001000Z", ["one"]),
        ("2026-11-28T12:00:00.000001001Z", ["two", "one"]),
        ("2026-11-28T12:00:00.1Z", ["four", "three", "two", "one"]),
        ("2026-11-28T12:00:00Z", []),
    ):
        assert texts(await page(alice, path, 9, before)) == newest, before


async def test_rooms_do_not_mix(alice: UserClient, path: str) -> None:
    other = await open_room(alice, BOB, kind=2) + "/messages"
    await post(alice, path, "here")
    await post(alice, other, "there")
    assert texts(await alice.get(path)) == ["here"]
    assert texts(await alice.get(other)) == ["there"]


TEXTS = [
    "ü",
    "👩‍👩‍👧‍👦 café \u202eabc\u202c",
    " \r\n\t",
    "null",
    "123",
    '"\\u0000"',
    "</script>",
    "x" * 65536,
    "ü" * 32768,
]


async def test_texts_come_back_as_they_were_written(alice: UserClient, path: str) -> None:
    for text in TEXTS:
        assert (await post(alice, path, text)).status == 200, text
    assert texts(await alice.get(path)) == TEXTS[::-1]


BAD: list[Any] = [
    b'{"test message"}',
    b'"test message"',
    {},
    {"message": ""},
    {"message": None},
    {"message": 1},
    {"message": {"message": "x"}},
    {"message": "a\0b"},
    b'{"message": "\\ud800"}',
    b'{"message": "\xff"}',
    {"message": "x" * 65537},
    {"message": "ü" * 32769},
    b"",
]


async def test_a_bad_message_is_refused_and_changes_nothing(alice: UserClient, path: str, ledger: Ledger) -> None:
    position = await log_position(ledger)
    for body in BAD:
        answer = await alice.ask("POST", path, body)
        assert (answer.status, answer.body["statuscode"]) == (400, 400), body
        assert answer.body["message"]
    assert await log_position(ledger) == position


BAD_PAGES = [
    "count=0",
    "count=201",
    "count=-1",
    "count=1.5",
    "count=",
    "count=x",
    "count=%D9%A3",
    "timestamp=",
    "timestamp=yesterday",
    "timestamp=2026-11-28",
    "timestamp=2026-11-28T12:00:00",
    "timestamp=2026-11-28T12:00:00%2B01:00",
    "timestamp=2026-13-28T12:00:00Z",
    "timestamp=0000-01-01T00:00:00Z",
    "timestamp=9999-12-31T23:59:59.9999999Z",
    "timestamp=2026-11-28T12:00:00.1234567890Z",
]


async def test_a_bad_page_is_refused(alice: UserClient, path: str) -> None:
    for query in BAD_PAGES:
        answer = await alice.ask("GET", f"{path}?{query}")
        assert (answer.status, answer.body["statuscode"]) == (400, 400), query
        assert answer.body["message"].startswith(query.partition("=")[0])


async def test_a_page_has_its_default_and_maximum_size(alice: UserClient, path: str, client: Client) -> None:
    room = (await only_chat(alice))["room"]["uuid"]
    times = [NOON + timedelta(seconds=n) for n in range(250)]
    await append_facts(client, *(MessagePosted(str(n), room, ALICE, at, str(n)) for n, at in enumerate(times)))
    assert texts(await alice.get(path)) == [str(n) for n in range(249, 199, -1)]
    assert texts(await alice.get(path + "?count=200")) == [str(n) for n in range(249, 49, -1)]
    assert texts(await page(alice, path, 200, "2026-11-28T12:00:50Z")) == [str(n) for n in range(49, -1, -1)]


async def test_a_repeated_message_is_posted_once(alice: UserClient, path: str) -> None:
    one, two = [await post(alice, path, "hello", Idempotency_Key="4711") for _ in range(2)]
    assert (one.status, two.status, two.headers["Idempotency-Replayed"]) == (200, 200, "true")
    assert one.headers["X-Ledger-Position"] == two.headers["X-Ledger-Position"]
    assert (await post(alice, path, "other", Idempotency_Key="4711")).status == 422
    assert texts(await alice.get(path)) == ["hello"]
    await post(alice, path, "hello", Idempotency_Key="4712")
    assert texts(await alice.get(path)) == ["hello", "hello"]


async def test_only_members_read_and_write(alice: UserClient, client: Client, path: str) -> None:
    await post(alice, path, "between us")
    carol = await add_user(client, "carol", CAROL)
    assert (await carol.ask("GET", path)).status == 404
    assert (await post(carol, path, "me too")).status == 404
    assert texts(await alice.get(path)) == ["between us"]


async def test_itemsas_they_were(alice: UserClient, path: str, ledger: Ledger) -> None:
    before = await log_position(ledger)
    await post(alice, path, "one")
    then = await alice.get(path)
    position = await log_position(ledger)
    await post(alice, path, "two")
    assert await alice.get(f"{path}?as_of={position}") == then
    assert await alice.get(f"{path}?as_of={before}") == []
    assert texts(await alice.get(f"{path}?count=1&as_of={await log_position(ledger)}")) == ["two"]


async def test_a_message_wakes_a_long_poll(alice: UserClient, bob: UserClient, path: str) -> None:
    theirs = f"/me/chats/{(await only_chat(bob))['uuid']}/messages"
    tag = (await bob.ask("GET", theirs)).headers["ETag"]
    waiting = asyncio.create_task(bob.ask("GET", theirs + "?wait=60", None, If_None_Match=tag))
    await post(alice, path, "hello")
    assert texts((await asyncio.wait_for(waiting, 50)).result) == ["hello"]
