"""A PBX that sends without end: the bytes in memory are bounded, and each cut has a reason."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from projections import ALL
from schemas.agi import AgiStep
from schemas.ami.agi import AsyncAgiEvent
from schemas.configuration import Line, Section
from schemas.log import NewEvent, RingledgerEvent
from services.asterisk.ami import answers as answers_module
from services.asterisk.ami import lists
from services.asterisk.ami import snapshots as snapshots_module
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.answers import AnswerTooLongError
from services.asterisk.ami.blocks import message
from services.asterisk.ami.framing import MAX_BLOCK_BYTES
from services.asterisk.ami.lists import MAX_DETAILS, Endpoints
from services.asterisk.ami.pending_action import PendingAction, drop_item, keep_headers, size_of
from services.asterisk.ami.protocol import MAX_BANNER_BYTES, MAX_CACHED_NAMES, LedgerProtocol
from services.asterisk.ami.session import Session
from services.asterisk.ami.snapshots import Snapshots
from services.asterisk.config import files, sections
from services.asterisk.config.render import render
from services.asterisk.config.sections import Inheritance, InheritanceError
from services.asterisk.config.text import ConfigTextError, parse
from services.commander.async_agi.run import Run
from services.database.connection import connect
from services.log import read
from services.log.read import read_events
from services.projector.projector import Projector
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi, block
from tests.support.listener import listener_task
from tests.support.pbx22 import pbx22
from tests.support.polling import eventually
from tests.support.story import append, event

READ = 1 << 16
LIST = block("Response: Success", "ActionID: rl-1", "EventList: start")
ITEM = block("Event: Item", "ActionID: rl-1", *(f"Header{n}: some value" for n in range(20)))


class Link(LedgerProtocol):
    """A protocol that drops its events and counts its bytes in memory."""

    def __init__(self) -> None:
        super().__init__(lambda _events: None, lambda _: None)
        self.data_received(b"Asterisk Call Manager/11.0.0\r\n")

    def request(self, number: str = "rl-1", **options: Any) -> PendingAction:
        action = PendingAction({"Action": "Agents", "ActionID": number}, **options)
        self.answers.add(action)
        return action

    @property
    def size(self) -> int:
        answers = sum([size_of(one) for pending in self.answers for one in pending.responses])
        assert answers == self.answers.memory
        return answers + len(self.pending) + sum([len(name) for name in self._names])


def endless(megabytes: int) -> Iterator[bytes]:
    """Yield reads of a list that does not end."""
    yield LIST
    for _ in range((megabytes << 20) // READ):
        yield ITEM * (READ // len(ITEM))


async def test_an_endless_list_is_cut_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "MAX_ANSWER_BYTES", 1 << 20)
    link = Link()
    action = link.request()
    peak = 0
    with capture_logs() as logs:
        for data in endless(4):
            link.data_received(data)
            peak = max(peak, link.size)
    assert peak < (1 << 20) + READ
    assert (link.answers.memory, len(link.answers), action.responses) == (0, 0, [])
    with pytest.raises(AnswerTooLongError, match="Agents takes more than 1 MB"):
        await action.future
    assert [entry["action"] for entry in logs if entry["event"] == "answer_cut"] == ["Agents"]
    # The next action of the same link is answered.
    other = link.request("rl-2")
    link.data_received(block("Response: Success", "ActionID: rl-2"))
    assert [one.success for one in await other.future] == [True]


async def test_dropped_items_take_no_memory() -> None:
    link = Link()
    action = link.request(item_filter=drop_item)
    peak = 0
    for data in endless(4):
        link.data_received(data)
        peak = max(peak, link.size)
    assert peak < 8192
    assert not action.future.done()
    link.data_received(block("Event: AgentsComplete", "ActionID: rl-1", "EventList: Complete"))
    first, last = await action.future
    assert (first.response, last.event, link.answers.memory) == ("Success", "AgentsComplete", 0)


async def test_only_named_headers_of_items_are_kept() -> None:
    link = Link()
    action = link.request(item_filter=keep_headers("Header3", "Absent"))
    for data in (LIST, ITEM, block("Event: ItemsComplete", "ActionID: rl-1")):
        link.data_received(data)
    (item,) = (await action.future)[1:-1]
    assert (item.header3, "Absent" in item, "Header4" in item) == ("some value", False, False)


async def test_all_answers_of_a_link_have_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "MAX_ANSWERS_BYTES", 1 << 20)
    link = Link()
    small, large = link.request("rl-2"), link.request("rl-1")
    link.data_received(LIST.replace(b"rl-1", b"rl-2") + ITEM.replace(b"rl-1", b"rl-2"))
    for data in endless(2):
        link.data_received(data)
        assert link.size < (1 << 20) + READ
    with pytest.raises(AnswerTooLongError):
        await large.future
    assert list(link.answers) == [small]
    assert link.answers.memory == small.memory


async def test_a_response_of_headers_alone_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lines take more memory than their letters."""
    monkeypatch.setattr(answers_module, "MAX_ANSWER_BYTES", 1 << 20)
    link = Link()
    action = link.request()
    link.data_received(LIST[:-2] + b"".join(b"%x:\r\n" % n for n in range(20_000)) + b"\r\n")
    assert (link.answers.memory, len(link.answers)) == (0, 0)
    with pytest.raises(AnswerTooLongError):
        await action.future


