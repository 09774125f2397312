"""A hundred readers who ask for what takes long, and leave before it comes: nothing may go on for them."""

import asyncio
import random
import time
from functools import partial

import aiohttp

from tests.chaos.promises import answers, scrape
from tests.chaos.reader import VIEWS
from tests.chaos.scene import AWAY, Scene
from tests.support.polling import NotYetError, present

READERS = 100
STAY_SECONDS = 2.0
GONE_SECONDS = 300.0
CONNECTIONS = "ringledger_http_connections"
QUEUED = "ringledger_queue_requests{"
STEADY_CONNECTIONS = 20
"""More than all that the run itself has open: its reader, its asker and who looks at the metrics."""


async def leave(scene: Scene, dice: random.Random) -> str:
    """Open long polls, streams and questions about the past, and drop them all at once."""
    connector = aiohttp.TCPConnector(limit=READERS)
    headers = dict(scene.ledger.client.headers)
    async with aiohttp.ClientSession(f"http://{scene.up.http}", headers=headers, connector=connector) as client:
        paths = [_path(dice) for _ in range(READERS)]
        tasks = [asyncio.create_task(_ask(client, path)) for path in paths]
        await asyncio.wait(tasks, timeout=dice.uniform(0.1, STAY_SECONDS))
        waiting = sum(not task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    left = time.monotonic()
    await answers(scene, "a hundred readers leave")
    for what, why in ((_nothing_left, "nothing goes on for readers who left"), (_newcomer, "a newcomer's as_of")):
        try:
            await present(partial(what, scene), why, GONE_SECONDS)
        except NotYetError as error:
            scene.broken.append(str(error))
    return f"{waiting} of {READERS} were waiting, nothing was left of them {time.monotonic() - left:.1f} s later"


async def _nothing_left(scene: Scene) -> bool | None:
    """Return True when neither a connection nor a place in a queue is taken any more."""
    scene.alive()
    try:
        samples = await scrape(scene.ledger.client)
    except AWAY:
        return None
    queued = sum(value for name, value in samples.items() if name.startswith(QUEUED))
    return (samples[CONNECTIONS] <= STEADY_CONNECTIONS and not queued) or None


async def _newcomer(scene: Scene) -> bool | None:
    """Return True when a question about the past is answered."""
    try:
        position = await scene.fetch("SELECT position FROM head")
        async with scene.ledger.client.get(f"{VIEWS[0]}?as_of={position}") as reply:
            return reply.status == 200 or None
    except AWAY:
        return None


def _path(dice: random.Random) -> str:
    view = dice.choice(VIEWS)
    return dice.choice((f"{view}?wait=60", f"{view}?as_of={dice.randrange(1, 1000)}", "/v1/events?last_event_id=0"))


async def _ask(client: aiohttp.ClientSession, path: str) -> None:
    # A tag that fits any rows: the answer comes when they change.
    async with client.get(path, headers={"If-None-Match": "*"}) as reply:
        await reply.read()
