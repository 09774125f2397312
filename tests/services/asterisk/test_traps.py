"""Traps of AMI, each tested where it does harm; the recordings have most of them."""

import itertools
import re
from collections.abc import Iterator

import pytest

from projections import ALL
from projections.calls.channels import CHANNELS
from projections.engine.headers import headers_of
from schemas.log import NewEvent, RecordedEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami.blocks import message
from services.asterisk.ami.pending_action import PendingAction
from services.asterisk.ami.protocol import NEVER_ANSWERS, LedgerProtocol
from tests.captures import wire
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.folding import START, FoldSpec, ami
from tests.support.listener import listener_task
from tests.support.polling import eventually

CAPTURES = pytest.mark.parametrize("capture", ["rich22", "rich16"])
END = b"\r\n\r\n"
REQUEST_ID = re.compile(rb"\r\nActionID: (rec-\d+)\r\n")


def blocks(capture: str) -> list[bytes]:
    return [one + END for one in wire(capture).partition(b"\r\n")[2].split(END)[:-1]]


def events(capture: str) -> list[NewEvent]:
    log: list[NewEvent] = []
    LedgerProtocol(log.extend, lambda _: None).data_received(wire(capture))
    return log


def read(data: bytes, *actions: PendingAction) -> list[NewEvent]:
    log: list[NewEvent] = []
    protocol = LedgerProtocol(log.extend, lambda _: None)
    for action in actions:
        protocol.answers.add(action)
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n" + data)
    return log


@CAPTURES
async def test_blocks_after_an_empty_line_are_parsed(capture: str) -> None:
    late = [one for one in blocks(capture) if one.startswith(b"\r\n")]
    assert len([one for one in late if one.startswith(b"\r\nEvent: ")]) > 1000
    answers = [one for one in late if one.startswith(b"\r\nResponse: ")]
    assert len(answers) > 5
    assert [e.raw for e in read(b"".join(late))] == [one for one in late if one not in answers]
    for answer in answers:
        request_id = REQUEST_ID.search(answer)
        assert request_id
        action = PendingAction({"Action": "Any", "ActionID": request_id[1].decode()})
        read(answer, action)
        assert action.responses


def test_repeated_headers_keep_their_order() -> None:
    wire = block("Event: TestEvent", "State: one", "Type: x", "State: two", "State: three")
    (event,) = read(wire)
    assert event.raw == wire
    assert message(wire)["State"] == ["one", "two", "three"]
    assert headers_of(RecordedEvent(1, "pbx", "ami", event.name, START, event.raw, START))["State"] == "one\ntwo\nthree"


@CAPTURES
async def test_other_sessions_action_ids_answer_no_action(capture: str) -> None:
    foreign = [
        e.raw for e in events(capture) if b"\r\nActionID: " in e.raw and not re.search(rb"\r\nActionID: rec-", e.raw)
    ]
    assert len(foreign) > 20
    # They have only these two names, so `NEVER_ANSWERS` is enough.
    assert {one.split(b"\r\n", 1)[0].removeprefix(b"Event: ").decode() for one in foreign} == NEVER_ANSWERS
    # They answer no action even with its ActionID and the header that ends a list.
    forged = [re.sub(rb"(ActionID: )[^\r]+", rb"\1rl-1\r\nEventList: Complete", one) for one in foreign]
    action = PendingAction({"Action": "QueueStatus", "ActionID": "rl-1"})
    start = block("Response: Success", "ActionID: rl-1", "EventList: start")
    assert [e.raw for e in read(start + b"".join(forged), action)] == forged
    assert len(action.responses) == 1
    assert not action.future.done()
    # No model folds one as an item of a snapshot's list.
    assert not [model.name for model in ALL for name in NEVER_ANSWERS if name in model.on]


