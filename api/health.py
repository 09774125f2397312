"""/healthz: the process lives. /readyz: what it serves is up to date, and what waits on listeners' disks."""

from typing import Any

import msgspec
from aiohttp import web

from api.keys import FRESHNESS, POOL, SEEDED, SETTINGS
from api.listeners import listeners
from projections import ALL

LAG_SECONDS = 5.0


async def healthz(_request: web.Request) -> web.Response:
    return _answer(200, {"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """200 once the database answers, `admin` is there and every read model is up to date; else 503 and why."""
    freshness = request.app[FRESHNESS]
    reading = freshness.newest
    heard = await listeners(request.app[POOL], request.app[SETTINGS].data, away=freshness.stale)
    spools = {"listeners_from": heard.told_by, "listeners": msgspec.to_builtins(heard.listeners)}
    if reading is None:
        return _answer(503, {"status": "not ready", "reasons": ["the database has not answered yet"], **spools})
    reasons = ["the database does not answer"] if freshness.stale else []
    models: dict[str, Any] = {}
    for model in ALL:
        checkpoint = reading.models.get(model.name)
        if checkpoint is None:
            reasons.append(f"read model {model.name} is not there yet")
            continue
        lag = freshness.lag_ms((model.name,), reading)
        models[model.name] = {
            "version": checkpoint.version,
            "position": checkpoint.position,
            "changed": checkpoint.changed,
            "lag_ms": lag,
            "error": checkpoint.error,
        }
        if checkpoint.error is not None:
            reasons.append(f"read model {model.name} has stopped")
        elif lag > LAG_SECONDS * 1000:
            reasons.append(f"read model {model.name} is behind")
    if not request.app[SEEDED].is_set():
        reasons.append("the first user is not there yet")
    links = {pbx: {"state": link.state, "healed": link.healed} for pbx, link in reading.links.items()}
    return _answer(
        503 if reasons else 200,
        {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "position": freshness.head,
            "models": models,
            "links": links,
            **spools,
        },
    )


def _answer(status: int, body: Any) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


ROUTES = [web.get("/healthz", healthz), web.get("/readyz", readyz)]
