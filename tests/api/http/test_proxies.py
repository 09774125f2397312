"""Clients behind Debian's nginx and Apache with the configuration in docs/operate/proxies.md."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from yarl import URL

from api.app_keys import CHECKPOINTS
from api.http.connections.connections import CONNECTIONS
from api.http.connections.site import GuardedSite
from services.accounts.throttle import FREE_FAILURES
from tests.support import proxies
from tests.support.api_client import PASSWORD, Client, Serve, basic, stop_throttle_clock
from tests.support.channels_view import get_at, newchannel
from tests.support.debian import unpack
from tests.support.ledger import Ledger
from tests.support.ports import free_port
from tests.support.queue_members import member_added
from tests.support.users import MANAGED

MEMBERS = "/v1/admin/queue/members"
CHANNELS = "/v1/admin/core/channels"
LOGIN = "/v1/admin/login"

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="the packages are Debian's")


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """The unpacked packages; pytest's own folder is closed to Apache's user."""
    with tempfile.TemporaryDirectory(prefix="ringledger-proxies-") as folder:
        Path(folder).chmod(0o755)
        yield unpack(Path(folder), *proxies.PACKAGES)


@pytest.fixture(params=["nginx", "apache"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Resolver(AbstractResolver):
    """A resolver that maps the proxy's name to this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        result: ResolveResult = {
            "hostname": host,
            "host": "127.0.0.1",
            "port": port,
            "family": family,
            "proto": 0,
            "flags": 0,
        }
        return [result]

    async def close(self) -> None:
        """Do nothing, because no resource is open."""


class Site:
    """A proxy and the API behind it; ``api`` bypasses the proxy."""

    def __init__(self, api: Client, folder: Path, port: int) -> None:
        self.api = api
        self.url = f"https://{proxies.NAME}:{port}"
        self._folder = folder

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.1", **headers: str) -> AsyncIterator[ClientSession]:
        """Open a client at an address; it sends Host as a browser does."""
        tls = proxies.client_tls(self._folder)
        connector = TCPConnector(ssl=tls, local_addr=(address, 0), resolver=Resolver())
        async with ClientSession(self.url, connector=connector, headers=headers) as session:
            yield session

    async def token(self) -> str:
        async with self.client() as client, client.post(LOGIN, headers=basic("admin", PASSWORD)) as reply:
            assert reply.status == 200, await reply.text()
            token: str = (await reply.json())["result"]["authtoken"]
            return token

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[ClientSession]:
        async with self.client(Authorization=f"Bearer {await self.token()}") as client:
            yield client


@asynccontextmanager
async def run_site(serve: Serve, root: Path, kind: str, example: str) -> AsyncIterator[Site]:
    api = await serve(trusted_proxies=(ip_network("127.0.0.1"),))
    stop_throttle_clock(api)
    assert isinstance(api.server, TestServer)
    assert api.server.runner is not None
    port = free_port()
    port_site = GuardedSite(api.server.runner, api.app[CONNECTIONS], "127.0.0.1", port)
    await port_site.start()
    with tempfile.TemporaryDirectory(prefix="ringledger-proxy-") as folder:
        async with proxies.run_proxy(root, Path(folder), kind, example, port) as https:
            site = Site(api, Path(folder), https)
            api.session.headers["Authorization"] = f"Bearer {await site.token()}"
            yield site


@pytest.fixture
async def site(serve: Serve, root: Path, kind: str) -> AsyncIterator[Site]:
    async with run_site(serve, root, kind, proxies.documented_example(kind)) as site:
        yield site


async def names_or_statuses(client: ClientSession, *names: str) -> list[Any]:
    """Return the name of each member, or the status of a failed request."""
    results = []
    for name in names:
        async with client.get(URL(f"{MEMBERS}/{name}?queue_name=sales", encoded=True)) as reply:
            results.append((await reply.json())["result"]["name"] if reply.status == 200 else reply.status)
    return results


ODD = ("PJSIP/108", "Local/1@a;b", "50%25 off", "a%2Fb", "ü ?#+&", "a//b")
ENCODED = ("PJSIP%2F108", "Local%2F1@a%3Bb", "50%2525%20off", "a%252Fb", "%C3%BC%20%3F%23+&", "a%2F%2Fb")


