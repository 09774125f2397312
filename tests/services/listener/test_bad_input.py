"""Ten thousand mutated AMI streams: the listener never crashes, and counts every byte that it rejects."""

import random
import re
from collections.abc import Callable
from functools import cache

import msgspec
import pytest
from panoramisk.message import Message

from projections import ALL
from schemas.log import NewEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.asterisk.ami import framing
from services.asterisk.ami.pending_action import PendingAction
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.projector.projector import Projector
from services.runtime.masking.ami import masker_of
from tests.captures import wire

STREAMS = 10_000
SEED = 20261123
BANNER = b"Asterisk Call Manager/11.0.0\r\n"
END = b"\r\n\r\n"
NASTY = [b"\0", b"\r", b"\n", b"\r\n", END, b":", b": ", b"\xff", b"\xc3", b"\xed\xa0\x80", "é".encode(), b"\t", b"/"]
NASTY += [
    b"99999999999999999999",
    b"-1",
    b"1e999",
    b"nan",
    "²".encode(),
    b"Event: ",
    b"Response: ",
    b"ActionID: rl-1\r\n",
]
NASTY += [
    b"ActionID: ringledger/\r\n",
    b"ActionID: ringledger/7/CoreShowChannels\r\n",
    b"Uniqueid: \r\n",
    b"_pbx: x\r\n",
]


class CountingProtocol(LedgerProtocol):
    """A protocol that counts the bytes of all framed blocks."""

    framed = 0

    def _handle(self, block: bytes, now: float) -> None:
        self.framed += len(block)
        super()._handle(block, now)


@cache
def corpus() -> list[bytes]:
    """Return four blocks of every kind in both recordings; list items belong to an action of a snapshot."""
    kinds: dict[bytes, list[bytes]] = {}
    for capture in ("rich22", "rich16"):
        for block in wire(capture).partition(b"\r\n")[2].split(END)[:-1]:
            kind = kinds.setdefault(block.lstrip(b"\r\n").partition(b"\r\n")[0], [])
            if len(kind) < 4:
                kind.append(re.sub(rb"ActionID: rec-\d+", b"ActionID: ringledger/7/CoreShowChannels", block) + END)
    assert len(kinds) > 140
    return [block for kind in kinds.values() for block in kind]


def flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 8)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def delete(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice((1, 2, 4, 100))]


