"""A listener between a PBX and the log, run as its process runs it."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

from schemas.settings import Pbx, Settings
from services.listener import lease
from services.listener.backlog.spools import Spools
from services.listener.process import listen
from services.runtime.clock import FullMinute
from tests.support.polling import TIMEOUT_SECONDS

NO_SPOOL = Spools(Path("/dev/null/spool"), 0)
"""For a writer that never waits for PostgreSQL."""


@contextlib.asynccontextmanager
async def listener_task(url: str, *pbxes: Pbx) -> AsyncIterator[asyncio.Event]:
    """Listen to ``pbxes`` as the process does; yield the stop event, and stop at the end.

    No full minute comes meanwhile: it would bring a snapshot that a test does not count with. A commander learns of
    the listener's link from the lease, which is renewed ten times as often as by the product.
    """
    stop = asyncio.Event()
    with (
        tempfile.TemporaryDirectory(prefix="ringledger-") as data,
        mock.patch.object(FullMinute, "left", property(lambda _: TIMEOUT_SECONDS)),
        mock.patch.object(lease, "RENEW_INTERVAL_SECONDS", 0.1),
    ):
        task = asyncio.create_task(listen(Settings(ami=pbxes, data=Path(data)), url, stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(task, TIMEOUT_SECONDS)
