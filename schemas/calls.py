"""The object that `/v1/calls` serves: one call as the people in it lived it. Times are UTC, durations seconds."""

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

State = Literal["dialling", "ringing", "waiting", "talking", "held", "parked", "pbx", "ended"]
Outcome = Literal[
    "answered",
    "busy",
    "no_answer",
    "cancelled",
    "congestion",
    "failed",
    "abandoned",
    "timeout",
    "pbx_only",
    "unknown",
]
Source = Literal["ami", "cel", "cdr", "queue_log"]
Direction = Literal["internal", "inbound", "outbound", "transit"]
RingOutcome = Literal[
    "answered",
    "busy",
    "no_answer",
    "cancelled",
    "elsewhere",
    "picked_up",
    "forwarded",
    "congestion",
    "unavailable",
    "refused",
]
QueueOutcome = Literal[
    "answered",
    "abandoned",
    "timeout",
    "exit_key",
    "left_empty",
    "join_empty",
    "full",
    "closed",
    "withdrawn",
    "unknown",
]


class Party(Struct):
    """A person's channel, never a half of a Local channel; an unknown number or name is null."""

    channel: str
    unique_id: str
    endpoint: str
    number: str | None
    name: str | None


class Caller(Party):
    """The caller; ``number`` and ``name`` are as last set before the first dial, ``*_at_start`` as at Newchannel."""

    number_at_start: str | None
    name_at_start: str | None


class Dialled(Struct):
    """The first extension that the caller asked for and that can be dialled."""

    number: str | None
    context: str | None


class Destination(Struct):
    """The person who answered; else the one rung last; else only the dialled number."""

    channel: str | None = None
    unique_id: str | None = None
    endpoint: str | None = None
    number: str | None = None
    name: str | None = None


class Hangup(Struct):
    """The end of a call; ``cause`` is the ISDN (Q.850) cause."""

    at: datetime
    by: Literal["caller", "callee", "pbx"] | None
    party: Party | None
    cause: int | None
    cause_text: str | None


class CallParty(Party):
    """A person of the call; ``answered`` is True for one who spoke with somebody."""

    role: Literal["caller", "callee", "agent"]
    answered: bool
    joined_at: datetime
    left_at: datetime | None
    talk_seconds: float


class Ring(Struct):
    """One attempt to reach a person; ``from`` is null for a call that the PBX began."""

    from_: Party | None = field(name="from")
    to: Party
    dialled: str | None
    queue: str | None
    started_at: datetime
    ringing_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    outcome: RingOutcome | None


class Conversation(Struct):
    """The same persons talking; ``conference`` is the name of a ConfBridge."""

    parties: list[Party]
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    conference: str | None


class Transfer(Struct):
    """A transfer; ``to`` are the phones that ring for the transferee."""

    kind: Literal["blind", "attended", "blonde"]
    at: datetime
    by: Party
    transferee: Party | None
    to: list[Party]
    number: str | None
    context: str | None
    outcome: Literal["answered", "busy", "no_answer", "cancelled", "failed"] | None


class Pickup(Struct):
    """A call that ``by`` took; ``of`` is the phone that had rung."""

    at: datetime
    by: Party
    of: Party


class Forward(Struct):
    """A phone that gave another number instead of ringing."""

    at: datetime
    by: Party
    to: str


class Agent(Struct):
    """A queue's member."""

    name: str
    interface: str | None


class Passage(Struct):
    """A caller's way through one queue; waits and talks are Asterisk's own seconds where it counts them."""

    queue: str
    party: Party | None
    entered_at: datetime
    position: int | None
    left_at: datetime | None
    wait_seconds: float | None
    answered_at: datetime | None
    talk_seconds: float | None
    outcome: QueueOutcome | None
    agent: Agent | None
    ended_by: Literal["caller", "agent", "transfer"] | None
    key: str | None
    ring_no_answers: int


class Hold(Struct):
    """A time for which ``by`` held the other side."""

    by: Party
    from_: datetime = field(name="from")
    until: datetime | None


class Park(Struct):
    """A stay in a parking lot; ``by`` is the parker's dial string."""

    party: Party
    by: str | None
    lot: str
    space: str
    from_: datetime = field(name="from")
    until: datetime | None
    outcome: Literal["retrieved", "timeout", "gave_up"] | None
    retrieved_by: Party | None


class Conference(Struct):
    """A stay in a ConfBridge."""

    name: str
    party: Party
    from_: datetime = field(name="from")
    until: datetime | None


class Voicemail(Struct):
    """A caller who was sent to a mailbox."""

    mailbox: str
    party: Party
    at: datetime


class Recording(Struct):
    """A recording by MixMonitor; ``path`` is null where the class dialplan is missing."""

    path: str | None
    party: Party
    started_at: datetime
    ended_at: datetime | None


class Quality(Struct):
    """The worst values in the RTCP reports of a channel."""

    mos: float | None
    loss_percent: float | None
    jitter_ms: float | None
    rtt_ms: float | None


class CallLeg(Struct):
    """One channel of the call."""

    unique_id: str
    channel: str
    linkedids: list[str]
    local: bool
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    cause: int | None
    cause_text: str | None
    quality: Quality | None


class CallGap(Struct):
    """A time whose events of the call are not in the log; ``complete`` is False then.

    ``joined``: the call was up before its first event. ``disconnected``: there was no link to the PBX, by Ringledger's
    clock. ``lost``: the call was missing in a complete list, so its end lies between its last event and the list.
    ``from`` may be unknown: None. ``until`` is so while the gap lasts.
    """

    reason: Literal["joined", "disconnected", "lost"]
    from_: datetime | None = field(name="from")
    until: datetime | None


class Call(Struct):
    """One call; ``linkedid`` is the oldest one, ``aliases`` are all others that became part of it."""

    linkedid: str
    aliases: list[str]
    pbx: str
    state: State
    complete: bool
    sources: list[Source]
    direction: Direction | None
    originated: bool
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    talk_seconds: float
    account_code: str | None
    user_field: str | None
    outcome: Outcome | None
    hangup: Hangup | None
    caller: Caller | None
    dialled: Dialled
    answered_by: Party | None
    destination: Destination
    parties: list[CallParty]
    rings: list[Ring]
    conversations: list[Conversation]
    transfers: list[Transfer]
    pickups: list[Pickup]
    forwards: list[Forward]
    queues: list[Passage]
    holds: list[Hold]
    parks: list[Park]
    conferences: list[Conference]
    voicemails: list[Voicemail]
    recordings: list[Recording]
    legs: list[CallLeg]
    gaps: list[CallGap]
