"""GET /v1/statistics/queues and /v1/statistics/agents over HTTP."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from projections.queues import figures
from projections.queues.agent_sessions import AGENT_SESSIONS
from projections.queues.figures import AgentRing, QueuePassage
from projections.queues.session_rows import AgentSession
from services.log.times import rfc3339_microseconds
from services.statistics import agents, queues
from tests.support.api_client import Client
from tests.support.call_tables import create_tables, put_rows
from tests.support.folding import FoldSpec, block
from tests.support.ledger import Ledger
from tests.support.queue_log_events import queue_log_event
from tests.support.users import error_message

DAY = datetime(2026, 11, 23, tzinfo=UTC)
OF_DAY = "from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z"


def passage(ordinal: int, hour: float, **columns: Any) -> QueuePassage:
    entered = DAY + timedelta(hours=hour)
    base: dict[str, Any] = {"pbx": "pbx", "linkedid": "1.1", "queue": "sales", "entered_at": entered}
    return QueuePassage(ordinal=ordinal, **base | columns)


async def put_passages(ledger: Ledger, *rows: QueuePassage) -> None:
    await create_tables(ledger.connection)
    await put_rows(ledger.connection, "queue_passages", list(rows))
    for name, unit in (("queue_hours", figures.HOUR), ("queue_quarters", figures.QUARTER)):
        sums: dict[Any, Any] = {}
        for row in rows:
            one = figures.queue_sum(row, unit)
            key = (one.pbx, one.queue, one.at)
            sums[key] = figures.add_queue(sums[key], one) if key in sums else one
        await put_rows(ledger.connection, name, list(sums.values()))


async def test_queues_by_day_and_hour(client: Client, ledger: Ledger) -> None:
    await put_passages(
        ledger,
        passage(0, 9.1, outcome="answered", wait_seconds=10.0, talk_seconds=60.5, is_transferred=True),
        passage(1, 9.9, outcome="answered", wait_seconds=30.0, talk_seconds=30.0, ring_no_answers=2),
        passage(2, 10.2, outcome="abandoned", wait_seconds=20.0),
        passage(3, 11.0, outcome="closed"),
        passage(4, 9.2, queue="support", outcome=None),
        passage(5, 9.3, pbx="other", outcome="full"),
    )
    body = await (await client.get(f"/v1/statistics/queues?{OF_DAY}&pbx=pbx")).json()
    rows = {row["name"]: row for row in body.pop("rows")}
    assert rows["sales"] == {
        "name": "sales",
        "pbx": "pbx",
        "at": "2026-11-23T00:00:00.000000Z",
        "received": 4,
        "answered": 2,
        "abandoned": 1,
        "timeout": 0,
        "exit_key": 0,
        "left_empty": 0,
        "join_empty": 0,
        "full": 0,
        "closed": 1,
        "withdrawn": 0,
        "unknown": 0,
        "waiting": 0,
        "in_sla": 1,
        "in_sla_percent": 50.0,
        "answered_percent": pytest.approx(200 / 3),
        "wait_avg_seconds": 20.0,
        "wait_max_seconds": 30.0,
        "talk_seconds": 90.5,
        "talk_avg_seconds": 45.25,
        "transferred": 1,
        "ring_no_answers": 2,
    }
    assert (rows["support"]["received"], rows["support"]["waiting"], rows["support"]["wait_avg_seconds"]) == (
        1,
        1,
        None,
    )
    assert [total["name"] for total in body.pop("totals")] == ["sales", "support"]
    assert body == {
        "from": "2026-11-23T00:00:00.000000Z",
        "to": "2026-11-24T00:00:00.000000Z",
        "every": "day",
        "timezone": "UTC",
        "sla_seconds": 20,
        "complete": True,
        "gaps": [],
    }
    hours = await (await client.get(f"/v1/statistics/queues?{OF_DAY}&every=hour&name=sales&sla=30")).json()
    items = [(row["pbx"], row["at"][11:13], row["in_sla"], row["received"]) for row in hours["rows"]]
    assert items == [("other", "09", 0, 1), ("pbx", "09", 2, 2), ("pbx", "10", 0, 1), ("pbx", "11", 0, 1)]
    (total,) = hours["totals"]
    assert (total["name"], total["received"], total["full"], "pbx" in total) == ("sales", 5, 1, False)


async def test_totals_over_no_rows_are_zeros_and_nulls(client: Client, ledger: Ledger) -> None:
    await create_tables(ledger.connection)
    for kind in ("queues", "agents"):
        body = await (await client.get(f"/v1/statistics/{kind}?name=none")).json()
        assert body["rows"] == []
        (total,) = body["totals"]
        assert total.pop("name") == "none"
        assert {value for value in total.values() if not isinstance(value, dict)} == {0, None}
        assert await (await client.get(f"/v1/statistics/{kind}")).json() == body | {"totals": []}


async def test_agents_with_logins_and_pauses(client: Client, ledger: Ledger) -> None:
    await create_tables(ledger.connection)
    ring = AgentRing(
        pbx="pbx",
        linkedid="1.1",
        ordinal=0,
        queue="sales",
        agent="Alice",
        at=DAY + timedelta(hours=9),
        outcome="answered",
        talk_seconds=900.0,
        wrapup_seconds=0.0,
    )
    await put_rows(ledger.connection, "agent_rings", [ring])
    for name, unit in (("agent_hours", figures.HOUR), ("agent_quarters", figures.QUARTER)):
        await put_rows(ledger.connection, name, [figures.agent_sum(ring, unit)])
    spans = (("login", 8, 10, ""), ("login", 9, 11, ""), ("pause", 9.5, 10.5, "lunch"))
    rows = [
        AgentSession(
            "pbx", DAY, "Alice", kind, number, DAY + timedelta(hours=since), DAY + timedelta(hours=until), "q", reason
        )
        for number, (kind, since, until, reason) in enumerate(spans)
    ]
    await put_rows(ledger.connection, "agent_sessions", rows)
    body = await (await client.get(f"/v1/statistics/agents?{OF_DAY}")).json()
    (day,) = body["rows"]
    assert day == {
        "name": "Alice",
        "pbx": "pbx",
        "at": "2026-11-23T00:00:00.000000Z",
        "offered": 1,
        "answered": 1,
        "ring_no_answers": 0,
        "transferred": 0,
        "talk_seconds": 900.0,
        "login_seconds": 10800.0,
        "pause_seconds": 3600.0,
        "wrapup_seconds": 0.0,
        "hold_seconds": 0.0,
        "pauses": {"lunch": 3600.0},
        "occupancy_percent": 12.5,
    }
    text = await (await client.get(f"/v1/statistics/agents?{OF_DAY}&every=hour&format=csv")).text()
    head, *lines = csv.reader(io.StringIO(text))
    assert tuple(head) == ("pbx", "name", "at", *agents.FIGURES)
    pauses = [line[head.index("pauses")] for line in lines]
    assert (len(lines), pauses) == (3, ["{}", '{"lunch":1800.0}', '{"lunch":1800.0}'])


async def test_sessions_of_two_sources_count_once(client: Client, ledger: Ledger) -> None:
    """AMI has the member from 9:00 to 11:00, queue_log from 8:00 to 10:00; the pause is in both."""
    start = DAY.timestamp()
    facts = {"Queue": "sales", "MemberName": "Alice", "Interface": "PJSIP/100", "Membership": "dynamic"}
    ami = [
        block("QueueMemberAdded", start + 9 * 3600, **facts, Paused=0),
        block("QueueMemberPause", start + 9.5 * 3600, **facts, Paused=1, PausedReason="lunch"),
        block("QueueMemberPause", start + 9.75 * 3600, **facts, Paused=0),
        block("QueueMemberRemoved", start + 11 * 3600, **facts, Paused=0),
    ]
    lines = [(8, "ADDMEMBER|"), (9.5, "PAUSE|lunch"), (9.75, "UNPAUSE|"), (10, "REMOVEMEMBER|")]
    log = [queue_log_event(f"{start + hour * 3600:.0f}|NONE|sales|Alice|{line}") for hour, line in lines]
    rows = FoldSpec(AGENT_SESSIONS).when(*ami, *log).then().values()
    assert len(rows) == 4
    await create_tables(ledger.connection)
    await put_rows(ledger.connection, "agent_sessions", list(rows))
    (day,) = (await (await client.get(f"/v1/statistics/agents?{OF_DAY}")).json())["rows"]
    assert (day["login_seconds"], day["pause_seconds"], day["pauses"]) == (10800.0, 900.0, {"lunch": 900.0})


async def test_csv_has_a_header_and_no_totals(client: Client, ledger: Ledger) -> None:
    await put_passages(ledger, passage(0, 9, outcome="answered", wait_seconds=1.0), passage(1, 10, outcome="full"))
    for query, accept in (("&format=csv", ""), ("", "text/csv")):
        headers = {"Accept": accept} if accept else {}
        reply = await client.get(f"/v1/statistics/queues?{OF_DAY}{query}", headers=headers)
        assert reply.content_type == "text/csv"
        (line,) = csv.DictReader(io.StringIO(await reply.text()))
        assert tuple(line) == ("pbx", "name", "at", *queues.FIGURES)
        assert (line["received"], line["full"], line["wait_avg_seconds"], line["talk_avg_seconds"]) == (
            "2",
            "1",
            "1.0",
            "0.0",
        )


async def test_csv_byte_for_byte(client: Client, ledger: Ledger) -> None:
    await put_passages(
        ledger,
        passage(0, 9.1, outcome="answered", wait_seconds=10.0, talk_seconds=60.5, is_transferred=True),
        passage(1, 9.9, outcome="answered", wait_seconds=30.0, talk_seconds=30.0, ring_no_answers=2),
        passage(2, 10.2, outcome="abandoned", wait_seconds=20.0),
        passage(3, 11.0, queue='a,"b"', outcome="closed"),
    )
    reply = await client.get(f"/v1/statistics/queues?{OF_DAY}&format=csv")
    assert await reply.read() == (
        b"pbx,name,at,received,answered,abandoned,timeout,exit_key,left_empty,join_empty,full,closed,withdrawn,unknown,"
        b"waiting,in_sla,in_sla_percent,answered_percent,wait_avg_seconds,wait_max_seconds,talk_seconds,"
        b"talk_avg_seconds,transferred,ring_no_answers\r\n"
        b'pbx,"a,""b""",2026-11-23T00:00:00.000000Z,1,0,0,0,0,0,0,0,1,0,0,0,0,,,,,0.0,,0,0\r\n'
        b"pbx,sales,2026-11-23T00:00:00.000000Z,3,2,1,0,0,0,0,0,0,0,0,0,1,50.0,66.666667,20.0,30.0,90.5,45.25,1,2\r\n"
    )
    spans = [("login", 0.0, 10.0, ""), ("pause", 1.0, 2.0, 'lunch, "long"')]
    rows = [
        AgentSession("pbx", DAY, "Alice", kind, n, DAY + timedelta(hours=a), DAY + timedelta(hours=b), "q", reason)
        for n, (kind, a, b, reason) in enumerate(spans)
    ]
    await put_rows(ledger.connection, "agent_sessions", rows)
    reply = await client.get(f"/v1/statistics/agents?{OF_DAY}&format=csv")
    assert await reply.read() == (
        b"pbx,name,at,offered,answered,ring_no_answers,transferred,talk_seconds,login_seconds,pause_seconds,"
        b"wrapup_seconds,hold_seconds,pauses,occupancy_percent\r\n"
        b"pbx,Alice,2026-11-23T00:00:00.000000Z,0,0,0,0,0.0,36000.0,3600.0,0.0,0.0,"
        b'"{""lunch, \\""long\\"""":3600.0}",0.0\r\n'
    )


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        *(("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25), ("Asia/Kolkata", "2026-03-29", 24)),
        *(("Australia/Lord_Howe", "2026-04-05", 24.5), ("Australia/Lord_Howe", "2026-10-04", 23.5)),
    ],
)
async def test_a_day_of_a_zone_counts_its_passages(
    client: Client, ledger: Ledger, zone: str, day: str, hours: float
) -> None:
    """A passage in each quarter of the day, and one just before and after it."""
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = begin + timedelta(hours=hours)
    quarter, moment = timedelta(minutes=15), timedelta(microseconds=1)
    times = [begin - moment, *(begin + quarter * n for n in range(int(hours * 4))), end - moment, end]
    await put_passages(ledger, *(passage(n, 0, entered_at=at, outcome="full") for n, at in enumerate(times)))

    async def rows(every: str, since: datetime, until: datetime) -> list[tuple[str, int]]:
        span = "&".join(f"{n}={t.isoformat().replace('+00:00', 'Z')}" for n, t in (("from", since), ("to", until)))
        reply = await client.get(f"/v1/statistics/queues?{span}&every={every}&timezone={zone}")
        return [(row["at"], row["received"]) for row in (await reply.json())["rows"]]

    start = rfc3339_microseconds(begin)
    assert await rows("day", begin, end) == [(start, int(hours * 4) + 1)]
    around = await rows("day", begin - quarter, end + quarter)
    assert [count for _, count in around] == [1, int(hours * 4) + 1, 1]
    assert around[1][0] == start
    assert around[2][0] == rfc3339_microseconds(end)
    assert sum(count for _, count in await rows("hour", begin, end)) == int(hours * 4) + 1
    for every in ("week", "month"):
        whole = await rows(every, begin - timedelta(days=40), end + timedelta(days=40))
        assert sum(count for _, count in whole) == len(times), (every, whole)


