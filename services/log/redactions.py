"""What was redacted, as the log tells it: for ``ringledger verify``, which must find nothing else changed.

A leaf that was sealed may differ from that of the event that stands there, if events `Redacted` lead from the one to
the other. Such an event is sealed itself, and may have been redacted itself (its reason) like any other.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import asyncpg
import msgspec
from msgspec import Struct

from schemas.log import Redacted
from services.log.chain import LEAF

READ = """
SELECT position, pbx, ledger.microseconds(recorded), raw FROM ledger.event
WHERE source = 'ringledger' AND name = 'Redacted' ORDER BY position
"""

OF = """
SELECT position, raw FROM ledger.event
WHERE source = 'ringledger' AND name = 'Redacted' AND pbx = $1 AND position > $2 ORDER BY position
"""

Leaves = tuple[bytes, bytes]


class RedactionError(ValueError):
    """An event Redacted at ``position`` says what cannot be; the message is one line and names it."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(f"event {position} (Redacted) {why}")
        self.position = position


class Summary(Struct):
    """All that was given one token: so many ``events``, between two times (microseconds), by whom and why."""

    token: str
    kind: str
    events: int
    first: int
    last: int
    actors: tuple[str, ...]
    reasons: tuple[str, ...]

    def line(self) -> str:
        """Say so in one line."""
        times = (datetime.fromtimestamp(at // 1_000_000, UTC) for at in (self.first, self.last))
        when = " to ".join(dict.fromkeys(f"{at:%Y-%m-%d %H:%M}" for at in times))
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.token}: a {self.kind} in {self.events} events, {when} UTC, by {', '.join(self.actors)}{why}"


class Redactions(Struct):
    """``leaves`` has, by position, the leaf that was sealed and the one that the event must have now."""

    leaves: dict[int, Leaves]
    summaries: list[Summary]


def collected(events: Iterable[Sequence[object]]) -> Redactions:
    """Follow what the events say, in order: each is (position, pbx, recorded, raw). Raises RedactionError."""
    leaves: dict[int, Leaves] = {}
    given: dict[str, set[int]] = {}
    summaries: dict[str, Summary] = {}
    for position, _pbx, recorded, raw in events:
        assert isinstance(position, int)
        assert isinstance(recorded, int)
        assert isinstance(raw, bytes)
        said = _decoded(position, raw)
        if said.position != position:
            continue  # of the log that it was imported from
        for changed, before, after in said.changes:
            was, becomes = _leaf(position, before), _leaf(position, after)
            if not 0 < changed < position:
                raise RedactionError(position, f"changes {changed}, which is not before it")
            sealed, now = leaves.get(changed, (was, was))
            if now != was:
                raise RedactionError(position, f"says of {changed} what the redaction before does not")
            leaves[changed] = sealed, becomes
        changes = given.setdefault(said.token, set())
        changes.update(changed for changed, _, _ in said.changes)
        old = summaries.get(said.token, Summary(said.token, said.kind, 0, recorded, recorded, (), ()))
        summaries[said.token] = Summary(
            said.token,
            said.kind,
            len(changes),
            old.first,
            recorded,
            tuple(dict.fromkeys((*old.actors, said.actor))),
            tuple(dict.fromkeys((*old.reasons, *([said.reason] if said.reason else [])))),
        )
    return Redactions(leaves, list(summaries.values()))


async def read(connection: asyncpg.Connection) -> Redactions:
    """Return what the log says. Raises RedactionError."""
    return collected(await connection.fetch(READ))


async def of(connection: asyncpg.Connection, pbx: str, position: int) -> list[tuple[int, bytes, bytes]]:
    """Return how an event was changed, in order: by the event at which position, its leaf before and after."""
    found: list[tuple[int, bytes, bytes]] = []
    for by, raw in await connection.fetch(OF, pbx, position):
        said = _decoded(by, raw)
        if said.position == by:
            found += [(by, _leaf(by, was), _leaf(by, becomes)) for p, was, becomes in said.changes if p == position]
    return found


def _decoded(position: int, raw: bytes) -> Redacted:
    try:
        return msgspec.json.decode(raw, type=Redacted)
    except msgspec.MsgspecError:
        raise RedactionError(position, "is not as we write them") from None


def _leaf(position: int, text: str) -> bytes:
    try:
        leaf = bytes.fromhex(text)
    except ValueError:
        leaf = b""
    if len(leaf) != LEAF:
        raise RedactionError(position, "names what is no leaf")
    return leaf
