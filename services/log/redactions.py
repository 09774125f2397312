"""The redactions that the log records, for ``ringledger verify``: every other change of an event is damage.

The leaf of an event may differ from its sealed leaf if a sequence of events `Redacted` leads from one to the other.
Such an event is sealed too, and its reason may be redacted like any other text.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import asyncpg
import msgspec
from msgspec import Struct

from schemas.log import Redacted
from services.log.chain import LEAF_BYTES

READ = """
SELECT position, pbx, ledger.microseconds(recorded), raw FROM ledger.event
WHERE source = 'ringledger' AND name = 'Redacted' ORDER BY position
"""
READ_PBX = """
SELECT position, raw FROM ledger.event
WHERE source = 'ringledger' AND name = 'Redacted' AND pbx = $1 AND position > $2 ORDER BY position
"""

Leaves = tuple[bytes, bytes]
"""The sealed leaf of an event and its correct leaf now."""


class RedactionError(ValueError):
    """A contradiction in the event Redacted at ``position``; the message is one line and names the position."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"event {position} (Redacted) {why}")
        self.position = position


class TokenSummary(Struct):
    """All redactions with one token: the number of changed events, the times (microseconds), actors and reasons."""

    token: str
    kind: str
    events: int
    first: int
    last: int
    actors: tuple[str, ...]
    reasons: tuple[str, ...]

    def line(self) -> str:
        """Return the summary as one line."""
        times = (datetime.fromtimestamp(at // 1_000_000, UTC) for at in (self.first, self.last))
        when = " to ".join(dict.fromkeys(f"{at:%Y-%m-%d %H:%M}" for at in times))
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.token}: a {self.kind} in {self.events} events, {when} UTC, by {', '.join(self.actors)}{why}"


class Redactions(Struct):
    """All redactions of a log; ``leaves`` has those of each changed event by its position."""

    leaves: dict[int, Leaves]
    summaries: list[TokenSummary]


def collect(events: Iterable[Sequence[object]]) -> Redactions:
    """Follow events Redacted, in order: each is (position, pbx, recorded, raw). Raises RedactionError."""
    leaves: dict[int, Leaves] = {}
    positions: dict[str, set[int]] = {}
    summaries: dict[str, TokenSummary] = {}
    for position, _pbx, recorded, raw in events:
        assert isinstance(position, int)
        assert isinstance(recorded, int)
        assert isinstance(raw, bytes)
        event = _decoded(position, raw)
        if event.position != position:
            continue  # it belongs to the log that it was imported from
        for changed, before, after in event.changes:
            leaf_before, leaf_after = _leaf(position, before), _leaf(position, after)
            if not 0 < changed < position:
                raise RedactionError(position, f"changes {changed}, which is not before it")
            sealed, now = leaves.get(changed, (leaf_before, leaf_before))
            if now != leaf_before:
                raise RedactionError(position, f"contradicts the previous redaction of {changed}")
            leaves[changed] = sealed, leaf_after
        changes = positions.setdefault(event.token, set())
        changes.update(changed for changed, _, _ in event.changes)
        old = summaries.get(event.token, TokenSummary(event.token, event.kind, 0, recorded, recorded, (), ()))
        summaries[event.token] = TokenSummary(
            event.token,
            event.kind,
            len(changes),
            old.first,
            recorded,
            tuple(dict.fromkeys((*old.actors, event.actor))),
            tuple(dict.fromkeys((*old.reasons, *([event.reason] if event.reason else [])))),
        )
    return Redactions(leaves, list(summaries.values()))


async def read_redactions(connection: asyncpg.Connection) -> Redactions:
    """Return the redactions of the log. Raises RedactionError."""
    return collect(await connection.fetch(READ))


async def redactions_of(connection: asyncpg.Connection, pbx: str, position: int) -> list[tuple[int, bytes, bytes]]:
    """Return the changes of one event, in order: the position of the event Redacted, the leaf before and after."""
    changes: list[tuple[int, bytes, bytes]] = []
    for by, raw in await connection.fetch(READ_PBX, pbx, position):
        event = _decoded(by, raw)
        if event.position == by:
            changes += [(by, _leaf(by, was), _leaf(by, becomes)) for p, was, becomes in event.changes if p == position]
    return changes


def _decoded(position: int, raw: bytes) -> Redacted:
    try:
        return msgspec.json.decode(raw, type=Redacted)
    except msgspec.MsgspecError:
        raise RedactionError(position, "is malformed") from None


def _leaf(position: int, text: str) -> bytes:
    try:
        leaf = bytes.fromhex(text)
    except ValueError:
        leaf = b""
    if len(leaf) != LEAF_BYTES:
        raise RedactionError(position, "has a malformed leaf")
    return leaf