async def test_the_default_is_the_time_zones_current_day(client: Client, ledger: Ledger) -> None:
    await create_tables(ledger.connection)
    body = await (await client.get("/v1/statistics/queues?timezone=Asia/Kathmandu")).json()
    since = datetime.fromisoformat(body["from"])
    assert (since.hour, since.minute, since <= datetime.now(UTC)) == (18, 15, True)
    assert datetime.fromisoformat(body["to"]) - since == timedelta(days=1)


@pytest.mark.parametrize(
    "query",
    [
        *("names=sales", "every=year", "timezone=Berlin/Europe", "timezone=../etc/passwd", "timezone=%00", "timezone="),
        *("sla=-1", "sla=1.5", "sla=x", "from=2026-11-23", "to=now", "format=ndjson", "wait=x", "name=a%00"),
        *("pbx=a&pbx=b", "every=day&every=day", "wait=0&wait=0"),
        *("from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z", "from=0001-01-01T00:00:00Z", "to=9999-12-31T23:00:00Z"),
        "from=1970-01-01T00:00:00Z&every=hour",
    ],
)
async def test_bad_parameters_are_refused(client: Client, ledger: Ledger, query: str) -> None:
    await create_tables(ledger.connection)
    assert await error_message(await client.get(f"/v1/statistics/queues?{query}"), 400)
    if query.startswith("sla"):
        assert await error_message(await client.get("/v1/statistics/agents?sla=20"), 400)
