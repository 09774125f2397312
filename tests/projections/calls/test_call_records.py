"""Call records and statistics of real recordings equal what Asterisk itself wrote."""

import csv
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from projections.calls.call_records import CALL_RECORDS, endpoint_of, member_of
from projections.calls.statistics import STATISTICS
from services.database.connection import connect
from tests.captures import truth, wire
from tests.support.call_records import CALL_EVENTS, CAPTURES
from tests.support.story import append, event, events_of, fold_log

COLUMNS = (
    "account_code",
    "source",
    "destination",
    "destination_context",
    "caller_id",
    "channel",
    "destination_channel",
    "last_application",
    "last_data",
    "start_time",
    "answer_time",
    "end_time",
    "duration",
    "billable_seconds",
    "disposition",
    "ama_flags",
    "unique_id",
    "user_field",
)


def csv_row(row: asyncpg.Record) -> tuple[str, ...]:
    values = (row[column] for column in COLUMNS)
    return tuple(
        f"{v.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(v, datetime) else "" if v is None else str(v)
        for v in values
    )


def master(name: str) -> list[tuple[str, ...]]:
    return [tuple(line) for line in csv.reader(truth(name, "Master.csv").splitlines())]


async def test_a_whole_recording_folds_without_unfit_events(url: str) -> None:
    await append(url, events_of(wire("rich22")))
    tables = await fold_log(url, (CALL_RECORDS, STATISTICS))
    assert len(tables["call_records"]) == 663
    connection = await connect(url, search_path="model, ledger")
    assert await connection.fetchval("SELECT count(*) FROM ledger.unfit") == 0
    await connection.close()


@pytest.mark.parametrize(("name", "records", "after"), CAPTURES)
async def test_records_equal_master_csv(url: str, name: str, records: int, after: int) -> None:
    await append(url, events_of(wire(name), *CALL_EVENTS))
    tables = await fold_log(url, (CALL_RECORDS,))
    rows = Counter(csv_row(row) for row in tables["call_records"])
    asterisk = Counter(master(name))
    assert rows.total() == records
    assert not rows - asterisk
    # The records that only Master.csv has were posted after the recorder stopped: they are the end of the file.
    assert asterisk - rows == Counter(master(name)[-after:])


@pytest.mark.parametrize(("name", "records", "after"), CAPTURES)
async def test_each_leg_of_queue_calls_has_its_agent(url: str, name: str, records: int, after: int) -> None:
    await append(url, events_of(wire(name), *CALL_EVENTS))
    rows = (await fold_log(url, (CALL_RECORDS,)))["call_records"]
    assert len(rows) == records
    connected = Counter((r["queue"], r["agent_name"]) for r in rows if r["agent"] and r["disposition"] == "ANSWERED")
    queue_log = [line.split("|") for line in truth(name, "queue_log").splitlines()]
    assert connected == Counter((line[2], line[3]) for line in queue_log if line[4] == "CONNECT")
    rung = Counter(r["agent"] for r in rows if r["agent"])
    assert rung.total() == 34
    assert "Local/1001@agents" in rung
    assert after


@pytest.mark.parametrize(("name", "records", "after"), CAPTURES)
async def test_statistics_equal_sums_over_master_csv(url: str, name: str, records: int, after: int) -> None:
    await append(url, events_of(wire(name), *CALL_EVENTS))
    tables = await fold_log(url, (CALL_RECORDS, STATISTICS))
    rows = Counter(csv_row(row) for row in tables["call_records"])
    lines = [dict(zip(COLUMNS, row, strict=True)) for row in (Counter(master(name)) & rows).elements()]
    assert len(lines) == records
    expected = sums(lines)
    got = {(r["period"], r["scope"], r["name"]): dict(r) for r in tables["statistics"] if r["calls"]}
    assert got.keys() == expected.keys()
    for key, values in expected.items():
        assert {column: got[key][column] for column in values} == values, key
    assert after


