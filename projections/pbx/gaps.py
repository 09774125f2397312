"""Gaps: the times in which nobody heard a PBX, so that what it said then is not in the log."""

from datetime import UTC, datetime

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from projections.pbx.links import followed
from schemas.link import LinkEvent


class Gap(Row):
    """One gap, known by the position of the Disconnected that opens it; what is null has not come yet.

    ``from_time`` is when bytes were heard last, ``until_time`` when the login succeeded again (both UTC, our clock),
    ``until_position`` the position of that Connected. ``healed_time`` is when every list had been asked for and
    answered after that: state is true again from there, but events between the two times are missing for ever.
    """

    from_position: int
    from_time: datetime
    reason: str
    until_time: datetime | None = None
    until_position: int | None = None
    healed_time: datetime | None = None


def concerned(e: LinkEvent) -> list[Key]:
    return [(position,) for position in e.gaps]


def opened(_row: Gap | None, e: LinkEvent) -> Gap:
    # A time that no datetime can hold would be our own mistake; the event's own time is late, but never wrong by much.
    heard = datetime.fromtimestamp(e.heard, UTC) if e.heard is not None and 0 < e.heard < 1e11 else e.at
    return Gap(e.pbx, e.at, e.position, min(heard, e.at), e.reason)


def closed(row: Gap | None, e: LinkEvent) -> Gap | None:
    # Our clock may have been set back in the gap: then it ended at an unknown time, and not before it began.
    return replace(row, until_time=max(e.at, row.from_time), until_position=e.position) if row else None


def healed(row: Gap | None, e: LinkEvent) -> Gap | None:
    return replace(row, healed_time=e.at) if row else None


GAPS = ReadModel(
    name="gaps",
    version=2,
    row=Gap,
    key=("from_position",),
    is_state=False,
    on={
        "Disconnected": Handler(LinkEvent, concerned, opened, context=followed),
        "Connected": Handler(LinkEvent, concerned, closed, context=followed),
        "SnapshotStarted": Handler(LinkEvent, concerned, healed, context=followed),
        "SnapshotListed": Handler(LinkEvent, concerned, healed, context=followed),
        "SnapshotCompleted": Handler(LinkEvent, concerned, healed, context=followed),
    },
)
