"""Buddies and chats: everybody sees and changes what is theirs, and nothing else."""

import asyncio
from typing import Any

import pytest

from projections.people.buddies import BUDDIES
from projections.people.chats import CHATS
from projections.people.messages import MESSAGES
from projections.people.rooms import ROOMS
from schemas.facts import Fact
from services.database.locks import Lock, locked
from services.projector.rebuild.diff import differences
from services.projector.rebuild.rebuild import rebuild
from services.projector.rebuild.report import lines
from tests.contract import misfits, operations, shapes
from tests.support.api_client import Client, Serve
from tests.support.ledger import Ledger
from tests.support.model_rows import rows
from tests.support.social import ALICE, BOB, CAROL, only_chat, open_room
from tests.support.users import UserClient, add_user, append_facts, issue_token, log_position

NOBODY = "ffffffff-0000-4000-8000-00000000000f"
SOCIAL = [BUDDIES, CHATS, MESSAGES, ROOMS]
READS = ["jade.me.buddies.list", "jade.me.chats.list", "jade.me.chats.get", "jade.me.chats.messages.list"]

People = tuple[UserClient, UserClient, UserClient]


class UserDeleted(Fact, frozen=True):
    """The event of a deleted user."""

    uuid: str


@pytest.fixture
async def client(serve: Serve) -> Client:
    return await serve()


@pytest.fixture
async def people(client: Client) -> People:
    """Alice, Bob and Carol."""
    return (
        await add_user(client, "alice", ALICE),
        await add_user(client, "bob", BOB),
        await add_user(client, "carol", CAROL),
    )


async def test_views_are_as_documented_in_every_form(people: People) -> None:
    alice, bob, _ = people
    await alice.send("POST", "/v1/me/buddies", {"uuid_user": BOB})
    chat = (await open_room(alice, BOB, kind=1, name="test chat name", detail="test chat detail")).rpartition("/")[2]
    await alice.send("POST", f"/v1/me/chats/{chat}/messages", {"message": "test message"})
    for operation in READS:
        for path in operations()[operation].paths:
            answer = await alice.ask("GET", path.replace("{detail}", chat))
            assert answer.status == 200, path
            assert misfits(answer.body, shapes()[operation]["response"]) == [], path
            assert answer.result, path
    assert await bob.get("/me/buddies") == []


async def test_a_buddy_is_listed_once_for_its_requester(people: People) -> None:
    alice, bob, _ = people
    await alice.send("POST", "/me/buddies", {"uuid_user": BOB.upper()})
    await alice.send("POST", "/me/buddies", {"uuid_user": CAROL, "name": "Carol", "detail": "third floor"})
    again = await alice.ask("POST", "/me/buddies", {"uuid_user": BOB})
    assert (again.status, again.body["statuscode"]) == (409, 409)
    buddies = await alice.get("/me/buddies")
    assert [(b["uuid_user"], b["name"], b["detail"], b["tm_update"]) for b in buddies] == [
        (BOB, None, None, None),
        (CAROL, "Carol", "third floor", None),
    ]
    assert len({b["uuid"] for b in buddies}) == 2
    assert await bob.get("/me/buddies") == []


async def test_each_member_has_a_chat_of_the_room(people: People) -> None:
    alice, bob, carol = people
    path = await open_room(alice, CAROL, BOB, ALICE.upper(), CAROL, name="lunch", detail="at noon")
    chats = [await only_chat(who) for who in people]
    assert path == f"/me/chats/{chats[0]['uuid']}"
    assert len({chat["uuid"] for chat in chats}) == 3
    for chat in chats:
        assert (chat["name"], chat["detail"], chat["tm_update"], chat["room"]) == (
            "lunch",
            "at noon",
            None,
            chats[0]["room"],
        )
    room = chats[0]["room"]
    assert (room["type"], room["members"], room["tm_update"]) == (2, [ALICE, CAROL, BOB], None)
    assert (room["uuid_creator"], room["uuid_owner"]) == (ALICE, ALICE)
    assert await bob.get(f"/me/chats/{chats[1]['uuid']}") == chats[1]
    assert await carol.get(f"/v1/me/chats/{chats[2]['uuid']}") == chats[2]


async def test_a_chat_is_renamed_for_its_owner_only(people: People, ledger: Ledger) -> None:
    alice, bob, _ = people
    path = await open_room(alice, BOB, name="lunch", detail="at noon")
    before = await only_chat(bob)
    await alice.send("PUT", path, {"name": "update test chat name"})
    chat = await alice.get(path)
    assert (chat["name"], chat["detail"]) == ("update test chat name", "at noon")
    assert chat["tm_update"] > chat["tm_create"]
    assert await only_chat(bob) == before
    position = await log_position(ledger)
    await alice.send("PUT", path, {"name": "update test chat name", "detail": "at noon"})
    assert await log_position(ledger) == position
    await alice.send("PUT", path, {"detail": ""})
    assert (await alice.get(path))["detail"] == ""


