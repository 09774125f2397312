"""Shapes of AMI events: one Struct per set of headers that folds read; many event names share a shape.

Every shape starts with members of the log (``pbx``, ``at``, ``recorded``, ``position``). Headers that are absent or
empty take the default, so that a missing value equals an empty one. Header names are Asterisk's (verified in
recordings of Asterisk 16.28 and 22.10); numbers arrive as text and are converted by msgspec's lax mode.
"""

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, field

from schemas.log import Source

Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A number that fits PostgreSQL's bigint."""

Float = Annotated[float, Meta(ge=-(2**53), le=2**53)]
"""A number that PostgreSQL can round to a bigint, so neither NaN nor an infinity."""


class AmiEvent(Struct, frozen=True, kw_only=True, gc=False):
    """The members that every fold may read, whatever the headers of the event; times are UTC.

    ``at`` is the PBX's clock where the event has a Timestamp, ``recorded`` is the listener's. The two may differ by any
    amount: a time that is compared with Ringledger's own now comes from ``recorded``.

    Folds receive events of ``source_of_events`` only: a PBX may send an event with the name of one of Ringledger's
    own. They also receive events of ``also_from``, for imports of the same events from another source.
    """

    source_of_events: ClassVar[Source] = "ami"
    also_from: ClassVar[Source | None] = None

    pbx: str = field(name="_pbx")
    at: datetime = field(name="_at")
    recorded: datetime = field(name="_recorded")
    position: int = field(name="_position")


class OwnEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """Base of the shapes of Ringledger's own events."""

    source_of_events: ClassVar[Source] = "ringledger"
