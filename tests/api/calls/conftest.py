"""An API over the beginning of a recording that it folded in steps, with its answers at each step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from api.app_keys import CHECKPOINTS
from schemas.call_settings import CallSettings
from schemas.log import NewEvent
from services.projector import saved_states
from tests.captures import wire
from tests.support.api_client import Client, serving
from tests.support.database import READ_MODELS, cloned
from tests.support.folding import own
from tests.support.ledger import Ledger, open_ledger
from tests.support.recorded_events import events_of_wire

RECORDED_BYTES = 1_500_000
"""The part of the recording: some fifty calls, with queues and transfers; each as_of folds it from its start."""
SAVE_INTERVAL = 700
STEPS = 24
LISTED = "/v1/calls?limit=10000&full=true"
QUEUES = "/v1/statistics/queues?from=2026-11-22T00:00:00Z&to=2026-11-24T00:00:00Z&every=hour"
USAGE = "/api/usage/2026-11"

Answer = tuple[int, Any]
"""The status and the body of a response."""


class Early(Struct):
    """``answers`` holds what each path returned when the log was folded up to a position, by position and path."""

    client: Client
    ledger: Ledger
    first: int
    last: int
    answers: dict[int, dict[str, Answer]]


async def answer(client: Client, path: str) -> Answer:
    """Return an answer; a refusal has the time of its response, which is left out."""
    reply = await client.get(path)
    body = await reply.json()
    if reply.status != 200:
        body.pop("timestamp", None)
    return reply.status, body


async def read_all(client: Client, ids: list[str]) -> dict[str, Answer]:
    """Return the answers of the lists, and of the calls that ``ids`` names."""
    return {path: await answer(client, path) for path in (LISTED, QUEUES, *(f"/v1/calls/{one}" for one in ids))}


@pytest.fixture(scope="session")
async def early(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Early]:
    events = events_of_wire(wire("rich22")[:RECORDED_BYTES])
    async with _folded_in_steps(postgresql_url, tmp_path_factory.mktemp("data"), events) as early:
        yield early


@asynccontextmanager
async def _folded_in_steps(postgresql_url: str, folder: Path, events: list[NewEvent]) -> AsyncIterator[Early]:
    async with cloned(postgresql_url, READ_MODELS) as url:
        ledger = await open_ledger(url)
        async with serving(ledger, folder) as client:
            # The settings are as old as the recording, so that an as_of by time has them too.
            await ledger.write(own(CallSettings(trunks=("PJSIP/trunk",)), events[0].recorded), pbx="")
            last = await ledger.write(*events)
            first = last - len(events) + 1
            answers: dict[int, dict[str, Answer]] = {}
            for step in range(1, STEPS + 1):
                position = first - 1 + len(events) * step // STEPS
                with pytest.MonkeyPatch.context() as patch:
                    # A fold of the past, or of a call, starts at one of several saved states.
                    patch.setattr(saved_states, "SAVE_INTERVAL", SAVE_INTERVAL)
                    while (at := ledger.projector.cursors[0].position) < position:
                        await ledger.projector.advance(position - at)
                await client.app[CHECKPOINTS].refresh()
                some = await ledger.connection.fetch("SELECT id FROM call_ids ORDER BY number DESC, id LIMIT 3")
                answers[position] = await read_all(client, [row["id"] for row in some])
            assert ledger.projector.stopped == {}
            yield Early(client, ledger, first, last, answers)
        await ledger.close()
