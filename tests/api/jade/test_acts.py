"""jade's acts on channels, modules and queue members: the actions at Asterisk, and the responses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import Struct
from yarl import URL

from schemas.log import Connected
from services.commander.commander import Commander
from services.commands import targets
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.fake_ami import FakeAmi, block
from tests.support.ledger import Ledger
from tests.support.pbx22 import queue_status_reply, reply_with
from tests.support.polling import eventually
from tests.support.queue_members import member_added
from tests.support.users import events_named

MEMBER = "/v1/admin/queue/members"


STATE = (
    Connected("127.0.0.1:5038", "Asterisk Call Manager/11.0.0"),
    block("Event: Newchannel", "Channel: PJSIP/100-1", "ChannelState: 6", "Uniqueid: 1.1", "Linkedid: 1.1"),
    block(
        "Event: ParkedCall",
        *("ParkeeChannel: PJSIP/101-2", "ParkeeUniqueid: 2.1", "Parkinglot: default", "ParkingSpace: 701"),
    ),
    block("Event: QueueCallerJoin", "Channel: PJSIP/102-3", "Uniqueid: 3.1", "Queue: sales", "Position: 1", "Count: 1"),
    block("Event: Load", "Module: app_dictate.so", "Status: Success"),
    member_added("sales", "Hugo Hall", "PJSIP/107"),
    member_added("sales", "Agent/1001", "Local/1001@agents/n"),
    member_added("sales", "Twin", "PJSIP/110"),
    member_added("sales", "Twin", "PJSIP/111"),
    member_added("sales", "PJSIP/112", "PJSIP/113"),
    member_added("sales", "PJSIP/112", "PJSIP/112"),
)
ACTIONS = ("Hangup", "ModuleLoad", "QueueAdd", "QueuePause", "QueuePenalty", "QueueMemberRingInUse", "QueueRemove")


@pytest.fixture(autouse=True)
def no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for changes that no listener receives here."""
    monkeypatch.setattr(targets, "VISIBLE_SECONDS", 0.05)


@pytest.fixture
async def client(serve: Serve, ledger: Ledger) -> Client:
    client = await serve_as_admin(serve)
    last = await ledger.write(*STATE)

    async def there() -> bool:
        reply = await client.get(MEMBER)
        return int(reply.headers["X-Ledger-Position"]) >= last

    await eventually(there, "the views have folded the state")
    return client


@pytest.fixture
async def desk(client: Client, ledger: Ledger) -> AsyncIterator["Desk"]:
    """A PBX with a commander; the PBX accepts actions unless a test sets another reply."""
    stop = asyncio.Event()
    async with FakeAmi() as fake:
        fake.replies = dict.fromkeys(ACTIONS, reply_with("Response: Success"))
        fake.replies["QueueStatus"] = queue_status_reply(sales=["PJSIP/107"])
        running = asyncio.create_task(Commander(fake.pbx(), ledger.url).run(stop))
        await eventually(lambda: fake.logins)
        yield Desk(client, ledger, fake)
        stop.set()
        await running


