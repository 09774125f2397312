"""`ringledger up` as a person runs it: a process tree that starts, survives and stops."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from schemas.settings import Settings
from services.cli.up import PBX, STOP_SECONDS, up
from services.cli.up_database import UpError
from services.database.embedded import Embedded
from services.database.migrate import migrate
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.program import Run, environment, run_program
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


class Scene:
    """One `up` on the data of the module. It runs on while the tests need it running, and stops for one that does not.

    Its start, with its five children, takes three seconds of the processor.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.password = place, ""
        self._up: Up | None = None
        self._stack = AsyncExitStack()

    async def start(self, *words: str, **environ: str) -> Up:
        """Start it, and wait until the API answers. The password is that of the first start."""
        self._up = await self._stack.enter_async_context(Up(self.place, self.place.parent, *words, **environ))
        password = await self._up.printed(r"password: (\S+)")
        assert password == (self.password or password)
        self.password = password
        return self._up

    async def running(self) -> Up:
        """Return the running `up`, with all of its children. Start it if none runs."""
        up = self._up if self._up and self._up.process.returncode is None else await self.start()
        await eventually(lambda: len(up.children()) == len(CHILDREN))
        return up

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it with a signal if it runs: it ends with 0, and PostgreSQL has ended before it."""
        if self._up and self._up.process.returncode is None:
            self._up.process.send_signal(number)
            assert await asyncio.wait_for(self._up.process.wait(), 300) == 0, self._up.err.read_text()
        assert not Embedded(self.place).is_ready

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    # Not in pytest's own folder: every run closes /tmp/pytest-of-root to all others, PostgreSQL's user among them.
    with tempfile.TemporaryDirectory(prefix="ringledger-up-") as home:
        # Deeper than a Unix socket's path may be long, and not there yet.
        deep = Path(home) / ("deep-" * 12) / ("er-" * 12) / "data"
        deep.parent.mkdir(parents=True)
        scene = Scene(deep)
        try:
            up = await scene.start("--speed=10")
            assert "recording" in up.out.read_text()
            await grows(deep, "ledger.event")
            yield scene
        finally:
            await scene.close()
            Embedded(deep).stop()
            Embedded(deep).remove()


def test_a_stop_is_given_less_than_ten_seconds() -> None:
    assert STOP_SECONDS < 10


async def test_a_warm_start_shows_data(scene: Scene) -> None:
    await scene.stop()
    up = await scene.start("--speed=1")
    await grows(scene.place, "model.channels WHERE tm_update > now() - interval '5 minutes'")
    assert sorted(up.children()) == sorted(CHILDREN)


async def test_a_second_up_on_the_data_exits(scene: Scene) -> None:
    up = await scene.running()
    code, _, err = await run_program("up", environ=up.environ, folder=Path("/"))
    assert code == 2
    assert f"another `ringledger up` (process {up.process.pid}) runs on {scene.place}" in err


async def test_children_that_die_start_again(scene: Scene) -> None:
    up = await scene.running()
    before = up.children()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    await eventually(
        lambda: len(up.children()) == len(CHILDREN) and not set(up.children().values()) & set(before.values())
    )
    await grows(scene.place, "ledger.event")
    assert up.err.read_text().count('"event": "child_ended"') >= len(CHILDREN)


def main_process(data: Path) -> int:
    """Return the process number of the embedded PostgreSQL."""
    return int((data / "postgresql" / "postmaster.pid").read_text().split("\n")[0])


async def test_postgresql_starts_again_when_it_dies(scene: Scene) -> None:
    up = await scene.running()
    await grows(scene.place, "ledger.event")
    os.kill(main_process(scene.place), signal.SIGKILL)
    await eventually(lambda: "postgresql_ended" in up.err.read_text())
    await grows(scene.place, "ledger.event")


@pytest.mark.parametrize("postgresql", ["alive", "killed", "killed too, all of it"])
async def test_it_starts_again_after_a_kill(scene: Scene, postgresql: str) -> None:
    up = await scene.running()
    children = up.children()
    postmaster = main_process(scene.place)
    backends = children_of(postmaster)
    if postgresql != "alive":
        os.kill(postmaster, signal.SIGKILL)
    if postgresql == "killed too, all of it":
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    up.process.kill()
    await up.process.wait()
    await scene.start(RINGLEDGER_HTTP=up.http)
    await grows(scene.place, "ledger.event")
    await eventually(lambda: all(map(has_ended, children.values())))
    await scene.stop(signal.SIGINT)


async def test_postgresql_is_restarted_during_its_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.stop()
    killed: list[int] = []

    async def dying(connection: asyncpg.Connection) -> list[str]:
        if not killed:
            killed.append(main_process(scene.place))
            os.kill(killed[0], signal.SIGKILL)
        return await migrate(connection)

    monkeypatch.setattr("services.cli.up_database.migrate", dying)
    port = free_port()
    monkeypatch.setenv("RINGLEDGER_HTTP", f"127.0.0.1:{port}")
    stop = asyncio.Event()
    running = asyncio.create_task(up(Settings(data=scene.place, http_port=port), None, 1.0, stop))
    output: list[str] = []

    def records() -> bool:
        output.append(capsys.readouterr().out)
        return running.done() or scene.password in "".join(output)

    try:
        await eventually(records)
        assert killed
        if not running.done():
            await grows(scene.place, "ledger.event")
    finally:
        stop.set()
        await asyncio.wait_for(running, 300)


async def test_a_port_that_is_taken_is_named(scene: Scene) -> None:
    await scene.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = environment(data=scene.place, RINGLEDGER_HTTP=address)
        code, _, err = await run_program("up", environ=environ, limits={"services.cli.up.PORT_SECONDS": 0.5})
    assert code == 2
    assert f"RINGLEDGER_HTTP: {address} is in use by another program" in err


@pytest.mark.parametrize("address", ["192.0.2.1:8081", "nosuchhost.invalid:8081"])
async def test_an_address_of_another_machine_is_named(tmp_path: Path, address: str) -> None:
    code, _, err = await run_program("up", environ=environment(data=tmp_path / "data", RINGLEDGER_HTTP=address))
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith(f"ringledger: RINGLEDGER_HTTP: cannot listen at {address}: ")


async def test_an_impossible_data_directory_is_named() -> None:
    with pytest.raises(UpError, match=r"^RINGLEDGER_DATA: cannot use /proc/x: "):
        await up(Settings(data=Path("/proc/x")), None, 1.0, asyncio.Event())


async def test_speed_is_refused_with_a_configured_pbx(tmp_path: Path) -> None:
    environ = environment(
        data=tmp_path / "data", RINGLEDGER_AMI="ami://u:very-secret@pbx", RINGLEDGER_HTTP="127.0.0.1:0"
    )
    code, _, err = await run_program("up", "--speed=2", environ=environ)
    assert code == 2
    assert "--speed" in err
    assert "very-secret" not in err
    assert not (tmp_path / "data").exists()


async def export(data: Path, *words: str) -> Run:
    return await run_program("export", *words, environ=environment(data=data))


async def test_export_names_an_unknown_pbx_in_one_line(scene: Scene, tmp_path: Path) -> None:
    await scene.stop()
    code, out, err = await export(scene.place, "--ami", "--pbx", "nosuch")
    assert (code, out, err) == (2, "", f"ringledger: the log holds no PBX 'nosuch' (but {PBX})\n")
    code, out, err = await export(tmp_path / "none", "--ami", "--pbx", PBX)
    assert (code, out) == (2, "")
    assert "has no ledger" in err
    assert not (tmp_path / "none").exists()


async def test_export_runs_with_and_without_up(scene: Scene) -> None:
    ami = ("--ami", "--pbx", PBX)
    await scene.stop()
    code, before, err = await export(scene.place, *ami)
    assert (code, err) == (0, "")
    assert before.startswith("Event: FullyBooted\r\n")
    assert before.endswith("\r\n\r\n")
    assert not Embedded(scene.place).is_ready  # it was started for the export alone
    await scene.running()
    await grows(scene.place, "ledger.event")
    code, during, err = await export(scene.place, *ami)
    assert (code, err) == (0, "")
    assert during.startswith(before)
    assert len(during) > len(before)
    assert Embedded(scene.place).is_ready


async def test_rebuild_runs_with_and_without_up(scene: Scene) -> None:
    environ = environment(data=scene.place)
    await scene.running()
    await grows(scene.place, "model.channels WHERE tm_update > now() - interval '1 minute'")
    code, out, err = await run_program("rebuild", environ=environ)
    assert (code, err) == (0, "")
    assert "by the running projector" in out
    code, out, err = await run_program("rebuild", "--diff", environ=environ)
    assert (code, err) == (0, "")
    assert out.endswith(": nothing differs\n")
    await scene.stop()
    code, out, err = await run_program("rebuild", environ=environ)
    assert (code, err) == (0, "")
    assert "by this command, because no projector is running" in out
    assert not Embedded(scene.place).is_ready  # it was started for the rebuild alone
