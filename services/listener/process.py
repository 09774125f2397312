"""The listener process: one AMI and one ARI listener per PBX, independent of each other."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog

from schemas.listener import Board
from schemas.settings import Pbx, Settings
from services.listener.ami import Listener, MakeIngest
from services.listener.ari import AriListener
from services.listener.backlog.spools import Spools
from services.listener.ingest import Ingest
from services.listener.standby import StandbyListener, append_while
from services.runtime.clock import CLOCK, boot_id
from services.runtime.private import make_data_folder, open_private

BOARD_INTERVAL_SECONDS = 1.0

logger = structlog.get_logger()


async def listen(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Listen to every PBX until ``stop``; return when all events are in the log or in the spool."""
    make_data_folder(settings.data)
    spools = Spools(settings.data / "spool", settings.spool_bytes)
    listeners = [
        *(StandbyListener(pbx.name, "ami", url, spools, partial(Listener, pbx)) for pbx in settings.ami),
        *(StandbyListener(pbx.name, "ari", url, spools, partial(_ari_listener, pbx)) for pbx in settings.ari),
    ]
    configured = {(listener.pbx, listener.kind) for listener in listeners}
    posting = asyncio.create_task(write_board(settings.data / "listeners.json", listeners))
    try:
        await asyncio.gather(
            *(listener.run(stop) for listener in listeners),
            # Spools of a PBX that is no longer configured are appended too.
            *(_append_orphan(name, kind, url, spools, stop) for name, kind in spools.owners() - configured),
        )
    finally:
        posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await posting


def _ari_listener(pbx: Pbx, make_ingest: MakeIngest) -> AriListener:
    return AriListener(pbx, make_ingest())


async def _append_orphan(pbx: str, kind: str, url: str, spools: Spools, stop: asyncio.Event) -> None:
    async def wait() -> None:
        await stop.wait()

    await append_while(Ingest(url, pbx, spools, kind), wait, stop)


async def write_board(file: Path, listeners: Sequence[StandbyListener]) -> None:
    """Write the state of each listener every second, for readers that cannot reach PostgreSQL.

    An error of the disk is logged once.
    """
    new = file.with_suffix(".new")
    last_error = ""
    while True:
        entries = [listener.entry() for listener in listeners]
        try:
            with open_private(new, "wb") as out:
                out.write(msgspec.json.encode(Board(CLOCK.now(), entries, CLOCK.monotonic(), boot_id())))
            new.replace(file)
            last_error = ""
        except OSError as error:
            if str(error) != last_error:
                last_error = str(error)
                logger.warning("board_not_written", file=str(file), error=last_error)
        await asyncio.sleep(BOARD_INTERVAL_SECONDS)