async def test_another_session_cannot_end_a_list(url: str) -> None:
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        action_ids: list[str] = []

        def start(headers: dict[str, str]) -> bytes:
            action_ids.append(headers["ActionID"])
            number = f"ActionID: {headers['ActionID']}"
            return block("Response: Success", number, "EventList: start") + block(
                "Event: UserEvent", number, "EventList: Complete", "UserEvent: forged"
            )

        pbx.replies["Agents"] = start
        await eventually(lambda: action_ids)
        await EventLog(url).until(lambda names: "UserEvent" in names)
        assert [h["Action"] for h in pbx.actions if h["Action"] != "Ping"][-1] == "Agents"  # the list has not ended
        pbx.send(block("Event: AgentsComplete", f"ActionID: {action_ids[0]}", "EventList: Complete"))
        names = await EventLog(url).until(lambda names: names.count("SnapshotListed") >= 7)
        assert names.index("AgentsComplete") < names.index("SnapshotListed", names.index("UserEvent"))


def spans(capture: str) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the reply of each list in a recording, and the blocks before the list's end that lack its ActionID."""
    inside: list[bytes] = []
    list_id = reply = b""
    for one in blocks(capture):
        match = REQUEST_ID.search(one)
        number = match[1] if match else b""
        if not list_id:
            if one.lstrip(b"\r\n").startswith(b"Response: ") and b"\r\nEventList: start\r\n" in one:
                list_id, reply, inside = number, one, []
        elif number != list_id:
            inside.append(one)
        elif b"\r\nEventList: Complete\r\n" in one:
            yield reply, inside
            list_id = b""


@CAPTURES
def test_live_events_never_interrupt_a_list(capture: str) -> None:
    """One thread of a session writes its events and its answers; only IAXpeers' items lack the ActionID.

    So an item is never older than an event before it, as `Handler.list_item_wins` requires.
    """
    lists = list(spans(capture))
    assert len(lists) > 100
    strangers = [one for _, inside in lists for one in inside]
    assert [one.split(b"\r\n", 1)[0] for one in strangers] == [b"Event: PeerEntry"] * 2
    assert all(b"\r\nChanneltype: IAX\r\n" in one or b"\r\nChanneltype: IAX2\r\n" in one for one in strangers)


def channel(event: str, **headers: object) -> bytes:
    return ami(event, Channel="PJSIP/1", ChannelStateDesc="Up", Uniqueid="1", Linkedid="1", **headers)


def test_a_list_item_wins_over_earlier_live_events() -> None:
    folding = FoldSpec(CHANNELS)
    folding.when(channel("Newchannel"), channel("BridgeEnter", BridgeUniqueid="before"))
    # The channel was transferred while the link was lost. The first event after that sets a variable.
    folding.when(SnapshotStarted(7), ami("VarSet", Uniqueid="1", Variable="x", Value="y"))
    item = channel("CoreShowChannel", ActionID="ringledger/7/CoreShowChannels", BridgeId="after", Duration="00:01:00")
    rows = folding.when(item, SnapshotListed(7, "CoreShowChannels", "complete"), SnapshotCompleted(7)).then()
    assert rows[("1",)].bridge_id == "after"
    assert rows[("1",)].variables == {"x": "y"}


def test_a_hangup_during_a_list_is_final() -> None:
    item = channel("CoreShowChannel", ActionID="ringledger/7/CoreShowChannels", Duration="00:01:00")
    listed = SnapshotListed(7, "CoreShowChannels", "complete")
    folding = FoldSpec(CHANNELS)
    assert folding.when(SnapshotStarted(7), channel("Hangup"), item, listed, SnapshotCompleted(7)).then() == {}
    assert folding.when(SnapshotStarted(8), channel("Newchannel"), channel("Hangup")).then() == {}
    assert folding.when(item.replace(b"/7/", b"/8/"), SnapshotListed(8, "CoreShowChannels", "complete")).then() == {}


@CAPTURES
def test_times_fall_while_the_order_is_kept(capture: str) -> None:
    times = [e.occurred for e in events(capture) if e.occurred is not None]
    back = [before - after for before, after in itertools.pairwise(times) if after < before]
    assert len(back) > 10
    assert max(back) < 0.0025
    first, second = block("Event: One", "Timestamp: 20.5"), block("Event: Two", "Timestamp: 20.4")
    assert [(e.name, e.occurred) for e in read(first + second)] == [("One", 20.5), ("Two", 20.4)]