def insert(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = dice.choice(NASTY)


def replace_value(data: bytearray, dice: random.Random) -> None:
    values = list(re.finditer(rb": ([^\r\n]+)\r\n", data))
    if values:
        start, end = dice.choice(values).span(1)
        data[start:end] = dice.choice(NASTY)


def truncate(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


def double(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start:start] = data[start : start + dice.randint(1, 500)]


def bloat(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start:start] = dice.choice((b"x", b"\0", b"pass", b"\xc3", b"a:b")) * dice.choice((1000, 20_000))


def drop_colons(data: bytearray, _dice: random.Random) -> None:
    data[:] = data.replace(b": ", b" ")


def bare_feeds(data: bytearray, _dice: random.Random) -> None:
    data[:] = data.replace(b"\r\n", b"\n")


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    *(flip, delete, insert, replace_value, truncate, double, flip, delete, insert, replace_value, replace_value),
    *(bloat, drop_colons, bare_feeds),
]


def mutate(dice: random.Random) -> bytes:
    data = bytearray(b"".join(dice.choices(corpus(), k=dice.randint(1, 4))))
    for _ in range(dice.randint(1, 4)):
        if data:
            dice.choice(MUTATIONS)(data, dice)
    return bytes(data)


def feed(
    stream: bytes, dice: random.Random, sizes: tuple[int, ...] = (1, 7, 100, 1448, 65536)
) -> tuple[CountingProtocol, list[NewEvent]]:
    log: list[NewEvent] = []
    protocol = CountingProtocol(log.extend, lambda _: None)
    protocol.answers.add(PendingAction({"Action": "CoreStatus", "ActionID": "rl-1"}))
    action_id = "ringledger/7/CoreShowChannels"
    protocol.answers.add(PendingAction({"Action": "CoreShowChannels", "ActionID": action_id}))
    start = 0
    while start < len(stream):
        end = start + dice.choice(sizes)
        protocol.data_received(stream[start:end])
        start = end
    return protocol, log


def masked(block: bytes, start: bytes) -> bytes:
    return masker_of(start[6 : start.find(b"\r\n")].strip())(block)


async def test_ten_thousand_mutated_streams_are_framed(url: str, spools: Spools) -> None:
    dice = random.Random(SEED)
    ingest = Ingest(url, "pbx", spools)

    def write(event: SnapshotStarted | SnapshotListed | SnapshotCompleted) -> None:
        ingest.put(NewEvent("ringledger", type(event).__name__, 1.0, 1.0, msgspec.json.encode(event)))

    count = 0
    for number in range(STREAMS):
        noise = mutate(dice)
        sentinel = b"Event: Sentinel\r\nNumber: %d\r\n\r\n" % number
        stream = noise + END + sentinel
        protocol, log = feed(BANNER + stream, dice)
        assert log[-1].name == "Sentinel"  # framing recovers at the next block
        assert log[-1].raw.lstrip(b"\r\n") == sentinel
        # Every block is an event in the log, a response, or counted as rejected.
        blocks = [block + END for block in stream.split(END)[:-1]]
        starts = [block.lstrip(b"\r\n") for block in blocks]
        events = [masked(b, start) for b, start in zip(blocks, starts, strict=True) if start.startswith(b"Event:")]
        assert [e.raw for e in log if not e.raw.lstrip(b"\r\n").startswith(b"Response:")] == events
        rejected = [
            b for b, start in zip(blocks, starts, strict=True) if not start.startswith((b"Event:", b"Response:"))
        ]
        assert (protocol.rejected_blocks, protocol.rejected_bytes) == (len(rejected), sum(map(len, rejected)))
        assert protocol.framed + len(protocol.pending) + len(BANNER) == protocol.received == len(BANNER) + len(stream)
        count += len(events)
        if number % 50 == 0:
            write(SnapshotStarted(7))
        for event in log:
            ingest.put(event)
        if number % 50 == 49:
            for model in ALL:
                for action in model.lists:
                    write(SnapshotListed(7, action, "complete"))
            write(SnapshotCompleted(7))
    assert count > 2 * STREAMS
    ingest.stop()
    await ingest.run()
    connection = await connect(url, search_path="model, ledger")
    assert await connection.fetchval("SELECT count(*) FROM event WHERE name = 'Rejected'") == 0
    assert await connection.fetchval("SELECT count(*) FROM event WHERE name = 'Sentinel'") == STREAMS
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert projector.stopped == {}
    assert await connection.fetchval("SELECT count(*) FROM unfit") > 10  # the folds really received malformed events
    await connection.close()


async def test_an_endless_block_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_BLOCK_BYTES", 5000)
    dice = random.Random(SEED)
    overlong = 0
    for _ in range(200):
        stream = mutate(dice) + b"x" * dice.randint(0, 30_000) + END + b"Event: Sentinel\r\n\r\n"
        protocol, log = feed(BANNER + stream, dice, (1, 7, 1448))
        assert log[-1].raw.lstrip(b"\r\n") == b"Event: Sentinel\r\n\r\n"
        assert protocol._framer.overlong + protocol.framed + len(BANNER) == protocol.received
        assert protocol.rejected_bytes >= protocol._framer.overlong
        overlong += protocol._framer.overlong > 0
    assert overlong > 50


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"\r\n",
        b"Hello\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"y" * 1000 + END,
        b"Asterisk Call Manager" + END,
    ],
)
def test_any_greeting_is_accepted(greeting: bytes, size: int) -> None:
    log: list[NewEvent] = []
    protocol = LedgerProtocol(log.extend, lambda _: None)
    stream = greeting + b"Event: One\r\n\r\nEvent: Two\r\n\r\n"
    for start in range(0, len(stream), size):
        protocol.data_received(stream[start : start + size])
    assert log[-1].raw == b"Event: Two\r\n\r\n"
    banner = len(protocol.banner) + 2 if protocol.banner else 0
    assert banner + sum(len(e.raw) for e in log) + protocol.rejected_bytes == len(stream)


async def test_a_malformed_response_fails_its_action() -> None:
    pending = PendingAction({"Action": "CoreStatus", "ActionID": "rl-1"})
    assert not pending.add_message(Message({"Event": "Stray", "EventList": "Complete"}))
    with pytest.raises(AttributeError):
        pending.add_message(Message({"Response": "Success", "EventList": ["start", "start"]}))
