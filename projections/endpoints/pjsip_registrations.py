"""PJSIP outbound registrations: what `pjsip show registrations` shows.

Registry, the live event, names one by its URIs only: it speaks of all rows that have both.
"""

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.ami.pjsip import OutboundRegistration
from schemas.ami.sip import Registry


class Registration(Row):
    """One registration; ``status`` is Asterisk's word, intervals and ``expiration`` are seconds."""

    client_uri: str
    server_uri: str
    object_name: str
    object_type: str = "registration"
    status: str = ""
    max_retries: int = 0
    retry_interval: int = 0
    fatal_retry_interval: int = 0
    forbidden_retry_interval: int = 0
    auth_rejection_permanent: str = ""
    support_path: str = ""
    expiration: int = 0
    line: str = ""
    transport: str = ""
    contact_user: str = ""
    endpoint: str = ""
    outbound_auth: str = ""
    outbound_proxy: str = ""
    next_reg: int = 0


def by_name(e: OutboundRegistration) -> Key | None:
    return (e.client_uri, e.server_uri, e.object_name) if e.object_name else None


def by_uris(e: Registry) -> Key | None:
    return (e.username, e.domain) if e.channel_type == "PJSIP" else None


def apply_list_item(row: Registration | None, e: OutboundRegistration) -> Registration:
    new = Registration(e.pbx, e.at, e.client_uri, e.server_uri, e.object_name)
    return replace(
        row or new,
        object_type=e.object_type,
        status=e.status,
        max_retries=e.max_retries,
        retry_interval=e.retry_interval,
        fatal_retry_interval=e.fatal_retry_interval,
        forbidden_retry_interval=e.forbidden_retry_interval,
        auth_rejection_permanent=e.auth_rejection_permanent,
        support_path=e.support_path,
        expiration=e.expiration,
        line=e.line,
        transport=e.transport,
        contact_user=e.contact_user,
        endpoint=e.endpoint,
        outbound_auth=e.outbound_auth,
        outbound_proxy=e.outbound_proxy,
        next_reg=e.next_reg,
    )


def change(rows: dict[Key, Registration], e: Registry) -> dict[Key, Registration]:
    return {key: replace(row, status=e.status) for key, row in rows.items()}


PJSIP_REGISTRATIONS = ReadModel(
    name="pjsip_registrations",
    version=1,
    row=Registration,
    key=("client_uri", "server_uri", "object_name"),
    grouped_by=2,
    on={
        "OutboundRegistrationDetail": Handler(OutboundRegistration, by_name, apply_list_item),
        "Registry": GroupHandler(Registry, by_uris, change),
    },
    lists={"PJSIPShowRegistrationsOutbound": None},
)
