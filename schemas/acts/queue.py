"""Acts on members of queues. ``interface``, which is ``location`` in views, identifies a member of a queue."""

from schemas.acts import Act


class QueueMemberAdd(Act, frozen=True, tag="queue.member.add", kw_only=True):
    """Add a member (AMI QueueAdd). Empty ``name`` and ``state_interface`` default to the interface."""

    queue: str
    interface: str
    name: str = ""
    penalty: int = 0
    paused: bool = False
    state_interface: str = ""


class QueueMemberChange(Act, frozen=True, tag="queue.member.change", kw_only=True):
    """Change the members that are not None (AMI QueuePenalty, QueueMemberRingInUse, QueuePause).

    ``reason`` is that of ``paused``.
    """

    queue: str
    interface: str
    paused: bool | None = None
    reason: str = ""
    penalty: int | None = None
    ring_inuse: bool | None = None


class QueueMemberRemove(Act, frozen=True, tag="queue.member.remove", kw_only=True):
    """Remove a member that was added at run time (AMI QueueRemove)."""

    queue: str
    interface: str
