"""The TCP port of the API."""

import asyncio

from aiohttp import web
from aiohttp.web_runner import BaseRunner

from api.http.connections.connections import Connections
from api.http.connections.guarded_connection import GuardedConnection


class GuardedSite(web.BaseSite):
    """A TCP port whose connections have limits."""

    def __init__(self, runner: BaseRunner, connections: Connections, host: str, port: int) -> None:
        super().__init__(runner)
        self._connections = connections
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        """The address as a URL."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen."""
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: GuardedConnection(self._connections, server()), self._host, self._port, backlog=self._backlog
        )
