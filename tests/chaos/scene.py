"""The scene of a chaos run: `ringledger up` with its own PostgreSQL, the tee before Asterisk, and access to them.

`up` is started as users start it. Faults find its children by the process tree; waits use HTTP and the database.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from services.commander.pending import read_pending_acts
from services.database.connection import connect
from services.database.embedded import Embedded
from services.database.errors import UNREACHABLE
from tests.chaos.clock import FakeClock
from tests.chaos.disk import SpoolDisk
from tests.chaos.tee import Tee
from tests.chaos.wire import DifferenceError
from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import BASIC, MARKS, PASSWORD, Ledger
from tests.support.fake_ami import FakeAmi
from tests.support.polling import NotYetError, eventually, present
from tests.support.ports import free_port
from tests.support.up import Up, children_of, has_ended

CHILDREN = frozenset({"command", "listen", "project", "serve"})
WHOLE_SECONDS = 300.0
"""A child that has not lasted waits up to 10 s, a silent link is noticed after 20 s; the rest is for busy machines."""
STOP_SECONDS = 10.0
COMPLETE = "/v1/admin/core/channels?pbx=pbx"

AWAY = (NotYetError, aiohttp.ClientError, asyncpg.PostgresError, asyncpg.InternalClientError, *UNREACHABLE)


def place() -> Path:
    """Make a folder for a run; not in pytest's own, for PostgreSQL's user must come through."""
    folder = Path(tempfile.mkdtemp(prefix="ringledger-chaos-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


class Outside(Ledger):
    """`up` as seen from outside: its database, which comes and goes, and its API."""

    client: Any

    def __init__(self, url: str, http: str) -> None:
        super().__init__(url, "127.0.0.1")
        self.connection = None
        self.client = aiohttp.ClientSession(f"http://{http}", timeout=aiohttp.ClientTimeout(total=5))

    async def attach(self) -> asyncpg.Connection:
        """Return a connection, a new one if the last has ended. Raises what is in `AWAY`."""
        if self.connection is None or self.connection.is_closed():
            self.connection = await connect(self.url, search_path="model, ledger")
        return self.connection

    async def log_in(self) -> None:
        async with self.client.post("/v1/admin/login", headers={"Authorization": f"Basic {BASIC}"}) as reply:
            assert reply.status == 200, await reply.text()
            self.client.headers["Authorization"] = f"Bearer {(await reply.json())['result']['authtoken']}"

    async def stop(self) -> None:
        await self.client.close()
        if self.connection is not None:
            self.connection.terminate()


class Scene:
    """All of it; ``kills`` are when a listener was killed, which may cost what it had in memory.

    ``losses`` are from when until when the log lost what it had, for PostgreSQL came back with a backup.
    ``clock`` is that of `up` and its children. ``hostile`` is a second PBX that has invented ``hostile_names`` names.
    ``broken`` lists promises that were not kept while a fault lasted. ``obstacle`` is what a recovery waited for last.
    """

    def __init__(self, asterisk: Asterisk, folder: Path) -> None:
        self.asterisk = asterisk
        self.kills: list[float] = []
        self.losses: list[tuple[float, float]] = []
        self.broken: list[str] = []
        self.hostile = FakeAmi()
        self.hostile_names = 0
        self.disk = SpoolDisk(folder / "data" / "spool")
        self.embedded = Embedded(folder / "data")
        self._folder = folder
        (folder / "wire").mkdir()
        self.tee = Tee(lambda: (asterisk.host, 5038), folder / "wire").open()
        self.hostile.port = free_port()
        hostile = f"hostile=ami://lab:secret@127.0.0.1:{self.hostile.port}"
        ami = f"pbx=ami://ringledger:ringledger-secret@127.0.0.1:{self.tee.port},{hostile}"
        self.clock = FakeClock(folder)
        settings = {"RINGLEDGER_AMI": ami, "RINGLEDGER_ADMIN_PASSWORD": PASSWORD, "TZ": "UTC"}
        self.up = Up(folder / "data", folder, **settings, **self.clock.environ)
        self.ledger = Outside(self.embedded.url, self.up.http)
        self.starts = 0
        self.obstacle = ""

    async def start(self) -> None:
        """Start `up`, the first time or again; the output of each is stored in its own files."""
        if not self.starts:
            self.disk.mount()
            await self.hostile.__aenter__()
        self.starts += 1
        self.up.out = self._folder / f"up-{self.starts:03}.out"
        self.up.err = self._folder / f"up-{self.starts:03}.err"
        await self.up.__aenter__()

    def alive(self) -> None:
        """Fail if `up` has ended by itself."""
        if (code := self.up.process.returncode) is not None:
            raise DifferenceError(f"`ringledger up` ended with {code}: {self.up.err.read_text()[-2000:]}")

    async def kill(self, pid: int, number: signal.Signals = signal.SIGKILL, *, loses: bool = False) -> None:
        """Kill a process and see it gone."""
        if loses:
            self.kills.append(time.time())
        os.kill(pid, number)

        async def dead() -> bool:
            return has_ended(pid)

        await eventually(dead, f"process {pid} is gone")

    async def child(self, name: str) -> int:
        """Return the process number of a child, as soon as it runs."""

        async def running() -> int | None:
            self.alive()
            return self.up.children().get(name)

        return await present(running, f"`{name}` runs", WHOLE_SECONDS)

    async def postmaster(self) -> int:
        """Return PostgreSQL's process number, as soon as it runs."""

        async def running() -> int | None:
            self.alive()
            return self.embedded.cluster.pid

        return await present(running, "PostgreSQL runs", WHOLE_SECONDS)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        """Return the first value of a query, None while PostgreSQL is away."""
        self.alive()
        try:
            return await (await self.ledger.attach()).fetchval(sql, *arguments)
        except AWAY:
            return None

    async def complete(self) -> bool | None:
        """Return True once the API reports a complete view of the PBX, else None."""
        self.alive()
        try:
            async with self.ledger.client.get(COMPLETE) as reply:
                return reply.headers.get("X-Ledger-Complete") == "true" or None
        except AWAY:
            return None

    async def whole(self) -> float:
        """Wait until everything runs and the models have the present events of Asterisk; return the time it took."""
        began = time.monotonic()
        since = next(MARKS)
        self.obstacle = ""
        while True:
            self.alive()
            try:
                why = await self._lacking(since)
                if not why:
                    self.losses = [(start, min(end, time.time())) for start, end in self.losses]
                    return time.monotonic() - began
            except AWAY as error:
                why = repr(error)
            self.obstacle = why
            if time.monotonic() - began > WHOLE_SECONDS:
                (self._folder / "processes.txt").write_text(self._describe_postgresql(), encoding="utf-8")
                raise DifferenceError(f"not whole again after {WHOLE_SECONDS:.0f} s: {why}")
            await asyncio.sleep(0.03)

    def _describe_postgresql(self) -> str:
        """Return a line for each of PostgreSQL's processes: its number, state, place in the kernel, and title."""
        main = self.embedded.cluster.pid
        lines = []
        for pid in [] if main is None else [main, *children_of(main)]:
            with contextlib.suppress(OSError):  # it has ended
                files = {name: Path("/proc", str(pid), name).read_text() for name in ("stat", "wchan", "cmdline")}
                state = files["stat"].rpartition(") ")[2].partition(" ")[0]
                lines.append(f"{pid} {state} {files['wchan']} {files['cmdline'].rstrip(chr(0))}\n")
        return "".join(lines) or "PostgreSQL does not run\n"

    async def _lacking(self, since: int) -> str:
        if missing := CHILDREN - self.up.children().keys():
            return f"no process for {', '.join(sorted(missing))}"
        await self.ledger.attach()
        async with self.ledger.client.get("/readyz") as reply:
            if reply.status != 200:
                return f"/readyz: {await reply.text()}"
        if "Authorization" not in self.ledger.client.headers:
            await self.ledger.log_in()
        await self.ledger.caught_up(self.asterisk, 0, since)
        return ""

    async def acts_end(self) -> None:
        """Wait until every requested act on the PBX has an outcome in the log: its client has left."""

        async def is_over() -> bool:
            left = await read_pending_acts(await self.ledger.attach(), "pbx")
            return not left.sent and not left.requested

        await eventually(is_over, "every act has an outcome", WHOLE_SECONDS)

    async def stop(self) -> None:
        """Stop `up` as a service manager would. Raises DifferenceError if it does not end well."""
        await self.ledger.stop()
        self.alive()
        self.kills.append(time.time())
        self.up.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self.up.process.wait()
        except TimeoutError:
            code = None
        if code != 0:
            raise DifferenceError(f"`ringledger up`, after SIGTERM, {'ended with ' + str(code) if code else 'did not'}")
        await self.tee.close()

    async def clear(self) -> None:
        """End all that still runs."""
        await self.ledger.stop()
        if self.starts:
            await self.up.__aexit__()
            await self.hostile.__aexit__()
        await self.tee.close()
        await asyncio.to_thread(self.embedded.stop)
        self.disk.unmount()
        self.clock.close()