class Desk(Struct, frozen=True):
    """Where one asks for acts, and sees what became of them."""

    client: Client
    ledger: Ledger
    ami: FakeAmi

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Make a request; check the envelope, and return status and message."""
        reply = await self.client.request(method, URL(path, encoded=True), json=body, **more)
        answer = await reply.json()
        assert (answer["api_ver"], answer["statuscode"]) == ("0.1", reply.status)
        assert "result" not in answer
        return reply.status, answer.get("message", "")

    def actions(self) -> list[dict[str, str]]:
        """Return the actions by header, without those of the session itself."""
        own = ("Challenge", "Login", "Ping", "GetConfig")
        return [{n: v for n, v in a.items() if n != "ActionID"} for a in self.ami.actions if a["Action"] not in own]

    async def nothing_was_asked(self) -> None:
        assert await events_named(self.ledger, "ActRequested") == []
        assert self.actions() == []


@pytest.mark.parametrize("start", ["/v1", ""])
@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/admin/core/channels/1.1", "PJSIP/100-1"),
        ("/admin/park/parkedcalls/2.1", "PJSIP/101-2"),
        ("/admin/queue/entries/3.1", "PJSIP/102-3"),
    ],
)
async def test_hangups_reach_channels_parked_calls_and_callers(desk: Desk, start: str, path: str, channel: str) -> None:
    assert await desk.send("DELETE", start + path) == (200, "")
    assert desk.actions() == [{"Action": "Hangup", "Channel": channel}]


@pytest.mark.parametrize(("method", "kind"), [("POST", "load"), ("PUT", "reload"), ("DELETE", "unload")])
async def test_a_module(desk: Desk, method: str, kind: str) -> None:
    paths = [f"{start}/admin/core/modules/app_dictate{end}" for start in ("/v1", "") for end in ("", ".so")]
    for path in paths:
        assert await desk.send(method, path) == (200, "")
    assert desk.actions() == [{"Action": "ModuleLoad", "Module": "app_dictate.so", "LoadType": kind}] * len(paths)


async def test_a_module_name_outside_asterisks_folder_is_refused(desk: Desk) -> None:
    for name in (
        "..%2F..%2Ftmp%2Fevil",
        "%2Ftmp%2Fevil",
        "%2E%2E",
        "a%20b",
        "no%2Fsuch%20%C3%BC",
        "%20",
        "app_x.so.so",
    ):
        for method in ("POST", "PUT", "DELETE"):
            assert (await desk.send(method, f"/v1/admin/core/modules/{name}"))[0] == 404, (method, name)
    await desk.nothing_was_asked()


@pytest.mark.parametrize("start", ["/v1", ""])
async def test_a_member_is_added(desk: Desk, start: str) -> None:
    body = {"queue_name": "sales", "location": "PJSIP/108"}
    reply = await desk.client.post(f"{start}/admin/queue/members", json=body)
    assert reply.status == 200
    assert reply.headers["Location"] == f"{start}/admin/queue/members/PJSIP%2F108?queue_name=sales"
    member = {"Queue": "sales", "Interface": "PJSIP/108", "Penalty": "0", "Paused": "false"}
    assert desk.actions() == [{"Action": "QueueAdd", **member}]


async def test_a_member_with_all_that_it_can_have(desk: Desk) -> None:
    body = {"queue_name": "sales", "interface": "Local/1@a/n", "name": "Ivy Ito", "penalty": 3, "paused": 1}
    reply = await desk.client.post(MEMBER, json={**body, "state_interface": "Agent:1"})
    assert reply.status == 200
    assert reply.headers["Location"] == f"{MEMBER}/Ivy%20Ito?queue_name=sales"
    member = {"Queue": "sales", "Interface": "Local/1@a/n", "Penalty": "3", "Paused": "true"}
    assert desk.actions() == [{"Action": "QueueAdd", **member, "MemberName": "Ivy Ito", "StateInterface": "Agent:1"}]


HUGOS = f"{MEMBER}/Hugo%20Hall?queue_name=sales"
HUGO = {"Queue": "sales", "Interface": "PJSIP/107"}


@pytest.mark.parametrize("start", ["/v1", ""])
@pytest.mark.parametrize(
    ("body", "actions"),
    [
        ({"paused": True, "paused_reason": "lunch"}, [{"Action": "QueuePause", "Paused": "true", "Reason": "lunch"}]),
        ({"paused": 1, "reason": "lunch"}, [{"Action": "QueuePause", "Paused": "true", "Reason": "lunch"}]),
        ({"paused": 0}, [{"Action": "QueuePause", "Paused": "false"}]),
        ({"penalty": 5}, [{"Action": "QueuePenalty", "Penalty": "5"}]),
        ({"ring_inuse": False}, [{"Action": "QueueMemberRingInUse", "RingInUse": "false"}]),
        (
            {"ring_inuse": 1, "penalty": 0, "paused": False},
            [
                {"Action": "QueuePenalty", "Penalty": "0"},
                {"Action": "QueueMemberRingInUse", "RingInUse": "true"},
                {"Action": "QueuePause", "Paused": "false"},
            ],
        ),
    ],
    ids=str,
)
async def test_a_member_is_changed(desk: Desk, start: str, body: dict[str, Any], actions: list[dict[str, str]]) -> None:
    path = f"{start}/admin/queue/members/Hugo%20Hall?queue_name=sales"
    assert await desk.send("PUT", path, body) == (200, "")
    assert desk.actions() == [action | HUGO for action in actions]


@pytest.mark.parametrize("start", ["/v1", ""])
async def test_a_member_is_removed(desk: Desk, start: str) -> None:
    path = f"{start}/admin/queue/members/Agent%2F1001?queue_name=sales"
    assert await desk.send("DELETE", path) == (200, "")
    assert desk.actions() == [{"Action": "QueueRemove", "Queue": "sales", "Interface": "Local/1001@agents/n"}]


async def test_a_name_that_two_members_have(desk: Desk) -> None:
    status, message = await desk.send("DELETE", f"{MEMBER}/Twin?queue_name=sales")
    assert (status, "location=" in message) == (400, True)
    await desk.nothing_was_asked()
    assert await desk.send("DELETE", f"{MEMBER}/Twin?queue_name=sales&location=PJSIP/111") == (200, "")
    assert await desk.send("DELETE", f"{MEMBER}/PJSIP%2F112?queue_name=sales") == (200, "")
    assert [action["Interface"] for action in desk.actions()] == ["PJSIP/111", "PJSIP/112"]


UNKNOWN = [
    ("DELETE", "/v1/admin/core/channels/9.9"),
    ("DELETE", "/v1/admin/park/parkedcalls/1.1"),
    ("DELETE", "/v1/admin/queue/entries/1.1"),
    ("PUT", "/v1/admin/core/modules/app_none"),
    ("DELETE", "/v1/admin/core/modules/app_none"),
    ("DELETE", "/v1/admin/core/channels/1.1?pbx=other"),
    ("POST", "/v1/admin/core/modules/app_dictate?pbx=other"),
    ("PUT", f"{MEMBER}/Hugo%20Hall?queue_name=support"),
    ("PUT", f"{MEMBER}/Nobody?queue_name=sales"),
    ("PUT", f"{MEMBER}/Hugo%20Hall?queue_name=sales&location=PJSIP/108"),
    ("DELETE", f"{MEMBER}/Nobody?queue_name=sales"),
]


async def test_an_act_on_a_missing_object_is_404(desk: Desk) -> None:
    for method, path in UNKNOWN:
        body = {"penalty": 1} if method == "PUT" else None
        assert (await desk.send(method, path, body))[0] == 404, (method, path)
    await desk.nothing_was_asked()


NEW = {"queue_name": "sales", "location": "PJSIP/108"}


NO_MEMBERS: list[Any] = [
    {"queue_name": "sales"},
    {"location": "PJSIP/108"},
    {"queue_name": "", "location": "PJSIP/108"},
    {"queue_name": "sales", "location": " "},
    {"queue_name": "sales", "location": " PJSIP/108"},
    {**NEW, "interface": "PJSIP/109"},
    {**NEW, "queue_name": 7},
    {**NEW, "location": ["PJSIP/108"]},
    {**NEW, "penalty": -1},
    {**NEW, "penalty": "3"},
    {**NEW, "penalty": 1 << 31},
    {**NEW, "paused": "yes"},
    {**NEW, "paused": 2},
    {**NEW, "name": "x" * 256},
    [NEW],
    None,
]


async def test_a_new_member_that_is_none(desk: Desk) -> None:
    for body in NO_MEMBERS:
        status, message = await desk.send("POST", MEMBER, body)
        assert (status, bool(message)) == (400, True), body
    await desk.nothing_was_asked()


NO_CHANGES: list[Any] = [
    {},
    {"penalty": None},
    {"paused_reason": "lunch"},
    {"paused": True, "paused_reason": "lunch", "reason": "break"},
    {"paused": True, "paused_reason": 1},
    {"paused": "true"},
    {"penalty": 1.5},
    {"penalty": -1},
    {"ring_inuse": 2},
    [],
    "text",
]


async def test_a_change_that_is_none(desk: Desk) -> None:
    for body in NO_CHANGES:
        status, message = await desk.send("PUT", HUGOS, body)
        assert (status, bool(message)) == (400, True), body
    await desk.nothing_was_asked()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_member_of_no_queue(desk: Desk, method: str) -> None:
    assert await desk.send(method, f"{MEMBER}/Hugo%20Hall", {"penalty": 1}) == (400, "queue_name is needed")
    await desk.nothing_was_asked()


HOSTILE = ["\r\n\r\nAction: Logoff\r\n\r\n", "\nAction: Logoff", "\r", "\0", "x\n"]
PATHS = [
    ("DELETE", "/v1/admin/core/channels/1.1{}"),
    ("DELETE", "/v1/admin/park/parkedcalls/2.1{}"),
    ("DELETE", "/v1/admin/queue/entries/3.1{}"),
    ("POST", "/v1/admin/core/modules/app_dictate{}"),
    ("PUT", "/v1/admin/core/modules/app_dictate{}"),
    ("DELETE", "/v1/admin/core/modules/app_dictate{}"),
    ("PUT", MEMBER + "/Hugo%20Hall{}?queue_name=sales"),
    ("DELETE", MEMBER + "/Hugo%20Hall{}?queue_name=sales"),
    ("DELETE", MEMBER + "/Hugo%20Hall?queue_name=sales{}"),
    ("PUT", MEMBER + "/Twin?queue_name=sales&location=PJSIP/110{}"),
]


@pytest.mark.parametrize("words", HOSTILE, ids=repr)
async def test_a_path_cannot_begin_an_action(desk: Desk, words: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in words.encode())
    for method, path in PATHS:
        body = {"penalty": 1} if method == "PUT" else None
        status, message = await desk.send(method, path.format(encoded), body)
        assert (status, message[:15]) == (400, "CR, LF and NUL "), (method, path)
    await desk.nothing_was_asked()


BODIES = [
    *(("POST", MEMBER, name) for name in ("queue_name", "location", "interface", "name", "state_interface")),
    *(("PUT", HUGOS, name) for name in ("paused_reason", "reason")),
]


@pytest.mark.parametrize("words", HOSTILE, ids=repr)
async def test_a_body_cannot_begin_an_action(desk: Desk, words: str) -> None:
    for method, path, name in BODIES:
        good = {"paused": True} if method == "PUT" else {"queue_name": "sales"} if name == "interface" else NEW
        assert (await desk.send(method, path, {**good, name: f"PJSIP/108{words}"}))[0] == 400, (method, name)
    await desk.nothing_was_asked()


REQUESTS = [
    ("DELETE", "/v1/admin/core/channels/1.1", "Hangup", None),
    ("DELETE", "/v1/admin/park/parkedcalls/2.1", "Hangup", None),
    ("DELETE", "/v1/admin/queue/entries/3.1", "Hangup", None),
    ("POST", "/v1/admin/core/modules/app_dictate", "ModuleLoad", None),
    ("PUT", "/v1/admin/core/modules/app_dictate", "ModuleLoad", None),
    ("DELETE", "/v1/admin/core/modules/app_dictate", "ModuleLoad", None),
    ("POST", MEMBER, "QueueAdd", NEW),
    ("PUT", HUGOS, "QueuePenalty", {"penalty": 1}),
    ("DELETE", HUGOS, "QueueRemove", None),
]


@pytest.mark.parametrize(("method", "path", "action", "body"), REQUESTS)
async def test_a_refusal_has_the_words_of_asterisk(
    desk: Desk, method: str, path: str, action: str, body: dict[str, Any] | None
) -> None:
    desk.ami.replies[action] = reply_with("Response: Error", "Message: Permission denied")
    desk.ami.replies["ModuleCheck"] = reply_with("Response: Error", "Message: Permission denied")
    assert await desk.send(method, path, body) == (502, "Permission denied")


@pytest.mark.parametrize(
    ("operation", "members", "status"),
    [
        (("POST", MEMBER, "QueueAdd", NEW), {"sales": ["PJSIP/108"]}, 409),
        (("POST", MEMBER, "QueueAdd", NEW), {}, 404),
        (("PUT", HUGOS, "QueuePenalty", {"penalty": 1}), {"sales": []}, 404),
        (("DELETE", HUGOS, "QueueRemove", None), {"sales": []}, 404),
        (("DELETE", HUGOS, "QueueRemove", None), {"sales": ["PJSIP/107"]}, 502),
    ],
)
async def test_a_member_change_that_asterisk_refuses_is_reported(
    desk: Desk, operation: tuple[str, str, str, Any], members: dict[str, list[str]], status: int
) -> None:
    method, path, action, body = operation
    desk.ami.replies[action] = reply_with("Response: Error", "Message: So not")
    desk.ami.replies["QueueStatus"] = queue_status_reply(**members)
    assert await desk.send(method, path, body) == (status, "So not")


async def test_a_module_that_is_loaded_already(desk: Desk) -> None:
    desk.ami.replies["ModuleLoad"] = reply_with("Response: Error", "Message: Could not load module.")
    desk.ami.replies["ModuleCheck"] = reply_with("Response: Success", "Version: ")
    assert await desk.send("POST", "/v1/admin/core/modules/app_dictate") == (409, "Could not load module.")
    desk.ami.replies["ModuleCheck"] = reply_with("Response: Error", "Message: Module not loaded")
    assert await desk.send("POST", "/v1/admin/core/modules/app_none") == (502, "Could not load module.")


async def test_the_answer_comes_when_the_view_shows_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "VISIBLE_SECONDS", 5.0)
    asking = asyncio.create_task(desk.send("POST", MEMBER, NEW))
    await eventually(lambda: succeeded(desk.ledger), "Asterisk has accepted it")
    assert not asking.done()
    await desk.ledger.write(member_added("sales", "PJSIP/108", "PJSIP/108"))
    assert await asking == (200, "")
    assert (await desk.client.get(f"{MEMBER}/PJSIP%2F108?queue_name=sales")).status == 200


async def succeeded(ledger: Ledger) -> list[dict[str, Any]]:
    return await events_named(ledger, "ActSucceeded")


async def test_a_hangup_repeated_under_its_key_is_answered(desk: Desk) -> None:
    headers = {"Idempotency-Key": "once"}
    path = "/v1/admin/core/channels/1.1"
    assert await desk.send("DELETE", path, headers=headers) == (200, "")
    last = await desk.ledger.write(block("Event: Hangup", "Channel: PJSIP/100-1", "Uniqueid: 1.1", "Cause: 16"))

    async def gone() -> bool:
        return (await desk.client.get(path)).status == 404

    await eventually(gone, f"the view has folded {last}")
    again = await desk.client.delete(path, headers=headers)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert (await desk.client.delete(path)).status == 404
    assert len(desk.actions()) == 1


async def test_a_write_at_several_pbxes_names_one(desk: Desk) -> None:
    last = await desk.ledger.write(*STATE, pbx="other")

    async def folded() -> bool:
        reply = await desk.client.get("/v1/admin/core/modules", params={"pbx": "other"})
        return bool((await reply.json())["result"]["list"])

    await eventually(folded, f"the views have folded {last}")
    for method, path, _, body in REQUESTS:
        status, message = await desk.send(method, path, body)
        assert (status, message[:4]) == (400, "pbx=")
    await desk.nothing_was_asked()
    for method, path, _, body in REQUESTS:
        more = f"{path}{'&' if '?' in path else '?'}pbx=pbx"
        assert await desk.send(method, more, body) == (200, "")
    assert len(desk.actions()) == len(REQUESTS)
