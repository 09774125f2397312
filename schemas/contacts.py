"""Events about contacts: the endpoints at which a user is reached. Their pbx is empty, as that of users' events."""

from typing import Literal

from schemas.ami import OwnEvent
from schemas.facts import Fact

Kind = Literal["pjsip_endpoint", "sip_peer"]
"""The kind of a contact's target: an endpoint of res_pjsip, or a peer of chan_sip; ``type`` in requests."""


class ContactCreated(Fact, frozen=True):
    """A contact; ``target`` is the endpoint's or peer's name at the PBX ``at_pbx`` (empty: at any PBX that has it)."""

    uuid: str
    user_uuid: str
    kind: Kind
    target: str
    at_pbx: str = ""
    name: str = ""
    detail: str = ""


class ContactChanged(Fact, frozen=True):
    """A change of a contact; None leaves a member unchanged."""

    uuid: str
    user_uuid: str | None = None
    kind: Kind | None = None
    target: str | None = None
    at_pbx: str | None = None
    name: str | None = None
    detail: str | None = None


class ContactDeleted(Fact, frozen=True):
    """The deletion of a contact (the deletion of its user deletes it too)."""

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
