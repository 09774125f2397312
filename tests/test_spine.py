"""From the bytes of a real Asterisk to the log and the read models."""

import pytest

from projections import ALL
from services.asterisk.ami.protocol import LedgerProtocol
from services.database import connection as database
from services.listener.ingest import Ingest
from services.projector.projector import Projector
from tests.captures import wire
from tests.support.fake_ami import NO_SPOOL


async def ingested(url: str, data: bytes, read_size: int) -> LedgerProtocol:
    ingest = Ingest(url, "pbx", NO_SPOOL)
    protocol = LedgerProtocol(ingest.backlog.put_all, lambda _: None)
    protocol.closed, protocol.responses = False, {}
    for start in range(0, len(data), read_size):
        protocol.data_received(data[start : start + read_size])
    ingest.stop()
    await ingest.run()
    return protocol


@pytest.mark.parametrize(("capture", "events"), [("rich22", 38565), ("rich16", 35146)])
async def test_every_event_of_a_recording_is_in_the_log_and_is_folded(url: str, capture: str, events: int) -> None:
    protocol = await ingested(url, wire(capture), 65536)
    assert protocol.events == events
    assert protocol.rejected_bytes == 0
    connection = await database.connect(url, search_path="model, ledger")
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
