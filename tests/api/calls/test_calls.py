"""GET /v1/calls and /v1/calls/{id}: filters, pages, ids, formats, refusals."""

from collections.abc import Iterable

import msgspec
import pytest

from projections.calls.call_rows import CallId, CallRow, CallTag
from tests.api.calls.rows import call
from tests.support.api_client import Client, bearer, log_in
from tests.support.call_tables import create_tables, put_rows
from tests.support.ledger import Ledger
from tests.support.users import create_user, error_message

LISTS = {
    *("parties", "rings", "conversations", "transfers", "pickups", "forwards", "queues", "holds", "parks"),
    *("conferences", "voicemails", "recordings", "legs", "gaps"),
}


def tags(row: CallRow, **values: Iterable[str]) -> list[CallTag]:
    return [
        CallTag(row.pbx, row.linkedid, kind, value, row.started_at, row.number)
        for kind, some in values.items()
        for value in some
    ]


async def put_calls(ledger: Ledger, *rows: CallRow, tagged: Iterable[CallTag] = ()) -> None:
    await create_tables(ledger.connection)
    await put_rows(ledger.connection, "calls", list(rows))
    ids = [CallId(row.pbx, id_, row.linkedid, row.number) for row in rows for id_ in (row.linkedid, f"{row.number}.2")]
    await put_rows(ledger.connection, "call_ids", ids)
    await put_rows(ledger.connection, "call_tags", list(tagged))


async def numbers(client: Client, query: str = "") -> list[int]:
    reply = await client.get(f"/v1/calls?{query}")
    assert reply.status == 200, await reply.text()
    return [int(one["linkedid"].split(".")[0]) for one in (await reply.json())["calls"]]


async def test_calls_come_newest_first_without_their_lists(client: Client, ledger: Ledger) -> None:
    await put_calls(ledger, *(call(n) for n in range(1, 6)))
    reply = await client.get("/v1/calls")
    body = await reply.json()
    assert body["next"] is None
    assert [one["linkedid"] for one in body["calls"]] == ["5.1", "4.1", "3.1", "2.1", "1.1"]
    assert not LISTS & body["calls"][0].keys()
    full = await (await client.get("/v1/calls?full=true")).json()
    assert full["calls"][0].keys() >= LISTS
    again = await client.get("/v1/calls", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status, reply.headers["X-Ledger-Position"].isdigit()) == (304, True)


async def test_each_filter_selects_its_calls(client: Client, ledger: Ledger) -> None:
    rows = [
        call(1, direction="inbound", outcome="abandoned", pbx="other"),
        call(2, outcome=None, state="talking", is_transferred=True),
        call(3, talk_seconds=700.0),
        call(4, talk_seconds=4000.0),
        call(5, is_told=False),
    ]
    tagged = [
        *tags(rows[0], number=["4930123456", "100"], endpoint=["PJSIP/trunk"], queue=["sales"], agent=["Alice"]),
        *tags(rows[1], number=["100"], endpoint=["PJSIP/100", "PJSIP/101"]),
        *tags(rows[2], number=["101"], queue=["sales"], agent=["Bob"]),
    ]
    await put_calls(ledger, *rows, tagged=tagged)
    for query, expected in {
        "": [4, 3, 2, 1],
        "pbx=other": [1],
        "pbx=none": [],
        "direction=inbound": [1],
        "outcome=abandoned": [1],
        "state=talking": [2],
        "transferred=true": [2],
        "transferred=false": [4, 3, 1],
        "min_talk=2": [4, 3, 2],
        "min_talk=2.5": [4, 3],
        "min_talk=60": [4, 3],
        "min_talk=700.5": [4],
        "min_talk=3600": [4],
        "number=100": [2, 1],
        "number=%2B49%2030123456": [1],
        "number=10": [],
        "endpoint=PJSIP/101": [2],
        "endpoint=PJSIP/10": [],
        "queue=sales": [3, 1],
        "queue=sales&agent=Bob": [3],
        "number=100&queue=sales&endpoint=PJSIP/trunk&agent=Alice&pbx=other": [1],
        "from=2026-11-23T14:00:01Z": [4, 3, 2],
        "to=2026-11-23T14:00:01Z": [1],
        "from=2026-11-23T14:00:01Z&to=2026-11-23T14:00:02Z": [3, 2],
        "number=100&to=2026-11-23T14:00:01Z": [1],
    }.items():
        assert await numbers(client, query) == expected, query


