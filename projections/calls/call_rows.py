"""The rows of calls: one row a call, its ids, and the values by which a list of calls is filtered."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import field

from projections.calls.bloom import ALL_BITS
from projections.engine.derived import DerivedRow
from projections.engine.model import Row


class CallRow(Row):
    """One call, under the oldest of its linked ids; ``aliases`` are the others, oldest first.

    ``number`` is the log position of the call's first event: it is unique, and orders calls of the same start. Exactly
    one of ``body`` and ``story`` is set. ``body`` is the wire object of an ended call (`as_wire`), ``story`` the
    working state of an open one. ``is_told`` is False while no person takes part: such a call is not served.

    ``passages`` and ``agent_rings`` are the rows of `QueuePassage` and `AgentRing` (projections/queues/figures.py) as
    JSON objects, without ``pbx`` and ``linkedid``; the figures of queues and agents sum them.
    """

    linkedid: str
    number: int
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    state: str
    is_told: bool
    direction: str | None
    outcome: str | None
    is_originated: bool
    is_transferred: bool
    talk_seconds: float
    duration_seconds: float | None
    aliases: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    passages: list[dict[str, Any]] = field(default_factory=list)
    agent_rings: list[dict[str, Any]] = field(default_factory=list)
    body: dict[str, Any] | None = None
    story: dict[str, Any] | None = None


class CallId(DerivedRow):
    """An id under which a call is found: its linked id, an alias, or the unique id of one of its channels.

    ``number`` is that of the call.
    """

    id: str
    linkedid: str
    number: int


class CallTag(DerivedRow):
    """A value by which a list of calls is filtered.

    ``kind`` is number, endpoint, queue or agent. A number has its digits only, without a leading +. ``started_at`` and
    ``number`` are those of the call, so that one index orders the calls of a value. ``bloom`` has the bits of all
    values of the call (projections/calls/bloom.py).
    """

    linkedid: str
    kind: str
    value: str
    started_at: datetime
    number: int
    bloom: int = ALL_BITS


def as_wire(call: Any) -> dict[str, Any]:
    """Return the wire object of a call's Struct as JSON values: times are UTC with all six digits, and Z."""
    wire: dict[str, Any] = _with_texts(msgspec.to_builtins(call, builtin_types=(datetime,)))
    return wire


def _with_texts(value: Any) -> Any:
    if type(value) is dict:
        return {name: _with_texts(one) for name, one in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_with_texts(one) for one in value]
    if type(value) is datetime:
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


CALL_INDEXES = (
    "CREATE INDEX {name}_started ON {table} (started_at DESC, number DESC, talk_seconds)",
    "CREATE INDEX {name}_pbx ON {table} (pbx, started_at, number)",
    "CREATE INDEX {name}_direction ON {table} (direction, started_at, number)",
    "CREATE INDEX {name}_outcome ON {table} (outcome, started_at, number)",
    "CREATE INDEX {name}_state ON {table} (state, started_at, number) WHERE state <> 'ended'",
    "CREATE INDEX {name}_transferred ON {table} (started_at DESC, number DESC) WHERE is_transferred",
    "CREATE INDEX {name}_talk_300 ON {table} (started_at DESC, number DESC, talk_seconds) WHERE talk_seconds >= 300",
    "CREATE INDEX {name}_talk_900 ON {table} (started_at DESC, number DESC, talk_seconds) WHERE talk_seconds >= 900",
    "CREATE INDEX {name}_talk_3600 ON {table} (started_at DESC, number DESC, talk_seconds) WHERE talk_seconds >= 3600",
    "CREATE INDEX {name}_talk ON {table} (talk_seconds) WHERE talk_seconds >= 60",
)
"""The secondary indexes of calls; ``{table}`` is the table's name with its schema, ``{name}`` begins an index's."""

CALL_ID_KEY = ("id", "linkedid")
CALL_ID_INDEXES = ("CREATE INDEX {name}_id ON {table} (id)",)

CALL_TAG_KEY = ("linkedid", "kind", "value")
CALL_TAG_INDEXES = (
    "CREATE INDEX {name}_value ON {table} (kind, value, started_at, number) INCLUDE (pbx, linkedid, bloom)",
)
"""The index has all columns, so that calls with two values are found without the table."""
