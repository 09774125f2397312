"""An upgraded database serves the answers that the earlier version served.

The answers are those of commit 9b8a372 over the dump of `tests.support.dump`: every view of jade and cospace as of the
last position, pages of the ledger, and events with their proofs. Their keys are user and path.
"""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from api.app_keys import ACCOUNTS
from services.accounts.accounts import Accounts
from services.database.connection import connect
from services.database.migrate import migrate
from tests.support.api_client import api_starter, bearer
from tests.support.dump import CAPTURES, load_dump
from tests.support.ledger import open_ledger
from tests.support.polling import eventually

ANSWERS: dict[str, Any] = json.loads(lzma.decompress((CAPTURES / "answers-9b8a372.json.xz").read_bytes()))

OF_PASSAGES = {"abandoned", "waits", "wait_seconds", "sla_seconds", "in_sla", "in_sla_percent"}
"""The members of a queue in cospace's statistics that come from the passages of the model ``calls``, which is newer."""


def without_passages(body: Any) -> Any:
    """Return cospace's statistics without what comes from passages; any other body as it is."""
    result = body.get("result")
    if isinstance(result, dict) and isinstance(queues := result.get("queues"), dict):
        figures = {name: {k: v for k, v in one.items() if k not in OF_PASSAGES} for name, one in queues.items()}
        result["queues"] = {name: one for name, one in figures.items() if one["calls"] or one["entered"]}
    return body


async def test_an_upgraded_database_serves_the_same_answers(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's name is its token: the dump holds the hashes of tokens only.
    monkeypatch.setattr(Accounts, "user_of_token", lambda accounts, token: accounts.by_name[token])
    await load_dump(empty_url)
    connection = await connect(empty_url)
    await migrate(connection)
    ledger = await open_ledger(empty_url)
    await ledger.fold()
    async with api_starter(ledger, tmp_path) as start:
        client = await start(admin_password=None)
        accounts = client.app[ACCOUNTS]

        async def is_read() -> bool:
            return "admin" in accounts.by_name

        await eventually(is_read, "the users are read")
        differences = {}
        for key, answer in ANSWERS.items():
            user, path = key.split(" ", 1)
            reply = await client.get(path, headers=bearer(user))
            assert reply.status == 200, (key, await reply.text())
            body = await reply.json()
            body.pop("timestamp", None)
            body.get("proof", {}).pop("check", None)  # It names a file of this version.
            if without_passages(body) != without_passages(answer):
                differences[key] = (answer, body)
    assert differences == {}
    assert len(ANSWERS) > 80
    await ledger.close()
    await connection.close()
