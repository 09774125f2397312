"""Events of runs: a channel in ``AGI(agi:async,<uuid of a master>)`` executes the master's commands.

They are in the log under their PBX. Each command is in the log before it is sent.
"""

from typing import Literal

from msgspec import Struct

from schemas.ami import OwnEvent
from schemas.log import RingledgerEvent

How = Literal["finished", "hangup", "error", "unknown master", "interrupted"]
"""How a run ended.

- `finished`: all commands are done.
- `hangup`: the channel hung up.
- `error`: a command failed.
- `unknown master`: the master does not exist.
- `interrupted`: the channel left AGI (Redirect), or the outcome of a command is unknown (see
  ``services/commander/async_agi``).
"""


class AgiStep(Struct, frozen=True):
    """One command at the start of the run, with members of `schemas.adps.AdpCreated`."""

    uuid: str
    sequence: int
    name: str
    command: str


class AgiRunStarted(RingledgerEvent, frozen=True):
    """The start of a run; ``start`` is the position of its AsyncAGIStart.

    ``steps`` are the commands of the run; later changes of the master do not affect them. ``known`` is False where the
    master does not exist.
    """

    id: str
    channel: str
    unique_id: str
    master: str
    start: int
    known: bool = True
    steps: tuple[AgiStep, ...] = ()


class AgiStepSent(RingledgerEvent, frozen=True):
    """From here on Asterisk may have started the command; ``step`` counts from 1."""

    id: str
    step: int
    command: str


class AgiStepDone(RingledgerEvent, frozen=True):
    """The success of a command; ``result`` is Asterisk's reply, like ``200 result=1``."""

    id: str
    step: int
    result: str


class AgiStepFailed(RingledgerEvent, frozen=True):
    """The refusal or failure of a command; ``message`` is Asterisk's reply."""

    id: str
    step: int
    message: str


class AgiBreakSent(RingledgerEvent, frozen=True):
    """``ASYNCAGI BREAK`` is sent, so that the channel continues in the dialplan, for ``how`` and ``message``."""

    id: str
    how: How
    message: str = ""


class AgiRunEnded(RingledgerEvent, frozen=True):
    """The end of a run; it sends no more commands."""

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
