"""What is told of a row is what the view shows of it: the view's own SQL says so, over the same rows and time."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from api.http.as_of import with_tables
from api.http.views import View
from api.jade.stream import CATALOG
from projections import ALL
from projections.engine.state import State
from projections.engine.step import Change, StepFold
from schemas.log import NewEvent, RecordedEvent
from services.database.connection import connect
from services.projector.table import Table
from tests.api.http.test_as_of import views_of
from tests.captures import wire
from tests.support.api_client import RecordedApi as Served
from tests.support.folding import recorded_all as as_recorded
from tests.support.recorded_events import snapshotted
from tests.support.recordings import listener_events

MODELS = [model for model in ALL if model.name in {feed.model for feed in CATALOG.resources}]
TABLES = {model.name: Table(model) for model in MODELS}
EACH = 60
"""So many changes of each model are compared."""

# What stands in the list, or where that tells names only, in the detail, and by which column it is found.
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


def steps(recording: str, dice: random.Random) -> list[tuple[RecordedEvent, Change, dict[str, list[Any]]]]:
    """Fold a recording, and draw changes with all rows as they stood then."""
    step = StepFold(MODELS, {model.name: (State(), []) for model in MODELS})
    seen: dict[str, int] = {}
    drawn: dict[str, list[Any]] = {model.name: [] for model in MODELS}
    answers = [
        one for one in listener_events(wire(recording)) if isinstance(one, NewEvent)
    ]  # to CoreStatus and CoreSettings
    for event in as_recorded([*snapshotted(recording), *answers]):
        for change in step.take(event) if event.name in step._subscriptions else ():
            if change.after is None:
                continue
            number = seen[change.model] = seen.get(change.model, 0) + 1
            slot = number - 1 if number <= EACH else dice.randrange(number)
            if slot < EACH:
                rows = {model.name: list(step.rows(model.name).values()) for model in MODELS}
                drawn[change.model][slot : slot + 1] = [(event, change, rows)]
    return [one for found in drawn.values() for one in found]


async def shown(
    connection: asyncpg.Connection, view: View, args: list[Any], at: datetime, rows: dict[str, list[Any]]
) -> Sequence[Any]:
    """Return what the view shows of these rows at that time."""
    if view.name == "members.list":
        args.append(None)
    tables = [TABLES[name] for name in view.models]
    arrays = [array for table in tables for array in table.arrays(rows[table.model.name])]
    got = await connection.fetch(with_tables(view.sql, len(args) + 1, tables), *args, *arrays)
    result = msgspec.to_builtins(view.wire(got, at))
    return result["list"] if view.name.endswith(".list") else [result]


async def test_a_resource_is_what_the_view_serves(recorded: Served, url: str) -> None:
    views = {view.name: view for route in recorded.client.app.router.routes() for view in views_of(route.handler)}
    connection = await connect(url)
    feeds = {feed.model: feed for feed in CATALOG.resources}
    compared: dict[str, int] = {}
    for name in ("rich22", "rich16"):
        for event, change, rows in steps(name, random.Random(17)):
            feed, row = feeds[change.model], change.after
            step = StepFold(MODELS, {model: (State(), held) for model, held in rows.items()})
            item = msgspec.to_builtins(feed.item(row, event.recorded, step))
            view, found_by = VIEWS[feed.path]
            args = [row.pbx, getattr(row, found_by) if found_by else None]
            assert item in await shown(connection, views[view], args, event.recorded, rows), (feed.name, event)
            compared[feed.name] = compared.get(feed.name, 0) + 1
    await connection.close()
    assert set(compared) == {feed.name for feed in CATALOG.resources}
    assert sum(compared.values()) > 800
