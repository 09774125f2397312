"""What the commander says to Asterisk for an act, and what it makes of the answer, over a real session."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from schemas.acts import Act
from schemas.acts.channel import ChannelHangup, ChannelOriginate
from schemas.acts.module import ModuleLoad, ModuleUnload
from schemas.acts.queue import QueueMemberAdd, QueueMemberChange, QueueMemberRemove
from services.asterisk.ami.actions import MAX_LINE_BYTES, MAX_LINES, RefusedError
from services.asterisk.ami.session import Session
from services.commander.actions import ACTIONS
from services.commander.actions.context import ActionContext
from services.commander.config_log import ConfigLog
from tests.support.fake_ami import FakeAmi, block

Answer = Callable[[dict[str, str]], bytes]
CALL = ChannelOriginate(channel="PJSIP/100", context="internal", exten="101")


def saying(*lines: str) -> Answer:
    return lambda asked: block(lines[0], f"ActionID: {asked['ActionID']}", *lines[1:])


def queues(**known: list[str]) -> Answer:
    """Answer QueueStatus as Asterisk does: an unknown queue's list is empty."""

    def answer(asked: dict[str, str]) -> bytes:
        number, name = f"ActionID: {asked['ActionID']}", asked["Queue"]
        said = block("Response: Success", number, "EventList: start", "Message: Queue status will follow")
        if name in known:
            said += block("Event: QueueParams", f"Queue: {name}", number)
        for interface in known.get(name, []):
            said += block("Event: QueueMember", f"Queue: {name}", f"Location: {interface}", number)
        return said + block("Event: QueueStatusComplete", number, "EventList: Complete")

    return answer


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as fake:
        for action in ("Hangup", "Originate", "QueuePause", "QueuePenalty", "QueueMemberRingInUse"):
            fake.replies[action] = saying("Response: Success")
        fake.replies["QueueStatus"] = queues(sales=["PJSIP/100"])
        yield fake


@pytest.fixture
async def session(ami: FakeAmi) -> AsyncIterator[Session]:
    opened = Session(ami.pbx(), lambda _: None, lambda _: None, events="off")
    await opened.open()
    ami.actions.clear()
    ami.blocks.clear()
    yield opened
    opened.close()


async def perform(session: Session, act: Act) -> None:
    async def no_database(*_: Any) -> Any:
        raise AssertionError("these acts use no database")

    context = ActionContext(session, no_database, ConfigLog("pbx", no_database, no_database))
    assert await ACTIONS[type(act)](context, act) == {}


async def refused(session: Session, act: Act) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await perform(session, act)
    return caught.value


def said(ami: FakeAmi) -> list[dict[str, str]]:
    return [{name: value for name, value in asked.items() if name != "ActionID"} for asked in ami.actions]


async def test_a_call_is_ordered(session: Session, ami: FakeAmi) -> None:
    await perform(session, CALL)
    call = {"Channel": "PJSIP/100", "Context": "internal", "Exten": "101", "Priority": "1", "Timeout": "30000"}
    assert said(ami) == [{"Action": "Originate", "Async": "true", **call}]


async def test_a_call_with_all_that_it_can_have(session: Session, ami: FakeAmi) -> None:
    act = ChannelOriginate(
        channel="PJSIP/100",
        context="internal",
        exten="101",
        priority=2,
        caller_id="Jürgen <101>",
        timeout=5000,
        variables={"X": 'a,b="c"', "_Y": "(d)[e]\\"},
        account="sales",
    )
    await perform(session, act)
    (asked,) = said(ami)
    assert (asked["CallerID"], asked["Account"], asked["Priority"]) == ("Jürgen <101>", "sales", "2")
    lines = ami.blocks[0].split("\r\n")
    assert [line for line in lines if line.startswith("Variable:")] == [
        r"Variable: X=a\,b=\"c\"",
        r"Variable: _Y=\(d\)\[e\]\\",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"variables": {"SHELL(date)": "x"}},
        {"variables": {"A=B": "x"}},
        {"variables": {"": "x"}},
        {"variables": {f"V{n}": "x" for n in range(MAX_LINES)}},
        {"variables": {"X": "x" * MAX_LINE_BYTES}},
        {"variables": {"X": "1\r\n\r\nAction: Logoff"}},
        {"channel": "PJSIP/100\r\nApplication: System"},
        {"exten": "1\n"},
        {"account": "a\0b"},
        {"caller_id": "\u00fc" * (MAX_LINE_BYTES // 2)},
        {"priority": 0},
        {"timeout": 0},
    ],
    ids=str,
)
async def test_a_call_that_is_none_is_not_sent(session: Session, ami: FakeAmi, wrong: dict[str, object]) -> None:
    call: dict[str, object] = {"channel": "PJSIP/100", "context": "internal", "exten": "101", **wrong}
    error = await refused(session, ChannelOriginate(**call))  # type: ignore[arg-type]
    assert error.reason == "invalid"
    assert ami.actions == []


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (ModuleLoad("app_dictate"), "conflict"),
        (ModuleUnload("app_dictate"), "refused"),
    ],
)
async def test_a_module_that_runs(session: Session, ami: FakeAmi, act: Act, told: str) -> None:
    ami.replies["ModuleLoad"] = saying("Response: Error", "Message: Not this time.")
    ami.replies["ModuleCheck"] = saying("Response: Success", "Version: ")
    error = await refused(session, act)
    assert (error.reason, str(error)) == (told, "Not this time.")


