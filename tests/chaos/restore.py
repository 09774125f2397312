"""PostgreSQL returns with a backup: later events are lost, and every process must notice."""

import asyncio
import math
import os
import random
import signal
import time

from services.database.cluster import EmbeddedError
from tests.chaos.scene import Scene
from tests.support.polling import present

BACKUP_SECONDS = 300.0


async def restored(scene: Scene, dice: random.Random) -> str:
    """Take a backup, go on for some seconds, and put it in the place of the data while `up` does not look."""
    data = scene.embedded.cluster.data
    number = len(scene.losses)
    backup = data.with_name(f"backup-{number}")
    taken = await present(lambda: _backup(scene, number), "a backup is taken", BACKUP_SECONDS)
    seconds = dice.uniform(1, 4)
    await asyncio.sleep(seconds)
    scene.losses.append((taken, math.inf))
    # Stopped, `up` does not start PostgreSQL again before the backup is in its place.
    os.kill(scene.up.process.pid, signal.SIGSTOP)
    try:
        await scene.kill(await scene.postmaster(), signal.SIGQUIT)
        data.rename(data.with_name(f"lost-{number}"))
        backup.rename(data)
    finally:
        os.kill(scene.up.process.pid, signal.SIGCONT)
    scene.ledger._marked = 0
    return f"a backup that was {seconds:.1f} s old"


async def _backup(scene: Scene, number: int) -> float | None:
    """Take a backup, and return when it began; None when PostgreSQL is away."""
    began = time.time()
    embedded = scene.embedded
    backup = embedded.cluster.data.with_name(f"backup-{number}")
    backup.mkdir(mode=0o700, exist_ok=True)
    embedded.cluster.give(backup)
    to = ("-D", str(backup), "-h", str(embedded.cluster.sockets), "-U", "ringledger")
    try:
        await asyncio.to_thread(embedded.cluster.run, "pg_basebackup", *to, "--wal-method=stream", "--checkpoint=fast")
    except EmbeddedError:
        await asyncio.sleep(1)
        return None
    return began
