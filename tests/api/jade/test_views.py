"""Every view of what a PBX has, as the contract documents it, item by item over two recorded PBXes.

Their refusals are in tests/contract/jade, as those of all rows.
"""

from typing import Any
from urllib.parse import quote

import pytest

from tests.contract import misfits, operations
from tests.contract.jade.documented import shape
from tests.contract.jade.reads import FOUND_BY
from tests.support.api_client import Client, RecordedApi
from tests.support.jade_views import LISTS, READING, TICKING

DETAILS = [o.id for o in READING if o.id.endswith(".get")]


def misfit(operation: str, body: Any) -> list[str]:
    return misfits(body, *shape(operation))


def still(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in TICKING}


async def listed(client: Client, operation: str, **query: str) -> list[dict[str, Any]]:
    reply = await client.get(operations()[operation].paths[0], params=query)
    assert reply.status == 200
    items: list[dict[str, Any]] = (await reply.json())["result"]["list"]
    return items


@pytest.fixture
async def client(recorded: RecordedApi) -> Client:
    return recorded.client


def test_the_operations_are_those_of_the_issue() -> None:
    assert len(READING) == 34
    assert {o.rpartition(".")[0] for o in LISTS} == set(FOUND_BY) == {o.rpartition(".")[0] for o in DETAILS}


@pytest.mark.parametrize("operation", LISTS)
async def test_a_list_is_as_documented_in_every_form(client: Client, operation: str) -> None:
    for path in operations()[operation].paths:
        reply = await client.get(path)
        assert reply.status == 200, path
        assert reply.content_type == "application/json"
        body = await reply.json()
        assert misfit(operation, body) == [], path
        assert body["result"]["list"], f"{path}: the recordings hold none, nothing is shown"


@pytest.mark.parametrize("operation", DETAILS)
async def test_a_detail_is_as_documented_in_every_form(client: Client, operation: str) -> None:
    family = operation.rpartition(".")[0]
    items = await listed(client, f"{family}.list")
    assert items
    for path in operations()[operation].paths:
        for item in items[:20]:
            body, one = await detail(client, path, family, item)
            assert misfit(operation, body) == [], path
            same = still(item)
            assert {k: v for k, v in one.items() if k in same} == same


async def detail(client: Client, path: str, family: str, item: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    member = FOUND_BY[family]
    query = {"pbx": item["pbx"]}
    if family == "jade.queue.members":
        query["queue_name"] = item["queue_name"]
    if "{detail}" in path:
        path = path.replace("{detail}", quote(item[member], safe=""))
        reply = await client.get(path + "?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in query.items()))
    else:
        reply = await client.request("GET", path, params=query, json={member: item[member]})
    assert reply.status == 200, path
    body = await reply.json()
    return body, body["result"]


@pytest.mark.parametrize("operation", LISTS)
async def test_a_list_can_be_narrowed_to_one_pbx(client: Client, operation: str) -> None:
    both, one = await listed(client, operation), await listed(client, operation, pbx="rich16")
    assert [still(i) for i in both if i["pbx"] == "rich16"] == [still(i) for i in one]
    assert await listed(client, operation, pbx="no such") == []


async def test_an_unknown_path_is_404_in_the_envelope(client: Client) -> None:
    reply = await client.get("/v1/admin/nothing")
    assert reply.status == 404
    assert (await reply.json())["statuscode"] == 404
    assert await (await client.get("/api/nothing")).json() == {"status": "empty-data"}
