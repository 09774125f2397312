"""HTTP itself: bodies as curl sends them, methods, health, and no needless information."""

import asyncio
import contextlib
import io
import json
from typing import Any

import pytest

from api.app_keys import CHECKPOINTS
from projections import ALL
from services.runtime.tasks import cancel_and_wait
from tests.support.api_client import Client, RecordedApi, Serve, serve_as_admin
from tests.support.ledger import Ledger


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


async def curl(client: Client, path: str, body: str) -> tuple[int, Any]:
    """Send the bytes of ``curl -X GET PATH -d BODY`` (7.88), the form of the examples in the seed."""
    assert client.port
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 192.168.200.10:8081\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
        f"Authorization: {client.session.headers['Authorization']}\r\nConnection: close\r\n"
        f"Content-Length: {len(body.encode())}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}".encode()
    )
    head, _, text = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(text)


@pytest.mark.parametrize(
    ("path", "member"),
    [("/agents", "id"), ("/device_states", "device"), ("/peers", "peer"), ("/registries", "account")],
)
async def test_a_key_in_a_curl_body_is_read(client: Client, path: str, member: str) -> None:
    status, body = await curl(client, path, "")
    assert status == 200
    key = body["result"]["list"][0][member]
    status, body = await curl(client, path + "/", json.dumps({member: key}))
    assert (status, body["result"][member]) == (200, key)
    by_query = await client.get(path + "/", params={member: key})
    assert (await by_query.json())["result"] == body["result"]


@pytest.mark.parametrize("body", ["", "{", "[]", "1", "{}", '{"id": 1}', '{"id": null}', "id=1001", '{"id": "\udcff"}'])
async def test_a_body_without_the_key_is_400(client: Client, body: str) -> None:
    reply = await client.request("GET", "/agents/", data=body.encode("utf-8", "surrogateescape"))
    assert reply.status == 400
    assert (await reply.json())["statuscode"] == 400


async def test_a_peer_needs_no_technology_in_its_key(client: Client) -> None:
    replies = [await curl(client, "/peers/", json.dumps({"peer": name})) for name in ("PJSIP/100", "100")]
    assert [body["result"]["peer"] for _, body in replies] == ["PJSIP/100"] * 2


async def test_a_registry_needs_no_port_in_its_key(client: Client) -> None:
    _, body = await curl(client, "/registries", "")
    account = body["result"]["list"][0]["account"]
    name, _, port = account.rpartition(":")
    assert port.isdigit()
    for key in (account, name):
        status, body = await curl(client, "/registries/", json.dumps({"account": key}))
        assert (status, body["result"]["account"]) == (200, account)


async def test_a_queue_member_needs_its_queue(client: Client) -> None:
    path = "/v1/admin/queue/members"
    member = (await (await client.get(path)).json())["result"]["list"][0]
    for name in (member["name"].replace("/", "%2F"), "%00"):
        assert (await client.get(f"{path}/{name}")).status == 400
    reply = await client.get(path, params={"queue_name": member["queue_name"]})
    assert {m["queue_name"] for m in (await reply.json())["result"]["list"]} == {member["queue_name"]}


async def test_passwords_are_served_masked(client: Client) -> None:
    auths = (await (await client.get("/v1/admin/pjsip/auths")).json())["result"]["list"]
    assert {a["password"] for a in auths} == {"********"}
    assert {a["md5_cred"] for a in auths} <= {"", "********"}


async def test_head_and_options_are_supported(client: Client) -> None:
    reply = await client.head("/v1/admin/core/channels")
    assert (reply.status, await reply.read()) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 100
    reply = await client.options("/v1/admin/core/channels")
    assert reply.status == 204
    assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "Access-Control-Allow-Origin" not in reply.headers


async def test_responses_do_not_name_the_server_version(client: Client) -> None:
    for path in ("/healthz", "/v1/admin/core/channels", "/nothing"):
        assert "Server" not in (await client.get(path)).headers


async def test_a_body_too_large_is_413(client: Client) -> None:
    reply = await client.request("GET", "/agents/", data=io.BytesIO(b" " * (2 << 20)))
    assert reply.status == 413
    assert (await reply.json())["statuscode"] == 413


async def test_a_final_slash_is_not_found(client: Client) -> None:
    assert (await client.get("/v1/admin/core/channels/")).status == 404


async def test_health_is_public_and_readiness_names_models(client: Client) -> None:
    assert (await client.get("/healthz", headers={"Authorization": ""})).status == 200
    await client.app[CHECKPOINTS].refresh()
    reply = await client.get("/readyz", headers={"Authorization": ""})
    body = await reply.json()
    assert (reply.status, body["reasons"]) == (200, [])
    assert set(body["models"]) == {model.name for model in ALL}
    # Their state depends on the age of the recording; test_refused.py checks it.
    assert {pbx: link["healed"] for pbx, link in body["links"].items()} == {"rich16": True, "rich22": True}


async def test_a_stopped_model_is_not_ready(serve: Serve, ledger: Ledger) -> None:
    client = await serve()
    assert (await client.get("/readyz")).status == 200
    await ledger.connection.execute("UPDATE checkpoint SET error = 'position 1 (X): why' WHERE model = 'queues'")
    await client.app[CHECKPOINTS].refresh()
    reply = await client.get("/readyz")
    body = await reply.json()
    assert (reply.status, body["reasons"]) == (503, ["read model queues has stopped"])
    assert body["models"]["queues"]["error"] == "position 1 (X): why"


async def test_an_internal_error_is_500_without_details(serve: Serve, ledger: Ledger) -> None:
    client = await serve_as_admin(serve)
    await ledger.connection.execute("ALTER TABLE modules RENAME COLUMN size TO sise")
    for path, body in (
        ("/v1/admin/core/modules", {"statuscode": 500, "message": "internal error"}),
        ("/api/usage/2026-11", {"status": "internal-error"}),
    ):
        if path.startswith("/api"):
            await ledger.connection.execute("ALTER TABLE statistics RENAME COLUMN calls TO kalls")
        reply = await client.get(path)
        assert reply.status == 500
        assert body.items() <= (await reply.json()).items()


async def test_a_task_is_cancelled_again_if_necessary() -> None:
    async def ignore_one_cancellation() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(ignore_one_cancellation())
    async with asyncio.timeout(300):
        await cancel_and_wait([task])
    assert task.cancelled()
