"""Reads views while processes die."""

import asyncio
from collections import Counter
from typing import Any

import aiohttp

VIEWS = (
    *("/v1/admin/core/channels", "/v1/admin/queue/queues", "/v1/admin/queue/members", "/v1/admin/queue/entries"),
    *("/v1/admin/park/parkedcalls", "/v1/admin/pjsip/endpoints", "/agents", "/v1/admin/core/modules"),
)


class Reader:
    """A dashboard that polls the views and takes what it gets; ``answers`` counts it by status."""

    def __init__(self, client: Any) -> None:
        self.answers: Counter[str] = Counter()
        self._client = client

    async def run(self) -> None:
        while True:
            for path in VIEWS:
                try:
                    async with self._client.get(path) as reply:
                        await reply.read()
                        self.answers[str(reply.status)] += 1
                except (aiohttp.ClientError, OSError):
                    self.answers["no answer"] += 1
                await asyncio.sleep(0.05)
