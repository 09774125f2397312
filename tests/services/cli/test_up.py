"""`ringledger up` as a person runs it: a process tree that starts, survives and stops."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from schemas.settings import Settings
from services.cli.up import PBX, STOP_SECONDS, up
from services.cli.up_database import UpError
from services.database.embedded import Embedded
from services.database.migrate import migrate
from tests.support.polling import eventually
from tests.support.program import PROGRAM, Run, environment, run_program
from tests.support.up import CHILDREN, Up, children_of, has_ended


async def count(data: Path, what: str) -> int:
    try:
        connection = await asyncpg.connect(Embedded(data).url)
    except (OSError, asyncpg.PostgresError):
        return -1
    try:
        result: int = await connection.fetchval(f"SELECT count(*) FROM {what}")
    except asyncpg.UndefinedTableError:
        return -1
    finally:
        await connection.close()
    return result


async def grows(data: Path, table: str) -> None:
    """Wait until the table has more rows than now, and at least one."""
    before = max(0, await count(data, table))

    async def has_grown() -> bool:
        return await count(data, table) > before

    await eventually(has_grown, f"{table} grows")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    # Not in pytest's own folder: every run closes /tmp/pytest-of-root to all others, PostgreSQL's user among them.
    with tempfile.TemporaryDirectory(prefix="ringledger-up-") as home:
        # Deeper than a Unix socket's path may be long, and not there yet.
        deep = Path(home) / ("deep-" * 12) / ("er-" * 12) / "data"
        deep.parent.mkdir(parents=True)
        yield deep
        Embedded(deep).stop()
        Embedded(deep).remove()


@pytest.fixture(scope="module")
async def first_password(place: Path) -> str:
    """The first start: nothing is there."""
    async with Up(place, place.parent, "--speed=10") as up:
        password = await up.printed(r"password: (\S+)")
        assert "recording" in up.out.read_text()
        await grows(place, "ledger.event")
        up.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(up.process.wait(), 300) == 0, up.err.read_text()
        assert not Embedded(place).is_ready
    return password


def test_a_stop_is_given_less_than_ten_seconds() -> None:
    assert STOP_SECONDS < 10


async def test_a_warm_start_shows_data(place: Path, first_password: str, tmp_path: Path) -> None:
    async with Up(place, tmp_path, "--speed=1") as up:
        assert await up.printed(r"password: (\S+)") == first_password
        await grows(place, "model.channels WHERE tm_update > now() - interval '5 minutes'")
        assert sorted(up.children()) == sorted(CHILDREN)


async def test_a_second_up_on_the_data_exits(place: Path, first_password: str, tmp_path: Path) -> None:
    async with Up(place, tmp_path) as up:
        await up.printed(r"password: (\S+)")
        second = await asyncio.create_subprocess_exec(
            PROGRAM,
            "up",
            env=up.environ,
            cwd="/",
            stderr=asyncio.subprocess.PIPE,
        )
        _, output = await asyncio.wait_for(second.communicate(), 300)
        assert second.returncode == 2
        assert f"another `ringledger up` (process {up.process.pid}) runs on {place}" in output.decode()
        assert first_password


async def test_children_that_die_start_again(place: Path, first_password: str, tmp_path: Path) -> None:
    async with Up(place, tmp_path, "--speed=10") as up:
        assert await up.printed(r"password: (\S+)") == first_password
        await eventually(lambda: len(up.children()) == len(CHILDREN))
        before = up.children()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await eventually(
            lambda: len(up.children()) == len(CHILDREN) and not set(up.children().values()) & set(before.values())
        )
        await grows(place, "ledger.event")
        assert up.err.read_text().count('"event": "child_ended"') >= len(CHILDREN)


@pytest.mark.parametrize("postgresql", ["alive", "killed", "killed too, all of it"])
async def test_it_starts_again_after_a_kill(place: Path, first_password: str, tmp_path: Path, postgresql: str) -> None:
    async with Up(place, tmp_path, "--speed=10") as up:
        await up.printed(r"password: (\S+)")
        await eventually(lambda: len(up.children()) == len(CHILDREN))
        children = up.children()
        postmaster = int((place / "postgresql" / "postmaster.pid").read_text().split("\n")[0])
        backends = children_of(postmaster)
        if postgresql != "alive":
            os.kill(postmaster, signal.SIGKILL)
        if postgresql == "killed too, all of it":
            for pid in backends:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        up.process.kill()
        await up.process.wait()
        async with Up(place, tmp_path, "--speed=10", RINGLEDGER_HTTP=up.http) as again:
            assert await again.printed(r"password: (\S+)") == first_password
            await grows(place, "ledger.event")
            await eventually(lambda: all(map(has_ended, children.values())))
            again.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(again.process.wait(), 300) == 0, again.err.read_text()


async def test_postgresql_starts_again_when_it_dies(place: Path, first_password: str, tmp_path: Path) -> None:
    async with Up(place, tmp_path, "--speed=10") as up:
        assert await up.printed(r"password: (\S+)") == first_password
        await grows(place, "ledger.event")
        os.kill(int((place / "postgresql" / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
        await eventually(lambda: "postgresql_ended" in up.err.read_text())
        await grows(place, "ledger.event")


async def test_postgresql_is_restarted_during_its_start(
    place: Path, first_password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []

    async def dying(connection: asyncpg.Connection) -> list[str]:
        if not killed:
            killed.append(int((place / "postgresql" / "postmaster.pid").read_text().split("\n")[0]))
            os.kill(killed[0], signal.SIGKILL)
        return await migrate(connection)

    monkeypatch.setattr("services.cli.up_database.migrate", dying)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("RINGLEDGER_HTTP", f"127.0.0.1:{port}")
    stop = asyncio.Event()
    running = asyncio.create_task(up(Settings(data=place, http_port=port), None, 10.0, stop))
    output: list[str] = []

    def records() -> bool:
        output.append(capsys.readouterr().out)
        return running.done() or first_password in "".join(output)

    try:
        await eventually(records)
        assert killed
        if not running.done():
            await grows(place, "ledger.event")
    finally:
        stop.set()
        await asyncio.wait_for(running, 300)


class ImpatientUp(Up):
    """It waits half a second for its port, not nine."""

    program = (
        sys.executable,
        "-c",
        "from services.cli import main, up; up.PORT_SECONDS = 0.5; main()",
    )


async def test_a_port_that_is_taken_is_named(place: Path, first_password: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with ImpatientUp(place, tmp_path, RINGLEDGER_HTTP=address) as up:
            assert await asyncio.wait_for(up.process.wait(), 300) == 2
            assert f"RINGLEDGER_HTTP: {address} is in use by another program" in up.err.read_text()
            assert first_password


@pytest.mark.parametrize("address", ["192.0.2.1:8081", "nosuchhost.invalid:8081"])
async def test_an_address_of_another_machine_is_named(tmp_path: Path, address: str) -> None:
    async with Up(tmp_path / "data", tmp_path, RINGLEDGER_HTTP=address) as up:
        assert await asyncio.wait_for(up.process.wait(), 300) == 2
        (line,) = up.err.read_text().splitlines()
        assert line.startswith(f"ringledger: RINGLEDGER_HTTP: cannot listen at {address}: ")


async def test_an_impossible_data_directory_is_named() -> None:
    with pytest.raises(UpError, match=r"^RINGLEDGER_DATA: cannot use /proc/x: "):
        await up(Settings(data=Path("/proc/x")), None, 1.0, asyncio.Event())


async def test_speed_is_refused_with_a_configured_pbx(tmp_path: Path) -> None:
    async with Up(tmp_path / "data", tmp_path, "--speed=2", RINGLEDGER_AMI="ami://u:very-secret@pbx") as up:
        assert await asyncio.wait_for(up.process.wait(), 300) == 2
        assert "--speed" in up.err.read_text()
        assert "very-secret" not in up.err.read_text()
        assert not (tmp_path / "data").exists()


async def export(data: Path, *words: str) -> Run:
    return await run_program("export", *words, environ=environment(data=data))


async def test_export_runs_with_and_without_up(place: Path, first_password: str, tmp_path: Path) -> None:
    ami = ("--ami", "--pbx", PBX)
    assert first_password
    assert not Embedded(place).is_ready
    code, before, err = await export(place, *ami)
    assert (code, err) == (0, "")
    assert before.startswith("Event: FullyBooted\r\n")
    assert before.endswith("\r\n\r\n")
    assert not Embedded(place).is_ready  # it was started for the export alone
    async with Up(place, tmp_path, "--speed=10") as up:
        await up.printed(r"password: (\S+)")
        await grows(place, "ledger.event")
        code, during, err = await export(place, *ami)
        assert (code, err) == (0, "")
        assert during.startswith(before)
        assert len(during) > len(before)
        assert Embedded(place).is_ready


async def test_export_names_an_unknown_pbx_in_one_line(place: Path, first_password: str, tmp_path: Path) -> None:
    assert first_password
    code, out, err = await export(place, "--ami", "--pbx", "nosuch")
    assert (code, out, err) == (2, "", f"ringledger: the log holds no PBX 'nosuch' (but {PBX})\n")
    code, out, err = await export(tmp_path / "none", "--ami", "--pbx", PBX)
    assert (code, out) == (2, "")
    assert "has no ledger" in err
    assert not (tmp_path / "none").exists()


async def test_rebuild_runs_with_and_without_up(place: Path, first_password: str, tmp_path: Path) -> None:
    assert first_password
    environ = environment(data=place)
    code, out, err = await run_program("rebuild", environ=environ)
    assert (code, err) == (0, "")
    assert "by this command, because no projector is running" in out
    assert not Embedded(place).is_ready  # it was started for the rebuild alone
    async with Up(place, tmp_path, "--speed=10") as up:
        await up.printed(r"password: (\S+)")
        await grows(place, "model.channels WHERE tm_update > now() - interval '1 minute'")
        code, out, err = await run_program("rebuild", environ=environ)
        assert (code, err) == (0, "")
        assert "by the running projector" in out
        code, out, err = await run_program("rebuild", "--diff", environ=environ)
        assert (code, err) == (0, "")
        assert out.endswith(": nothing differs\n")
