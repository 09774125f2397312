"""The address of a request's client, also behind proxies that the settings trust."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web

from api.app_keys import SETTINGS
from schemas.settings import Address, Network

CLIENT = web.RequestKey("client", str)


def client_of(request: web.Request) -> str:
    """Return the client as limits count it: an IPv4 address, or the /64 network of an IPv6 address.

    X-Forwarded-For is read from right to left while the address before it is a trusted proxy's. It is ignored where
    the connection itself comes from another address.
    """
    client = request.get(CLIENT)
    if client is None:
        trusted = request.app[SETTINGS].trusted_proxies
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        client = request[CLIENT] = limit_key(forwarded_for(request.remote or "", forwarded, trusted))
    return client


def forwarded_for(peer: str, header: str, trusted: Sequence[Network]) -> str:
    """Return the first address from the right that is no trusted proxy's, or the last one that can be read."""
    client = peer
    for hop in reversed([hop.strip() for hop in header.split(",") if hop.strip()]):
        if not is_trusted(client, trusted) or parse(hop) is None:
            break
        client = hop
    return client


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Return whether the address is a trusted proxy's."""
    parsed = parse(address)
    return parsed is not None and any(parsed in network for network in trusted)


def limit_key(address: str) -> str:
    """Return what an address counts as: itself, or its /64 network, which one IPv6 subscriber has alone."""
    parsed = parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def parse(text: str) -> Address | None:
    """Return the address in ``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]:80`` or ``fe80::1%eth0``, None for others.

    An IPv4 address that a dual-stack socket shows as IPv6 (``::ffff:1.2.3.4``) is an IPv4 address.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
