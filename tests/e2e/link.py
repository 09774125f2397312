"""A stretch of network between Ringledger and Asterisk that a test can cut without a word, and mend again."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

Address = Callable[[], tuple[str, int]]


class Link:
    """Passes TCP on to the address that ``target`` returns at that moment.

    While it is cut nothing passes, and neither end gets a FIN or RST. A new connection then waits until it is mended,
    as with a SYN that the network loses and TCP repeats. Earlier connections stay dead. While it is muted, only the
    bytes from the target are lost.
    """

    port: int

    def __init__(self, target: Address) -> None:
        self._target = target
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._era = 0
        self.muted = False

    async def open(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self) -> None:
        self._whole.clear()
        self._era += 1

    def mend(self) -> None:
        self._whole.set()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            await self._whole.wait()
            era = self._era
            far_reader, far = await asyncio.open_connection(*self._target())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, far, era))
                group.create_task(self._copy(far_reader, writer, era, back=True))
        except OSError:
            pass  # one end has closed, and the other will see it
        finally:
            for end in (writer, far):
                if end is not None:
                    end.close()
                    with contextlib.suppress(OSError):
                        await end.wait_closed()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, era: int, *, back: bool = False
    ) -> None:
        while data := await reader.read(65536):
            if self._era == era and not (back and self.muted):
                writer.write(data)
                await writer.drain()
        if self._era != era:  # the end of a dead connection is not passed on either
            await asyncio.Event().wait()
        writer.close()
