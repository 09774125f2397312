"""The log and the read models of one test database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from projections import ALL
from projections.engine.model import ReadModel
from schemas.log import NewEvent, RingledgerEvent
from services.asterisk.ami.protocol import LedgerProtocol
from services.database.connection import connect
from services.listener.ingest import Ingest
from services.projector.process import project
from services.projector.projector import Projector
from tests.support.listener import NO_SPOOL

COMMANDER = "INSERT INTO ledger.commander (pbx, link, trouble) VALUES ('pbx', 'up', '')"
"""The row of a commander that runs. Without it no act is requested."""


class Ledger:
    """The log, and a projector; ``connection`` is for the queries of the test."""

    def __init__(self, url: str, connection: asyncpg.Connection, projector: Projector) -> None:
        self.url = url
        self.connection = connection
        self.projector = projector

    async def close(self) -> None:
        await self.connection.close()
        await self.projector._connection.close()

    async def write(self, *events: bytes | RingledgerEvent | NewEvent, pbx: str = "pbx") -> int:
        """Append bytes of AMI (as a socket reads them) and events of Ringledger; return the last position."""
        ingest = Ingest(self.url, pbx, NO_SPOOL)
        protocol = ami_protocol(ingest)
        for event in events:
            if isinstance(event, bytes):
                protocol.data_received(event)
            elif isinstance(event, NewEvent):
                ingest.put(event)
            else:
                now = time.time()
                ingest.put(NewEvent("ringledger", type(event).__name__, now, now, msgspec.json.encode(event)))
        ingest.stop()
        await ingest.run()
        position: int = await self.connection.fetchval("SELECT position FROM head")
        return position

    async def fold(self) -> None:
        """Fold all of the log, where no projector runs."""
        while await self.projector.advance():
            pass
        assert self.projector.stopped == {}


def ami_protocol(ingest: Ingest) -> LedgerProtocol:
    """Return the protocol of a session that is logged in; its events go to ``ingest``."""
    protocol = LedgerProtocol(ingest.backlog.put_all, lambda _: None)
    protocol.closed = False
    return protocol


async def ingest_wire(url: str, data: bytes, read_size: int) -> LedgerProtocol:
    """Append the events of a connection's bytes, in reads of ``read_size`` bytes."""
    ingest = Ingest(url, "pbx", NO_SPOOL)
    protocol = ami_protocol(ingest)
    for start in range(0, len(data), read_size):
        protocol.data_received(data[start : start + read_size])
    ingest.stop()
    await ingest.run()
    return protocol


async def open_ledger(url: str, models: Sequence[ReadModel] = ALL) -> Ledger:
    projector = Projector(await connect(url, search_path="model, ledger"), models)
    await projector.open()
    return Ledger(url, await connect(url, search_path="model, ledger"), projector)


@asynccontextmanager
async def projector_task(ledger: Ledger) -> AsyncIterator[None]:
    """Let the ledger's projector fold until the end of the block."""
    stop, wake = asyncio.Event(), asyncio.Event()
    listener = await connect(ledger.url)
    await listener.add_listener("ledger", lambda *_: wake.set())
    task = asyncio.create_task(ledger.projector.run(stop, wake))
    yield
    stop.set()
    wake.set()
    await task
    await listener.close()


@asynccontextmanager
async def projector_process(url: str) -> AsyncIterator[Ledger]:
    """Yield a ledger beside a projector that holds the lock, as in production."""
    ledger = await open_ledger(url)
    stop = asyncio.Event()
    task = asyncio.create_task(project(url, stop))
    yield ledger
    stop.set()
    await task
    await ledger.close()
