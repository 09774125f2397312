"""The AMI actions that an act sends, and the outcome of each response, over a real session."""

from collections.abc import AsyncIterator
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
from tests.support.fake_ami import FakeAmi
from tests.support.pbx22 import queue_status_reply, reply_with

CALL = ChannelOriginate(channel="PJSIP/100", context="internal", exten="101")


@pytest.fixture
async def ami() -> AsyncIterator[FakeAmi]:
    async with FakeAmi() as fake:
        for action in ("Hangup", "Originate", "QueuePause", "QueuePenalty", "QueueMemberRingInUse"):
            fake.replies[action] = reply_with("Response: Success")
        fake.replies["QueueStatus"] = queue_status_reply(sales=["PJSIP/100"])
        yield fake


@pytest.fixture
async def session(ami: FakeAmi) -> AsyncIterator[Session]:
    session = Session(ami.pbx(), lambda _: None, lambda _: None, events="off")
    await session.open()
    ami.actions.clear()
    ami.blocks.clear()
    yield session
    session.close()


async def perform(session: Session, act: Act) -> None:
    async def no_database(*_: Any) -> Any:
        raise AssertionError("these acts use no database")

    context = ActionContext(session, no_database, ConfigLog("pbx", no_database, no_database))
    assert await ACTIONS[type(act)](context, act) == {}


async def refusal(session: Session, act: Act) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await perform(session, act)
    return caught.value


def sent_actions(ami: FakeAmi) -> list[dict[str, str]]:
    return [{name: value for name, value in action.items() if name != "ActionID"} for action in ami.actions]


async def test_a_call_is_an_asynchronous_originate(session: Session, ami: FakeAmi) -> None:
    await perform(session, CALL)
    call = {"Channel": "PJSIP/100", "Context": "internal", "Exten": "101", "Priority": "1", "Timeout": "30000"}
    assert sent_actions(ami) == [{"Action": "Originate", "Async": "true", **call}]


async def test_a_call_has_all_optional_headers(session: Session, ami: FakeAmi) -> None:
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
    (action,) = sent_actions(ami)
    assert (action["CallerID"], action["Account"], action["Priority"]) == ("Jürgen <101>", "sales", "2")
    lines = ami.blocks[0].split("\r\n")
    assert [line for line in lines if line.startswith("Variable:")] == [
        r"Variable: X=a\,b=\"c\"",
        r"Variable: _Y=\(d\)\[e\]\\",
    ]


@pytest.mark.parametrize(
    "invalid",
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
async def test_an_invalid_call_is_not_sent(session: Session, ami: FakeAmi, invalid: dict[str, object]) -> None:
    call: dict[str, object] = {"channel": "PJSIP/100", "context": "internal", "exten": "101", **invalid}
    error = await refusal(session, ChannelOriginate(**call))  # type: ignore[arg-type]
    assert error.reason == "invalid"
    assert ami.actions == []


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (ModuleLoad("app_dictate"), "conflict"),
        (ModuleUnload("app_dictate"), "refused"),
    ],
)
async def test_a_refused_act_on_a_loaded_module_fails(session: Session, ami: FakeAmi, act: Act, reason: str) -> None:
    ami.replies["ModuleLoad"] = reply_with("Response: Error", "Message: Not this time.")
    ami.replies["ModuleCheck"] = reply_with("Response: Success", "Version: ")
    error = await refusal(session, act)
    assert (error.reason, str(error)) == (reason, "Not this time.")


@pytest.mark.parametrize(
    ("words", "reason"), [("Could not load module.", "refused"), ("Module not found.", "absent")], ids=["16", "22"]
)
async def test_a_failed_load_has_the_reason_of_asterisk(
    session: Session, ami: FakeAmi, words: str, reason: str
) -> None:
    ami.replies["ModuleLoad"] = reply_with("Response: Error", f"Message: {words}")
    ami.replies["ModuleCheck"] = reply_with("Response: Error", "Message: Module not loaded")
    error = await refusal(session, ModuleLoad("app_none"))
    assert (error.reason, str(error)) == (reason, words)


ADD = QueueMemberAdd(queue="sales", interface="PJSIP/101")
CHANGE = QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=1)
REMOVE = QueueMemberRemove(queue="sales", interface="PJSIP/101")


@pytest.mark.parametrize(
    ("act", "if_member", "if_no_member"),
    [(ADD, "conflict", "refused"), (CHANGE, "refused", "absent"), (REMOVE, "refused", "absent")],
    ids=["add", "change", "remove"],
)
async def test_a_queue_refusal_is_explained_by_queue_status(
    session: Session, ami: FakeAmi, act: Act, if_member: str, if_no_member: str
) -> None:
    for action in ("QueueAdd", "QueuePenalty", "QueueRemove"):
        ami.replies[action] = reply_with("Response: Error", "Message: Nein")
    reasons = []
    for members in ({"sales": ["PJSIP/101"]}, {"sales": ["PJSIP/100"]}, {"support": ["PJSIP/101"]}):
        ami.replies["QueueStatus"] = queue_status_reply(**members)
        error = await refusal(session, act)
        assert str(error) == "Nein"
        reasons.append(error.reason)
    assert reasons == [if_member, if_no_member, "absent"]


@pytest.mark.parametrize("act", [ADD, CHANGE, REMOVE], ids=["add", "change", "remove"])
async def test_a_denied_queue_act_is_not_absent(session: Session, ami: FakeAmi, act: Act) -> None:
    for action in ("QueueAdd", "QueuePenalty", "QueueRemove"):
        ami.replies[action] = reply_with("Response: Error", "Message: Permission denied")
    error = await refusal(session, act)
    assert (error.reason, str(error)) == ("refused", "Permission denied")


async def test_a_member_change_sends_only_its_changed_values(session: Session, ami: FakeAmi) -> None:
    await perform(session, QueueMemberChange(queue="sales", interface="PJSIP/101", paused=False))
    await perform(session, QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=0, ring_inuse=True))
    member = {"Queue": "sales", "Interface": "PJSIP/101"}
    assert sent_actions(ami) == [
        {"Action": "QueuePause", **member, "Paused": "false"},
        {"Action": "QueuePenalty", **member, "Penalty": "0"},
        {"Action": "QueueMemberRingInUse", **member, "RingInUse": "true"},
    ]


async def test_a_partial_member_change_names_the_successes(session: Session, ami: FakeAmi) -> None:
    ami.replies["QueuePause"] = reply_with("Response: Error", "Message: Interface not found")
    act = QueueMemberChange(queue="sales", interface="PJSIP/101", penalty=2, paused=True)
    error = await refusal(session, act)
    assert (error.reason, str(error)) == ("absent", "Interface not found (after QueuePenalty succeeded)")


async def test_a_refusal_without_a_message_has_a_text(session: Session, ami: FakeAmi) -> None:
    ami.replies["Hangup"] = reply_with("Response: Error")
    error = await refusal(session, ChannelHangup("PJSIP/100-1"))
    assert (error.reason, str(error)) == ("refused", "Asterisk refused the action without a reason")
