"""Advisory locks and channels: one list, which every literal in code and SQL is a part of."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

import services
from services.database.connection import LOCK_TIMEOUT, connect
from services.database.locks import Lock, locked, stand_by, try_lock
from services.database.migrate import migrate
from services.database.notify import NotifyChannel

ROOT = Path(services.__file__).parent.parent
SQL = sorted((ROOT / "services" / "database" / "migrations").glob("*.sql"))
CODE = sorted(path for room in ("api", "services") for path in (ROOT / room).rglob("*.py"))
NUMBER = re.compile(r"\b7_?3\d_?\d{4}\b")
TAKES = re.compile(r"pg_(?:try_)?advisory_(?:xact_)?lock(?:_shared)?\(\{?(\w+)")
CHANNEL = re.compile(r"(?:pg_notify|add_listener)\(['\"]?\{?(\w+)")


def test_every_lock_has_a_number_of_its_own() -> None:
    assert len({int(lock) for lock in Lock}) == len(Lock.__members__) == len(list(Lock))
    assert (
        len({str(channel) for channel in NotifyChannel}) == len(NotifyChannel.__members__) == len(list(NotifyChannel))
    )


def test_migrations_use_only_listed_locks_and_channels() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SQL]
    numbers = {int(number) for text in texts for number in TAKES.findall(text)}
    assert numbers == {Lock.APPEND}
    assert {int(number) for text in texts for number in NUMBER.findall(text)} == numbers
    assert {name for text in texts for name in CHANNEL.findall(text)} == {NotifyChannel.LOG}


def test_code_takes_locks_and_channels_from_the_list() -> None:
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        if path.name != "locks.py":
            assert NUMBER.findall(text) == [], path
        assert set(TAKES.findall(text)) <= {"Lock"}, path
        assert set(CHANNEL.findall(text)) <= {"NotifyChannel"}, path


def test_every_session_has_a_lock_timeout() -> None:
    """Only `connect` and `create_pool` open sessions; an older program's check waits for no lock."""
    opening = {path.name for path in CODE if "asyncpg.connect(" in path.read_text(encoding="utf-8")}
    assert opening == {"connection.py", "compatible.py"}


async def test_a_wait_for_a_lock_has_a_limit(url: str) -> None:
    holder, other = await connect(url), await connect(url, lock_timeout="10ms")
    async with locked(holder, Lock.RETENTION):
        assert not await try_lock(other, Lock.RETENTION)
        assert await try_lock(other, Lock.DECISION)
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with locked(other, Lock.RETENTION):
                pass
    assert await try_lock(other, Lock.RETENTION)
    await holder.close()
    await other.close()


async def test_locks_of_two_names_are_two_locks(url: str) -> None:
    one, other = await connect(url), await connect(url)
    assert await try_lock(one, Lock.COMMANDER, "berlin")
    assert not await try_lock(other, Lock.COMMANDER, "berlin")
    assert await try_lock(other, Lock.COMMANDER, "bonn")
    await one.close()
    await other.close()


async def test_a_standby_takes_the_released_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.locks.STAND_BY_SECONDS", 0.01)
    one, other = await connect(url), await connect(url)
    stop = asyncio.Event()
    async with locked(one, Lock.PROJECTOR):
        waiting = asyncio.create_task(stand_by(other, Lock.PROJECTOR, stop))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
    stop.set()
    assert not await stand_by(one, Lock.PROJECTOR, stop)
    await one.close()
    await other.close()


async def test_a_lost_connection_undoes_no_locked_work(url: str) -> None:
    one, other = await connect(url), await connect(url)
    async with locked(one, Lock.DECISION):
        await other.execute("SELECT pg_terminate_backend($1)", one.get_server_pid())
    assert one.is_closed()
    async with locked(other, Lock.DECISION):
        assert await try_lock(other, Lock.DECISION)
    await other.close()


async def test_migrate_gives_up_while_another_migration_lasts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.database.migrate.LOCK_TIMEOUT", "10ms")
    holder, other = await connect(url), await connect(url)
    async with locked(holder, Lock.SCHEMA):
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrate(other)
    assert await migrate(other) == []
    assert await other.fetchval("SHOW lock_timeout") == LOCK_TIMEOUT
    await holder.close()
    await other.close()
