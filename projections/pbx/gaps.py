"""Gaps: the times without a link to a PBX, whose events are not in the log."""

from datetime import datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.pbx.links import follow_link
from schemas.link import LinkEvent, last_received


class Gap(Row):
    """One gap; its key is the position of the Disconnected that opens it. A null member has no event yet.

    ``from_time`` is when bytes were last received, ``until_time`` when the login succeeded again. Both are UTC, by
    Ringledger's clock. ``until_position`` is the position of that Connected. ``healed_time`` is when every list was
    complete after that: from then on the state is true again, but events between the two times are missing forever.
    """

    from_position: int
    from_time: datetime
    reason: str
    until_time: datetime | None = None
    until_position: int | None = None
    healed_time: datetime | None = None


def by_position(e: LinkEvent) -> list[Key]:
    return [(position,) for position in e.gaps]


def open_gap(_row: Gap | None, e: LinkEvent) -> Gap:
    return Gap(e.pbx, e.at, e.position, last_received(e), e.reason)


def close_gap(row: Gap | None, e: LinkEvent) -> Gap | None:
    # Our clock may have been set back during the gap: then it ended at an unknown time, but not before it began.
    return replace(row, until_time=max(e.at, row.from_time), until_position=e.position) if row else None


def heal(row: Gap | None, e: LinkEvent) -> Gap | None:
    return replace(row, healed_time=e.at) if row else None


GAPS = ReadModel(
    name="gaps",
    version=2,
    row=Gap,
    key=("from_position",),
    is_state=False,
    on={
        "Disconnected": Handler(LinkEvent, by_position, open_gap, context=follow_link),
        "Connected": Handler(LinkEvent, by_position, close_gap, context=follow_link),
        "SnapshotStarted": Handler(LinkEvent, by_position, heal, context=follow_link),
        "SnapshotListed": Handler(LinkEvent, by_position, heal, context=follow_link),
        "SnapshotCompleted": Handler(LinkEvent, by_position, heal, context=follow_link),
    },
)
