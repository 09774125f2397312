"""Append events to the log and fold them, with a real PostgreSQL."""

import random
from collections.abc import Iterable, Mapping, Sequence

import asyncpg

from projections.engine.model import ReadModel
from schemas.log import NewEvent
from services.asterisk.ami.blocks import occurred, snapshot_action
from services.asterisk.ami.framing import Framer
from services.database.connection import connect
from services.log.append import append_events
from services.projector.projector import Projector


def ami(block: bytes, recorded: float = 0.0) -> NewEvent:
    """Take one AMI block (an event, or a response to a snapshot's action) as the listener does."""
    start = block.lstrip(b"\r\n")
    word, _, rest = start.partition(b":")
    name = rest.split(b"\r\n", 1)[0].strip().decode()
    if word == b"Response":
        name = f"Response:{snapshot_action(start)}"
    return NewEvent("ami", name, occurred(block), recorded or occurred(block) or 0.0, block)


def event(name: str, headers: Mapping[str, object], recorded: float = 0.0) -> NewEvent:
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return ami(f"Event: {name}\r\n{lines}\r\n".encode(), recorded)


def events_of(wire: bytes, *names: str) -> list[NewEvent]:
    """Return the events of these names (all without any), from a recording."""
    blocks = Framer().feed(wire.split(b"\r\n", 1)[1])
    events = (ami(block) for block in blocks if block.lstrip(b"\r\n").startswith(b"Event:"))
    return [e for e in events if not names or e.name in names]


async def append(url: str, events: Sequence[NewEvent], pbx: str = "pbx", writer: int = 1) -> None:
    connection = await asyncpg.connect(url)
    for first in range(0, len(events), 4096):
        await append_events(connection, pbx, writer, first + 1, events[first : first + 4096])
    await connection.close()


async def fold_log(
    url: str, models: Iterable[ReadModel], cuts: random.Random | None = None
) -> dict[str, list[asyncpg.Record]]:
    """Fold the whole log and return every table's rows; with ``cuts`` the batches have random lengths."""
    connection = await connect(url, search_path="model, ledger")
    models = tuple(models)
    try:
        while True:
            # Each new projector continues from the database alone.
            projector = Projector(connection, models)
            await projector.open()
            limit = cuts.choice((1, 7, 100, 3000)) if cuts else 5000
            if await projector.advance(limit) == 0:
                break
        assert projector.stopped == {}
        return {m.name: await connection.fetch(f"SELECT * FROM {m.name} t ORDER BY t") for m in models}
    finally:
        await connection.close()