@pytest.mark.parametrize(
    ("words", "reason"), [("Could not load module.", "refused"), ("Module not found.", "absent")], ids=["16", "22"]
)
async def test_a_module_that_cannot_be_loaded(session: Session, ami: FakeAmi, words: str, reason: str) -> None:
    ami.replies["ModuleLoad"] = saying("Response: Error", f"Message: {words}")
    ami.replies["ModuleCheck"] = saying("Response: Error", "Message: Module not loaded")
    error = await refused(session, ModuleLoad("app_none"))
    assert (error.reason, str(error)) == (reason, words)


ADD = QueueMemberAdd(queue="sales", interface="PJSIP/101")
CHANGE = QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=1)
REMOVE = QueueMemberRemove(queue="sales", interface="PJSIP/101")


@pytest.mark.parametrize(
    ("act", "there", "gone"),
    [(ADD, "conflict", "refused"), (CHANGE, "refused", "absent"), (REMOVE, "refused", "absent")],
    ids=["add", "change", "remove"],
)
async def test_why_a_queue_refuses_is_asked_and_not_read(
    session: Session, ami: FakeAmi, act: Act, there: str, gone: str
) -> None:
    for action in ("QueueAdd", "QueuePenalty", "QueueRemove"):
        ami.replies[action] = saying("Response: Error", "Message: Nein")
    told = []
    for known in ({"sales": ["PJSIP/101"]}, {"sales": ["PJSIP/100"]}, {"support": ["PJSIP/101"]}):
        ami.replies["QueueStatus"] = queues(**known)
        error = await refused(session, act)
        assert str(error) == "Nein"
        told.append(error.reason)
    assert told == [there, gone, "absent"]


@pytest.mark.parametrize("act", [ADD, CHANGE, REMOVE], ids=["add", "change", "remove"])
async def test_who_may_not_is_not_told_that_it_is_not_there(session: Session, ami: FakeAmi, act: Act) -> None:
    for action in ("QueueAdd", "QueuePenalty", "QueueRemove"):
        ami.replies[action] = saying("Response: Error", "Message: Permission denied")
    error = await refused(session, act)
    assert (error.reason, str(error)) == ("refused", "Permission denied")


async def test_only_what_changes_is_said(session: Session, ami: FakeAmi) -> None:
    await perform(session, QueueMemberChange(queue="sales", interface="PJSIP/101", paused=False))
    await perform(session, QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=0, ring_inuse=True))
    member = {"Queue": "sales", "Interface": "PJSIP/101"}
    assert said(ami) == [
        {"Action": "QueuePause", **member, "Paused": "false"},
        {"Action": "QueuePenalty", **member, "Penalty": "0"},
        {"Action": "QueueMemberRingInUse", **member, "RingInUse": "true"},
    ]


async def test_a_change_that_went_half_says_so(session: Session, ami: FakeAmi) -> None:
    ami.replies["QueuePause"] = saying("Response: Error", "Message: Interface not found")
    act = QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=2, paused=True)
    error = await refused(session, act)
    assert (error.reason, str(error)) == ("absent", "Interface not found (after QueuePenalty succeeded)")


async def test_an_answer_without_words(session: Session, ami: FakeAmi) -> None:
    ami.replies["Hangup"] = saying("Response: Error")
    error = await refused(session, ChannelHangup("PJSIP/100-1"))
    assert (error.reason, str(error)) == ("refused", "Asterisk refused the action without a reason")
