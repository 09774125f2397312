"""``ringledger rebuild``: with a projector and without, requested twice, interrupted, and refused."""

import asyncio
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from projections import ALL
from projections.calls.channels import CHANNELS
from projections.endpoints.device_states import DEVICE_STATES
from projections.queues.queues import QUEUES
from services.database.connection import connect, snapshot
from services.projector.rebuild.rebuild import RebuildError, models_named, rebuild
from tests.support.database import cloned, name_of
from tests.support.model_rows import rows
from tests.support.rebuilding import (
    EVENTS,
    FOLDED,
    finish_command,
    run_command,
    running_projector,
    start_command,
    wait_for,
)

OPEN_REQUESTS = "SELECT count(*) = $1 FROM ledger.rebuild WHERE ended IS NULL"
BUILT = "SELECT min(position) >= $1 FROM ledger.checkpoint WHERE place = 'rebuild'"
SWAPS = "SELECT sum(swaps) FROM ledger.checkpoint WHERE place = 'model'"
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'rebuild'::regnamespace AND relkind = 'r'"


@pytest.fixture
async def log_url(postgresql_url: str, rich22_url: str) -> AsyncIterator[str]:
    """A database whose log has a recording, without a read model."""
    async with cloned(postgresql_url, name_of(rich22_url)) as url:
        yield url


@pytest.fixture
async def log_connection(log_url: str) -> AsyncIterator[asyncpg.Connection]:
    connected = await connect(log_url, search_path="model, ledger")
    yield connected
    await connected.close()


@pytest.fixture
async def url(postgresql_url: str, rebuilt_url: str) -> AsyncIterator[str]:
    """A database whose log has a recording, with all its read models."""
    async with cloned(postgresql_url, name_of(rebuilt_url)) as url:
        yield url


@pytest.fixture
async def watcher(url: str) -> AsyncIterator[asyncpg.Connection]:
    connected = await connect(url)
    yield connected
    await connected.close()


LOCKS = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""


async def test_the_command_rebuilds_without_a_projector(log_url: str, log_connection: asyncpg.Connection) -> None:
    url, connection = log_url, log_connection
    first = await rebuild(url, ALL, None, asyncio.Event())
    assert (first.code, first.failed) == (0, [])
    assert first.done[0].startswith(f"rebuilt all {len(ALL)} read models: served from position {EVENTS} on (")
    assert "by this command, because no projector is running" in first.done[0]
    assert await connection.fetchval(SWAPS) == 0  # there were no tables to swap
    once = await rows(connection)
    await connection.execute("DELETE FROM channels; UPDATE queues SET calls = 99")
    again = await rebuild(url, [CHANNELS, QUEUES], None, asyncio.Event())
    assert again.done[0].startswith(f"rebuilt channels, queues: served from position {EVENTS} on (")
    assert await connection.fetchval(SWAPS) == 2
    assert await rows(connection) == once
    assert await connection.fetch(TABLES) == []
    assert await connection.fetchval(LOCKS) == 0


async def test_the_running_projector_does_the_rebuild(log_url: str, log_connection: asyncpg.Connection) -> None:
    url, connection = log_url, log_connection
    async with running_projector(url, connection):
        once = await rows(connection)
        await connection.execute("DELETE FROM device_states")
        outcome = await rebuild(url, ALL, None, asyncio.Event())
        assert (outcome.code, outcome.failed) == (0, [])
        assert "by the running projector" in outcome.done[0]
        assert await rows(connection) == once
        assert await connection.fetchval(SWAPS) == len(ALL)


