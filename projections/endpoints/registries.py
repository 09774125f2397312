"""Registrations of the PBX at others: what `sip show registry`, `iax2 show registry`, `pjsip show registrations` show.

chan_sip's Registry, the live event, names an account by user and host only: one of the rows of that group.
"""

import re

from msgspec.structs import replace

from projections.engine.model import GroupHandler, Handler, Key, ReadModel, Row
from schemas.ami.pjsip import OutboundRegistration
from schemas.ami.sip import Registry, RegistryEntry

HOST = re.compile(r"(?P<host>.+):(?P<port>\d{1,5})")
URI = re.compile(r"sips?:(?:(?P<user>[^@;>]*)@)?(?P<host>\[[^]]*\]|[^:;?>]*)(?::(?P<port>\d{1,5})(?!\d))?")


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


def split_host(host: str) -> tuple[str, int]:
    """Return host and port, which chan_iax2 writes into one value."""
    match = HOST.fullmatch(host)
    return (match["host"], int(match["port"])) if match else (host, 0)


def host_and_port(e: RegistryEntry) -> tuple[str, int]:
    return (e.host, e.port) if e.domain else split_host(e.host)


def account_of(e: RegistryEntry) -> str:
    """Return the account; chan_sip shows the host where an account has no domain, with a port that is not used."""
    host, port = host_and_port(e)
    return f"{e.username}@{e.domain or host}:{port if e.domain in {'', e.host} else e.domain_port}"


def entry_key(e: RegistryEntry) -> Key | None:
    return (e.username, host_and_port(e)[0], account_of(e)) if e.host else None


def outbound_key(e: OutboundRegistration) -> Key:
    _, host, port = split_uri(e.server_uri)
    user, _, _ = split_uri(e.client_uri)
    return (user, host, f"{user}@{host}:{port}")


def with_name(e: Registry) -> tuple[str, str, int]:
    """Return user, host and port; the port is 0 from chan_sip, whose event lacks it."""
    if e.channel_type == "PJSIP":
        return (split_uri(e.username)[0], *split_uri(e.domain)[1:])
    return (e.username, *split_host(e.domain)) if e.channel_type == "IAX2" else (e.username, e.domain, 0)


def group_of(e: Registry) -> Key | None:
    return with_name(e)[:2] if e.domain else None


def apply_list_item(row: RegistryRow | None, e: RegistryEntry) -> RegistryRow:
    host, port = host_and_port(e)
    return replace(
        row or RegistryRow(pbx=e.pbx, tm_update=e.at, username=e.username, host=host, account=account_of(e)),
        channel_type="SIP" if e.domain else "IAX2",
        state=e.state,
        domain=e.domain or host,
        domain_port=e.domain_port or port,
        port=port,
        refresh=e.refresh,
        registration_time=e.registration_time,
    )


def apply_outbound(row: RegistryRow | None, e: OutboundRegistration) -> RegistryRow:
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


def change(rows: dict[Key, RegistryRow], e: Registry) -> dict[Key, RegistryRow]:
    """Change the account's state. Without a port in the event, it must be the only account of that user and host."""
    username, host, port = with_name(e)
    if port:
        account = f"{username}@{host}:{port}"
        key: Key = (username, host, account)
        new = RegistryRow(
            e.pbx, e.at, username, host, account, e.channel_type, domain=host, domain_port=port, port=port
        )
        return {**rows, key: replace(rows.get(key, new), state=e.status)}
    same = [key for key, row in rows.items() if row.channel_type == e.channel_type]
    return {**rows, same[0]: replace(rows[same[0]], state=e.status)} if len(same) == 1 else rows


REGISTRIES = ReadModel(
    name="registries",
    version=1,
    row=RegistryRow,
    key=("username", "host", "account"),
    grouped_by=2,
    on={
        "RegistryEntry": Handler(RegistryEntry, entry_key, apply_list_item),
        "OutboundRegistrationDetail": Handler(OutboundRegistration, outbound_key, apply_outbound),
        "Registry": GroupHandler(Registry, group_of, change),
    },
    lists={
        "SIPshowregistry": lambda row: row.channel_type == "SIP",
        "IAXregistry": lambda row: row.channel_type == "IAX2",
        "PJSIPShowRegistrationsOutbound": lambda row: row.channel_type == "PJSIP",
    },
)
