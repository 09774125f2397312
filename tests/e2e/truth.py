"""What Asterisk's own CLI says, and what our tables say, as the same tuples; and the comparison of the two.

Asterisk is asked before and after our tables; only if it said the same twice was there one truth to compare with.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger

Rows = dict[str, tuple[Any, ...]]
"""By what identifies them."""


class Kind(Struct, frozen=True):
    """One thing that both sides can list; ``columns`` are what is compared, ``ours`` yields the key first."""

    name: str
    columns: tuple[str, ...]
    asterisk: Callable[[Asterisk], Awaitable[Rows]]
    ours: str


async def channels(asterisk: Asterisk) -> Rows:
    """``core show channels concise``; its duration is left out: it ticks."""
    rows: Rows = {}
    for line in await asterisk.cli("core show channels concise"):
        if "!" in line:
            name, context, exten, priority, state, app, data, number, account, _, _, _, bridge, unique = line.split("!")
            rows[unique] = (
                *(name, context, exten, priority, state),
                *("" if app == "(None)" else app, data, number, account, bridge),
            )
    return rows


CHANNELS = Kind(
    "channels",
    ("channel", "context", "exten", "priority", "state", "application", "data", "number", "account", "bridge"),
    channels,
    """
    SELECT unique_id, channel, context, exten, priority, channel_state_desc, application, application_data,
           caller_id_num, account_code, coalesce(bridge_id, '')
    FROM channels
    """,
)

ALL = (CHANNELS,)


def difference(kind: Kind, theirs: Rows, ours: Rows) -> str:
    """Say what differs, key by key; empty when nothing does."""
    lines = []
    for key in sorted(theirs.keys() | ours.keys()):
        if key not in ours:
            lines.append(f"  {key}: Asterisk has it, we do not: {theirs[key]}")
        elif key not in theirs:
            lines.append(f"  {key}: we have it, Asterisk does not: {ours[key]}")
        else:
            lines += [
                f"  {key} {column}: Asterisk {a!r}, we {b!r}"
                for column, a, b in zip(kind.columns, theirs[key], ours[key], strict=True)
                if a != b
            ]
    return f"{kind.name} differ:\n" + "\n".join(lines) if lines else ""


async def agree(
    ledger: Ledger, asterisk: Asterisk, *kinds: Kind, when: str = "", seconds: float = 3.0
) -> dict[str, Rows]:
    """Fail unless our tables say what Asterisk says, within ``seconds``; return what both say, by kind's name."""
    deadline = time.monotonic() + seconds
    wrong = "Asterisk never said the same twice"
    while True:
        before = [await kind.asterisk(asterisk) for kind in kinds or ALL]
        await ledger.caught_up(asterisk)
        ours = [await _ours(ledger, kind) for kind in kinds or ALL]
        after = [await kind.asterisk(asterisk) for kind in kinds or ALL]
        if before == after:
            wrong = "\n".join(
                filter(None, (difference(*three) for three in zip(kinds or ALL, after, ours, strict=True)))
            )
            if not wrong:
                return {kind.name: rows for kind, rows in zip(kinds or ALL, ours, strict=True)}
        if time.monotonic() > deadline:
            raise AssertionError(f"{when or 'now'}, Asterisk {asterisk.version}: {wrong}")


async def _ours(ledger: Ledger, kind: Kind) -> Rows:
    return {str(row[0]): tuple(row)[1:] for row in await ledger.rows(kind.ours)}
