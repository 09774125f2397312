"""Anchors reveal a recomputed end of the log, whose chain is valid."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.log import NewEvent
from services.integrity.anchors import KEY_FILE, Anchor, AnchorError, sign, verify_with_anchors
from services.integrity.chain_walk import walk_chain
from services.integrity.damage import DamageError
from services.log.append import append_events
from tests.support.program import Run, environment, run_program

CUT = """
DELETE FROM ledger.event WHERE position > $1;
DELETE FROM ledger.batch WHERE first > $1;
UPDATE ledger.head h SET (position, hash, appended) = (b.last, b.hash, b.appended)
FROM ledger.batch b WHERE b.last = $1;
DELETE FROM ledger.name;
INSERT INTO ledger.name SELECT pbx, source, name, count(*), max(position) FROM ledger.event GROUP BY 1, 2, 3;
UPDATE ledger.connection c SET last_ordinal = (
    SELECT max(ordinal) FROM ledger.event e WHERE e.pbx = c.pbx AND e.connection = c.connection
);
"""


def events(*raws: str) -> list[NewEvent]:
    return [NewEvent("ami", "VarSet", 1_795_000_000.5, 1_795_000_001.25, raw.encode()) for raw in raws]


async def cut(connection: asyncpg.Connection, position: int) -> None:
    """Delete the end of the log and every trace of it, as the best forger would."""
    for statement in filter(None, CUT.strip().split(";\n")):
        await connection.execute(statement.replace("$1", str(position)))


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(url)
    await append_events(opened, "a", 1, 1, events("1", "2", "3"))
    await append_events(opened, "a", 1, 4, events("4", "5"))
    yield opened
    await opened.close()


def inside(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(file: Path) -> bytes:
    return file.read_bytes()


def lines(file: Path) -> list[Anchor]:
    return [msgspec.json.decode(line, type=Anchor) for line in file.read_bytes().splitlines()]


async def test_heads_are_signed_and_held_against_the_log(
    url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    file, data = tmp_path / "anchor", tmp_path / "data"
    _, output = await verify_with_anchors(url, file, data)
    assert output == f"anchor written to {file}"
    assert (data / KEY_FILE).stat().st_mode & 0o777 == 0o600
    key = (data / KEY_FILE).read_bytes()
    await append_events(connection, "a", 1, 6, events("6"))
    verified, output = await verify_with_anchors(url, file, data)
    assert output == f"1 anchor of {file} matches, and one was added"
    first, second = lines(file)
    assert (first.position, second.position) == (5, 6)
    assert second.hash == verified.end.hash.hex() == (await connection.fetchval("SELECT hash FROM ledger.head")).hex()
    assert (data / KEY_FILE).read_bytes() == key
    assert inside(tmp_path) == ["anchor", "data", f"data/{KEY_FILE}"]


async def test_only_an_anchor_reveals_a_rewritten_tail(
    url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "anchor"
    await append_events(connection, "a", 1, 6, events("6"))
    await verify_with_anchors(url, file, tmp_path)
    await cut(connection, 3)
    await anchored_nothing(url, file, tmp_path, "missing", 4)
    await append_events(connection, "a", 1, 4, events("4", "FIVE"))
    assert (await walk_chain(url)).events == 5
    await anchored_nothing(url, file, tmp_path, "missing", 6)
    await append_events(connection, "a", 1, 6, events("6"))
    assert (await walk_chain(url)).events == 6
    await anchored_nothing(url, file, tmp_path, "rewritten", 1)
    await cut(connection, 5)
    await append_events(connection, "a", 1, 6, events("6", "7"))
    assert (await walk_chain(url)).events == 7
    await anchored_nothing(url, file, tmp_path, "rewritten", 1)


async def test_the_fault_begins_after_the_matching_anchor(
    url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "anchor"
    await verify_with_anchors(url, file, tmp_path)
    await append_events(connection, "a", 1, 6, events("6"))
    await verify_with_anchors(url, file, tmp_path)
    await cut(connection, 5)
    await append_events(connection, "a", 1, 6, events("six"))
    await anchored_nothing(url, file, tmp_path, "rewritten", 6)


async def anchored_nothing(url: str, file: Path, data: Path, kind: str, position: int) -> None:
    before = contents(file)
    with pytest.raises(DamageError) as result:
        await verify_with_anchors(url, file, data)
    assert (result.value.kind, result.value.position) == (kind, position), str(result.value)
    assert contents(file) == before


async def test_a_damaged_log_gets_no_anchor(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    await connection.execute("UPDATE ledger.event SET raw = 'x' WHERE position = 2")
    with pytest.raises(DamageError, match="event 2 altered"):
        await verify_with_anchors(url, tmp_path / "anchor", tmp_path / "data")
    assert inside(tmp_path) == []


async def test_anchors_without_a_key_are_only_checked(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "anchor", tmp_path / "elsewhere"
    await verify_with_anchors(url, file, tmp_path)
    before = file.read_bytes()
    _, output = await verify_with_anchors(url, file, elsewhere)
    assert output.startswith(f"1 anchor of {file} matches; none was added")
    assert file.read_bytes() == before
    assert not elsewhere.exists()
    await append_events(connection, "a", 1, 6, events("6"))
    await cut(connection, 3)
    await anchored_nothing(url, file, elsewhere, "missing", 4)


def flipped(line: bytes, at: int) -> bytes:
    return line[:at] + (b"0" if line[at : at + 1] != b"0" else b"1") + line[at + 1 :]


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "position": (lambda line: line.replace(b'"position":5', b'"position":4'), "line 1: the signature is invalid"),
    "hash": (lambda line: flipped(line, line.index(b'"hash":"') + 9), "line 1: the signature is invalid"),
    "when": (lambda line: line.replace(b'"when":"2', b'"when":"1'), "line 1: the signature is invalid"),
    "public key": (lambda line: flipped(line, line.index(b'"public_key":"') + 15), "line 1"),
    "signature": (lambda line: flipped(line, line.index(b'"signature":"') + 15), "line 1: the signature is invalid"),
    "another member": (lambda line: line.replace(b"{", b'{"x":1,'), "line 1 is damaged"),
    "cut in two": (lambda line: line[: len(line) // 2], "line 1 is damaged"),
    "an empty line": (lambda line: b"\n" + line, "line 1 is damaged"),
    "not JSON": (lambda _: b"\xff\xfe\n", "line 1 is damaged"),
    "nothing": (lambda _: b"", "is empty"),
    "another's second line": (
        lambda line: line + msgspec.json.encode(sign(Ed25519PrivateKey.generate(), 5, bytes(32))) + b"\n",
        "its lines are signed with different keys",
    ),
    "another's only line": (
        lambda _: msgspec.json.encode(sign(Ed25519PrivateKey.generate(), 5, bytes(32))) + b"\n",
        "is signed with another key than",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_damaged_anchor_is_refused(url: str, connection: asyncpg.Connection, tmp_path: Path, case: str) -> None:
    assert connection
    file = tmp_path / "anchor"
    await verify_with_anchors(url, file, tmp_path)
    change, output = DAMAGED[case]
    damaged = change(file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    with pytest.raises(AnchorError, match=output) as refused:
        await verify_with_anchors(url, file, tmp_path)
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == damaged


async def test_a_key_that_is_none_is_refused(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    assert connection
    (tmp_path / KEY_FILE).write_bytes(b"secret")
    with pytest.raises(AnchorError, match="is not an Ed25519 key"):
        await verify_with_anchors(url, tmp_path / "anchor", tmp_path)
    with pytest.raises(AnchorError, match="is not a folder"):
        await verify_with_anchors(url, tmp_path / "nosuch" / "anchor", tmp_path / "data")
    assert inside(tmp_path) == [KEY_FILE]


async def test_the_command_reports_with_its_exit_code(url: str, connection: asyncpg.Connection, tmp_path: Path) -> None:
    file = tmp_path / "anchor"

    async def verify() -> Run:
        return await run_program("verify", "--anchor", file, environ=environment(url, tmp_path))

    code, out, err = await verify()
    assert (code, err) == (0, "")
    assert out.endswith(f"; anchor written to {file}\n")
    good = file.read_bytes()
    file.write_bytes(good[:50])
    code, out, err = await verify()
    assert (code, out) == (2, "")
    assert err.startswith(f"ringledger: {file}: line 1 is damaged: ")
    assert err.count("\n") == 1
    file.write_bytes(good)
    await cut(connection, 3)
    code, out, err = await verify()
    assert (code, err) == (1, "")
    assert out.startswith("events 4 to 5 missing: the anchor of ")
