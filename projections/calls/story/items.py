"""The items of a call's working state: its channels, rings, talks, and whatever else happened to its people.

All of it is JSON, so a restart continues where the last batch ended. Channels are named by unique id.
"""

from datetime import datetime

from msgspec import Struct, field

from projections.calls.story.log_passage import LogPassage

PERSON, LOCAL, TOOL = 0, 1, 2
TOOLS = ("Message/", "CBAnn/", "CBRec/", "Announcer/", "Recorder/", "Snoop/", "AsyncGoto/", "Surrogate/")
"""Channels that Asterisk makes for itself."""


def kind_of(channel: str) -> int:
    """Return whether the channel is a person's, a half of a Local channel, or a tool of Asterisk's own."""
    return LOCAL if channel.startswith("Local/") else TOOL if channel.startswith(TOOLS) else PERSON


class Leg(Struct, omit_defaults=True):
    """One channel. ``dialler`` is the channel that dialled it, ``source`` the person behind that one.

    ``hung_up_at`` is the start of its extension h, which may run on for long before ``ended_at``.

    ``other`` is the other half of a Local channel. ``bridge`` is the bridge that it is in. ``agent`` is set for the
    channel on which an agent is logged in. ``is_stale`` is set while the channel has not been shown since the link
    was lost. ``dialstatus`` is DIALSTATUS at the hangup, which only CEL shows.
    """

    unique_id: str
    channel: str
    started_at: datetime
    linkedids: list[str]
    kind: int = PERSON
    number: str = ""
    name: str = ""
    first_number: str = ""
    first_name: str = ""
    number_at_start: str = ""
    name_at_start: str = ""
    is_fixed: bool = False
    exten: str = ""
    context: str = ""
    account_code: str = ""
    is_dialled: bool = False
    is_originated: bool = False
    dialler: str = ""
    source: str = ""
    queue: str = ""
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    requested_at: datetime | None = None
    hung_up_at: datetime | None = None
    ended_at: datetime | None = None
    cause: int | None = None
    cause_text: str = ""
    has_dialplan: bool = False
    is_leaving: bool = False
    app_queue: str = ""
    app_data: str = ""
    other: str = ""
    bridge: str = ""
    is_holding: bool = False
    conference: str = ""
    agent: str = ""
    file: str = ""
    is_stale: bool = False
    dialstatus: str = ""
    quality: list[float | None] = field(default_factory=list)


class Ring(Struct, omit_defaults=True):
    """One attempt to reach the person ``to``; ``source`` is the person behind ``dialler``, empty for none."""

    to: str
    started_at: datetime
    dialler: str = ""
    source: str = ""
    dialled: str = ""
    queue: str = ""
    ringing_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str = ""


class Talk(Struct, omit_defaults=True):
    """The persons of one component of the bridge graph, from the event that made it to the one that changed it."""

    persons: list[str]
    started_at: datetime
    ended_at: datetime | None = None
    conference: str = ""


class Transfer(Struct, omit_defaults=True):
    """A transfer; ``to`` are the phones that rang for ``transferee`` afterwards."""

    kind: str
    at: datetime
    by: str
    transferee: str = ""
    to: list[str] = field(default_factory=list)
    number: str = ""
    context: str = ""


class Pickup(Struct):
    """A call that ``by`` took from the phone ``of``."""

    at: datetime
    by: str
    of: str


class Forward(Struct):
    """A phone ``by`` that gave the number ``to``."""

    at: datetime
    by: str
    to: str


class Passage(Struct, omit_defaults=True):
    """A way of ``party`` through a queue, in which ``channel`` waits; ``gave_up`` is QueueCallerAbandon.

    ``log`` is the passage of queue_log from which this one was made.
    ``exten`` is the caller's place in the dialplan; one who ``is_redirected`` was given another one while he
    waited. ``arguments`` are those of Queue, which only CEL shows.
    """

    queue: str
    party: str
    channel: str
    entered_at: datetime
    position: int | None = None
    left_at: datetime | None = None
    wait: float | None = None
    answered_at: datetime | None = None
    completed_at: datetime | None = None
    talk: float | None = None
    outcome: str = ""
    gave_up: bool = False
    exten: str = ""
    is_redirected: bool = False
    arguments: str = ""
    member: str = ""
    interface: str = ""
    agent: str = ""
    ended_by: str = ""
    key: str = ""
    ring_no_answers: int = 0
    log: LogPassage | None = None


class Offer(Struct, omit_defaults=True):
    """One ring of a queue's member for a caller; ``channel`` is what the queue dialled, ``wrapup`` is in seconds.

    ``call_id`` is that of a line of queue_log without an answer.
    """

    queue: str
    member: str
    interface: str
    channel: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str = ""
    wrapup: float = 0.0
    call_id: str = ""


class Hold(Struct, omit_defaults=True):
    """A time for which ``by`` held the other side."""

    by: str
    started_at: datetime
    ended_at: datetime | None = None


class Park(Struct, omit_defaults=True):
    """A stay in a parking lot."""

    party: str
    started_at: datetime
    by: str = ""
    lot: str = ""
    space: str = ""
    ended_at: datetime | None = None
    outcome: str = ""
    retrieved_by: str = ""


class Conference(Struct, omit_defaults=True):
    """A stay in a ConfBridge; ``channel`` is the one in the bridge, ``party`` the person behind it."""

    name: str
    channel: str
    party: str
    started_at: datetime
    ended_at: datetime | None = None


class Voicemail(Struct):
    """A caller who was sent to a mailbox."""

    mailbox: str
    party: str
    at: datetime


class Recording(Struct, omit_defaults=True):
    """A recording of the channel ``leg``; ``party`` is the person behind it."""

    leg: str
    started_at: datetime
    path: str = ""
    ended_at: datetime | None = None
    party: str = ""


class Gap(Struct, omit_defaults=True):
    """A time whose events of the call are missing; see `schemas.calls.CallGap`."""

    reason: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Guest(Struct, omit_defaults=True):
    """A person of another call who talks with persons of this one: a logged-in agent, or a conference's member."""

    channel: str
    number: str = ""
    name: str = ""
    is_agent: bool = False
