"""Events of runs: a channel in ``AGI(agi:async,<uuid of a master>)`` is driven through the master's commands.

They are ours and stand in the log under their PBX. Whatever is sent stands there before it is sent.
"""

from typing import Literal

from msgspec import Struct

from schemas.ami import OwnEvent
from schemas.log import RingledgerEvent

How = Literal["finished", "hangup", "error", "unknown master", "interrupted"]
"""How a run ended: all commands were done; the channel hung up; a command failed; there is no such master; something
else: the channel was taken out of AGI (Redirect), or nobody knows what became of a command (see services/async_agi)."""


class AgiStep(Struct, frozen=True):
    """One command as it was when the run began: what `schemas.adps.AdpCreated` says."""

    uuid: str
    sequence: int
    name: str
    command: str


class AgiRunStarted(RingledgerEvent, frozen=True):
    """A run begins; ``start`` is the position of the AsyncAGIStart that it answers.

    ``steps`` are the commands that it will send, whatever becomes of the master meanwhile. Not ``known``: there is no
    such master.
    """

    id: str
    channel: str
    unique_id: str
    master: str
    start: int
    known: bool = True
    steps: tuple[AgiStep, ...] = ()


class AgiStepSent(RingledgerEvent, frozen=True):
    """From here on Asterisk may have begun the command; ``step`` counts from 1."""

    id: str
    step: int
    command: str


class AgiStepDone(RingledgerEvent, frozen=True):
    """Asterisk did it; ``result`` is its own word, like ``200 result=1``."""

    id: str
    step: int
    result: str


class AgiStepFailed(RingledgerEvent, frozen=True):
    """Asterisk refused it, or it failed; ``message`` is Asterisk's own word."""

    id: str
    step: int
    message: str


class AgiBreakSent(RingledgerEvent, frozen=True):
    """``ASYNCAGI BREAK`` is sent, so that the channel goes on in the dialplan; ``how`` and ``message`` say why."""

    id: str
    how: How
    message: str = ""


class AgiRunEnded(RingledgerEvent, frozen=True):
    """Nothing more is sent."""

    id: str
    how: How
    message: str = ""


class AgiRunEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """All of these, as folds read them."""

    type: str
    id: str
    channel: str = ""
    unique_id: str = ""
    master: str = ""
    steps: tuple[AgiStep, ...] = ()
    step: int = 0
    result: str = ""
    how: str = ""
    message: str = ""
