"""How far each read model has folded, and whether each PBX is heard: known without asking PostgreSQL per request.

NOTIFY wakes, polling guarantees. Whoever reads rows reads the same facts in the same transaction (`read`), so that a
body and the position told with it belong together.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import asyncpg
import structlog
from msgspec import Struct
from msgspec.structs import replace

from projections import ALL
from services.database import connection as database
from services.database import faults, pool
from services.database.heartbeat import Heartbeat
from services.database.locks import Channel
from services.log.continuity import LogEnd
from services.runtime.clock import CLOCK, Clock

POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""At most fifty readings a second, however fast the projector commits."""
RETRY_SECONDS = 0.5
STALE_SECONDS = 2.5
"""Without a reading for so long we no longer claim to be up to date."""

CHECKPOINTS = """
SELECT h.position AS head, h.hash, c.model, c.version, c.position, c.changed, c.swaps, c.mark, c.error,
       coalesce(c.at, (SELECT recorded FROM ledger.event ORDER BY position LIMIT 1)) AS at
FROM ledger.head h LEFT JOIN ledger.checkpoint c ON c.place = 'model'
"""
LINKS = """
SELECT pbx, CASE WHEN state = 'up' AND is_recent THEN 'up' ELSE 'down' END AS state, healed, failed,
       CASE WHEN state = 'down' AND greatest(last_minute, tm_update)
                 > coalesce($1::timestamptz, now()) - interval '150 seconds' THEN refused ELSE '' END AS refused,
       state = 'up' AND healed
       AND abs(extract(epoch FROM coalesce($1::timestamptz, ledger.clock()) - coalesce(last_minute, since))) < 150
       AS complete
FROM links CROSS JOIN LATERAL (
    SELECT least(abs(extract(epoch FROM coalesce($1::timestamptz, ledger.clock()) - last_minute)),
                 abs(extract(epoch FROM coalesce($1::timestamptz, ledger.clock()) - since))) < 150 AS is_recent
) minute
ORDER BY pbx
"""
"""$1 is the time, None for now. A listener that is gone (its machine too) says nothing more, not even that the link is
down. A last minute that is still to come is from before the clock was set back, and may be of any age."""

CONTINUES = "SELECT ledger.continues($1, $2)"

VERSIONS = {model.name: model.version for model in ALL}

logger = structlog.get_logger()


class UnreadyError(Exception):
    """The database has not answered yet, or a read model has no table yet."""


class Checkpoint(Struct, frozen=True):
    """As the table: ``at`` is when the event at ``position`` was recorded (the first event's time before it).

    ``mark`` is another number after each change, so that it tells apart what two logs have at one position.
    """

    version: int
    position: int
    changed: int
    swaps: int
    at: datetime | None
    error: str | None
    mark: int = 0


class Link(Struct, frozen=True):
    """One PBX's link; ``healed``: a snapshot was completed since it came up.

    ``failed`` is as in the read model; ``refused`` says why Asterisk refuses the login of a listener that runs.
    """

    state: str
    healed: bool
    complete: bool
    failed: tuple[str, ...] = ()
    refused: str = ""


def complete(links: Mapping[str, Link], pbx: str | None) -> bool:
    """Tell whether the PBX, or every PBX if None, has been heard as far as its state depends on it."""
    asked = links.values() if pbx is None else [links[pbx]] if pbx in links else []
    return bool(asked) and all(link.complete for link in asked)


class CheckpointReading(Struct, frozen=True):
    """The facts at one moment between ``began`` and ``ended`` by the event loop's clock.

    ``timeline`` counts how often this process has found a log that did not continue the one before: positions of two
    timelines cannot be compared.
    """

    began: float
    ended: float
    head: int
    models: dict[str, Checkpoint]
    links: dict[str, Link]
    hash: bytes = b""
    timeline: int = 0

    def after(self, other: "CheckpointReading") -> bool:
        """Tell whether this is of a later moment than the other one.

        Of two that were under way at once the log and the models tell: in one timeline none of their numbers falls.
        """
        if self.timeline != other.timeline:
            return self.timeline > other.timeline
        if self.began > other.ended or other.began > self.ended:
            return self.began > other.ended
        mine, theirs = self.progress, other.progress
        return mine > theirs or (mine == theirs and self.began > other.began)

    @property
    def progress(self) -> int:
        """What never falls in one timeline, and rises when anything in the log or the models does."""
        return self.head + sum([c.position + c.swaps for c in self.models.values()])

    @property
    def end(self) -> LogEnd:
        """The end of the log."""
        return LogEnd(self.head, self.hash)

    def position(self, models: Sequence[str]) -> int:
        """Return the last event that all of these models have folded."""
        return min(self._of(models), key=lambda c: c.position).position

    def tag(self, models: Sequence[str]) -> str:
        """Return what stays the same exactly as long as these models' rows do, in every process."""
        found = self._of(models)
        return "-".join(
            ".".join(map(str, part))
            for part in zip(*[(c.changed, c.version, c.swaps, c.mark) for c in found], strict=True)
        )

    def complete(self, pbx: str | None) -> bool:
        """Tell what `complete` tells of these links."""
        return complete(self.links, pbx)

    def _of(self, models: Sequence[str]) -> list[Checkpoint]:
        try:
            return [self.models[name] for name in models]
        except KeyError as error:
            raise UnreadyError(f"read model {error.args[0]} is not there yet") from None


