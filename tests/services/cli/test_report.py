"""`ringledger report queues|agents`, in a script."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from projections.queues import figures
from projections.queues.figures import QueuePassage
from projections.queues.session_rows import AgentSession
from services.database.connection import connect
from tests.support.call_tables import create_tables, put_rows
from tests.support.program import Cli

pytestmark = pytest.mark.usefixtures("model_tables")

DAY = datetime(2026, 11, 23, tzinfo=UTC)
OF_DAY = ("--from", "2026-11-23T00:00:00Z", "--to", "2026-11-24T00:00:00Z")


@pytest.fixture
async def cli(url: str) -> Cli:
    connection = await connect(url, search_path="model, ledger")
    await create_tables(connection)
    passage = QueuePassage(
        pbx="berlin",
        linkedid="1.1",
        ordinal=0,
        queue="sales",
        entered_at=DAY + timedelta(hours=9),
        outcome="answered",
        wait_seconds=5.0,
        talk_seconds=60.0,
    )
    await put_rows(connection, "queue_passages", [passage])
    await put_rows(connection, "queue_hours", [figures.queue_sum(passage, figures.HOUR)])
    hours = (DAY + timedelta(hours=8), DAY + timedelta(hours=10))
    await put_rows(connection, "agent_sessions", [AgentSession("berlin", DAY, "Alice", "login", 1, *hours)])
    await connection.close()
    return Cli(url)


async def test_queues_and_agents_are_lines_or_json(cli: Cli) -> None:
    head, line = (await cli.run("report", "queues", *OF_DAY, "--sla", "4")).out.splitlines()
    row = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (row["name"], row["at"], row["received"], row["in_sla"]) == ("sales", "2026-11-23T00:00:00Z", "1", "0")
    (row,) = json.loads((await cli.run("report", "agents", *OF_DAY, "--json", "--pbx", "berlin")).out)
    assert (row["name"], row["login_seconds"], row["pauses"]) == ("Alice", 7200.0, {})
    assert (await cli.run("report", "queues", *OF_DAY, "--name", "none")).out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--every", "year"), "--every: hour, day, week, month"),
        (("--timezone", "Berlin"), "'Berlin' is no time zone"),
        (("--from", "2026-11-24T00:00:00Z", "--to", "2026-11-23T00:00:00Z"), "--from must not be after --to"),
        (("--to", "today"), "'today' is not a time"),
    ],
)
async def test_bad_arguments_are_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    run = await cli.run("report", "queues", *arguments)
    assert (run.code, run.out) == (2, "")
    assert message in run.err
