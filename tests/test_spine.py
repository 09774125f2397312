"""From the bytes of a real Asterisk to the log and the read models."""

import pytest

from projections import ALL
from services.database.connection import connect
from services.projector.projector import Projector
from tests.captures import wire
from tests.support.ledger import ingest_wire


@pytest.mark.parametrize(("capture", "events"), [("rich22", 38565), ("rich16", 35146)])
async def test_every_recorded_event_is_logged_and_folded(url: str, capture: str, events: int) -> None:
    protocol = await ingest_wire(url, wire(capture), 65536)
    assert protocol.events == events
    assert protocol.rejected_bytes == 0
    connection = await connect(url, search_path="model, ledger")
    assert await connection.fetchval("SELECT count(*) FROM event") == events
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert projector.stopped == {}
    # The recording ends with CoreShowChannels: nine channels were still up.
    listed = (
        wire(capture).rsplit(b"Event: CoreShowChannelsComplete", 1)[0].rsplit(b"Message: Channels will follow", 1)[1]
    )
    names = sorted(
        line.removeprefix(b"Channel: ").decode() for line in listed.split(b"\r\n") if line.startswith(b"Channel: ")
    )
    assert [row["channel"] for row in await connection.fetch("SELECT channel FROM channels ORDER BY channel")] == names
    await connection.close()
