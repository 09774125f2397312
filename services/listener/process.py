"""The listener process: for every PBX one listener of AMI and one of ARI, none of which can disturb the others."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog

from schemas.listener import Board
from schemas.settings import Settings
from services.listener.ami import Listener
from services.listener.ari import AriListener
from services.listener.ingest import Ingest
from services.listener.spool import Spools
from services.listener.standby import Terms, into_the_log
from services.runtime.clock import CLOCK, boot_id
from services.runtime.private import make_data_folder, open_private

POST_SECONDS = 1.0

logger = structlog.get_logger()


async def listen(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Listen to every PBX until ``stop``; then say so in the log, and return when all is in it or in the spool."""
    make_data_folder(settings.data)
    spools = Spools(settings.data / "spool", settings.spool_bytes)
    terms = [
        *(Terms(pbx.name, "ami", url, spools, partial(Listener, pbx)) for pbx in settings.ami),
        *(Terms(pbx.name, "ari", url, spools, partial(AriListener, pbx)) for pbx in settings.ari),
    ]
    ours = {(term.pbx, term.kind) for term in terms}
    posting = asyncio.create_task(post(settings.data / "listeners.json", terms))
    try:
        await asyncio.gather(
            *(term.run(stop) for term in terms),
            # What was heard of a PBX that nobody listens to any more belongs into the log all the same.
            *(_left(name, kind, url, spools, stop) for name, kind in spools.names() - ours),
        )
    finally:
        posting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await posting


async def _left(pbx: str, kind: str, url: str, spools: Spools, stop: asyncio.Event) -> None:
    async def nothing_more() -> None:
        await stop.wait()

    await into_the_log(Ingest(url, pbx, spools, kind), nothing_more, stop)


async def post(file: Path, terms: Sequence[Terms]) -> None:
    """Say every second how each listener does, for who cannot ask PostgreSQL.

    A disk that takes no writes is logged once.
    """
    new = file.with_suffix(".new")
    refusal = ""
    while True:
        posted = [term.posted() for term in terms]
        try:
            with open_private(new, "wb") as out:
                out.write(msgspec.json.encode(Board(CLOCK.now(), posted, CLOCK.monotonic(), boot_id())))
            new.replace(file)
            refusal = ""
        except OSError as error:
            if str(error) != refusal:
                refusal = str(error)
                logger.warning("board_not_written", file=str(file), error=refusal)
        await asyncio.sleep(POST_SECONDS)
