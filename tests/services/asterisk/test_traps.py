"""What a consumer of AMI must know, each at the height where it bites; most are shown on the recordings."""

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
ASKED = re.compile(rb"\r\nActionID: (rec-\d+)\r\n")


def blocks(capture: str) -> list[bytes]:
    return [one + END for one in wire(capture).partition(b"\r\n")[2].split(END)[:-1]]


def events(capture: str) -> list[NewEvent]:
    log: list[NewEvent] = []
    LedgerProtocol(log.extend, lambda _: None).data_received(wire(capture))
    return log


def read(data: bytes, *questions: PendingAction) -> list[NewEvent]:
    log: list[NewEvent] = []
    protocol = LedgerProtocol(log.extend, lambda _: None)
    for question in questions:
        protocol.answers.add(question)
    protocol.data_received(b"Asterisk Call Manager/11.0.0\r\n" + data)
    return log


@CAPTURES
async def test_frames_that_start_with_an_empty_line_are_events_and_answers_all_the_same(capture: str) -> None:
    late = [one for one in blocks(capture) if one.startswith(b"\r\n")]
    assert len([one for one in late if one.startswith(b"\r\nEvent: ")]) > 1000
    answers = [one for one in late if one.startswith(b"\r\nResponse: ")]
    assert len(answers) > 5
    assert [e.raw for e in read(b"".join(late))] == [one for one in late if one not in answers]
    for answer in answers:
        asked = ASKED.search(answer)
        assert asked
        question = PendingAction({"Action": "Any", "ActionID": asked[1].decode()})
        read(answer, question)
        assert question.responses


def test_repeated_headers_are_all_kept_in_order() -> None:
    wire = block("Event: TestEvent", "State: one", "Type: x", "State: two", "State: three")
    (event,) = read(wire)
    assert event.raw == wire
    assert message(wire)["State"] == ["one", "two", "three"]
    assert headers_of(RecordedEvent(1, "pbx", "ami", event.name, START, event.raw, START))["State"] == "one\ntwo\nthree"


@CAPTURES
async def test_events_with_the_action_ids_of_other_sessions_are_no_answers(capture: str) -> None:
    foreign = [
        e.raw for e in events(capture) if b"\r\nActionID: " in e.raw and not re.search(rb"\r\nActionID: rec-", e.raw)
    ]
    assert len(foreign) > 20
    # They are of these two kinds only, which is why `NEVER_ANSWERS` is enough.
    assert {one.split(b"\r\n", 1)[0].removeprefix(b"Event: ").decode() for one in foreign} == NEVER_ANSWERS
    # Even with our own ActionID, and even if it looks like the end of our list.
    ours = [re.sub(rb"(ActionID: )[^\r]+", rb"\1rl-1\r\nEventList: Complete", one) for one in foreign]
    question = PendingAction({"Action": "QueueStatus", "ActionID": "rl-1"})
    start = block("Response: Success", "ActionID: rl-1", "EventList: start")
    assert [e.raw for e in read(start + b"".join(ours), question)] == ours
    assert len(question.responses) == 1
    assert not question.future.done()
    # Nor is one folded as an item of a snapshot's list.
    assert not [model.name for model in ALL for name in NEVER_ANSWERS if name in model.on]


async def test_another_session_cannot_end_our_list_or_answer_our_ping(url: str) -> None:
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        held: list[str] = []

        def start(headers: dict[str, str]) -> bytes:
            held.append(headers["ActionID"])
            number = f"ActionID: {headers['ActionID']}"
            return block("Response: Success", number, "EventList: start") + block(
                "Event: UserEvent", number, "EventList: Complete", "UserEvent: forged"
            )

        pbx.replies["Agents"] = start
        await eventually(lambda: held)
        await EventLog(url).until(lambda names: "UserEvent" in names)
        assert [h["Action"] for h in pbx.actions if h["Action"] != "Ping"][-1] == "Agents"  # we still wait for it
        pbx.send(block("Event: AgentsComplete", f"ActionID: {held[0]}", "EventList: Complete"))
        names = await EventLog(url).until(lambda names: names.count("SnapshotListed") >= 7)
        assert names.index("AgentsComplete") < names.index("SnapshotListed", names.index("UserEvent"))


def spans(capture: str) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each list answer of a recording: the action's reply, and what stands between it and its end with no ActionID."""
    inside: list[bytes] = []
    asked = reply = b""
    for one in blocks(capture):
        found = ASKED.search(one)
        number = found[1] if found else b""
        if not asked:
            if one.lstrip(b"\r\n").startswith(b"Response: ") and b"\r\nEventList: start\r\n" in one:
                asked, reply, inside = number, one, []
        elif number != asked:
            inside.append(one)
        elif b"\r\nEventList: Complete\r\n" in one:
            yield reply, inside
            asked = b""


@CAPTURES
def test_live_events_stand_between_lists_and_never_inside_one(capture: str) -> None:
    """One thread of a session writes its events and its answers; only IAXpeers' items lack the ActionID.

    So an item is never older than an event before it, which is what `On.newer` is about.
    """
    lists = list(spans(capture))
    assert len(lists) > 100
    strangers = [one for _, inside in lists for one in inside]
    assert [one.split(b"\r\n", 1)[0] for one in strangers] == [b"Event: PeerEntry"] * 2
    assert all(b"\r\nChanneltype: IAX\r\n" in one or b"\r\nChanneltype: IAX2\r\n" in one for one in strangers)


