"""The state at the start of a commander's term: runs without an end, and channels that no commander has driven yet.

The read model names the start of the oldest open run. From there on our own events are read, which have an index.
"""

import asyncpg
import msgspec
from msgspec import Struct

from schemas.agi import AgiBreakSent, AgiRunEnded, AgiRunStarted, AgiStepDone, AgiStepFailed, AgiStepSent
from services.commander.async_agi.run import Run
from services.database.connection import snapshot

MAX_AGE_SECONDS = 60.0
"""A channel that entered AGI earlier is not driven.

An event recorded so long before it was appended comes from an import (or from a spool, or a clock is wrong), and never
starts a run.
"""

CHECKPOINT = """
SELECT position FROM ledger.checkpoint
WHERE model = 'agi_runs' AND place = 'model' AND to_regclass('model.agi_runs') IS NOT NULL
"""
OLDEST_RUN = "SELECT min(begun) FROM model.agi_runs WHERE pbx = $1 AND state = 'running'"
CHANNELS = "SELECT id, unique_id FROM model.agi_runs WHERE pbx = $1 AND state = 'running'"
BEFORE_WINDOW = """
SELECT last FROM ledger.batch WHERE appended <= clock_timestamp() - make_interval(secs => $1)
ORDER BY appended DESC, first DESC LIMIT 1
"""
OWN_EVENTS = """
SELECT position, raw, extract(epoch FROM least(appended, clock_timestamp()) - recorded)::float8 AS late
FROM ledger.event_appended
WHERE pbx = $1 AND source = 'ringledger' AND position > $2 AND name IN (
    'AgiRunStarted', 'AgiStepSent', 'AgiStepDone', 'AgiStepFailed', 'AgiBreakSent', 'AgiRunEnded'
)
ORDER BY position
"""

LaterEvent = AgiStepSent | AgiStepDone | AgiStepFailed | AgiBreakSent | AgiRunEnded
EVENTS: msgspec.json.Decoder[AgiRunStarted | LaterEvent] = msgspec.json.Decoder(AgiRunStarted | LaterEvent)


class OpenRuns(Struct, frozen=True):
    """Runs without an end, the positions of the AsyncAGIStart events that have a run, and where to start reading."""

    runs: list[Run]
    started: frozenset[int]
    after: int


async def read_open_runs(connection: asyncpg.Connection, pbx: str) -> OpenRuns:
    """Return the open runs. A run that waits for an event is in doubt, as the event may have been missed."""
    async with snapshot(connection):
        window: int = await connection.fetchval(BEFORE_WINDOW, MAX_AGE_SECONDS) or 0
        checkpoint: int = await connection.fetchval(CHECKPOINT) or 0
        oldest: int | None = await connection.fetchval(OLDEST_RUN, pbx) if checkpoint else None
        after = min(window, checkpoint, checkpoint if oldest is None else oldest - 1)
        own_events = await connection.fetch(OWN_EVENTS, pbx, after)
        channels = await connection.fetch(CHANNELS, pbx) if checkpoint else []
    runs: dict[str, tuple[Run, int]] = {}
    started: set[int] = set()
    for position, raw, late in own_events:
        event = EVENTS.decode(raw)
        if isinstance(event, AgiRunStarted):
            if abs(late) <= MAX_AGE_SECONDS:
                started.add(event.start)
                runs[event.id] = run_of(event), position
        elif event.id in runs:
            run, _ = runs[event.id]
            apply_own(run, event)
            runs[event.id] = run, position
            if isinstance(event, AgiRunEnded):
                del runs[event.id]
    for run, _ in runs.values():
        if run.is_waiting:
            run.doubt()
    channel_of = {row["id"]: row["unique_id"] for row in channels}
    # A transfer that the read model has is read again from the run's start; a later one follows the checkpoint.
    read_from = min(
        (
            min(position, checkpoint or position)
            if channel_of.get(run.id, run.unique_id) == run.unique_id
            else run.start
            for run, position in runs.values()
        ),
        default=window,
    )
    return OpenRuns([run for run, _ in runs.values()], frozenset(started), min(window, read_from))


def run_of(event: AgiRunStarted) -> Run:
    """Return the run as it was at its start."""
    run = Run(event.id, event.channel, event.unique_id, event.master, event.start)
    run.is_started, run.has_master, run.steps = True, event.known, event.steps
    return run


def apply_own(run: Run, event: LaterEvent) -> None:
    """Apply one of the run's own events."""
    match event:
        case AgiStepSent():
            run.sent = event.step
        case AgiStepDone():
            run.done = event.step
        case AgiStepFailed():
            run.fail(event.step, event.message)
        case AgiBreakSent():
            run.breaks.append(event)
