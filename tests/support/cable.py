"""A TCP connection between a test and its server that can be slowed, stopped and cut."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Cable:
    """Carries TCP to ``target`` (port, or path of a Unix socket) until it is held: then nothing moves or closes.

    ``lose_answer`` drops the next bytes from the target that hold it, and the connection with them.
    """

    def __init__(self, target: int | str) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.lose_answer = b""
        self.lost = 0
        self.delay = 0.0

    @classmethod
    def to_postgresql(cls, url: str) -> Self:
        """A cable to the server whose Unix socket ``url`` names; see `url` for its end."""
        return cls(f"{url.partition('?host=')[2]}/.s.PGSQL.5432")

    def url(self, url: str) -> str:
        """``url`` by way of this cable."""
        return f"postgresql://ringledger@127.0.0.1:{self.port}/{urlsplit(url).path[1:]}?sslmode=disable"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._note(asyncio.current_task())
        self._writers.append(writer)
        try:
            if isinstance(self._target, int):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            else:
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(far_writer)
        self._note(asyncio.create_task(self._carry(reader, far_writer, answers=False)))
        self._note(asyncio.create_task(self._carry(far_reader, writer, answers=True)))

    def _note(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self.flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if answers and self.lose_answer and self.lose_answer in data:
                    self.lost += 1
                    self.lose_answer = b""
                    self.cut()
                    return
                sink.write(data)
        await self.flowing.wait()
        sink.transport.abort()