async def test_a_documented_proxy_forwards_every_name(site: Site, ledger: Ledger) -> None:
    position = await ledger.write(*(member_added("sales", name, f"Local/{n}") for n, name in enumerate(ODD)))
    await get_at(site.api, position, MEMBERS)
    async with site.admin() as client:
        assert await names_or_statuses(client, *ENCODED) == list(ODD)


async def test_a_decoding_proxy_forwards_names_with_slashes(
    serve: Serve, ledger: Ledger, root: Path, kind: str
) -> None:
    async with run_site(serve, root, kind, proxies.decoding_example(kind)) as site:
        position = await ledger.write(*(member_added("sales", name, f"Local/{n}") for n, name in enumerate(ODD)))
        await get_at(site.api, position, MEMBERS)
        async with site.admin() as client:
            assert (await names_or_statuses(client, *ENCODED))[:2] == list(ODD)[:2]


async def test_a_long_poll_through_a_compressing_proxy_waits(
    site: Site, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await get_at(site.api, await ledger.write(*(newchannel(f"{n}.1") for n in range(50))))
    async with site.admin() as client:
        first = await client.get(CHANNELS, headers={"Accept-Encoding": "gzip"})
        assert first.headers["Content-Encoding"] == "gzip"
        tag = first.headers["ETag"]
        again = await client.get(CHANNELS, headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
        assert again.status == 304
        waits, wait_changed = asyncio.Event(), site.api.app[CHECKPOINTS].wait_changed

        async def signal_and_wait(*args: Any) -> None:
            waits.set()
            await wait_changed(*args)

        monkeypatch.setattr(site.api.app[CHECKPOINTS], "wait_changed", signal_and_wait)
        poll = asyncio.create_task(client.get(f"{CHANNELS}?wait=60", headers={"If-None-Match": tag}))
        await waits.wait()
        await ledger.write(newchannel("99.1"))
        reply = await poll
        assert (reply.status, len((await reply.json())["result"]["list"])) == (200, 51)


async def test_a_proxy_forwards_head_and_get_bodies(site: Site, ledger: Ledger) -> None:
    await get_at(site.api, await ledger.write(newchannel("1.1")))
    async with site.admin() as client:
        head = await client.head(f"{CHANNELS}/1.1")
        assert (head.status, await head.read(), head.headers["X-Ledger-Complete"]) == (200, b"", "false")
        assert (await client.get("/agents/", data='{"id": "none"}')).status == 404
        assert (await client.get("/agents/", data="{}")).status == 400


async def test_failed_logins_count_per_client_address(site: Site) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1"}
    async with site.client("127.0.0.5") as guesser, site.client("127.0.0.6") as other:
        guesses = [
            await guesser.post(LOGIN, headers=basic("admin", "wrong") | forged) for _ in range(FREE_FAILURES + 1)
        ]
        assert [reply.status for reply in guesses] == [401] * FREE_FAILURES + [429]
        assert (await guesser.post(LOGIN, headers=basic("admin", PASSWORD))).status == 429
        assert (await other.post(LOGIN, headers=basic("admin", PASSWORD))).status == 200


async def test_only_own_pages_use_cookies_behind_proxies(site: Site) -> None:
    cookie = {"Cookie": f"authtoken={await site.token()}"}
    body = {"username": "ann", "password": PASSWORD, "permissions": []}
    async with site.client() as client:
        for origin, status in (
            ("https://evil.example", 403),
            (f"https://{proxies.NAME}", 403),
            (site.url.replace("https", "http"), 403),
            (site.url, 200),
        ):
            reply = await client.post(MANAGED, json=body, headers=cookie | {"Origin": origin})
            assert reply.status == status, (origin, await reply.text())


async def test_a_proxy_forwards_streams_without_delay(site: Site, ledger: Ledger) -> None:
    async with site.admin() as client, client.get("/v1/events") as stream:
        assert stream.content_type == "text/event-stream"
        async with client.ws_connect("/v1/ws?topic=/core") as socket:
            await ledger.write(newchannel("7.1"))
            assert "core.channel.create" in await socket.receive_json()
        while b"core.channel.create" not in await stream.content.readline():
            pass
