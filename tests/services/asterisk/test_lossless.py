"""The log has the exact bytes of every event, wherever the socket cut them."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from schemas.log import NewEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.runtime.masking.ami import HARMLESS, mask_block, masker_of
from tests.captures import wire
from tests.support.event_log import EventLog
from tests.support.fake_ami import FakeAmi
from tests.support.listener import listener_task
from tests.support.polling import TIMEOUT_SECONDS, eventually

CAPTURES = ("rich22", "rich16")
SECRET = re.compile(rb"(?i)pass|secret|md5|cred|challenge|token|hash|^key$|^pin$")
FLAGS = {b"UsingPassword", b"MohPassthrough"}


@cache
def blocks(capture: str) -> tuple[bytes, ...]:
    """Return the blocks after the banner, split in the simplest way."""
    *cut, rest = wire(capture).partition(b"\r\n")[2].split(b"\r\n\r\n")
    assert rest == b""
    return tuple(one + b"\r\n\r\n" for one in cut)


def headers(block: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.split(b":", 1) for line in block.split(b"\r\n") if b":" in line)
    return [(name, value) for name, value in pairs]


def expected(block: bytes) -> bytes:
    """Return the block with its secrets masked, in the simplest way."""
    lines = []
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        hide = value and SECRET.search(name) and name not in FLAGS
        lines.append(name + b": ********" if hide else line)
    # In the recordings, one caller enters a PIN.
    pin = b"\r\n".join(lines).replace(b"Variable: PIN\r\nValue: 4242\r\n", b"Variable: PIN\r\nValue: ********\r\n")
    return pin.replace(b"AppData: PinEntered,Pin: 4242,", b"AppData: PinEntered,Pin: ********,")


def is_event(block: bytes) -> bool:
    return block.lstrip(b"\r\n").startswith(b"Event: ")


def read(reads: Iterable[bytes]) -> tuple[LedgerProtocol, list[tuple[str, float | None, bytes]]]:
    log: list[NewEvent] = []
    protocol = LedgerProtocol(log.extend, lambda _: None)
    for data in reads:
        protocol.data_received(data)
    return protocol, [(e.name, e.occurred, e.raw) for e in log]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def cut_at(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for place in places:
        yield data[start:place]
        start = place
    yield data[start:]


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_log_has_every_byte_of_every_event(capture: str) -> None:
    protocol, log = read(pieces(wire(capture), 65536))
    assert [raw for _, _, raw in log] == [expected(block) for block in blocks(capture) if is_event(block)]
    responses = [block for block in blocks(capture) if not is_event(block)]
    assert all(block.lstrip(b"\r\n").startswith(b"Response: ") for block in responses)
    # The wire has no other bytes than the banner, the events (before masking) and the responses.
    events = sum(len(block) for block in blocks(capture) if is_event(block))
    banner = len(protocol.banner) + 2
    assert banner + events + sum(map(len, responses)) == len(wire(capture))
    assert (protocol.rejected_blocks, protocol.rejected_bytes, protocol.pending) == (0, 0, b"")


@pytest.mark.parametrize("capture", CAPTURES)
def test_names_and_times_equal_those_of_blocks(capture: str) -> None:
    _, log = read(pieces(wire(capture), 65536))
    for (name, occurred, _), block in zip(log, filter(is_event, blocks(capture)), strict=True):
        pairs = dict(headers(block))
        assert name.encode() == pairs[b"Event"].strip()
        assert occurred == (float(pairs[b"Timestamp"]) if b"Timestamp" in pairs else None)


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("size", [1, 7, 1448, 65536])
def test_reads_of_any_size_give_the_same_log(capture: str, size: int) -> None:
    # A million reads of one byte are enough: 2,300 blocks with every header that a list action has.
    data = wire(capture)[: 1_000_000 if size == 1 else None]
    whole, log = read([data])
    protocol, fragmented = read(pieces(data, size))
    assert fragmented == log
    assert (protocol.pending, protocol.banner) == (whole.pending, whole.banner)
    assert protocol.received == len(data)


@pytest.mark.parametrize("capture", CAPTURES)
def test_cuts_at_any_byte_give_the_same_log(capture: str) -> None:
    data = wire(capture)
    _, log = read([data])
    letters = [match.start() + 1 for match in re.finditer(rb"[\xc2-\xf4][\x80-\xbf]", data)]
    assert len(letters) > 50
    ends = [match.start() + n for match in re.finditer(rb"\r\n\r\n", data) for n in (1, 3)]
    dice = random.Random(4711)
    anywhere = sorted(dice.sample(range(1, len(data)), 100_000))
    for places in (letters, ends, anywhere):
        assert read(cut_at(data, places))[1] == log


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_log_has_no_secret(capture: str) -> None:
    secrets = {
        value.strip()
        for block in blocks(capture)
        if is_event(block)
        for name, value in headers(block)
        if SECRET.search(name) and name not in FLAGS and value.strip()
    }
    assert {b"pw100", b"pw119"} <= secrets
    _, log = read([wire(capture)])
    for _, _, raw in log:
        for name, value in headers(raw):
            if SECRET.search(name) and name not in FLAGS:
                assert value.strip() in {b"", b"********"}
    joined = b"".join(raw for _, _, raw in log)
    assert not [secret for secret in secrets if len(secret) > 4 and b": " + secret + b"\r\n" in joined]


@pytest.mark.parametrize(
    ("header", "expected_header"),
    [
        (b"Password: x", b"Password: ********"),
        (b"password:x", b"password:********"),
        (b"Password: ", b"Password: "),
        (b"Password:", b"Password:"),
        (b"Password: half\rand\nhalf", b"Password: ********"),
        (b"Message: a\nSecret: b", b"Message: a\nSecret: ********"),
        (b"X\rMd5Cred: b", b"X\rMd5Cred: ********"),
        (b"Key: x", b"Key: ********"),
        (b"KeyName: x", b"KeyName: x"),
        (b"Value: Password: x", b"Value: Password: x"),
        (b"UsingPassword: 1", b"UsingPassword: 1"),
        (b"MohPassthrough: false", b"MohPassthrough: false"),
        (b"password" * 50_000, b"password" * 50_000),  # no header without a colon, and no quadratic search
    ],
)
def test_only_values_of_secrets_are_masked(header: bytes, expected_header: bytes) -> None:
    wire = b"Event: AuthDetail\r\n%s\r\nRealm: pass\r\n\r\n"
    assert mask_block(wire % header) == wire % expected_header
    assert mask_block(mask_block(wire % header)) == wire % expected_header


def test_the_fast_mask_equals_the_general_one() -> None:
    counts: Counter[bytes] = Counter()
    for capture in CAPTURES:
        for block in filter(is_event, blocks(capture)):
            name = dict(headers(block))[b"Event"].strip()
            if name in HARMLESS:
                counts[name] += 1
                assert masker_of(name)(block) == mask_block(block) == expected(block)
    assert set(counts) == HARMLESS


async def test_the_database_has_a_recordings_exact_bytes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.asterisk.ami.session.PONG_TIMEOUT_SECONDS", 60)
    sent = b"".join(blocks("rich22"))
    dice = random.Random(4712)
    async with FakeAmi() as pbx, listener_task(url, pbx.pbx()):
        await eventually(lambda: pbx.clients)
        pbx.quiet = True  # an answer must not interrupt a block that is half sent
        async with asyncio.timeout(2 * TIMEOUT_SECONDS):
            start = 0
            while start < len(sent):
                end = start + dice.choice((1, 7, 1000, 65536, 200_000))
                pbx.clients[0].write(sent[start:end])
                await pbx.clients[0].drain()
                start = end
        count = sum(map(is_event, blocks("rich22"))) + 1  # one more for FullyBooted
        await EventLog(url).until_count(count)
    rows = await EventLog(url).rows(source="ami")
    events = [row["raw"] for row in rows if not row["name"].startswith("Response:")]
    assert events[0] == pbx.welcome
    assert events[1:] == [expected(block) for block in blocks("rich22") if is_event(block)]
