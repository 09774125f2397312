"""A client that costs next to nothing, and a bare aiohttp handler to compare with."""

import asyncio
import base64
import json
import sys
import time
from pathlib import Path

from aiohttp import web

PASSWORD = "a password for the bench"
CHANNELS = "/v1/admin/core/channels"


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.token = ""

    async def open(self, seconds: float = 60) -> "Client":
        """Connect, waiting for the server to come up."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return self

    async def login(self, seconds: float = 60) -> "Client":
        """Get a token, waiting for the first user."""
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        async with asyncio.timeout(seconds):
            while True:
                status, _, body = await self.ask("POST", "/v1/admin/login", f"Authorization: Basic {basic}\r\n")
                if status == 200:
                    self.token = json.loads(body)["result"]["authtoken"]
                    return self
                await asyncio.sleep(0.2)

    async def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body."""
        return await self.ask("GET", path, f"Authorization: Bearer {self.token}\r\n")

    async def ask(self, method: str, path: str, more: str = "") -> tuple[int, dict[str, str], bytes]:
        """Send a request without a body and return its answer."""
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{more}Content-Length: 0\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


async def gets_per_second(clients: list[Client], path: str, seconds: float) -> float:
    """Ask over all connections at once; every answer must be a 200."""
    until = time.perf_counter() + seconds

    async def ask(client: Client) -> int:
        number = 0
        while time.perf_counter() < until:
            status, _, _ = await client.get(path)
            assert status == 200, status
            number += 1
        return number

    start = time.perf_counter()
    numbers = await asyncio.gather(*map(ask, clients))
    return sum(numbers) / (time.perf_counter() - start)


def bare(port: int, body: bytes, headers: dict[str, str]) -> None:
    """Serve the same bytes with the same headers, and do nothing else."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    folder = Path(sys.argv[2])
    bare(int(sys.argv[1]), (folder / "body").read_bytes(), json.loads((folder / "headers").read_text()))
