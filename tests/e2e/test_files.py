"""Asterisk's own files have the same calls as its events: each line of the CEL csv, and each entry of queue_log."""

from collections import Counter

from projections.engine.decoding import DecodedEvent
from schemas.ami.cel import CelEvent
from schemas.log import NewEvent
from services.log.read import read_events, recorded_event
from tests.e2e.asterisk import Asterisk
from tests.e2e.conftest import StartLedger
from tests.e2e.files import cel_csv, queue_log
from tests.e2e.stories import connect_phones
from tests.support.folding import recorded
from tests.support.polling import eventually
from tests.support.queue_log_truth import read_queue_log

Moment = tuple[object, ...]


def moment(event: CelEvent) -> Moment:
    ids = event.unique_id, event.linked_id, event.channel, event.peer
    # The file has the time with its fraction, the event has it without one.
    return event.event_name, *ids, event.application, event.user_field, event.details


def moments(lines: str) -> Counter[Moment]:
    events = [NewEvent("cel_csv", "CEL", None, 1000.0, line.encode()) for line in lines.splitlines(keepends=True)]
    return Counter(moment(DecodedEvent(recorded(1, event)).convert(CelEvent)) for event in events)


async def test_files_equal_the_events(asterisk: Asterisk, start_ledger: StartLedger) -> None:
    cel_before, queue_before = len(await cel_csv(asterisk)), len(await queue_log(asterisk))
    ledger = await start_ledger(asterisk.host)
    await ledger.snapshot()
    call, _ = await connect_phones(asterisk, "100", "101")
    await call.hang_up()
    queued = (await asterisk.phone("105")).call("200")
    rings = [await asterisk.phones[user].rung() for user in ("100", "101")]
    rings[0].answer()
    await rings[1].over()

    async def is_connected() -> bool:
        return "|CONNECT|" in (await queue_log(asterisk))[queue_before:]

    await eventually(is_connected, "the caller is connected with a member")
    await queued.hang_up()
    await asterisk.quiet()
    await ledger.caught_up(asterisk)

    rows = await read_events(ledger.connection, 0, 1 << 40, ["CEL"])
    received = Counter(
        moment(DecodedEvent(recorded_event(row)).convert(CelEvent))
        for row in rows
        if (row[2], row[3]) == ("ami", "CEL")
    )
    lines = moments((await cel_csv(asterisk))[cel_before:])
    assert received == lines
    types = {key[0] for key in lines}
    assert types >= {"CHAN_START", "ANSWER", "APP_START", "APP_END", "BRIDGE_ENTER", "HANGUP", "LINKEDID_END"}

    [passage] = read_queue_log((await queue_log(asterisk))[queue_before:]).passages
    assert (passage.queue, passage.number, passage.outcome, passage.ended_by) == ("sales", "105", "answered", "caller")
    await ledger.stop()