@pytest.mark.parametrize(
    "late",
    [
        *("Newstate", "Newexten", "NewCallerid", "NewConnectedLine", "Hold", "Unhold", "HangupRequest"),
        *("SoftHangupRequest", "BridgeEnter", "BridgeLeave", "Rename", "VarSet", "Hangup", "ConfbridgeLeave"),
        *("OriginateResponse", "DialEnd", "MusicOnHoldStop", "RTCPSent"),
    ],
)
def test_only_newchannel_creates_a_channel(late: str) -> None:
    folding = FoldSpec(CHANNELS)
    event = channel(late, Newname="x", Variable="x", Value="y", BridgeUniqueid="b")
    assert folding.when(event).then() == {}
    assert folding.when(channel("Newchannel"), channel("Hangup"), event).then() == {}


@CAPTURES
def test_recordings_have_unannounced_and_ended_channels(capture: str) -> None:
    announced: set[bytes] = set()
    dead: set[bytes] = set()
    unknown: set[str] = set()
    late: set[str] = set()
    for e in events(capture):
        match = re.search(rb"\r\nUniqueid: ([^\r\n]+)", e.raw)
        if not match or b"\r\nActionID: rec-" in e.raw:
            continue
        if e.name == "Newchannel":
            announced.add(match[1])
        if match[1] not in announced:
            unknown.add(e.name)
        if match[1] in dead:
            late.add(e.name)
        if e.name == "Hangup":
            dead.add(match[1])
    assert {"OriginateResponse", "VarSet"} <= unknown
    assert "ConfbridgeLeave" in late


@CAPTURES
def test_the_message_queue_never_hangs_up(capture: str) -> None:
    log = events(capture)
    assert [e for e in log if e.name == "Newchannel" and b"\r\nChannel: Message/ast_msg_queue\r\n" in e.raw]
    assert not [e for e in log if e.name == "Hangup" and b"\r\nChannel: Message/ast_msg_queue\r\n" in e.raw]
    last = max(n for n, e in enumerate(log) if e.name == "CoreShowChannelsComplete")
    items = [e.raw for e in log[last - 9 : last] if e.name == "CoreShowChannel"]
    assert len(items) == 9
    assert [one for one in items if b"\r\nChannel: Message/ast_msg_queue\r\n" in one]


@CAPTURES
async def test_an_error_may_answer_an_empty_list(
    capture: str,
) -> None:
    answers = [one for one in blocks(capture) if one.lstrip(b"\r\n").startswith(b"Response: Error")]
    with_line_feed = [one for one in answers if re.search(rb"[^\r]\n\r\n", one)]
    assert len(with_line_feed) >= 6
    for one in answers:
        request_id = REQUEST_ID.search(one)
        assert request_id
        action = PendingAction({"Action": "Any", "ActionID": request_id[1].decode()})
        read(one, action)
        assert action.future.done()  # no action waits for a list that Asterisk will not send
    assert any(message(one).message == "No Contacts found\n" for one in with_line_feed)
    assert any(message(one).message == "No active conferences." for one in answers)


async def test_an_empty_list_is_logged_as_empty(url: str) -> None:
    async with FakeAmi() as pbx:
        text = "Message: No active agents\n"
        pbx.replies["Agents"] = lambda h: block("Response: Error", f"ActionID: {h['ActionID']}", text)
        async with listener_task(url, pbx.pbx()):
            await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
    listed = {e["action"]: e for e in await EventLog(url).ours("SnapshotListed")}
    assert listed["Agents"]["outcome"] == "empty"
    rows = [row for row in await EventLog(url).rows() if row["name"] == "Response:Agents"]
    assert rows[0]["raw"].endswith(b"Message: No active agents\n\r\n\r\n")