async def test_the_command_continues_after_the_projector_dies(
    url: str, connection: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    projector = await start_command(url, "project")

    await wait_for(connection, FOLDED, EVENTS)
    async with snapshot(watcher):  # no table is swapped while this snapshot is open
        rebuilding = asyncio.create_task(rebuild(url, [CHANNELS, DEVICE_STATES], None, asyncio.Event()))
        await wait_for(connection, BUILT, 1)
        projector.kill()
        await finish_command(projector)
    outcome = await asyncio.wait_for(rebuilding, 300)
    assert outcome.done[0].startswith(f"rebuilt channels, device_states: served from position {EVENTS} on (")
    assert "by this command" in outcome.done[0]
    assert await connection.fetchval(SWAPS) == 2


async def test_an_interrupted_command_leaves_the_rebuild_running(
    url: str, connection: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    async with running_projector(url, connection):
        async with snapshot(watcher):
            process = await start_command(url, "rebuild", "channels")
            await wait_for(connection, BUILT, EVENTS)
            process.send_signal(signal.SIGINT)
            code, out, err = await finish_command(process)
        assert (code, out) == (130, "")
        assert err == (
            f"ringledger: stopped waiting for channels (at {EVENTS} of {EVENTS}):"
            " the rebuild continues in the running projector\n"
        )
        await wait_for(connection, OPEN_REQUESTS, 0)
        assert await connection.fetchval(SWAPS) == 1


async def test_the_next_command_resumes_the_rebuild(
    url: str, connection: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    async with snapshot(watcher):
        process = await start_command(url, "rebuild", "channels")
        await wait_for(connection, BUILT, EVENTS)
        process.send_signal(signal.SIGINT)
        code, _, err = await finish_command(process)
    assert code == 130
    assert err.endswith("the rebuild continues when a projector runs, or with this command again\n")
    assert await connection.fetchval("SELECT count(*) FROM channels") > 0
    assert (await run_command(url, "rebuild", "channels"))[0] == 0
    assert await connection.fetchval("SELECT count(*) FROM ledger.rebuild WHERE model = 'channels'") == 2
    assert await connection.fetchval(SWAPS) == 1


async def test_two_commands_share_one_rebuild(
    url: str, connection: asyncpg.Connection, watcher: asyncpg.Connection
) -> None:
    async with running_projector(url, connection):
        async with snapshot(watcher):
            both = [asyncio.create_task(rebuild(url, models, None, asyncio.Event())) for models in ([CHANNELS], ALL)]
            await wait_for(connection, OPEN_REQUESTS, len(ALL))
            with pytest.raises(RebuildError, match="channels is being rebuilt already, up to the end of the log"):
                await rebuild(url, [CHANNELS], EVENTS, asyncio.Event())
        assert {(await one).code for one in both} == {0}
        assert await connection.fetchval(SWAPS) == len(ALL)


async def test_a_stopped_model_is_rebuilt_to_a_position(url: str, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "UPDATE checkpoint SET position = 20000, error = 'position 20001' WHERE model = 'channels'"
    )
    code, out, err = await run_command(url, "rebuild", "channels", "--to", "30000")
    assert (code, err) == (0, "")
    assert out.startswith("rebuilt channels: served from position 30000 on (")
    at = "SELECT position, error FROM checkpoint WHERE model = 'channels'"
    assert tuple(await connection.fetchrow(at)) == (30000, None)
    code, out, _ = await run_command(url, "rebuild", "--diff")
    assert (code, out.splitlines()[-1].rpartition(": ")[2]) == (0, "nothing differs")


async def test_a_missing_model_is_built_to_a_position(log_url: str, log_connection: asyncpg.Connection) -> None:
    url, connection = log_url, log_connection
    outcome = await rebuild(url, [CHANNELS], 12345, asyncio.Event())
    assert outcome.done[0].startswith("rebuilt channels: served from position 12345 on (")
    assert await connection.fetchval("SELECT position FROM checkpoint WHERE model = 'channels'") == 12345


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nosuch", "channels"), 2, "ringledger: no read model nosuch (there are acts, "),
        (("--to", "38566"), 2, "ringledger: --to 38566: the log ends at 38565\n"),
        (
            ("channels", "--to", "5"),
            2,
            "ringledger: --to 5 is before the position of channels: it is served at 38565\n",
        ),
        (("--diff", "--to", "5"), 2, "ringledger: --diff compares at the served position, so --to cannot be given"),
    ],
)
async def test_a_bad_request_is_refused_without_changes(
    url: str, connection: asyncpg.Connection, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = await connection.fetch("SELECT * FROM checkpoint ORDER BY model"), await rows(connection)
    requests = await connection.fetchval("SELECT count(*) FROM ledger.rebuild")
    got, out, err = await run_command(url, "rebuild", *arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(message)
    assert (await connection.fetch("SELECT * FROM checkpoint ORDER BY model"), await rows(connection)) == before
    assert await connection.fetchval("SELECT count(*) FROM ledger.rebuild") == requests


@pytest.mark.parametrize("arguments", [(), ("--diff",)])
async def test_a_database_without_a_ledger_is_refused(empty_url: str, arguments: tuple[str, ...]) -> None:
    code, out, err = await run_command(empty_url, "rebuild", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the database holds no ledger of this version" in err


@pytest.mark.parametrize("arguments", [(), ("--diff",)])
async def test_a_missing_database_is_named_in_the_error(empty_url: str, arguments: tuple[str, ...]) -> None:
    code, out, err = await run_command(empty_url.replace("test_", "gone_"), "rebuild", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "PostgreSQL does not have this database" in err


def test_repeated_model_names_count_once() -> None:
    assert models_named(["queues", "channels", "queues"]) == [QUEUES, CHANNELS]
    assert models_named([]) == list(ALL)