async def test_a_chat_of_another_user_is_404(people: People, ledger: Ledger) -> None:
    alice, bob, carol = people
    path = await open_room(alice, BOB)
    position = await log_position(ledger)
    for who, where in ((carol, path), (bob, path), (alice, "/me/chats/no%2Fsuch%00")):
        for method, more, body in (
            ("GET", "", None),
            ("PUT", "", {"name": "mine"}),
            ("DELETE", "", None),
            ("GET", "/messages", None),
            ("POST", "/messages", {"message": "hello"}),
        ):
            answer = await who.ask(method, where + more, body)
            assert (answer.status, answer.body["statuscode"], answer.result) == (404, 404, None), (method, where)
    assert await log_position(ledger) == position
    assert await alice.get(path + "/messages") == []


async def test_the_last_leaving_member_deletes_the_room(people: People, ledger: Ledger) -> None:
    alice, bob, carol = people
    path = await open_room(alice, BOB, CAROL)
    await alice.send("POST", path + "/messages", {"message": "bye"})
    await alice.send("DELETE", path)
    assert await alice.get("/me/chats") == []
    assert (await alice.ask("GET", path + "/messages")).status == 404
    assert (await alice.ask("DELETE", path)).status == 404
    chat = await only_chat(bob)
    room = chat["room"]
    assert (room["members"], room["uuid_creator"], room["uuid_owner"]) == ([BOB, CAROL], ALICE, BOB)
    assert room["tm_update"] > room["tm_create"]
    assert chat["tm_update"] is None
    [message] = await bob.get(f"/me/chats/{chat['uuid']}/messages")
    assert (message["message"], message["uuid_owner"]) == ({"message": "bye"}, ALICE)
    await bob.send("DELETE", f"/me/chats/{chat['uuid']}")
    await carol.send("DELETE", f"/me/chats/{(await only_chat(carol))['uuid']}")
    assert await ledger.connection.fetchval("SELECT (SELECT count(*) FROM rooms) + (SELECT count(*) FROM chats)") == 0


async def test_two_users_have_one_room_of_type_1(people: People) -> None:
    alice, bob, _ = people
    path = await open_room(alice, BOB, kind=1, name="first")
    await open_room(alice, BOB, kind=2)
    for who in (alice, bob):
        again = await who.ask("POST", "/v1/me/chats", {"type": 1, "members": [ALICE, BOB], "name": "second"})
        assert again.status == 409
        there = await who.get(again.headers["Location"])
        assert (there["name"], there["room"]["type"]) == ("first", 1)
    room = (await alice.get(path))["room"]["uuid"]
    await alice.send("POST", path + "/messages", {"message": "hello"})
    await alice.send("DELETE", path)
    # Bob writes to Alice, who has left: she is in the room again, and his own chat stays as it is.
    here = await open_room(bob, ALICE, kind=1, name="back")
    assert (await bob.get(here))["name"] == "first"
    [back] = [chat for chat in await alice.get("/me/chats") if chat["room"]["uuid"] == room]
    assert (back["name"], back["room"]["members"], back["room"]["uuid_owner"]) == ("back", [BOB, ALICE], BOB)
    assert len(await alice.get(f"/me/chats/{back['uuid']}/messages")) == 1
    # The one who has left returns likewise.
    await alice.send("DELETE", f"/me/chats/{back['uuid']}")
    assert (await alice.get(await open_room(alice, BOB, kind=1)))["room"]["uuid"] == room
    for who in (alice, bob):
        [own] = [chat for chat in await who.get("/me/chats") if chat["room"]["uuid"] == room]
        await who.send("DELETE", f"/me/chats/{own['uuid']}")
    assert (await bob.get(await open_room(bob, ALICE, kind=1)))["room"]["uuid"] != room


async def test_concurrent_openings_at_two_processes_share_a_room(serve: Serve) -> None:
    one, two = await serve(), await serve()
    alice = await add_user(one, "alice", ALICE)
    bob = await add_user(two, "bob", BOB)
    body = {"type": 1, "members": [ALICE, BOB], "name": "pair"}
    answers = await asyncio.gather(*(who.ask("POST", "/me/chats", body) for who in (alice, bob)))
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert (await only_chat(alice))["room"] == (await only_chat(bob))["room"]


