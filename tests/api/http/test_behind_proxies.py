"""Requests as proxies forward them: %2F decoded, tags marked with a coding, weak or in lists."""

import asyncio
import re
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from api.app_keys import CHECKPOINTS
from tests.support.api_client import Client, RecordedApi, application

CHANNELS = "/v1/admin/core/channels"


async def route_of(app: web.Application, method: str, path: str) -> tuple[str, dict[str, str], int]:
    """Return the template of a path's route, its parts, and 200, 404 or 405."""
    match = await app.router.resolve(make_mocked_request(method, path))
    if match.http_exception is not None:
        return "", {}, match.http_exception.status
    resource = match.route.resource
    assert resource is not None
    return resource.canonical, dict(match), 200


async def test_names_with_slashes_route_like_encoded_ones() -> None:
    app = application()
    details = [r for r in app.router.resources() if r.canonical.endswith(("/{detail}", "/{host}"))]
    with_name = [r for r in details if "/me/" not in r.canonical]
    assert len({r.canonical for r in with_name}) >= 60
    for resource in with_name:
        method = next(iter(resource)).method
        for name in ("PJSIP/108", "a/b/c", "/a", "a//b", "a%252Fb", "a;b", "a%0Ab", "PJSIP%2f108"):
            path, plain = (
                re.sub(r"\{\w+\}", name, resource.canonical),
                name.replace("%0A", "\n").replace("%252F", "%2F"),
            )
            expected = plain.replace("%2f", "/")
            assert await route_of(app, method, path) == (
                resource.canonical,
                {next(iter(_parts(resource))): expected},
                200,
            )


def _parts(resource: web.AbstractResource) -> list[str]:
    return re.findall(r"\{(\w+)\}", resource.canonical)


async def test_every_documented_path_has_its_own_route() -> None:
    """A detail that spans slashes does not match a longer path."""
    app = application()
    documented: dict[str, set[str]] = {}
    for resource in app.router.resources():
        documented.setdefault(resource.canonical, set()).update(route.method for route in resource)
    for template, methods in documented.items():
        path = re.sub(r"\{\w+\}", "x", template)
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
            canonical, _, status = await route_of(app, method, path)
            assert (canonical, status) == ((template, 200) if method in methods else ("", 405)), path


@pytest.mark.parametrize(
    "path", ["/v1/admin/queue/members", "/admin/pjsip/endpoints", "/v1/me/chats/x/y", "/v1/ledger/z"]
)
async def test_a_final_slash_is_404(path: str) -> None:
    assert await route_of(application(), "GET", path + "/") == ("", {}, 404)


@pytest.mark.parametrize(
    ("list_path", "member"), [("/v1/admin/queue/members", "name"), ("/v1/admin/pjsip/contacts", "id")]
)
async def test_a_decoded_path_serves_the_same_detail(recorded: RecordedApi, list_path: str, member: str) -> None:
    items = (await (await recorded.client.get(list_path)).json())["result"]["list"]
    name, queue = items[0][member], items[0].get("queue_name", "")
    name = next((item[member] for item in items if "/" in item[member]), name)
    replies = [
        await recorded.client.get(URL(f"{list_path}/{sent}?queue_name={queue}", encoded=True))
        for sent in (quote(name, safe=""), quote(name, safe="/;@:"))
    ]
    assert [reply.status for reply in replies] == [200, 200]
    first, second = [(await reply.json())["result"] for reply in replies]
    assert first[member] == second[member] == name


async def tag_of(client: Client) -> str:
    return (await client.get(CHANNELS)).headers["ETag"].removeprefix("W/").strip('"')


@pytest.mark.parametrize(
    "sent",
    [
        'W/"{}-gzip"',
        '"{}-gzip"',
        '"{}"-gzip',
        'W/"{}-br"',
        'W/"{}--gzip"',
        '"{}-zstd"',
        'W/"{}-x-gzip"',
        '"other", W/"{}-gzip"',
        'W/"{}" , "other-br"',
        "{}",
    ],
)
async def test_a_tag_marked_by_a_proxy_is_304(recorded: RecordedApi, sent: str) -> None:
    tag = await tag_of(recorded.client)
    reply = await recorded.client.get(CHANNELS, headers={"If-None-Match": sent.format(tag)})
    assert (reply.status, reply.headers["ETag"]) == (304, f'W/"{tag}"')


async def test_tags_on_several_lines_are_all_read(recorded: RecordedApi) -> None:
    tag = await tag_of(recorded.client)
    reply = await recorded.client.get(
        CHANNELS, headers=[("If-None-Match", '"other"'), ("If-None-Match", f'"{tag}-br"')]
    )
    assert reply.status == 304


async def test_another_tag_with_a_coding_is_200(recorded: RecordedApi) -> None:
    tag = await tag_of(recorded.client)
    for sent in (f'"{tag}-gz"', f'"1{tag}-gzip"', '"-gzip"', '""'):
        assert (await recorded.client.get(CHANNELS, headers={"If-None-Match": sent})).status == 200


@pytest.mark.parametrize("sent", ['W/"{}-gzip"', '"{}-br"', 'W/"{}"'])
async def test_a_long_poll_with_a_marked_tag_waits(
    recorded: RecordedApi, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    waits: list[tuple[str, float]] = []

    async def wait_changed(_models: object, tag: str, seconds: float) -> None:
        waits.append((tag, seconds))

    monkeypatch.setattr(recorded.client.app[CHECKPOINTS], "wait_changed", wait_changed)
    tag = await tag_of(recorded.client)
    reply = await recorded.client.get(CHANNELS, params={"wait": "60"}, headers={"If-None-Match": sent.format(tag)})
    assert (reply.status, waits) == (304, [(tag, 60.0)])


@pytest.mark.parametrize("target", ["http://pbx.example:8081{}", "{}"])
async def test_a_request_line_may_be_absolute(recorded: RecordedApi, target: str) -> None:
    """RFC 9112 3.2.2: servers accept it, and some proxies send it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", recorded.client.port)
    authorization = recorded.client.session.headers["Authorization"]
    writer.write(
        f"HEAD {target.format(CHANNELS)} HTTP/1.1\r\nHost: pbx.example:8081\r\nAuthorization: {authorization}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    status = int((await reader.read()).split()[1])
    writer.close()
    assert status == 200