def sums(lines: list[dict[str, str]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Sum up Master.csv in another way than the model does."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for line in lines:
        scopes = [("pbx", "pbx")]
        if line["last_application"] == "Queue":
            scopes.append(("queue", line["last_data"].split(",")[0]))
            if line["destination_channel"]:
                scopes.append(("agent", line["destination_channel"].rsplit("-", 1)[0]))
        ends = {line[c].rsplit("-", 1)[0] for c in ("channel", "destination_channel") if line[c]}
        scopes += [("endpoint", end) for end in ends if not end.startswith("Local")]
        for length in (10, 7):
            for scope in scopes:
                groups.setdefault((line["start_time"][:length], *scope), []).append(line)
    return {key: summed(group) for key, group in groups.items()}


def summed(lines: list[dict[str, str]]) -> dict[str, Any]:
    def seconds(later: str, earlier: str) -> int:
        return int((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds())

    counts = Counter(line["disposition"] for line in lines)
    hours = Counter(int(line["start_time"][11:13]) for line in lines)
    talk = [int(line["billable_seconds"]) for line in lines]
    return {
        "calls": len(lines),
        "answered": counts["ANSWERED"],
        "no_answer": counts["NO ANSWER"],
        "busy": counts["BUSY"],
        "failed": counts["FAILED"],
        "congestion": counts["CONGESTION"],
        "talk_seconds": sum(talk),
        "longest_seconds": max(talk),
        "ring_seconds": sum(seconds(x["answer_time"] or x["end_time"], x["start_time"]) for x in lines),
        "by_hour": [hours[hour] for hour in range(24)],
    }


@pytest.mark.parametrize("name", ["rich22", "rich16"])
async def test_queue_counts_equal_queue_log(url: str, name: str) -> None:
    await append(url, events_of(wire(name), *CALL_EVENTS))
    rows = (await fold_log(url, (STATISTICS,)))["statistics"]
    queue_log = [line.split("|") for line in truth(name, "queue_log").splitlines()]
    for queue in ("sales", "support", "billing"):
        counts = Counter(line[4] for line in queue_log if line[2] == queue)
        got = next(r for r in rows if r["scope"] == "queue" and r["name"] == queue and len(r["period"]) == 10)
        assert got["entered"] == counts["ENTERQUEUE"]
        assert got["connected"] == counts["CONNECT"]
        left = counts["ABANDON"] + counts["EXITWITHTIMEOUT"] + counts["EXITEMPTY"] + counts["WITHDRAW"]
        # One caller waited until after the recorder stopped.
        assert got["abandoned"] in {left, left - 1}


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_cuts_make_the_same_tables(url: str, seed: int) -> None:
    events = events_of(wire("rich22"), *CALL_EVENTS)
    await append(url, events)
    models = (CALL_RECORDS, STATISTICS)
    once = await fold_log(url, models)
    connection = await connect(url, search_path="model, ledger")
    for model in models:
        await connection.execute(f"DROP TABLE {model.name}")
    await connection.execute("DELETE FROM ledger.checkpoint")
    await connection.close()
    assert await fold_log(url, models, random.Random(seed)) == once


CALL: dict[str, object] = {
    "StartTime": "2026-11-22 10:00:00",
    "EndTime": "2026-11-22 10:00:30",
    "Duration": 30,
    "UniqueID": "1795341600.1",
    "Timestamp": "1795341630.5",
    "Disposition": "NO ANSWER",
    "Channel": "PJSIP/200-00000001",
}


async def test_two_equal_records_are_two_rows(url: str) -> None:
    await append(url, [event("Cdr", CALL)] * 2)
    assert len((await fold_log(url, (CALL_RECORDS,)))["call_records"]) == 2


async def test_a_member_behind_a_trunk_is_the_agent(url: str) -> None:
    leg = {"DestinationChannel": "PJSIP/trunk-0000002f", "LastApplication": "Queue", "LastData": "sales,tT,,,25"}
    called = {
        "Timestamp": "1795341601",
        "Queue": "sales",
        "Uniqueid": "1795341600.1",
        "DestChannel": "PJSIP/trunk-0000002f",
        "Interface": "PJSIP/5551@trunk",
        "MemberName": "Home Harry",
    }
    await append(
        url,
        [
            event("AgentCalled", called),
            event("Cdr", CALL | leg),
            event("Cdr", CALL | {"Channel": "PJSIP/trunk-00000030"}),
        ],
    )
    tables = await fold_log(url, (CALL_RECORDS, STATISTICS), random.Random(1))
    got = [(r["agent"], r["agent_name"]) for r in sorted(tables["call_records"], key=lambda r: r["position"])]
    assert got == [("PJSIP/5551@trunk", "Home Harry"), (None, None)]
    agents = {(r["name"], r["label"]) for r in tables["statistics"] if r["scope"] == "agent"}
    assert agents == {("PJSIP/5551@trunk", "Home Harry")}


async def test_a_record_with_an_unreadable_time_is_rejected(url: str) -> None:
    await append(url, [event("Cdr", CALL | {"StartTime": "yesterday"}), event("Cdr", CALL)])
    tables = await fold_log(url, (CALL_RECORDS, STATISTICS))
    assert [r["position"] for r in tables["call_records"]] == [2]
    connection = await connect(url, search_path="model, ledger")
    unfit = await connection.fetch("SELECT model, position FROM ledger.unfit ORDER BY model")
    await connection.close()
    assert [tuple(r) for r in unfit] == [("call_records", 1), ("statistics", 1)]


async def test_periods_are_utc_days_of_the_start(url: str) -> None:
    late = {"StartTime": "2026-12-01 00:59:50", "EndTime": "2026-12-01 01:00:20", "UniqueID": "1796083190.7"}
    await append(url, [event("Cdr", CALL | late | {"Timestamp": "1796083220.1"})])
    tables = await fold_log(url, (CALL_RECORDS, STATISTICS))
    assert tables["call_records"][0]["utc_offset"] == 3600
    assert tables["call_records"][0]["start_time"] == datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)
    assert {r["period"] for r in tables["statistics"]} == {"2026-11-30", "2026-11"}
    assert tables["statistics"][0]["by_hour"] == [0] * 23 + [1]


@pytest.mark.parametrize(
    ("channel", "endpoint"),
    [
        ("PJSIP/100-0000001a", "PJSIP/100"),
        ("PJSIP/my-desk-phone-0000001a", "PJSIP/my-desk-phone"),
        ("Local/115@internal-0000001b;1", "Local/115@internal"),
        ("SIP/trunk-0000001a<ZOMBIE>", "SIP/trunk"),
        ("DAHDI/i1/5551234-2f", "DAHDI/i1/5551234"),
        ("Message/ast_msg_queue", "Message/ast_msg_queue"),
        ("", None),
    ],
)
def test_a_channel_belongs_to_an_endpoint(channel: str, endpoint: str | None) -> None:
    assert endpoint_of(channel) == endpoint


def test_only_local_members_lose_their_options() -> None:
    assert member_of("Local/1001@agents/n") == "Local/1001@agents"
    assert member_of("Local/1001@agents") == "Local/1001@agents"
    assert member_of("PJSIP/100") == "PJSIP/100"
    assert member_of("PJSIP/5551@trunk/n") == "PJSIP/5551@trunk/n"