@pytest.mark.parametrize("query", ["", "queue=sales&", "pbx=pbx&direction=internal&"])
async def test_pages_lose_and_repeat_no_call(client: Client, ledger: Ledger, query: str) -> None:
    rows = [call(n) for n in range(1, 11)]
    await put_calls(ledger, *rows, tagged=[tag for row in rows for tag in tags(row, queue=["sales"])])
    ids, cursor, young = [], "", 100
    while True:
        body = await (await client.get(f"/v1/calls?{query}limit=3{cursor}")).json()
        ids += [one["linkedid"] for one in body["calls"]]
        if body["next"] is None:
            break
        cursor, young = f"&cursor={body['next']}", young + 1
        new = call(young)
        await put_calls(ledger, new, tagged=tags(new, queue=["sales"]))
    assert ids == [f"{n}.1" for n in range(10, 0, -1)]


async def test_each_id_of_a_call_finds_it(client: Client, ledger: Ledger) -> None:
    await put_calls(ledger, call(1, "a"), call(2, "b"))
    await put_rows(ledger.connection, "call_ids", [CallId("a", "same", "1.1", 1), CallId("b", "same", "2.1", 2)])
    for path, linkedid in {
        "1.1": "1.1",
        "1.2": "1.1",
        "same": "2.1",
        "same?pbx=a": "1.1",
        "same?pbx=b": "2.1",
    }.items():
        body = await (await client.get(f"/v1/calls/{path}")).json()
        assert body["linkedid"] == linkedid, path
        assert body.keys() >= LISTS
    for path in ("1.3", "1.1?pbx=b", "a%00b", "a/b"):
        assert await error_message(await client.get(f"/v1/calls/{path}"), 404)
    for query in ("pbx=a&pbx=b", "wait=0&wait=0", "full=true", "format=ndjson", "as_of=x"):
        assert await error_message(await client.get(f"/v1/calls/1.1?{query}"), 400), query


async def test_each_call_has_a_line(client: Client, ledger: Ledger) -> None:
    await put_calls(ledger, *(call(n) for n in range(1, 4)))
    for query, accept in (("format=ndjson&", ""), ("", "application/x-ndjson")):
        reply = await client.get(f"/v1/calls?{query}limit=2", headers={"Accept": accept} if accept else {})
        assert (reply.content_type, reply.headers["Vary"]) == ("application/x-ndjson", "Accept")
        *lines, last = [msgspec.json.decode(line) for line in (await reply.read()).splitlines()]
        assert [one["linkedid"] for one in lines] == ["3.1", "2.1"]
        assert await numbers(client, f"cursor={last['next']}") == [1]


@pytest.mark.parametrize(
    "query",
    [
        *("numbers=1", "limit=0", "limit=10001", "limit=x", "cursor=x", "cursor=MQ", "cursor=%00", "state=up"),
        *("direction=out", "outcome=ok", "transferred=yes", "full=1", "min_talk=-1", "min_talk=x", "min_talk=1e9"),
        *("from=today", "to=2026-11-23", "number=", "number=abc", "format=csv", "pbx=a&pbx=b", "queue=a%00b"),
        *("from=2026-11-23T14:00:01Z&to=2026-11-23T14:00:00Z", "wait=61", "wait=1&as_of=1", "as_of=x"),
        *("wait=0&wait=1", "as_of=1&as_of=1", "limit=1&limit=1", "format=json&format=ndjson", "to=now"),
    ],
)
async def test_bad_parameters_are_refused(client: Client, ledger: Ledger, query: str) -> None:
    await put_calls(ledger)
    assert await error_message(await client.get(f"/v1/calls?{query}"), 400)


async def test_supervisors_alone_read_calls_and_statistics(client: Client, ledger: Ledger) -> None:
    await put_calls(ledger, call(1))
    tokens = {"": 401}
    for name, permissions, status in (
        ("sue", ("supervisor",), 200),
        ("mary", ("manager", "user"), 403),
        ("jim", ("jeye", "user"), 403),
    ):
        await create_user(client, name, *permissions)
        tokens[await log_in(client, name, "admin" if status == 200 else "me")] = status
    for path in ("/v1/calls", "/v1/calls/1.1", "/v1/statistics/queues", "/v1/statistics/agents"):
        for token, status in tokens.items():
            headers = bearer(token) if token else {"Authorization": ""}
            assert (await client.get(path, headers=headers)).status == status, (path, status)
        assert (await client.post(path)).status == 405
    for token, status in tokens.items():
        headers = bearer(token) if token else {"Authorization": ""}
        async with client.get("/v1/events?topic=/calls", headers=headers) as stream:
            assert stream.status == status
