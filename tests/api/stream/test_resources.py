"""The stream sends the same object for a row as the view serves; the view's own SQL is the reference."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from api.http.views.as_of import with_tables
from api.http.views.view import View
from api.jade.stream import CATALOG
from api.stream.resources import StoredItem
from projections import ALL
from projections.engine.state import FoldState
from projections.engine.step import Change, StepFold
from schemas.log import NewEvent, RecordedEvent
from services.database.connection import connect
from services.projector.table import Table
from tests.captures import wire
from tests.support.api_client import RecordedApi as Served
from tests.support.folding import recorded_all as as_recorded
from tests.support.jade_views import views_of
from tests.support.recorded_events import snapshotted
from tests.support.recordings import listener_events

MODELS = [model for model in ALL if model.name in {feed.model for feed in CATALOG.resources}]
TABLES = {model.name: Table(model) for model in MODELS}
SAMPLES = 60
"""Changes of each model that are compared."""

# The view of each resource, and the column that selects its row. A list that has only names is replaced by the detail.
VIEWS = {
    "/agents": ("agent.get", "id"),
    "/core/channels": ("channels.list", ""),
    "/core/modules": ("modules.list", ""),
    "/core/systems": ("systems.list", ""),
    "/device_states": ("device_state.get", "device"),
    "/park/parkedcalls": ("parkedcalls.list", ""),
    "/park/parkinglots": ("parkinglots.list", ""),
    "/peers": ("peer.get", "peer"),
    "/pjsip/aors": ("aors.list", ""),
    "/pjsip/auths": ("auths.list", ""),
    "/pjsip/contacts": ("contacts.list", ""),
    "/pjsip/endpoints": ("endpoints.list", ""),
    "/pjsip/registration_outbounds": ("registration_outbounds.list", ""),
    "/queue/entries": ("entries.list", ""),
    "/queue/members": ("members.list", ""),
    "/queue/queues": ("queues.list", ""),
    "/registries": ("registry.get", "account"),
}


def sample_changes(recording: str, dice: random.Random) -> list[tuple[RecordedEvent, Change, dict[str, list[Any]]]]:
    """Fold a recording, and sample changes, each with all rows at that time."""
    step = StepFold(MODELS, {model.name: (FoldState(), []) for model in MODELS})
    counts: dict[str, int] = {}
    samples: dict[str, list[Any]] = {model.name: [] for model in MODELS}
    # Responses to CoreStatus and CoreSettings.
    responses = [event for event in listener_events(wire(recording)) if isinstance(event, NewEvent)]
    for event in as_recorded([*snapshotted(recording), *responses]):
        for change in step.apply(event) if event.name in step._subscriptions else ():
            if change.after is None:
                continue
            number = counts[change.model] = counts.get(change.model, 0) + 1
            slot = number - 1 if number <= SAMPLES else dice.randrange(number)
            if slot < SAMPLES:
                rows = {model.name: list(step.rows(model.name).values()) for model in MODELS}
                samples[change.model][slot : slot + 1] = [(event, change, rows)]
    return [sample for of_model in samples.values() for sample in of_model]


async def view_items(
    connection: asyncpg.Connection, view: View, args: list[Any], at: datetime, rows: dict[str, list[Any]]
) -> Sequence[Any]:
    """Return the objects that the view renders from these rows at that time."""
    if view.name == "members.list":
        args.append(None)
    tables = [TABLES[name] for name in view.models]
    arrays = [array for table in tables for array in table.arrays(rows[table.model.name])]
    records = await connection.fetch(with_tables(view.sql, len(args) + 1, tables), *args, *arrays)
    result = msgspec.to_builtins(view.wire(records, at))
    return result["list"] if view.name.endswith(".list") else [result]


async def test_a_resource_equals_the_object_of_its_view(recorded: Served, url: str) -> None:
    views = {view.name: view for route in recorded.client.app.router.routes() for view in views_of(route.handler)}
    connection = await connect(url)
    feeds = {feed.model: feed for feed in CATALOG.resources}
    compared: dict[str, int] = {}
    for name in ("rich22", "rich16"):
        for event, change, rows in sample_changes(name, random.Random(17)):
            feed, row = feeds[change.model], change.after
            step = StepFold(MODELS, {model: (FoldState(), of_model) for model, of_model in rows.items()})
            assert not isinstance(feed.item, StoredItem)
            item = msgspec.to_builtins(feed.item(row, event.recorded, step))
            view, column = VIEWS[feed.path]
            args = [row.pbx, getattr(row, column) if column else None]
            assert item in await view_items(connection, views[view], args, event.recorded, rows), (feed.name, event)
            compared[feed.name] = compared.get(feed.name, 0) + 1
    await connection.close()
    assert set(compared) == {feed.name for feed in CATALOG.resources}
    assert sum(compared.values()) > 800