def channel(event: str, **headers: object) -> bytes:
    return ami(event, Channel="PJSIP/1", ChannelStateDesc="Up", Uniqueid="1", Linkedid="1", **headers)


def test_a_list_item_is_taken_for_a_row_that_a_live_event_touched_in_the_same_snapshot() -> None:
    folding = FoldSpec(CHANNELS)
    folding.when(channel("Newchannel"), channel("BridgeEnter", BridgeUniqueid="before"))
    # The link was lost; meanwhile the channel was transferred. A variable is the first that we hear of it again.
    folding.when(SnapshotStarted(7), ami("VarSet", Uniqueid="1", Variable="x", Value="y"))
    item = channel("CoreShowChannel", ActionID="ringledger/7/CoreShowChannels", BridgeId="after", Duration="00:01:00")
    rows = folding.when(item, SnapshotListed(7, "CoreShowChannels", "complete"), SnapshotCompleted(7)).then()
    assert rows[("1",)].bridge_id == "after"
    assert rows[("1",)].variables == {"x": "y"}


def test_a_channel_that_hung_up_during_its_list_does_not_come_back() -> None:
    item = channel("CoreShowChannel", ActionID="ringledger/7/CoreShowChannels", Duration="00:01:00")
    listed = SnapshotListed(7, "CoreShowChannels", "complete")
    folding = FoldSpec(CHANNELS)
    assert folding.when(SnapshotStarted(7), channel("Hangup"), item, listed, SnapshotCompleted(7)).then() == {}
    assert folding.when(SnapshotStarted(8), channel("Newchannel"), channel("Hangup")).then() == {}
    assert folding.when(item.replace(b"/7/", b"/8/"), SnapshotListed(8, "CoreShowChannels", "complete")).then() == {}


@CAPTURES
def test_times_step_back_and_the_order_is_that_of_the_wire(capture: str) -> None:
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
def test_no_event_of_a_channel_that_was_never_announced_or_is_gone_makes_one(late: str) -> None:
    folding = FoldSpec(CHANNELS)
    event = channel(late, Newname="x", Variable="x", Value="y", BridgeUniqueid="b")
    assert folding.when(event).then() == {}
    assert folding.when(channel("Newchannel"), channel("Hangup"), event).then() == {}


@CAPTURES
def test_the_recordings_have_channels_that_were_never_announced_and_news_of_dead_ones(capture: str) -> None:
    announced: set[bytes] = set()
    dead: set[bytes] = set()
    unknown: set[str] = set()
    late: set[str] = set()
    for e in events(capture):
        found = re.search(rb"\r\nUniqueid: ([^\r\n]+)", e.raw)
        if not found or b"\r\nActionID: rec-" in e.raw:
            continue
        if e.name == "Newchannel":
            announced.add(found[1])
        if found[1] not in announced:
            unknown.add(e.name)
        if found[1] in dead:
            late.add(e.name)
        if e.name == "Hangup":
            dead.add(found[1])
    assert {"OriginateResponse", "VarSet"} <= unknown
    assert "ConfbridgeLeave" in late


@CAPTURES
def test_the_message_queue_never_hangs_up_and_is_in_the_list_to_the_end(capture: str) -> None:
    log = events(capture)
    assert [e for e in log if e.name == "Newchannel" and b"\r\nChannel: Message/ast_msg_queue\r\n" in e.raw]
    assert not [e for e in log if e.name == "Hangup" and b"\r\nChannel: Message/ast_msg_queue\r\n" in e.raw]
    last = max(n for n, e in enumerate(log) if e.name == "CoreShowChannelsComplete")
    items = [e.raw for e in log[last - 9 : last] if e.name == "CoreShowChannel"]
    assert len(items) == 9
    assert [one for one in items if b"\r\nChannel: Message/ast_msg_queue\r\n" in one]


@CAPTURES
async def test_a_list_that_is_empty_may_be_answered_by_an_error_and_a_value_may_end_with_a_line_feed(
    capture: str,
) -> None:
    answers = [one for one in blocks(capture) if one.lstrip(b"\r\n").startswith(b"Response: Error")]
    fed = [one for one in answers if re.search(rb"[^\r]\n\r\n", one)]
    assert len(fed) >= 6
    for one in answers:
        asked = ASKED.search(one)
        assert asked
        question = PendingAction({"Action": "Any", "ActionID": asked[1].decode()})
        read(one, question)
        assert question.future.done()  # nobody waits for a list that does not come
    assert any(message(one).message == "No Contacts found\n" for one in fed)
    assert any(message(one).message == "No active conferences." for one in answers)


async def test_an_empty_list_is_an_empty_list_in_the_log(url: str) -> None:
    async with FakeAmi() as pbx:
        said = "Message: No active agents\n"
        pbx.replies["Agents"] = lambda h: block("Response: Error", f"ActionID: {h['ActionID']}", said)
        async with listener_task(url, pbx.pbx()):
            await EventLog(url).until(lambda names: "SnapshotCompleted" in names)
    listed = {e["action"]: e for e in await EventLog(url).ours("SnapshotListed")}
    assert listed["Agents"]["outcome"] == "empty"
    rows = [row for row in await EventLog(url).rows() if row["name"] == "Response:Agents"]
    assert rows[0]["raw"].endswith(b"Message: No active agents\n\r\n\r\n")
