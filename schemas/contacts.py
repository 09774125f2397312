"""Events about contacts: at which endpoint of which PBX a user is reached. They are ours, pbx empty, as users' are."""

from typing import Literal

from schemas.ami import OwnEvent
from schemas.facts import Fact

Kind = Literal["pjsip_endpoint", "sip_peer"]
"""What a contact's target is: an endpoint of res_pjsip, or a peer of chan_sip. The wire calls it ``type``."""


class ContactCreated(Fact, frozen=True):
    """A contact; ``target`` is the endpoint's or peer's name at the PBX ``at_pbx`` (empty: at whichever has it)."""

    uuid: str
    user_uuid: str
    kind: Kind
    target: str
    at_pbx: str = ""
    name: str = ""
    detail: str = ""


class ContactChanged(Fact, frozen=True):
    """What is new of a contact; None: as it was."""

    uuid: str
    user_uuid: str | None = None
    kind: Kind | None = None
    target: str | None = None
    at_pbx: str | None = None
    name: str | None = None
    detail: str | None = None


class ContactDeleted(Fact, frozen=True):
    """A contact's end (that of its user ends it too)."""

    uuid: str


class ContactEvent(OwnEvent, frozen=True, kw_only=True, gc=False):
    """All of these, as folds read them."""

    uuid: str
    user_uuid: str | None = None
    kind: str | None = None
    target: str | None = None
    at_pbx: str | None = None
    name: str | None = None
    detail: str | None = None
