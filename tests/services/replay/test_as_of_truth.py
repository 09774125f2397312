"""As of the time of a list or a CLI command, the models have the rows that Asterisk printed."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from projections import ALL
from projections.calls.channels import CHANNELS
from projections.endpoints.device_states import DEVICE_STATES, UNLISTED
from projections.engine.headers import headers_of
from projections.engine.model import ReadModel
from projections.queues.agents import AGENTS
from projections.queues.queue_members import QUEUE_MEMBERS
from schemas.log import RecordedEvent
from services.database.connection import connect
from services.replay import instants
from services.replay.as_of import AsOfReader
from tests.captures import cli
from tests.support import cli_text, two_pbx_log
from tests.support.cli_truth import ANSWER_SECONDS, expected_text, print_rows
from tests.support.database import cloned, name_of
from tests.support.folding import FoldSpec
from tests.support.two_pbx_log import LATER

AGO = {"rich22": 0.0, "rich16": LATER}
NAMES = [model.name for model in cli_text.MODELS]


class Past:
    """The rows of one PBX at any instant of a log of two PBXes, one of which was spooled for a while."""

    def __init__(self, connection: asyncpg.Connection, events: list[two_pbx_log.Event]) -> None:
        self.connection, self.events = connection, events
        self._as_of = AsOfReader(ALL)

    async def tables(self, pbx: str, requested_at: int | datetime) -> FoldSpec:
        instant = await instants.find(self.connection, requested_at)
        tables = FoldSpec(*cli_text.MODELS)
        for name, model in (await self._as_of.read(self.connection, NAMES, instant)).items():
            tables.rows[name] = {("pbx", *model.table.key_of(row)[1:]): row for row in model.rows if row.pbx == pbx}
        return tables


@pytest.fixture(scope="module")
async def past(postgresql_url: str, two_pbx_url: str) -> AsyncIterator[Past]:
    async with cloned(postgresql_url, name_of(two_pbx_url)) as url:
        connection = await connect(url)
        yield Past(connection, await two_pbx_log.events_of(url))
        await connection.close()


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
async def test_models_print_like_the_cli_at_each_command(past: Past, capture: str) -> None:
    moments = cli(capture)
    assert len(moments) >= 21
    recorded = [at for event, at in past.events if event.pbx == capture]
    for requested_at, command, printed in moments:
        begin = datetime.fromtimestamp(requested_at + AGO[capture], UTC)
        end = begin + timedelta(seconds=ANSWER_SECONDS)
        # Events during the response may be in its text or not, so it equals one of these states.
        within = sorted({begin - timedelta(microseconds=1), end, *(at for at in recorded if begin <= at <= end)})
        tables = [await past.tables(capture, at) for at in within]
        texts = {
            print_rows(table, command, int(now), AGO[capture])
            for table in tables
            for now in (requested_at, requested_at + ANSWER_SECONDS)
        }
        assert expected_text(command, printed) in texts, (command, requested_at)


LISTS: list[tuple[ReadModel, str, dict[str, str]]] = [
    (
        CHANNELS,
        "CoreShowChannel",
        {
            "unique_id": "Uniqueid",
            "channel": "Channel",
            "channel_state_desc": "ChannelStateDesc",
            "caller_id_num": "CallerIDNum",
            "bridge_id": "BridgeId",
        },
    ),
    (AGENTS, "Agents", {"id": "Agent", "status": "Status", "name": "Name"}),
    (
        QUEUE_MEMBERS,
        "QueueMember",
        {
            "queue_name": "Queue",
            "location": "Location",
            "status": "Status",
            "paused": "Paused",
            "calls_taken": "CallsTaken",
            "in_call": "InCall",
        },
    ),
    (DEVICE_STATES, "DeviceStateChange", {"device": "Device", "state": "State"}),
]
EPOCH = re.compile(rb"\r\nActionID: ringledger/(\d+)/")


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
@pytest.mark.parametrize(("model", "name", "columns"), LISTS, ids=[model.name for model, _, _ in LISTS])
async def test_models_equal_each_list_before_its_request(
    past: Past, capture: str, model: ReadModel, name: str, columns: dict[str, str]
) -> None:
    lists: dict[bytes, list[RecordedEvent]] = {}
    for event, _ in past.events:
        if event.pbx == capture and event.name == name and (result := EPOCH.search(event.raw)):
            lists.setdefault(result[1], []).append(event)
    assert len(lists) >= 6
    for items in list(lists.values())[1:]:  # before the first list the model is empty
        headers = [headers_of(item) for item in items]
        listed_rows = {tuple(item.get(header, "") for header in columns.values()) for item in headers}
        rows = (await past.tables(capture, items[0].position - 1)).then(model).values()
        values = [[getattr(row, column) for column in columns] for row in rows]
        served_rows = {tuple("" if value is None else str(value) for value in row) for row in values}
        assert served_rows == {
            row for row in listed_rows if model is not DEVICE_STATES or not row[0].startswith(UNLISTED)
        }
