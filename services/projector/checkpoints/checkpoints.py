"""Checkpoints: how far each read model has folded, and whether each PBX's link is up, read in one statement each.

A caller that reads rows reads the checkpoints in the same transaction (`read`), so that a body and its position match.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from projections import ALL
from services.log.continuity import LogEnd

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
"""$1 is the time, None for now. A listener whose machine failed appends nothing, not even that the link is down. A last
minute in the future is from before the clock was set back, and may be of any age."""

CONTINUES = "SELECT ledger.continues($1, $2)"

VERSIONS = {model.name: model.version for model in ALL}


class UnreadyError(Exception):
    """The database has not replied yet, or a read model has no table yet."""


class Checkpoint(Struct, frozen=True):
    """A row of ``ledger.checkpoint``; ``at`` is when the event at ``position`` was recorded (position 0: the first).

    ``mark`` changes with each change of a row, so it distinguishes the rows of two logs at one position.
    """

    version: int
    position: int
    changed: int
    swaps: int
    at: datetime | None
    error: str | None
    mark: int = 0


class LinkStatus(Struct, frozen=True):
    """One PBX's link; ``healed``: a snapshot was completed since the link came up.

    ``failed`` is as in the read model; ``refused`` is why Asterisk refuses the login of a running listener.
    """

    state: str
    healed: bool
    complete: bool
    failed: tuple[str, ...] = ()
    refused: str = ""


def is_complete(links: Mapping[str, LinkStatus], pbx: str | None) -> bool:
    """Return whether the state of this PBX, or of every PBX if None, misses no event."""
    concerned = links.values() if pbx is None else [links[pbx]] if pbx in links else []
    return bool(concerned) and all(link.complete for link in concerned)


class CheckpointReading(Struct, frozen=True):
    """All checkpoints and links at one moment between ``began`` and ``ended``, by the event loop's clock.

    ``timeline`` counts how often this process has met a log that does not continue the previous one. Positions of two
    timelines cannot be compared.
    """

    began: float
    ended: float
    head: int
    models: dict[str, Checkpoint]
    links: dict[str, LinkStatus]
    hash: bytes = b""
    timeline: int = 0

    def is_after(self, other: "CheckpointReading") -> bool:
        """Return whether this reading is of a later moment than the other one.

        If two readings overlapped, the one with more progress is the later: in one timeline it never falls.
        """
        if self.timeline != other.timeline:
            return self.timeline > other.timeline
        if self.began > other.ended or other.began > self.ended:
            return self.began > other.ended
        mine, theirs = self.progress, other.progress
        return mine > theirs or (mine == theirs and self.began > other.began)

    @property
    def progress(self) -> int:
        """A number that never falls in one timeline, and rises with the log and with each model."""
        return self.head + sum([c.position + c.swaps for c in self.models.values()])

    @property
    def end(self) -> LogEnd:
        """The end of the log."""
        return LogEnd(self.head, self.hash)

    def position(self, models: Sequence[str]) -> int:
        """Return the last event that all of these models have folded."""
        return min(self._checkpoints_of(models), key=lambda c: c.position).position

    def tag(self, models: Sequence[str]) -> str:
        """Return a tag that changes exactly when these models' rows do, and is the same in every process."""
        checkpoints = self._checkpoints_of(models)
        return "-".join(
            ".".join(map(str, part))
            for part in zip(*[(c.changed, c.version, c.swaps, c.mark) for c in checkpoints], strict=True)
        )

    def is_complete(self, pbx: str | None) -> bool:
        """Return `is_complete` of these links."""
        return is_complete(self.links, pbx)

    def _checkpoints_of(self, models: Sequence[str]) -> list[Checkpoint]:
        try:
            return [self.models[name] for name in models]
        except KeyError as error:
            raise UnreadyError(f"read model {error.args[0]} has no table yet") from None


async def read(connection: asyncpg.Connection) -> CheckpointReading:
    """Read all checkpoints and links; in a REPEATABLE READ transaction they match the rows that are read there."""
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
    # Links of another version may have other columns, so they are not read until they have been rebuilt.
    if "links" in models and models["links"].version == VERSIONS["links"]:
        links = links_of(await connection.fetch(LINKS, None))
    ended = asyncio.get_running_loop().time()
    return CheckpointReading(began, ended, rows[0]["head"], models, links, rows[0]["hash"])


async def in_timeline(
    connection: asyncpg.Connection, reading: CheckpointReading, previous: CheckpointReading | None
) -> CheckpointReading:
    """Return ``reading`` in the timeline of ``previous``, or in the next one if the log does not continue that one.

    ``previous`` must be older, and ``connection`` must see the log as ``reading`` did, or a later one.
    """
    if previous is None or reading.end == previous.end:
        return replace(reading, timeline=previous.timeline if previous is not None else 0)
    continues = await connection.fetchval(CONTINUES, previous.head, previous.hash)
    return replace(reading, timeline=previous.timeline + (not continues))


def links_of(rows: Sequence[asyncpg.Record]) -> dict[str, LinkStatus]:
    """Return the links in rows of `LINKS`, by PBX."""
    return {
        r["pbx"]: LinkStatus(r["state"], r["healed"], r["complete"], tuple(r["failed"]), r["refused"]) for r in rows
    }
