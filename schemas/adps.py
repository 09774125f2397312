"""Events about async dialplans: masters (the wire says adpma) and their commands (adp). They are ours, pbx empty."""

from schemas.ami import OwnEvent
from schemas.facts import Fact


class AdpmaCreated(Fact, frozen=True):
    """A master: a list of commands under one uuid, which the PBX's dialplan names in ``AGI(agi:async,<uuid>)``."""

    uuid: str
    name: str
    detail: str | None = None


class AdpmaChanged(Fact, frozen=True):
    """What a master is from now on."""

    uuid: str
    name: str
    detail: str | None = None


class AdpmaDeleted(Fact, frozen=True):
    """A master's end, and that of all its commands."""

    uuid: str


class AdpCreated(Fact, frozen=True):
    """A command of a master: an AGI command as Asterisk reads it; without one nothing is sent for it.

    ``sequence`` says in which order the commands of a master are sent; no two of them have the same.
    """

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None = None
    command: str | None = None


class AdpChanged(Fact, frozen=True):
    """What a command is from now on."""

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None = None
    command: str | None = None


class AdpDeleted(Fact, frozen=True):
    """A command's end."""

    uuid: str


class AdpmaEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """AdpmaCreated, AdpmaChanged and AdpmaDeleted, as folds read them."""

    uuid: str
    name: str = ""
    detail: str | None = None


class AdpEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """AdpCreated, AdpChanged and AdpDeleted, as folds read them."""

    uuid: str
    dpma_uuid: str = ""
    sequence: int = 0
    name: str = ""
    detail: str | None = None
    command: str | None = None
