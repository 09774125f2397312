"""A second PBX that speaks AMI and means harm: event names without number, a list that never ends, half blocks.

In a run it invents up to 300,000 names, a third at a time. Its endless list ends when the listener cuts the link.
It also ends when a listener that stores the list would exceed its memory.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Iterable

from tests.chaos.promises import answers, check_memory
from tests.chaos.scene import Scene
from tests.support.fake_ami import FakeAmi, block
from tests.support.polling import present

ALL_NAMES = 300_000
NAMES = 100_000
KNOWN_NAMES = 20_000
"""Sent again once all have been invented: the log does not grow by 100,000 events at each strike of a long run."""
PIECE = 2_000
LISTS = ("CoreShowChannels", "PJSIPShowEndpoints", "QueueStatus", "Agents")
HEADERS = tuple(f"H{number}: x" for number in range(1_000))
"""Headers of one item of a list: short ones, for which Python needs twenty times their bytes."""
LIST_BYTES = 24 << 20
TOGETHER = 8
LINK_SECONDS = 300.0
FLOW_SECONDS = 300.0
WATCH_SECONDS = 0.2


async def harm(scene: Scene, dice: random.Random) -> str:
    """Do one kind of harm, and see whether the API of all PBXes still answers."""
    kind = dice.choice((_names, _endless, _half)) if scene.hostile_names else _names
    doing = asyncio.create_task(kind(scene, dice))
    most: dict[str, int] = {}
    while not doing.done():
        sizes = check_memory(scene, f"the hostile PBX harms ({kind.__name__})")
        most = {name: max(size, most.get(name, 0)) for name, size in sizes.items()}
        await asyncio.wait([doing], timeout=WATCH_SECONDS)
    did = doing.result()
    await answers(scene, f"the hostile PBX sends {did}")
    return f"{did}; {', '.join(f'{name} held {size} MB' for name, size in most.items())}"


async def _names(scene: Scene, _dice: random.Random) -> str:
    await _wait_for_link(scene)
    first, count = scene.hostile_names, NAMES
    if first < ALL_NAMES:
        scene.hostile_names += count
    else:
        first, count = 0, KNOWN_NAMES
    pieces = (range(start, start + PIECE) for start in range(first, first + count, PIECE))
    data = (b"".join(block(f"Event: Name{number}") for number in numbers) for numbers in pieces)
    await _pour(scene.hostile, data)
    return f"{count} event names, {scene.hostile_names} in all"


async def _endless(scene: Scene, dice: random.Random) -> str:
    await _wait_for_link(scene)
    fake, action = scene.hostile, dice.choice(LISTS)
    is_asked = asyncio.Event()
    numbers: list[str] = []

    def begin(request: dict[str, str]) -> bytes:
        del fake.replies[action]
        numbers.append(f"ActionID: {request['ActionID']}")
        is_asked.set()
        return block("Response: Success", numbers[0], "EventList: start")

    fake.replies[action] = begin
    fake.send(block("Event: Reload", "Module: x"))  # the listener asks for its lists
    try:
        async with asyncio.timeout(LINK_SECONDS):
            await is_asked.wait()
    except TimeoutError:
        return f"nothing, for the listener did not ask for {action}"
    items = block("Event: Endless", numbers[0], *HEADERS) * TOGETHER
    sent = await _pour(fake, itertools.repeat(items, LIST_BYTES // len(items)))
    return f"a list without an end ({action}, {sent >> 20} MB)"


async def _half(scene: Scene, _dice: random.Random) -> str:
    await _wait_for_link(scene)
    scene.hostile.send(b"Event: Half\r\nOf: a bl")
    scene.hostile.cut()
    return "half a block"


async def _wait_for_link(scene: Scene) -> None:
    async def linked() -> bool | None:
        scene.alive()
        return bool(scene.hostile.clients) or None

    await present(linked, "the listener is linked to the hostile PBX", LINK_SECONDS)


async def _pour(fake: FakeAmi, pieces: Iterable[bytes]) -> int:
    """Send as fast as the listener reads, until it cuts the link; return how many bytes."""
    sent = 0
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(FLOW_SECONDS):
            for piece in pieces:
                for client in fake.clients:
                    client.write(piece)
                await asyncio.gather(*(client.drain() for client in fake.clients))
                if not fake.clients:
                    break
                sent += len(piece)
    return sent
