"""A tee in the wire between Ringledger and a PBX: passes TCP on, writes down what it has delivered, and cuts.

The ground truth is what the listener's socket took: a byte is written down the moment the kernel accepts it for the
listener, with the time just before that. A listener that dies, or a link that is reset, may leave the last of them
unread. All are in their order, and there were no others.
"""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, Self

Cut = Literal["RST", "FIN", "silence"]

READ = 65536
HANGUP = re.compile(rb"Action: Hangup\r\n(?:[^\r\n]+\r\n)*?Channel: ([^\r\n]*)\r\n")
EVENTS = re.compile(rb"\r\nEvents: (on|off)\r\n")


class Link:
    """One connection; ``chunks`` are (bytes delivered so far, when), ``cut`` how we ended it.

    ``events`` is from the client's login: ``on`` is the listener, ``off`` the commander, whose link is not in the log.
    It is empty before the login.
    """

    def __init__(self, number: int, near: socket.socket, file: Path) -> None:
        self.number = number
        self.accepted = time.time()
        self.file = file
        self.chunks: list[tuple[int, float]] = []
        self.delivered = 0
        self.cut: Cut | None = None
        self.events = ""
        self.task: asyncio.Task[None] | None = None
        self._near = near
        self._out: BinaryIO = file.open("wb", buffering=0)
        self._fuse: tuple[int, Cut] | None = None

    @property
    def alive(self) -> bool:
        """Whether it is open at both ends and not cut, nor about to be."""
        return self.task is not None and not self.task.done() and self.cut is None and self._fuse is None

    def burn(self, how: Cut, after: int) -> None:
        """Cut the link once ``after`` more bytes are delivered, be it in the middle of a block."""
        self._fuse = (self.delivered + after, how)
        self._burnt()

    def _burnt(self) -> bool:
        if self._fuse is not None and self.cut is None and self.delivered >= self._fuse[0]:
            self.cut = self._fuse[1]
            if self.cut == "FIN":
                self.finish()
            elif self.cut == "RST" and self.task is not None:
                self._near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.task.cancel()
        return self.cut is not None

    async def deliver(self, data: bytes) -> None:
        """Send ``data`` to the listener, as far as the link is not cut. Raises OSError if the listener has ended."""
        view = memoryview(data)
        while view and not self._burnt():
            piece = view if self._fuse is None else view[: self._fuse[0] - self.delivered]
            at = time.time()
            try:
                sent = self._near.send(piece)
            except BlockingIOError:
                await _writable(self._near)
                continue
            self._out.write(piece[:sent])
            self.delivered += sent
            self.chunks.append((self.delivered, at))
            view = view[sent:]
        self._burnt()

    def finish(self) -> None:
        """Tell the listener that nothing more comes; what was delivered stays to be read."""
        with contextlib.suppress(OSError):  # it has left by itself
            self._near.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._near.close()
        self._out.close()


class Tee:
    """Listens at ``port`` and forwards to ``target``; the wire goes into files in ``folder``.

    ``hung_up`` are the channels of all actions Hangup that went to the PBX.
    """

    port: int

    def __init__(self, target: Callable[[], tuple[str, int]], folder: Path) -> None:
        self.links: list[Link] = []
        self.hung_up: list[str] = []
        self._target = target
        self._folder = folder
        self._watched: dict[bytes, asyncio.Event] = {}

    def open(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)  # noqa: FBT003
        self.port = self._listening.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def close(self) -> None:
        """Stop; what is still connected is closed."""
        tasks = [self._accepting, *(link.task for link in self.links if link.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    @property
    def link(self) -> Link | None:
        """The listener's link that is alive now."""
        return next((link for link in reversed(self.links) if link.alive and link.events != "off"), None)

    async def sees(self, text: bytes, seconds: float) -> bool:
        """Wait until ``text`` is delivered (in one piece); False when it was not within ``seconds``."""
        occurrence = self._watched[text] = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                return await occurrence.wait()
        except TimeoutError:
            return False
        finally:
            del self._watched[text]

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listening)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = len(self.links)
            link = Link(number, near, self._folder / f"link-{number:04}.rx")
            self.links.append(link)
            link.task = asyncio.create_task(self._pass(link, near))

    async def _pass(self, link: Link, near: socket.socket) -> None:
        far = socket.socket()
        far.setblocking(False)  # noqa: FBT003
        try:
            await asyncio.get_running_loop().sock_connect(far, self._target())
            async with asyncio.TaskGroup() as group:
                down = group.create_task(self._down(link, far))
                group.create_task(self._up(link, near, far, down))
        except* OSError:
            pass  # one end has closed, and the other will see that
        finally:
            far.close()
            link.close()

    async def _down(self, link: Link, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(far, READ):
            if link.cut is None:  # the PBX is read on: its bytes on a cut link are lost
                await link.deliver(data)
                for text, occurrence in self._watched.items():
                    if text in data:
                        occurrence.set()
        if link.cut is None:
            link.finish()

    async def _up(self, link: Link, near: socket.socket, far: socket.socket, down: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(near, READ):
            if not link.events and (match := EVENTS.search(data)):
                link.events = match[1].decode()
            if link.cut is None:
                self.hung_up += (match[1].decode() for match in HANGUP.finditer(data))
                await loop.sock_sendall(far, data)
        down.cancel()  # the listener has left


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(sock)
