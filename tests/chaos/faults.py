"""The faults of a chaos run, and the moments at which they strike: two tables, and a seeded choice from both."""

import asyncio
import contextlib
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from services.log.read import head_position
from tests.chaos.clock import set_back
from tests.chaos.crowd import leave
from tests.chaos.hostile import harm
from tests.chaos.promises import answers
from tests.chaos.restore import restored
from tests.chaos.scene import AWAY, Scene
from tests.chaos.tee import Cut
from tests.chaos.wire import DifferenceError
from tests.support.polling import NotYetError, present
from tests.support.up import children_of

Strike = Callable[[Scene, random.Random], Awaitable[str]]
"""Strikes once, and returns what exactly was hit."""

Moment = Callable[[Scene, random.Random], Awaitable[str]]
"""Returns when the moment has come, and what it was."""

RUSHED = 0.3
GROWTH_SECONDS = 3.0
SNAPSHOT_SECONDS = 4.0


class Fault(Struct, frozen=True):
    """One way to fail; the greater its ``weight``, the more often."""

    name: str
    weight: int
    strike: Strike


def killed(child: str, *, loses: bool = False) -> Strike:
    """Kill a child of `up`; ``loses``: what it has in memory may be lost."""

    async def strike(scene: Scene, _dice: random.Random) -> str:
        pid = await scene.child(child)
        await scene.kill(pid, loses=loses)
        return f"process {pid}"

    return strike


def postgresql(number: signal.Signals) -> Strike:
    """Kill PostgreSQL's main process, or shut it down at once."""

    async def strike(scene: Scene, _dice: random.Random) -> str:
        pid = await scene.postmaster()
        await scene.kill(pid, number)
        return f"process {pid}"

    return strike


async def backend(scene: Scene, dice: random.Random) -> str:
    """Kill one of the processes that serve our connections: PostgreSQL ends all of them and recovers."""

    async def serving() -> list[int] | None:
        return [pid for pid in children_of(await scene.postmaster()) if _serves(pid)] or None

    pid = dice.choice(await present(serving, "PostgreSQL serves a connection"))
    with contextlib.suppress(ProcessLookupError):  # it served a short visit
        await scene.kill(pid)
    return f"process {pid}"


async def hanging(scene: Scene, dice: random.Random) -> str:
    """Stop all processes of PostgreSQL, which keep their connections, and let them go on after some seconds."""
    seconds = dice.uniform(2, 8)
    async with _stopped(scene):
        await asyncio.gather(asyncio.sleep(seconds), answers(scene, "PostgreSQL hangs", postgresql_hangs=True))
    return f"for {seconds:.1f} s at least"


async def full(scene: Scene, dice: random.Random) -> str:
    """Fill the spool's disk while PostgreSQL hangs: reading stops then, and Asterisk cuts who does not read."""
    seconds = dice.uniform(2, 6)
    scene.disk.fill()
    try:
        async with _stopped(scene):
            for _ in range(math.ceil(seconds)):
                await asyncio.sleep(seconds / math.ceil(seconds))
                scene.kills.append(time.time())  # bytes in the socket are lost when Asterisk cuts the link
    finally:
        scene.disk.free()
    return f"for {seconds:.1f} s"


