"""Archived months over HTTP: requests for them name the file, and the rest is served as before."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app_keys import CHECKPOINTS
from projections import ALL
from projections.calls.channels import CHANNELS
from services.database.connection import connect
from services.projector.projector import Projector
from services.retention.archive_report import ArchiveResult
from services.transfer.ledger_file import read_manifest
from tests.support.api_client import Client, Serve, serve_as_admin
from tests.support.archiving import append_months, run_archive
from tests.support.ledger import Ledger


class Scene:
    """An API over a log of four months, of which two are archived; ``ends`` are their last positions."""

    def __init__(self, client: Client, ends: list[int], done: ArchiveResult) -> None:
        self.client = client
        self.ends = ends
        self.done = done

    async def get(self, path: str, status: int = 200, **query: Any) -> dict[str, Any]:
        reply = await self.client.get(path, params=query)
        assert reply.status == status, await reply.text()
        body: dict[str, Any] = await reply.json()
        return body


@pytest.fixture
async def scene(serve: Serve, ledger: Ledger, tmp_path: Path) -> Scene:
    ends = await append_months(ledger.url)
    client = await serve_as_admin(serve)
    await client.app[CHECKPOINTS].wait_folded([model.name for model in ALL], ends[-1])
    return Scene(client, ends, await run_archive(ledger.url, tmp_path / "files", "2026-05"))


async def test_archived_positions_and_times_are_410(scene: Scene) -> None:
    archive_end = scene.ends[1]
    april = f"archived: 2026-04.jsonl.zst holds 2026-04, positions {scene.ends[0] + 1} to {archive_end}"
    for path, query, message in (
        (f"/v1/ledger/events/{archive_end}", {}, f"event {archive_end} is {april}"),
        ("/v1/ledger/events/1", {}, "event 1 is archived: 2026-03.jsonl.zst holds 2026-03, positions 1 to"),
        ("/v1/admin/core/channels", {"as_of": archive_end - 1}, f"position {archive_end - 1} is {april}"),
        ("/v1/admin/core/channels", {"as_of": "2026-04-20T12:00:00Z"}, f"2026-04-20T12:00:00Z is {april}"),
        ("/v1/admin/core/channels", {"as_of": "2026-03-01T12:00:00Z"}, "2026-03-01T12:00:00Z is archived: 2026-03."),
    ):
        body = await scene.get(path, 410, **query)
        assert (body["statuscode"], body["message"][: len(message)]) == (410, message)
    reply = await scene.client.get("/v1/ledger/events/1")
    assert reply.headers["X-Ledger-Archive"] == "2026-03.jsonl.zst"
    reply = await scene.client.get("/api/statistics/2026-03-20", params={"as_of": 5})
    assert (reply.status, await reply.json()) == (410, {"status": "archived"})
    assert reply.headers["X-Ledger-Archive"] == "2026-03.jsonl.zst"
    assert (await scene.get("/v1/ledger/events/99999999", 404))["message"] == "not found: event 99999999"


async def test_the_rest_of_the_log_is_served(scene: Scene) -> None:
    archive_end = scene.ends[1]
    for instant in (archive_end, archive_end + 1, scene.ends[2], "2026-05-01T00:00:00Z", "2026-05-20T12:01:00Z"):
        reply = await scene.client.get("/v1/admin/core/channels", params={"as_of": instant})
        assert reply.status == 200, await reply.text()
    assert (await scene.client.get("/v1/admin/core/channels", params={"as_of": archive_end})).headers[
        "X-Ledger-Position"
    ] == str(archive_end)
    page = await scene.get("/v1/ledger/events", limit=3)
    assert [one["position"] for one in page["events"]] == [archive_end + 1, archive_end + 2, archive_end + 3]
    assert (page["scanned"], page["archived_to"]) == (3, archive_end)
    page = await scene.get("/v1/ledger/events", limit=3, order="desc", before=archive_end + 3)
    assert ([one["position"] for one in page["events"]], page["next"]) == ([archive_end + 2, archive_end + 1], None)
    page = await scene.get("/v1/ledger/events", before=archive_end)
    assert (page["events"], page["next"], page["archived_to"]) == ([], None, archive_end)
    proof = (await scene.get(f"/v1/ledger/events/{archive_end + 1}"))["proof"]
    assert proof["batch"]["previous"] == read_manifest(scene.done.files[1].path).hash


async def test_status_and_metrics_name_archives(scene: Scene) -> None:
    months = (await scene.get("/v1/ledger/status"))["archives"]
    assert [(one["month"], one["first_position"], one["last_position"], one["file"]) for one in months] == [
        ("2026-03", 1, scene.ends[0], "2026-03.jsonl.zst"),
        ("2026-04", scene.ends[0] + 1, scene.ends[1], "2026-04.jsonl.zst"),
    ]
    assert months[1]["sha256"] == scene.done.files[1].manifest.sha256
    reply = await scene.client.get("/metrics")
    metrics = {f.name: f.samples[0].value for f in text_string_to_metric_families(await reply.text()) if f.samples}
    assert (metrics["ringledger_archives"], metrics["ringledger_archive_position"]) == (2, scene.ends[1])


async def test_an_explanation_names_archived_events(scene: Scene, ledger: Ledger) -> None:
    record = "SELECT unique_id, position FROM call_records WHERE position {} ORDER BY position LIMIT 1"
    old = await ledger.connection.fetchrow(record.format(f"<= {scene.ends[0]}"))
    body = await scene.get("/v1/ledger/explain", call=old["unique_id"])
    assert {"position": old["position"], "month": "2026-03", "file": "2026-03.jsonl.zst"} in body["archived"]
    assert (body["events"], body["archived_to"]) == ([], scene.ends[1])
    new = await ledger.connection.fetchrow(record.format(f"> {scene.ends[2] + 3000}"))
    body = await scene.get("/v1/ledger/explain", call=new["unique_id"])
    assert body["events"]
    assert "archived" not in body
    day = await ledger.connection.fetchval(
        "SELECT min(period) FROM statistics WHERE scope = 'pbx' AND period LIKE '%-%-%'"
    )
    body = await scene.get("/v1/ledger/explain", statistics=day)
    assert (body["exact"], body["folded"]["after"]) == (False, scene.ends[1])
    assert body["why"].endswith("The archives are: 2026-03.jsonl.zst, 2026-04.jsonl.zst.")


async def test_a_model_without_saved_state_is_unready(scene: Scene, ledger: Ledger) -> None:
    await ledger.connection.execute("DELETE FROM ledger.saved WHERE model = 'channels'")
    body = await scene.get("/v1/admin/core/channels", 410, as_of=scene.ends[1])
    assert body["message"].startswith("channels (version ")
    assert "2026-03.jsonl.zst, 2026-04.jsonl.zst" in body["message"]
    await ledger.connection.execute("UPDATE checkpoint SET version = 0 WHERE model = 'channels'")
    projector = Projector(await connect(ledger.url, search_path="model, ledger"), [CHANNELS])
    await projector.open()
    await projector._connection.close()
    await scene.client.app[CHECKPOINTS].refresh()
    body = await scene.get("/readyz", 503)
    assert "read model channels has stopped" in body["reasons"]
    assert "2026-03.jsonl.zst, 2026-04.jsonl.zst" in body["models"]["channels"]["error"]
    body = await scene.get("/v1/ledger/status")
    assert "2026-03.jsonl.zst, 2026-04.jsonl.zst" in body["models"]["channels"]["error"]
