"""The client's address: from the connection, or from X-Forwarded-For of a trusted proxy."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request

from api.app_keys import SETTINGS
from api.http.connections.client_address import client_of, forwarded_for
from schemas.settings import Settings
from tests.support.api_client import application

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.9, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1:4711", "192.0.2.1:4711"),
        ("::ffff:127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:1::7", "[2001:db8:2::1]:80", "[2001:db8:2::1]:80"),
        ("127.0.0.1", "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", " , ", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, evil, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.7", "198.51.100.9", "192.0.2.7"),
        ("192.0.2.7", "127.0.0.1", "192.0.2.7"),
        ("", "198.51.100.9", ""),
    ],
)
def test_the_first_untrusted_address_is_the_client(peer: str, header: str, client: str) -> None:
    assert forwarded_for(peer, header, TRUSTED) == client


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"),
        ("[2001:db8:2:3::9]:80", "2001:db8:2:3::/64"),
    ],
)
def test_a_client_has_no_port_and_one_prefix(address: str, client: str) -> None:
    app = application()
    app[SETTINGS] = Settings(trusted_proxies=(ip_network("127.0.0.1"),))
    request = make_mocked_request("GET", "/", {"X-Forwarded-For": address}, app=app).clone(remote="127.0.0.1")
    assert client_of(request) == client


def test_a_header_is_ignored_without_trusted_proxies() -> None:
    request = make_mocked_request("GET", "/", {"X-Forwarded-For": "192.0.2.1"}, app=application())
    assert client_of(request.clone(remote="127.0.0.1")) == "127.0.0.1"