BAD: list[tuple[str, str, Any]] = [
    ("POST", "/me/buddies", b"{"),
    ("POST", "/me/buddies", []),
    ("POST", "/me/buddies", {}),
    ("POST", "/me/buddies", {"uuid_user": None}),
    ("POST", "/me/buddies", {"uuid_user": "bob"}),
    ("POST", "/me/buddies", {"uuid_user": ALICE}),
    ("POST", "/me/buddies", {"uuid_user": BOB, "name": "x" * 256}),
    ("POST", "/me/buddies", {"uuid_user": BOB, "name": "a\0b"}),
    ("POST", "/me/chats", b""),
    ("POST", "/me/chats", {"type": 2, "name": ""}),
    ("POST", "/me/chats", {"members": [BOB], "name": ""}),
    ("POST", "/me/chats", {"type": 2, "members": [BOB]}),
    ("POST", "/me/chats", {"type": 3, "members": [BOB], "name": ""}),
    ("POST", "/me/chats", {"type": "1", "members": [BOB], "name": ""}),
    ("POST", "/me/chats", {"type": True, "members": [BOB], "name": ""}),
    ("POST", "/me/chats", {"type": 10**30, "members": [BOB], "name": ""}),
    ("POST", "/me/chats", {"type": 1, "members": [], "name": ""}),
    ("POST", "/me/chats", {"type": 1, "members": [ALICE], "name": ""}),
    ("POST", "/me/chats", {"type": 1, "members": [BOB, CAROL], "name": ""}),
    ("POST", "/me/chats", {"type": 2, "members": BOB, "name": ""}),
    ("POST", "/me/chats", {"type": 2, "members": [BOB, "x"], "name": ""}),
    ("POST", "/me/chats", {"type": 2, "members": [BOB], "name": None}),
    ("POST", "/me/chats", {"type": 2, "members": [BOB], "name": "x" * 256}),
    ("POST", "/me/chats", {"type": 2, "members": [f"{n:08x}{NOBODY[8:]}" for n in range(1001)], "name": ""}),
    ("PUT", "/me/chats/{chat}", b"name"),
    ("PUT", "/me/chats/{chat}", {}),
    ("PUT", "/me/chats/{chat}", {"title": "x"}),
    ("PUT", "/me/chats/{chat}", {"name": 1}),
    ("PUT", "/me/chats/{chat}", {"detail": "\0"}),
]


async def test_bad_input_is_one_error_without_effect(people: People, ledger: Ledger) -> None:
    alice, _, _ = people
    chat = await open_room(alice, BOB)
    position = await log_position(ledger)
    for method, path, body in BAD:
        answer = await alice.ask(method, path.replace("/me/chats/{chat}", chat), body)
        assert (answer.status, answer.body["statuscode"], answer.result) == (400, 400, None), (path, body)
        assert answer.body["message"]
    assert await log_position(ledger) == position


async def test_an_unknown_user_cannot_be_buddy_or_member(people: People, ledger: Ledger) -> None:
    alice, _, _ = people
    position = await log_position(ledger)
    for path, body in (
        ("/me/buddies", {"uuid_user": NOBODY}),
        ("/me/chats", {"type": 1, "members": [NOBODY], "name": ""}),
        ("/me/chats", {"type": 2, "members": [BOB, NOBODY], "name": ""}),
    ):
        answer = await alice.ask("POST", path, body)
        assert (answer.status, answer.body["message"]) == (404, f"not found: user {NOBODY}")
    assert await log_position(ledger) == position


async def test_social_paths_require_user_and_admin_includes_it(client: Client, people: People) -> None:
    stranger = await add_user(client, "jeye", NOBODY, "jeye")
    admin = await issue_token(client, "admin")
    nobody = UserClient(client, "", "no-such-token")
    path = await open_room(people[0], admin.uuid)
    for method, where in (
        ("GET", "/me/buddies"),
        ("POST", "/me/buddies"),
        ("GET", "/me/chats"),
        ("POST", "/me/chats"),
        ("GET", path),
        ("PUT", path),
        ("DELETE", path),
        ("GET", path + "/messages"),
        ("POST", path + "/messages"),
    ):
        for form in (where, f"/v1{where}"):
            assert (await stranger.ask(method, form, {})).status == 403, (method, form)
            assert (await nobody.ask(method, form, {})).status == 401, (method, form)
    assert (await only_chat(admin))["room"]["members"] == [ALICE, admin.uuid]


async def test_users_of_one_path_get_their_own_bytes(people: People) -> None:
    alice, bob, carol = people
    await open_room(alice, BOB, name="lunch")
    for _ in range(2):  # the second time from memory
        for who in (alice, bob):
            assert (await only_chat(who))["name"] == "lunch"
        assert await carol.get("/me/chats") == []
    chat = await only_chat(bob)
    await bob.send("PUT", f"/me/chats/{chat['uuid']}", {"name": "food"})
    assert [(await only_chat(who))["name"] for who in (alice, bob)] == ["lunch", "food"]
    answer = await alice.ask("GET", "/me/chats")
    assert answer.headers["Vary"] == "Authorization, Cookie"
    unchanged = await alice.ask("GET", "/me/chats", None, If_None_Match=answer.headers["ETag"])
    assert (unchanged.status, unchanged.headers["Vary"]) == (304, "Authorization, Cookie")