def test_a_block_without_end_is_rejected() -> None:
    link = Link()
    for _ in range(3 * MAX_BLOCK_BYTES // READ):
        link.data_received(b"x" * READ)
        assert link.size <= MAX_BLOCK_BYTES + READ
    assert link.rejected_bytes > MAX_BLOCK_BYTES


def test_a_banner_without_end_is_cut() -> None:
    link = LedgerProtocol(lambda _events: None, lambda _: None)
    link.data_received(b"Asterisk Call Manager" + b"x" * READ + b"\r\n")
    assert len(link.banner) <= MAX_BANNER_BYTES


def test_long_event_names_are_not_cached() -> None:
    link = Link()
    for n in range(2 * MAX_CACHED_NAMES):
        link.data_received(b"Event: %d%s\r\n\r\n" % (n, b"x" * 10_000))
    assert link.size == 0
    for n in range(2 * MAX_CACHED_NAMES):
        link.data_received(b"Event: %d\r\n\r\n" % n)
    assert len(link._names) == MAX_CACHED_NAMES


def test_pending_details_are_bounded() -> None:
    endpoints = Endpoints()
    snapshots = Snapshots(lambda _event: None)
    with capture_logs() as logs:
        for n in range(MAX_DETAILS + 10):
            endpoints.add(message(block("Event: EndpointList", f"ObjectName: {n}")))
    endpoints.add(message(block("Event: EndpointList", f"ObjectName: {'x' * 1000}")))
    assert len(endpoints.details) == MAX_DETAILS
    assert [entry["event"] for entry in logs] == ["details_cut"]
    for n in range(MAX_DETAILS + 10):
        raw = block("Event: ContactStatus", "ContactStatus: Created", f"EndpointName: {n}")
        snapshots.trigger(NewEvent("ami", "ContactStatus", None, 0.0, raw))
    assert len(snapshots._details) == MAX_DETAILS


async def test_an_endless_list_disturbs_no_other_pbx(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists of one PBX never end; another PBX of the same process is connected and healed meanwhile."""
    monkeypatch.setattr(snapshots_module, "FREQUENT", ("Agents",))
    monkeypatch.setattr(snapshots_module, "RARE", ())
    async with pbx22() as hostile, pbx22() as honest:
        hostile.replies["Agents"] = lambda action: LIST.replace(b"rl-1", action["ActionID"].encode())
        async with listener_task(url, hostile.pbx("hostile"), honest.pbx("honest")):
            await eventually(lambda: hostile.actions_named("Agents") and honest.actions_named("Agents"))
            item = ITEM.replace(b"rl-1", hostile.actions_named("Agents")[0]["ActionID"].encode())
            pouring = asyncio.create_task(_pour(hostile, item * 100))
            honest.send(block("Event: Newchannel", "Uniqueid: 1.1"))
            names = await EventLog(url).until(lambda names: {"Newchannel", "SnapshotCompleted"} <= set(names), "honest")
            pouring.cancel()
    assert "SnapshotCompleted" in names
    assert "SnapshotCompleted" not in await EventLog(url).names("hostile")


async def _pour(fake: FakeAmi, data: bytes) -> None:
    while fake.clients:
        fake.send(data)
        await fake.clients[0].drain()
        await asyncio.sleep(0)


async def test_a_cut_list_fails_in_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "MAX_ANSWER_BYTES", 1 << 16)
    async with pbx22() as fake:
        fake.replies["Agents"] = lambda action: block(
            "Response: Success", f"ActionID: {action['ActionID']}", "EventList: start", *(f"{n}:x" for n in range(5000))
        )
        session = Session(fake.pbx(), lambda _events: None, lambda _banner: None)
        await session.open()
        events: list[RingledgerEvent] = []
        await lists.take_snapshot(session, 7, ("Agents",), events.append, is_booted=True)
        session.close()
    _, listed, completed = events
    assert (listed.outcome, completed.failed) == ("failed", ("Agents",))  # type: ignore[attr-defined]
    assert "takes more than" in listed.message  # type: ignore[attr-defined]


def doubling_templates(levels: int) -> list[Section]:
    lines = tuple(Line(f"a{n}", "b") for n in range(100))
    first = Section("t0", lines, template=True)
    return [first, *(Section(f"t{n}", (), True, (f"t{n - 1}",) * 2) for n in range(1, levels))]  # noqa: FBT003


def test_doubling_templates_are_refused() -> None:
    inheritance = Inheritance()

    def add(sections: list[Section]) -> None:
        for section in sections:
            inheritance.add(section)

    with pytest.raises(InheritanceError):
        add(doubling_templates(64))
    assert inheritance.total <= sections.MAX_INHERITED_LINES
    with pytest.raises(ConfigTextError, match="inherit more than"):
        parse(render(doubling_templates(64)))


async def test_a_file_with_doubling_templates_is_unreadable() -> None:
    headers = []
    for number, section in enumerate(doubling_templates(64)):
        headers += [f"Category-{number:06d}: {section.name}", f"IsTemplate-{number:06d}: 1"]
        headers += [f"Templates-{number:06d}: {','.join(section.inherits)}"] if section.inherits else []
        headers += [f"Line-{number:06d}-{n:06d}: {line.name}={line.value}" for n, line in enumerate(section.lines)]
    async with FakeAmi() as fake:
        fake.replies["GetConfig"] = lambda action: block(
            "Response: Success", f"ActionID: {action['ActionID']}", *headers
        )
        session = Session(fake.pbx(), lambda _events: None, lambda _banner: None)
        await session.open()
        with pytest.raises(RefusedError, match=r"queues.conf: sections inherit more than"):
            await files.read(session, "queues.conf")
        session.close()


def test_a_run_keeps_results_of_its_own_commands() -> None:
    run = Run("run", "PJSIP/1", "1.1", "master", 1)
    run.steps = (AgiStep("a", 1, "", "ANSWER"), AgiStep("b", 2, "", "HANGUP"))

    def executed(command_id: str, result: str = "200 result=0") -> None:
        at = datetime.fromtimestamp(0, UTC)
        event = AsyncAgiEvent(pbx="pbx", at=at, recorded=at, position=2, command_id=command_id, result=result)
        run.apply("AsyncAGIExec", event)

    for n in range(1000):
        executed(f"run/{n}")
        executed(f"other/{n}")
        executed(f"run/{n}/{n}")
    executed("run/break", "x" * 1_000_000)
    executed("run/" + "9" * 5000)
    assert set(run.results) == {"run/0", "run/1", "run/2", "run/break"}
    assert sum(map(len, run.results.values())) < 1 << 17


async def test_a_read_of_events_is_bounded_in_bytes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large events take no more memory than a batch of small ones."""
    events = [event("Newchannel", {"Uniqueid": f"1.{n}", "Linkedid": "1", "Channel": f"PJSIP/{n}"}) for n in range(20)]
    await append(url, events)
    monkeypatch.setattr(read, "READ_BYTES", 2 * len(events[0].raw))
    connection = await connect(url, search_path="model, ledger")
    rows = await read_events(connection, 0, 20, ["Newchannel"])
    assert [row["position"] for row in rows] == [1, 2]
    monkeypatch.setattr(read, "READ_BYTES", 1)
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert {cursor.position for cursor in projector.cursors} == {20}
    assert await connection.fetchval("SELECT count(*) FROM channels") == 20
    await connection.close()
