"""Registrations of the PBX at others: what `sip show registry`, `iax2 show registry`, `pjsip show registrations` show.

Registry, the live event, names an account by user and host only: it speaks of all rows of that group.
"""

import re

from msgspec.structs import replace

from projections.kit import Key, Model, On, OnGroup, Row
from schemas.ami.pjsip import OutboundRegistration
from schemas.ami.sip import Registry, RegistryEntry

URI = re.compile(r"sips?:(?:(?P<user>[^@;>]*)@)?(?P<host>\[[^]]*\]|[^:;?>]*)(?::(?P<port>\d+))?")


class RegistryRow(Row):
    """One account, ``username@domain:port``. ``state`` is Asterisk's word, ``refresh`` seconds.

    ``registration_time`` is seconds since the epoch, 0 while unknown.
    """

    username: str
    host: str
    account: str
    channel_type: str = ""
    state: str = ""
    domain: str = ""
    domain_port: int = 0
    port: int = 0
    refresh: int = 0
    registration_time: int = 0


def split_uri(uri: str) -> tuple[str, str, int]:
    """Return user, host and port (5060 if none is written) of a SIP URI."""
    match = URI.match(uri)
    return (match["user"] or "", match["host"], int(match["port"] or 5060)) if match else ("", uri, 0)


def split_host(host: str, port: int) -> tuple[str, int]:
    """Return host and port; chan_iax2 writes both into one."""
    name, colon, digits = host.rpartition(":")
    return (name, int(digits)) if colon and digits.isdecimal() else (host, port)


def entry_key(e: RegistryEntry) -> Key | None:
    host, port = split_host(e.host, e.port)
    return (e.username, host, f"{e.username}@{e.domain or host}:{e.domain_port or port}") if e.host else None


def outbound_key(e: OutboundRegistration) -> Key:
    _, host, port = split_uri(e.server_uri)
    user, _, _ = split_uri(e.client_uri)
    return (user, host, f"{user}@{host}:{port}")


def group_of(e: Registry) -> Key:
    if e.channel_type == "PJSIP":
        return (split_uri(e.username)[0], split_uri(e.domain)[1])
    return (e.username, split_host(e.domain, 0)[0])


def listed(row: RegistryRow | None, e: RegistryEntry) -> RegistryRow:
    host, port = split_host(e.host, e.port)
    username, host_key, account = entry_key(e) or ("", "", "")
    return replace(
        row or RegistryRow(pbx=e.pbx, tm_update=e.at, username=username, host=host_key, account=account),
        channel_type="SIP" if e.domain else "IAX2",
        state=e.state,
        domain=e.domain or host,
        domain_port=e.domain_port or port,
        port=port,
        refresh=e.refresh,
        registration_time=e.registration_time,
    )


def outbound_listed(row: RegistryRow | None, e: OutboundRegistration) -> RegistryRow:
    username, host, account = outbound_key(e)
    _, _, port = split_uri(e.server_uri)
    return replace(
        row or RegistryRow(pbx=e.pbx, tm_update=e.at, username=username, host=host, account=account),
        channel_type="PJSIP",
        state=e.status,
        domain=host,
        domain_port=port,
        port=port,
        refresh=e.expiration,
    )


def changed(rows: dict[Key, RegistryRow], e: Registry) -> dict[Key, RegistryRow]:
    """Follow accounts that a list named; the event lacks the port, so it cannot name one itself."""
    port = split_uri(e.domain)[2] if e.channel_type == "PJSIP" else None
    return {
        key: replace(row, state=e.status) if row.channel_type == e.channel_type and port in {None, row.port} else row
        for key, row in rows.items()
    }


REGISTRIES = Model(
    name="registries",
    version=1,
    row=RegistryRow,
    key=("username", "host", "account"),
    grouped_by=2,
    on={
        "RegistryEntry": On(RegistryEntry, entry_key, listed),
        "OutboundRegistrationDetail": On(OutboundRegistration, outbound_key, outbound_listed),
        "Registry": OnGroup(Registry, group_of, changed),
    },
    lists={
        "SIPshowregistry": lambda row: row.channel_type == "SIP",
        "IAXregistry": lambda row: row.channel_type == "IAX2",
        "PJSIPShowRegistrationsOutbound": lambda row: row.channel_type == "PJSIP",
    },
)