async def test_a_new_chat_wakes_a_long_poll(people: People) -> None:
    alice, bob, _ = people
    tag = (await bob.ask("GET", "/me/chats")).headers["ETag"]
    waiting = asyncio.create_task(bob.ask("GET", "/me/chats?wait=60", None, If_None_Match=tag))
    await open_room(alice, BOB, name="lunch")
    [chat] = (await asyncio.wait_for(waiting, 50)).result
    assert chat["name"] == "lunch"


async def test_the_past_can_be_asked_for(people: People, ledger: Ledger) -> None:
    alice, bob, _ = people
    before = await log_position(ledger)
    path = await open_room(alice, BOB, name="lunch")
    after = await log_position(ledger)
    shown = await alice.get(path)
    await alice.send("PUT", path, {"name": "dinner"})
    await alice.send("DELETE", path)
    assert await alice.get(f"{path}?as_of={after}") == shown
    assert await alice.get(f"/me/chats?as_of={after}") == [shown]
    assert await alice.get(f"/me/chats?as_of={before}") == []
    assert (await alice.ask("GET", f"{path}?as_of={before}")).status == 404
    assert (await bob.ask("GET", f"{path}?as_of={after}")).status == 404


async def test_a_request_that_is_repeated_is_done_once(people: People) -> None:
    alice, bob, _ = people
    body = {"type": 2, "members": [BOB], "name": "lunch"}
    one, two = [await alice.ask("POST", "/me/chats", body, Idempotency_Key="lunch") for _ in range(2)]
    assert (one.status, two.status, two.headers["Idempotency-Replayed"]) == (200, 200, "true")
    assert one.headers["Location"] == two.headers["Location"] == f"/me/chats/{(await only_chat(alice))['uuid']}"
    other = await alice.ask("POST", "/me/chats", body | {"members": [CAROL]}, Idempotency_Key="lunch")
    assert other.status == 422
    await only_chat(bob)


async def test_a_deleted_user_leaves_only_messages(client: Client, people: People, ledger: Ledger) -> None:
    alice, bob, carol = people
    await alice.send("POST", "/me/buddies", {"uuid_user": BOB})
    await alice.send("POST", "/me/buddies", {"uuid_user": CAROL})
    await bob.send("POST", "/me/buddies", {"uuid_user": CAROL})
    path = await open_room(bob, ALICE, CAROL)
    await bob.send("POST", path + "/messages", {"message": "I was here"})
    await open_room(bob, name="alone")
    await append_facts(client, UserDeleted(BOB))
    assert [b["uuid_user"] for b in await alice.get("/me/buddies")] == [CAROL]
    chat = await only_chat(alice)
    room = chat["room"]
    assert (room["members"], room["uuid_creator"], room["uuid_owner"]) == ([ALICE, CAROL], BOB, ALICE)
    [message] = await carol.get(f"/me/chats/{(await only_chat(carol))['uuid']}/messages")
    assert (message["uuid_owner"], message["message"]["message"]) == (BOB, "I was here")
    left = await ledger.connection.fetchrow(
        "SELECT (SELECT count(*) FROM buddies), (SELECT count(*) FROM chats), (SELECT count(*) FROM rooms)"
    )
    assert tuple(left) == (1, 2, 1)


async def test_social_models_are_a_fold_of_the_log(client: Client, people: People, ledger: Ledger) -> None:
    alice, bob, carol = people
    for who, buddy in ((alice, BOB), (bob, CAROL), (carol, ALICE)):
        await who.send("POST", "/me/buddies", {"uuid_user": buddy})
    path = await open_room(alice, BOB, CAROL, name="lunch")
    single = await open_room(alice, BOB, kind=1)
    await alice.send("POST", path + "/messages", {"message": "one"})
    await alice.send("POST", single + "/messages", {"message": "two"})
    await alice.send("PUT", path, {"name": "dinner"})
    await alice.send("DELETE", single)
    await open_room(bob, ALICE, kind=1)
    await append_facts(client, UserDeleted(CAROL))
    once = {model.name: (await rows(ledger.connection))[model.name] for model in SOCIAL}
    assert {name: len(rows) for name, rows in once.items()} == {"buddies": 1, "chats": 4, "messages": 2, "rooms": 2}
    assert lines(await differences(ledger.url, SOCIAL))[-1].endswith("nothing differs")
    # With the lock the running projector does the rebuild alone, as in production.
    async with locked(ledger.connection, Lock.PROJECTOR):
        outcome = await rebuild(ledger.url, SOCIAL, None, asyncio.Event())
    assert (outcome.code, outcome.failed) == (0, [])
    again = await rows(ledger.connection)
    assert {model.name: again[model.name] for model in SOCIAL} == once
