"""Ringledger's own events about a PBX's link, as folds read them: one shape for all (``schemas.log`` has each)."""

from datetime import UTC, datetime

from msgspec import field

from schemas.ami import Int, OwnEvent


class LinkEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """Connected, Disconnected, LoginRefused, SnapshotStarted, SnapshotListed, SnapshotCompleted, Minute (``type``).

    ``gaps`` and ``heals`` are not in the event: see ``projections.pbx.links.follow_link``.
    """

    type: str = ""
    address: str = ""
    banner: str = ""
    message: str = ""
    reason: str = ""
    heard: float | None = None
    epoch: Int = 0
    action: str = ""
    outcome: str = ""
    instead: str = ""
    failed: list[str] = field(default_factory=list)
    minute: Int = 0
    link: str = ""
    events: Int = 0
    rejected_blocks: Int = 0
    rejected_bytes: Int = 0
    gaps: list[int] = field(name="_gaps", default_factory=list)
    heals: bool = field(name="_heals", default=False)


def last_received(e: LinkEvent) -> datetime:
    """Return when the last bytes before a Disconnected were received."""
    # A time that no datetime can hold would be Ringledger's fault; the event's own time is late, but close.
    received = datetime.fromtimestamp(e.heard, UTC) if e.heard is not None and 0 < e.heard < 1e11 else e.at
    return min(received, e.at)