async def read(connection: asyncpg.Connection) -> CheckpointReading:
    """Read the facts; inside a REPEATABLE READ transaction they are those of the rows read there."""
    began = asyncio.get_running_loop().time()
    rows = await connection.fetch(CHECKPOINTS)
    models = {
        r["model"]: Checkpoint(
            r["version"], r["position"], r["changed"], r["swaps"], r["at"], r["error"], r["mark"] or 0
        )
        for r in rows
    }
    models.pop(None, None)
    links = {}
    # Those of another version, whose columns may be others, say nothing until they have been rebuilt.
    if "links" in models and models["links"].version == VERSIONS["links"]:
        links = linked(await connection.fetch(LINKS, None))
    ended = asyncio.get_running_loop().time()
    return CheckpointReading(began, ended, rows[0]["head"], models, links, rows[0]["hash"])


async def placed(
    connection: asyncpg.Connection, reading: CheckpointReading, known: CheckpointReading | None
) -> CheckpointReading:
    """Return ``reading`` in the timeline of ``known``, or in the next one if the log does not continue that.

    ``known`` must be older, and ``connection`` see the log as ``reading`` did, or a later one.
    """
    if known is None or reading.end == known.end:
        return replace(reading, timeline=known.timeline if known is not None else 0)
    continues = await connection.fetchval(CONTINUES, known.head, known.hash)
    return replace(reading, timeline=known.timeline + (not continues))


def linked(rows: Sequence[asyncpg.Record]) -> dict[str, Link]:
    """Return the links of rows of `LINKS`, by PBX."""
    return {r["pbx"]: Link(r["state"], r["healed"], r["complete"], tuple(r["failed"]), r["refused"]) for r in rows}


Follow = Callable[[asyncpg.Connection, CheckpointReading], Awaitable[None]]


class Broadcast:
    """Wakes all who wait when it rings, and stays quiet for those who come after."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next ring."""
        await self._event.wait()