@contextlib.asynccontextmanager
async def _stopped(scene: Scene) -> AsyncIterator[None]:
    """Keep all processes of PostgreSQL stopped."""
    pid = await scene.postmaster()
    stopped = [pid, *children_of(pid)]
    _signal(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(stopped, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it served a short visit
            os.kill(pid, number)


def _serves(pid: int) -> bool:
    try:
        return b"[local]" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def up(scene: Scene, _dice: random.Random) -> str:
    """Kill the parent of all, and start it again."""
    pid = scene.up.process.pid
    await scene.kill(pid, loses=True)
    await scene.up.process.wait()
    await scene.start()
    return f"process {pid}, started again as {scene.up.process.pid}"


def cut(how: Cut) -> Strike:
    """Cut the AMI link, be it in the middle of a block."""

    async def strike(scene: Scene, dice: random.Random) -> str:
        async def linked() -> bool | None:
            scene.alive()
            return scene.tee.link is not None or None

        await present(linked, "there is a link")
        link = scene.tee.link
        assert link is not None
        link.burn(how, dice.randrange(3000))

        async def burnt() -> bool | None:
            return link.cut is not None or link.task is None or link.task.done() or None

        await present(burnt, f"link {link.number} has said some more")
        return f"link {link.number} after {link.delivered} bytes"

    return strike


FAULTS = (
    Fault("listener killed", 5, killed("listen", loses=True)),
    Fault("projector killed", 4, killed("project")),
    Fault("commander killed", 2, killed("command")),
    Fault("API killed", 2, killed("serve")),
    Fault("PostgreSQL killed", 3, postgresql(signal.SIGKILL)),
    Fault("PostgreSQL shut down at once", 3, postgresql(signal.SIGQUIT)),
    Fault("PostgreSQL backend killed", 2, backend),
    Fault("PostgreSQL hangs", 2, hanging),
    Fault("backup restored", 1, restored),
    Fault("disk full", 2, full),
    Fault("clock set back", 1, set_back),
    Fault("readers leave", 1, leave),
    Fault("hostile PBX", 2, harm),
    Fault("up killed", 2, up),
    Fault("link reset", 3, cut("RST")),
    Fault("link closed", 3, cut("FIN")),
    Fault("link silent", 1, cut("silence")),
)


async def soon(_scene: Scene, dice: random.Random) -> str:
    seconds = dice.uniform(0, 0.5)
    await asyncio.sleep(seconds)
    return f"after {seconds:.2f} s"


async def grown(scene: Scene, dice: random.Random) -> str:
    """The log has grown by some events."""
    growth = dice.choice((1, 10, 100, 400))
    try:
        connection = await scene.ledger.attach()
        first = await head_position(connection)

        async def there() -> int | None:
            head = await head_position(connection)
            return head if head >= first + growth else None

        head = await present(there, f"{growth} more events are in the log", GROWTH_SECONDS)
    except AWAY:
        return "while the log does not grow"
    return f"at position {head}"


async def snapshot(scene: Scene, dice: random.Random) -> str:
    """A snapshot is under way: a reload makes the listener ask for one."""
    await scene.asterisk.cli("module reload res_musiconhold.so")
    seconds = dice.uniform(0, 0.05)
    if not await scene.tee.sees(b"\r\nActionID: ringledger/", SNAPSHOT_SECONDS):
        return "while no snapshot comes"
    await asyncio.sleep(seconds)
    return "in a snapshot"


MOMENTS: tuple[tuple[Moment, int], ...] = ((soon, 3), (grown, 4), (snapshot, 3))


class Act(Struct, frozen=True):
    """One fault of a schedule; ``rushed``: the next one does not wait for the recovery. ``dice`` are its own."""

    fault: Fault
    moment: Moment
    rushed: bool
    dice: random.Random


def schedule(seed: int, number: int) -> Iterator[Act]:
    """Yield ``number`` acts: each kind of fault once, in any order, then by weight."""
    dice = random.Random(seed)
    first = dice.sample(FAULTS, len(FAULTS))
    rest = dice.choices(FAULTS, [fault.weight for fault in FAULTS], k=max(0, number - len(first)))
    moments = dice.choices([m for m, _ in MOMENTS], [weight for _, weight in MOMENTS], k=number)
    for count, (fault, moment) in enumerate(zip([*first, *rest], moments, strict=False), 1):
        # Random numbers drawn during the run must not change later ones.
        yield Act(fault, moment, count < number and dice.random() < RUSHED, random.Random(f"{seed} {count}"))


async def struck(scene: Scene, act: Act) -> str:
    """Let a fault strike at its moment; return what happened when."""
    when = await act.moment(scene, act.dice)
    try:
        return f"{act.fault.name}: {await act.fault.strike(scene, act.dice)}, {when}"
    except NotYetError as error:
        raise DifferenceError(f"{act.fault.name} could not strike: {error}") from None
