"""/healthz: the process runs. /readyz: its views are up to date, and the listeners' spools."""

from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from api.app_keys import CHECKPOINTS, POOL, SEEDED, SETTINGS
from api.ops.listeners import ListenerStatus, listener_report
from api.ops.warnings import commander_warnings, link_json, warnings
from api.ops.warnings import reasons as link_reasons
from projections import ALL
from services.projector.checkpoints.checkpoints import CheckpointReading
from services.projector.checkpoints.watcher import CheckpointWatcher

LAG_SECONDS = 5.0
STALLED_SECONDS = 30.0
ENDED_SECONDS = 60.0
"""A listener whose lease was renewed longer ago has ended without releasing it."""


async def healthz(_request: web.Request) -> web.Response:
    return _answer(200, {"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Return 200 once the database answers, `admin` exists and every read model is up to date; else 503."""
    checkpoints = request.app[CHECKPOINTS]
    reading = checkpoints.newest
    report = await listener_report(request.app[POOL], request.app[SETTINGS].data, away=checkpoints.is_stale)
    clocks = [one.clock_warning for one in report.listeners if one.holding and one.clock_warning]
    spools = {"listeners_from": report.source, "listeners": msgspec.to_builtins(report.listeners)}
    if reading is None:
        return _answer(
            503, {"status": "not ready", "reasons": ["the database has not answered yet"], "warnings": clocks, **spools}
        )
    reasons = [
        *(["the database does not answer"] if checkpoints.is_stale or report.source == "file" else []),
        *_models_behind(checkpoints, reading),
        *([] if request.app[SEEDED].is_set() else ["the first user does not exist yet"]),
        *link_reasons(reading.links, {pbx.name: pbx.user for pbx in request.app[SETTINGS].ami}),
        *(reason for status in report.listeners for reason in _stuck(status)),
    ]
    absent = {one.pbx for one in report.listeners if one.kind == "ami" and one.is_absent}
    commanders = [] if checkpoints.is_stale else await commander_warnings(request.app[POOL], reading.links)
    return _answer(
        503 if reasons else 200,
        {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "position": checkpoints.head,
            "models": _models(checkpoints, reading),
            "links": {pbx: link_json(link, is_listened_to=pbx not in absent) for pbx, link in reading.links.items()},
            "warnings": clocks + warnings(reading.links) + commanders,
            **spools,
        },
    )


def _models(checkpoints: CheckpointWatcher, reading: CheckpointReading) -> dict[str, Any]:
    return {
        model.name: {
            "version": checkpoint.version,
            "position": checkpoint.position,
            "changed": checkpoint.changed,
            "lag_ms": checkpoints.lag_ms((model.name,), reading),
            "error": checkpoint.error,
        }
        for model in ALL
        if (checkpoint := reading.models.get(model.name)) is not None
    }


def _models_behind(checkpoints: CheckpointWatcher, reading: CheckpointReading) -> Iterator[str]:
    for model in ALL:
        checkpoint = reading.models.get(model.name)
        if checkpoint is None:
            yield f"read model {model.name} has no table yet"
        elif checkpoint.error is not None:
            yield f"read model {model.name} has stopped"
        elif checkpoints.lag_ms((model.name,), reading) > LAG_SECONDS * 1000:
            yield f"read model {model.name} is behind"


def _stuck(status: ListenerStatus) -> Iterator[str]:
    """Yield why events of one PBX do not reach the log; nothing for a listener on standby or one that has ended."""
    if not status.holding or status.age > ENDED_SECONDS:
        return
    spool, name = status.spool, f"PBX {status.pbx} ({status.kind})"
    if spool.error:
        yield f"{name}: the spool refuses events: {spool.error}"
    elif spool.limit and spool.bytes >= spool.limit:
        yield f"{name}: the spool is full, {spool.bytes} of {spool.limit} bytes"
    if status.paused:
        yield f"{name}: the listener has paused reading"
    if status.stalled > STALLED_SECONDS:
        events = status.waiting + spool.events
        yield f"{name}: {events} events wait, none has reached the log for {status.stalled:.0f} s"


def _answer(status: int, body: Any) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store", **({"Retry-After": "1"} if status == 503 else {})},
    )


ROUTES = [web.get("/healthz", healthz), web.get("/readyz", readyz)]
