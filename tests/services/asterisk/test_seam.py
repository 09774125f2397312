"""Every known fault of panoramisk 1.4: its protocol class has the fault, Ringledger's has not."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from schemas.log import NewEvent
from services.asterisk.ami import session as session_module
from services.asterisk.ami.blocks import message
from services.asterisk.ami.pending_action import PendingAction
from services.asterisk.ami.protocol import LedgerProtocol, LinkLostError
from services.asterisk.ami.session import LoginRefusedError, Session
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import eventually

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


class Wire:
    """A transport that stores what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True


def dispatched(reads: Iterable[bytes], callback: Any = None, action: Action | None = None) -> list[Message]:
    """Return the messages that panoramisk dispatches for these reads."""
    manager = Manager(loop=asyncio.get_running_loop())
    messages: list[Message] = []
    manager.register_event("*", callback or (lambda _, event: messages.append(event)))
    protocol = AMIProtocol()
    protocol.connection_made(Wire())
    protocol.factory, protocol.encoding = manager, "utf8"
    if action is not None:
        protocol.send(action, as_list=None)
    for data in (BANNER, *reads):
        try:
            protocol.data_received(data)
        except ZeroDivisionError:
            continue  # as asyncio does: it logs the error and drops the read
    return messages


def connected_protocol(events: list[NewEvent]) -> LedgerProtocol:
    protocol = LedgerProtocol(events.extend, lambda _: None)
    protocol.connection_made(Wire())
    protocol.data_received(BANNER)
    return protocol


def ledger_events(reads: Iterable[bytes], action: Action | None = None) -> list[NewEvent]:
    events: list[NewEvent] = []
    protocol = connected_protocol(events)
    if action is not None:
        protocol.send(action)
    for data in reads:
        protocol.data_received(data)
    return events


async def test_a_letter_split_over_two_reads_is_kept() -> None:
    wire = block("Event: Newchannel", "CallerIDName: René")
    cut = wire.index("é".encode()) + 1
    reads = [wire[:cut], wire[cut:]]
    assert [e.calleridname for e in dispatched(reads)] == ["Ren"]
    assert b"".join(e.raw for e in ledger_events(reads)) == wire


async def test_an_empty_last_header_is_kept() -> None:
    wire = block("Event: Newchannel", "Channel: PJSIP/1", "AccountCode: ")
    assert "AccountCode" not in dispatched([wire])[0]
    assert ledger_events([wire])[0].raw == wire
    assert message(wire)["AccountCode"] == ""


async def test_a_header_without_a_space_is_kept() -> None:
    wire = block("Event: UserEvent", "Colour:red")
    assert "Colour" not in dispatched([wire])[0]
    assert ledger_events([wire])[0].raw == wire
    assert message(wire)["Colour"] == "red"


async def test_an_actions_events_reach_the_log() -> None:
    headers = {"Action": "QueueStatus", "ActionID": "7"}
    wire = (
        block("Response: Success", "ActionID: 7", "EventList: start", "Message: Queue status will follow")
        + block("Event: QueueParams", "ActionID: 7", "Queue: sales")
        + block("Event: QueueStatusComplete", "ActionID: 7", "EventList: Complete")
    )
    assert dispatched([wire], action=Action(headers)) == []
    pending = PendingAction(headers)
    assert [e.name for e in ledger_events([wire], action=pending)] == ["QueueParams", "QueueStatusComplete"]
    assert len(pending.future.result()) == 3


async def test_an_error_loses_no_later_block() -> None:
    names: list[str] = []

    def handle(_: Manager, event: Message) -> None:
        names.append(event.event)
        raise ZeroDivisionError

    wire = block("Event: One") + block("Event: Two")
    dispatched([wire], callback=handle)
    assert names == ["One"]

    class Broken(PendingAction):
        def add_message(self, _message: Message) -> bool:
            raise ZeroDivisionError

    pending = Broken({"Action": "Ping", "ActionID": "7"})
    wire = block("Event: One") + block("Response: Success", "ActionID: 7") + block("Event: Two")
    assert [e.name for e in ledger_events([wire], action=pending)] == ["One", "Two"]
    assert isinstance(pending.future.exception(), ValueError)


