"""Events about async dialplans: masters (``adpma`` in paths) and their commands (``adp``). Their pbx is empty."""

from schemas.ami import OwnEvent
from schemas.facts import Fact


class AdpmaCreated(Fact, frozen=True):
    """A master: a list of commands under one uuid, which the PBX's dialplan names in ``AGI(agi:async,<uuid>)``."""

    uuid: str
    name: str
    detail: str | None = None


class AdpmaChanged(Fact, frozen=True):
    """The new members of a master."""

    uuid: str
    name: str
    detail: str | None = None


class AdpmaDeleted(Fact, frozen=True):
    """The deletion of a master and of all its commands."""

    uuid: str


class AdpCreated(Fact, frozen=True):
    """A command of a master; ``command`` is an AGI command in Asterisk's syntax, None for a step that sends nothing.

    ``sequence`` is the order in which the commands of a master are sent; it is unique in the master.
    """

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None = None
    command: str | None = None


class AdpChanged(Fact, frozen=True):
    """The new members of a command."""

    uuid: str
    dpma_uuid: str
    sequence: int
    name: str
    detail: str | None = None
    command: str | None = None


class AdpDeleted(Fact, frozen=True):
    """The deletion of a command."""

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
