"""The tests' own hand on Asterisk, independent of what is being tested: a few lines of AMI."""

import asyncio
import itertools
from typing import Self

SECONDS = 10.0


class AmiError(Exception):
    """Asterisk refused an action; the message is its own."""


class Ami:
    """One login of the user ``driver``. One action at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, host: str, port: int = 5038) -> Self:
        """Connect and log in. Raises OSError or TimeoutError while Asterisk is not there yet."""
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            if not await reader.readline():
                raise ConnectionError("closed without a greeting")
        self = cls(reader, writer)
        await self.act("Login", Username="driver", Secret="driver-secret", Events="off")
        return self

    async def act(self, action: str, **headers: str) -> list[tuple[str, str]]:
        """Send an action and return the headers of its response. Raises AmiError when it is refused."""
        async with self._turn, asyncio.timeout(SECONDS):
            return await self._ask(action, headers)

    async def items(self, action: str) -> list[dict[str, str]]:
        """Return the items of a list. Raises AmiError when it is refused."""
        items: list[dict[str, str]] = []
        async with self._turn, asyncio.timeout(SECONDS):
            await self._ask(action, {})
            while True:
                item = dict(await self._block())
                if item.get("EventList") == "Complete":
                    return items
                items.append(item)

    async def _ask(self, action: str, headers: dict[str, str]) -> list[tuple[str, str]]:
        number = f"driver-{next(self._numbers)}"
        lines = [f"Action: {action}", f"ActionID: {number}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        got = await self._block()
        while ("ActionID", number) not in got or got[0][0] != "Response":
            got = await self._block()
        if got[0][1] == "Error":
            raise AmiError(f"{action} {headers}: {dict(got).get('Message')} {dict(got).get('Output', '')}")
        return got

    async def _block(self) -> list[tuple[str, str]]:
        block = (await self._reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace").strip("\r\n")
        parts = [line.partition(": ") for line in block.split("\r\n")]
        return [(name.rstrip(":"), value) for name, _, value in parts]

    async def cli(self, command: str) -> list[str]:
        """Return the CLI's output for ``command``, by lines."""
        return [value for name, value in await self.act("Command", Command=command) if name == "Output"]

    def close(self) -> None:
        self._writer.close()