async def test_events_keep_the_order_of_the_wire() -> None:
    names: list[str] = []
    last = asyncio.Event()

    async def handle(_: Manager, event: Message) -> None:
        for _pass in range(int(event.passes)):
            await asyncio.sleep(0)
        names.append(event.event)
        if len(names) == 3:
            last.set()

    wire = b"".join(block(f"Event: E{n}", f"Passes: {n}") for n in (3, 2, 1))
    dispatched([wire], callback=handle)
    await last.wait()
    assert names == ["E1", "E2", "E3"]
    assert [e.name for e in ledger_events([wire])] == ["E3", "E2", "E1"]


async def test_a_missing_pong_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeAmi() as pbx:
        pbx.replies["Ping"] = lambda _: b""
        manager = Manager(host="127.0.0.1", port=pbx.port, loop=asyncio.get_running_loop(), ping_interval=3600)
        await manager.connect()
        await eventually(lambda: manager.protocol)
        for _ in range(3):
            manager.pinger.cancel()
            manager.ping()
        await eventually(lambda: len(pbx.actions_named("Ping")) >= 3)
        assert not manager.protocol.closed
        manager.close()

        monkeypatch.setattr(session_module, "PONG_TIMEOUT_SECONDS", 0.05)
        session = Session(pbx.pbx(), lambda _: None, lambda _: None)
        await session.open()
        await session.keep_alive()
        assert "no Pong" in session.lost.result()


@pytest.mark.parametrize("value", ["x\r\nAction: Hangup", "x\nAction: Hangup", "x\0y", ["a", "b\r\nAction: Hangup"]])
async def test_a_value_cannot_start_another_action(value: Any) -> None:
    headers = {"Action": "Setvar", "ActionID": "7", "Value": value}
    protocol = AMIProtocol()
    protocol.connection_made(Wire())
    protocol.send(Action(headers))
    assert b"Action: Hangup" in protocol.transport.written or b"\0" in protocol.transport.written

    protocol = connected_protocol([])
    with pytest.raises(ValueError, match="cannot be part"):
        protocol.send(Action(headers))
    with pytest.raises(ValueError, match="cannot be part"):
        protocol.send(Action({"Action": "Setvar", "Name\r\nAction": "Hangup"}))
    assert protocol.transport.written == b""
    assert len(protocol.answers) == 0


async def test_a_refused_login_raises() -> None:
    async with FakeAmi(secret="another") as pbx:
        manager = Manager(
            host="127.0.0.1", port=pbx.port, loop=asyncio.get_running_loop(), username="lab", secret="secret"
        )
        await manager.connect()
        answer = await eventually(lambda: manager.authenticated_future)
        assert answer.message == "Authentication failed"  # only a caller that checks it notices; no error is raised
        manager.close()

        session = Session(pbx.pbx(), lambda _: None, lambda _: None)
        with pytest.raises(LoginRefusedError, match="Authentication failed"):
            await session.open()
        session.close()
        await session.lost


async def test_an_action_is_never_sent_again() -> None:
    async with FakeAmi() as pbx:
        pbx.replies["Originate"] = lambda _: b""
        manager = Manager(
            host="127.0.0.1",
            port=pbx.port,
            loop=asyncio.get_running_loop(),
            username="lab",
            secret="secret",
            reconnect_timeout=0,
        )
        await manager.connect()
        await eventually(lambda: pbx.clients)
        manager.send_action(Action({"Action": "Originate", "Channel": "PJSIP/1"}))
        await eventually(lambda: pbx.actions_named("Originate"))
        pbx.cut()
        await eventually(lambda: len(pbx.actions_named("Originate")) >= 2)  # the phone rings twice
        manager.reconnect_timeout = 3600
        manager.close()

        pbx.actions.clear()
        session = Session(pbx.pbx(), lambda _: None, lambda _: None)
        await session.open()
        request = asyncio.ensure_future(session.request("Originate", Channel="PJSIP/1"))
        await eventually(lambda: pbx.actions_named("Originate"))
        pbx.cut()
        with pytest.raises(LinkLostError):
            await request
        await session.lost
        again = Session(pbx.pbx(), lambda _: None, lambda _: None)
        await again.open()
        await again.request("Ping")
        assert len(pbx.actions_named("Originate")) == 1
        with pytest.raises(LinkLostError):
            await session.request("Ping")
        again.close()
        await again.lost
