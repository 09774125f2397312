"""Somebody who hangs channels up through the API while everything dies, and asks again under the same key."""

import asyncio
import random
from collections import Counter
from typing import Any

import aiohttp

CHANNELS = "/v1/admin/core/channels"
TRIES = 5
PAUSE_SECONDS = 0.3
AGAIN = frozenset({"401", "502", "503", "504", "no answer"})
ANSWERED = AGAIN | {"200", "404"}
"""200 is done; 404 is a call that ended by itself; 401 is a client that has not logged in yet."""


class Asker:
    """``asked`` are the answers to each key, in order; ``answers`` counts them all."""

    def __init__(self, client: Any, dice: random.Random) -> None:
        self.answers: Counter[str] = Counter()
        self.responses: dict[str, list[str]] = {}
        self._client = client
        self._dice = dice

    async def run(self) -> None:
        """Ask, one after the other, until cancelled."""
        while True:
            channels = await self._channels()
            if channels:
                key = f"key-{len(self.responses)}"
                statuses = self.responses[key] = []
                await self._ask(self._dice.choice(channels), key, statuses)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _channels(self) -> list[str]:
        try:
            async with self._client.get(CHANNELS) as reply:
                if reply.status == 200:
                    channels = (await reply.json())["result"]["list"]
                    # Those of phones are hung up by the phones, which do not expect anybody else to.
                    return [c["unique_id"] for c in channels if c["channel"].startswith("Local/")]
        except (aiohttp.ClientError, OSError):
            self.answers["no answer"] += 1
        return []

    async def _ask(self, unique_id: str, key: str, statuses: list[str]) -> None:
        for _ in range(TRIES):
            try:
                async with self._client.delete(f"{CHANNELS}/{unique_id}", headers={"Idempotency-Key": key}) as reply:
                    await reply.read()
                    answer = str(reply.status)
            except (aiohttp.ClientError, OSError):
                answer = "no answer"
            statuses.append(answer)
            self.answers[answer] += 1
            if answer not in AGAIN:
                return
            await asyncio.sleep(PAUSE_SECONDS)
