"""Ringledger as its own processes run it, inside the test's loop: listener, writer, projector, commander, and API."""

import asyncio
import itertools
import os
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from api.app import create
from schemas.call_settings import CallSettings
from schemas.settings import Pbx, Settings
from services.commander.process import command
from services.database.connection import connect
from services.listener.process import listen
from services.projector.process import project
from services.runtime.tasks import cancel_and_wait
from tests.e2e.asterisk import Asterisk
from tests.support.polling import NotYetError, eventually, present

MARKS = itertools.count(1)

PASSWORD = "correct horse battery"
BASIC = b64encode(f"admin:{PASSWORD}".encode()).decode()

# The first mark from number $2 on.
MARKED = """
SELECT min(position) FROM event
WHERE name = 'UserEvent' AND position > $1
  AND CASE WHEN raw LIKE '%Mark: mark-%'
           THEN substring(convert_from(raw, 'UTF8') FROM 'Mark: mark-([0-9]+)')::bigint >= $2 END
"""
TRUNKS = ("PJSIP/trunk*",)

FOLDED = "SELECT min(position) FROM checkpoint WHERE place = 'model'"
OWN = (
    "SELECT max(position) AS at FROM event WHERE source = 'ringledger' AND name = $1 AND raw LIKE $2 AND position > $3"
)
SNAPSHOTS = "SELECT max(position) AS at FROM event WHERE name = 'SnapshotCompleted' GROUP BY pbx"
STOPPED = "SELECT model, error FROM checkpoint WHERE error IS NOT NULL"


class Ledger:
    """One listener and one commander for one PBX, and all read models; ``rows`` asks them in SQL.

    With the host of a second PBX in ``beside`` it listens to that one too, under this name.
    """

    connection: asyncpg.Connection
    client: TestClient[Any, Any]

    def __init__(
        self,
        url: str,
        host: str,
        port: int = 5038,
        user: str = "ringledger",
        *,
        with_ari: bool = False,
        beside: str = "",
    ) -> None:
        self.url = url
        pbx = Pbx("pbx", host, port, user, f"{user}-secret")
        self.settings = Settings(
            ami=(pbx, replace(pbx, name="beside", host=beside)) if beside else (pbx,),
            ari=(Pbx("pbx", host, 8088, user, f"{user}-secret"),) if with_ari else (),
            database_url=url,
            data=Path(tempfile.gettempdir()) / f"ringledger-e2e-{os.getpid()}",
            admin_password=PASSWORD,
            calls=CallSettings(trunks=TRUNKS),
        )
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._marked = 0

    async def start(self) -> None:
        self.connection = await connect(self.url, search_path="model, ledger")
        self._tasks = [
            asyncio.create_task(listen(self.settings, self.url, self._stop)),
            asyncio.create_task(project(self.url, self._stop, calls=self.settings.calls)),
        ]
        self.start_commander()
        self.client = TestClient(TestServer(create(self.url, self.settings)))
        await self.client.start_server()
        await eventually(self._ready, "the API is ready")
        async with self.client.post("/v1/admin/login", headers={"Authorization": f"Basic {BASIC}"}) as reply:
            assert reply.status == 200, await reply.text()
            token = (await reply.json())["result"]["authtoken"]
        self.client.session.headers["Authorization"] = f"Bearer {token}"

    def start_commander(self, port: int = 0) -> None:
        """Start it, over another link than the listener's if ``port`` of this machine is one's end."""
        pbx = self.settings.ami[0]
        at = replace(pbx, host="127.0.0.1", port=port) if port else pbx
        self._commander = asyncio.create_task(command(replace(self.settings, ami=(at,)), self.url, self._stop))
        self._tasks.append(self._commander)

    async def kill_commander(self) -> None:
        """End it in the middle of whatever it does."""
        self._tasks.remove(self._commander)
        await cancel_and_wait([self._commander])

    async def _ready(self) -> bool:
        async with self.client.get("/readyz") as reply:
            return reply.status == 200

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        records: list[asyncpg.Record] = await self.connection.fetch(query, *arguments)
        return records

    async def snapshot(self) -> None:
        """Wait until a snapshot of each PBX is complete and folded."""

        async def complete() -> bool:
            rows = await self.rows(SNAPSHOTS)
            return len(rows) == len(self.settings.ami) and await self.folded(max(row["at"] for row in rows))

        await eventually(complete, "a snapshot is complete and folded")

    async def own_event(self, name: str, more: str = "", after: int = 0) -> int:
        """Wait until an event of our own named ``name``, its JSON like ``more``, is in the log; return its position."""

        async def there() -> int | None:
            rows = await self.rows(OWN, name, f"%{more}%".encode(), after)
            position: int | None = rows[0]["at"]
            return position

        position = await eventually(there, f"{name} {more} is in the log")
        assert position
        return position

    async def folded(self, position: int) -> bool:
        """Say whether every model has folded the log up to ``position``; fail if one has stopped."""
        for task in self._tasks:
            if task.done():
                task.result()  # raises what it died of
        stopped = await self.rows(STOPPED)
        assert not stopped, f"a model has stopped: {[tuple(row) for row in stopped]}"
        reached = await self.connection.fetchval(FOLDED)
        return reached is not None and reached >= position

    async def caught_up(self, asterisk: Asterisk, seconds: float = 300.0, since: int | None = None) -> int:
        """Have Asterisk send a mark, and wait until all its earlier events are folded; return the position.

        Asterisk sends another mark every half second, for a listener that logs in later. Any of them ends the wait, as
        does any mark from number ``since`` on.
        """
        deadline = time.monotonic() + seconds
        while True:
            number = next(MARKS)
            since = number if since is None else since
            await asterisk.ami.act("UserEvent", UserEvent="Mark", Mark=f"mark-{number}")

            async def there(first: int = since) -> int:
                position = await self.connection.fetchval(MARKED, self._marked, first)
                return position if position and await self.folded(position) else 0

            try:
                self._marked = await eventually(
                    there, f"UserEvent mark-{since} or a later one is in the log and folded", 0.5
                )
            except NotYetError:
                if time.monotonic() > deadline:
                    raise
            else:
                return self._marked

    async def served(self, path: str) -> list[dict[str, Any]]:
        """Return the list of a view that has folded what was marked last."""

        async def fresh() -> list[dict[str, Any]] | None:
            async with self.client.get(path) as reply:
                assert reply.status == 200, f"{path}: {reply.status} {await reply.text()}"
                if int(reply.headers["X-Ledger-Position"]) < self._marked:
                    return None
                items: list[dict[str, Any]] = (await reply.json())["result"]["list"]
                return items

        return await present(fresh, f"{path} has folded position {self._marked}")

    async def stop(self) -> None:
        """Stop as SIGTERM would; a second time does nothing."""
        if self._stop.is_set():
            return
        await self.client.close()
        self._stop.set()
        try:
            async with asyncio.timeout(300):
                await asyncio.gather(*self._tasks)
        finally:
            await self.connection.close()