class CheckpointWatcher:
    """The newest `CheckpointReading`, kept so by `run`, and the means to wait for a newer one.

    Those in ``follow`` are given every reading of `run` before it counts as folded or refreshed. A reading that came
    with a view's rows (`observe`) counts for views only. A log that does not continue what was read begins
    a new timeline.
    """

    def __init__(
        self, url: str, follow: Sequence[Follow] = (), heartbeat: Heartbeat | None = None, clock: Clock = CLOCK
    ) -> None:
        self.newest: CheckpointReading | None = None
        self._followed: CheckpointReading | None = None
        self.head = 0
        self.stopping = False
        self.heartbeat = heartbeat or Heartbeat(url)
        self._url = url
        self._follow = follow
        self._wake = asyncio.Event()
        self._read = Broadcast()
        self._changed = Broadcast()
        self._grown = Broadcast()
        self._clock = clock
        self._first = math.inf
        self._caught_up: dict[str, float] = {}

    @property
    def reading(self) -> CheckpointReading:
        """The newest reading. Raises UnreadyError if there was none yet."""
        if self.newest is None:
            raise UnreadyError("the database has not answered yet")
        return self.newest

    @property
    def is_stale(self) -> bool:
        """Whether PostgreSQL has not answered for a while."""
        return self.newest is None or asyncio.get_running_loop().time() - self.newest.began > STALE_SECONDS

    def lag_ms(self, models: Sequence[str], reading: CheckpointReading) -> int:
        """Return 0 if these models have folded all of the log, or else how old what they have not folded may be."""
        lag = 0.0
        for name in models:
            checkpoint = reading.models[name]
            if checkpoint.position < max(self.head, reading.head) or self.is_stale:
                lag = max(lag, self._age(name, checkpoint))
        return int(lag * 1000)

    def _age(self, name: str, checkpoint: Checkpoint) -> float:
        """Return how old the model may be: no older than when it had caught up, by the event loop's clock.

        The time of the last event that it has folded says more only while our clock is not before that time.
        """
        known = asyncio.get_running_loop().time() - self._caught_up.get(name, self._first)
        recorded = self._clock.now() - (checkpoint.at.timestamp() if checkpoint.at else 0.0)
        if recorded < 0:
            return known
        return min(recorded, known) if name in self._caught_up else recorded

    async def run(self) -> None:
        """Keep reading until cancelled, through any absence of PostgreSQL."""
        while True:
            try:
                await self._hold()
            except faults.ANY as error:
                self.heartbeat.outage.fail(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _hold(self) -> None:
        connection = await database.connect(self._url, search_path="model, ledger", lock_timeout=pool.LOCK_TIMEOUT)
        self.heartbeat.watch(connection)
        try:
            await connection.add_listener(Channel.LOG, self._appended)
            await connection.add_listener(Channel.MODELS, lambda *_: self._wake.set())
            while True:
                self._wake.clear()
                reading = await self.read(connection)
                for follow in self._follow:
                    await follow(connection, reading)
                self.observe(reading)
                if reading.timeline == self._timeline:
                    self._followed = reading
                self._read.ring()
                self.heartbeat.outage.recover()
                await asyncio.sleep(PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        finally:
            connection.terminate()

    async def read(self, connection: asyncpg.Connection) -> CheckpointReading:
        """Read the facts, as `read` does, and compare the log with the one that is known."""
        known = self.newest
        return await placed(connection, await read(connection), known)

    def _appended(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._ends(int(payload))

    def _ends(self, head: int) -> None:
        if head > self.head:
            self.head = head
            self._grown.ring()

    def observe(self, reading: CheckpointReading) -> None:
        """Take a reading, unless a newer one is known."""
        before = self.newest
        if before is not None and not reading.after(before):
            return
        self.newest = reading
        self._first = min(self._first, reading.began)
        if before is not None and before.timeline != reading.timeline:
            self._rewind(before, reading)
        self._ends(reading.head)
        for name, checkpoint in reading.models.items():
            if checkpoint.position >= reading.head:
                self._caught_up[name] = reading.began
        if before is None or _changes(before) != _changes(reading):
            self._changed.ring()

    def _rewind(self, before: CheckpointReading, reading: CheckpointReading) -> None:
        """Forget what was known of positions that the log has lost."""
        logger.error("log_went_back", before=before.head, now=reading.head)
        self.head = reading.head
        self._followed = None
        self._caught_up.clear()
        self._wake.set()
        self._grown.ring()

    def stop(self) -> None:
        """Let everybody who waits for a change go on with what there is."""
        self.stopping = True
        self._changed.ring()
        self._read.ring()

    async def refresh(self) -> bool:
        """Wait for a reading that begins after this call, no longer than a moment; tell if it came."""
        now = asyncio.get_running_loop().time()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                while self._followed is None or self._followed.began < now:
                    await self._read.wait()
                return True
        return False

    async def wait_folded(self, models: Sequence[str], position: int) -> None:
        """Wait until these models have folded the event at ``position``; the caller limits the time."""
        while self._followed is None or any(
            (checkpoint := self._followed.models.get(name)) is None or checkpoint.position < position for name in models
        ):
            await self._read.wait()

    async def wait_past(self, position: int) -> None:
        """Wait until the log goes on after ``position``, or has been found to be another one."""
        timeline = self._timeline
        while self.head <= position and timeline == self._timeline:
            await self._grown.wait()

    async def wait_rewound(self) -> None:
        """Wait until the log has been found not to continue what was read."""
        timeline = self._timeline
        while timeline == self._timeline:
            await self._grown.wait()

    @property
    def _timeline(self) -> int:
        return 0 if self.newest is None else self.newest.timeline

    async def wait_changed(self, models: Sequence[str], tag: str, seconds: float) -> None:
        """Wait until the tag of these models is another than ``tag``, for so long at most, or until we stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.stopping and self.reading.tag(models) == tag:
                    await self._changed.wait()


def _changes(reading: CheckpointReading) -> list[tuple[str, int, int, int, int]]:
    return [(name, c.version, c.changed, c.swaps, c.mark) for name, c in sorted(reading.models.items())]
