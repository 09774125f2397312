"""What a commander must know at the start of its term: runs without an end, and channels that nobody has driven yet.

The read model says where the oldest open run began; from there on our own events are read, which have an index.
"""

import asyncpg
import msgspec
from msgspec import Struct

from schemas.agi import AgiBreakSent, AgiRunEnded, AgiRunStarted, AgiStepDone, AgiStepFailed, AgiStepSent
from services.commander.async_agi.run import Run
from services.database import connection as database

OLDEST_SECONDS = 60.0
"""A channel that came into AGI so long ago is not driven any more; and what was recorded so long before it was
appended comes from an import (or from a spool, or a clock is wrong): it never acts."""

FOLDED = """
SELECT position FROM ledger.checkpoint
WHERE model = 'agi_runs' AND place = 'model' AND to_regclass('model.agi_runs') IS NOT NULL
"""
BEGUN = "SELECT min(begun) FROM model.agi_runs WHERE pbx = $1 AND state = 'running'"
CHANNELS = "SELECT id, unique_id FROM model.agi_runs WHERE pbx = $1 AND state = 'running'"
WINDOW = """
SELECT last FROM ledger.batch WHERE appended <= clock_timestamp() - make_interval(secs => $1)
ORDER BY appended DESC, first DESC LIMIT 1
"""
OURS = """
SELECT e.position, e.raw, extract(epoch FROM least(b.appended, clock_timestamp()) - e.recorded)::float8 AS late
FROM ledger.event e
CROSS JOIN LATERAL (SELECT appended FROM ledger.batch WHERE first <= e.position ORDER BY first DESC LIMIT 1) b
WHERE e.pbx = $1 AND e.source = 'ringledger' AND e.position > $2 AND e.name IN (
    'AgiRunStarted', 'AgiStepSent', 'AgiStepDone', 'AgiStepFailed', 'AgiBreakSent', 'AgiRunEnded'
)
ORDER BY e.position
"""

Later = AgiStepSent | AgiStepDone | AgiStepFailed | AgiBreakSent | AgiRunEnded
EVENTS: msgspec.json.Decoder[AgiRunStarted | Later] = msgspec.json.Decoder(AgiRunStarted | Later)


class Unfinished(Struct, frozen=True):
    """Runs without an end; the starts (positions) that have been answered; after which position to hear the PBX."""

    runs: list[Run]
    answered: frozenset[int]
    after: int


async def unfinished(connection: asyncpg.Connection, pbx: str) -> Unfinished:
    """Look them up. What was waited for in a run that is found may have come while nobody listened."""
    async with database.snapshot(connection):
        window: int = await connection.fetchval(WINDOW, OLDEST_SECONDS) or 0
        folded: int = await connection.fetchval(FOLDED) or 0
        begun: int | None = await connection.fetchval(BEGUN, pbx) if folded else None
        after = min(window, folded, folded if begun is None else begun - 1)
        ours = await connection.fetch(OURS, pbx, after)
        channels = await connection.fetch(CHANNELS, pbx) if folded else []
    runs: dict[str, tuple[Run, int]] = {}
    answered: set[int] = set()
    for position, raw, late in ours:
        event = EVENTS.decode(raw)
        if isinstance(event, AgiRunStarted):
            if abs(late) <= OLDEST_SECONDS:
                answered.add(event.start)
                runs[event.id] = begun_again(event), position
        elif event.id in runs:
            run, _ = runs[event.id]
            again(run, event)
            runs[event.id] = run, position
            if isinstance(event, AgiRunEnded):
                del runs[event.id]
    for run, _ in runs.values():
        if run.waiting:
            run.doubt()
    now_on = {row["id"]: row["unique_id"] for row in channels}
    # A transfer that the read model knows is read again from the run's start; a later one follows ``folded``.
    heard_from = min(
        (
            min(position, folded or position) if now_on.get(run.id, run.unique_id) == run.unique_id else run.start
            for run, position in runs.values()
        ),
        default=window,
    )
    return Unfinished([run for run, _ in runs.values()], frozenset(answered), min(window, heard_from))


def begun_again(event: AgiRunStarted) -> Run:
    """Return the run as it stood when it began."""
    run = Run(event.id, event.channel, event.unique_id, event.master, event.start)
    run.begun, run.known, run.steps = True, event.known, event.steps
    return run


def again(run: Run, event: Later) -> None:
    """Bring a run to where it stood after one of its events."""
    match event:
        case AgiStepSent():
            run.sent = event.step
        case AgiStepDone():
            run.done = event.step
        case AgiStepFailed():
            run.fail(event.step, event.message)
        case AgiBreakSent():
            run.breaks.append(event)
