"""The counts in a snapshot's responses."""

from msgspec import field

from schemas.ami import AmiEvent, Int


class SnapshotCount(AmiEvent, frozen=True, kw_only=True, gc=False):
    """CoreShowChannelsComplete, Response:CoreStatus, QueueParams, QueueMember, in responses to a snapshot.

    ``location`` is a queue member's interface and ``status`` the state of its device, as a number. ``minute`` is not in
    the event: see ``projections.calls.samples.with_snapshot_start``.
    """

    action_id: str = field(name="ActionID", default="")
    list_items: Int = field(name="ListItems", default=0)
    core_current_calls: Int | None = field(name="CoreCurrentCalls", default=None)
    calls: Int = field(name="Calls", default=0)
    location: str = field(name="Location", default="")
    status: Int = field(name="Status", default=0)
    minute: Int = field(name="_minute", default=0)
