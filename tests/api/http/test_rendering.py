"""Lists of any length: the pieces together are the whole JSON, and the event loop serves others meanwhile."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.app_keys import VIEWS
from api.http.views.rendering import COPIED_BYTES, JSON, PIECE_ROWS, EnvelopePayload, ListOf, Renderer, render, size
from api.jade.envelope import RENDERER
from tests.support.api_client import Client, Serve, admin_token
from tests.support.ledger import Ledger

NOW = datetime(2026, 11, 30, tzinfo=UTC)
VIEW = "/v1/admin/core/channels"
CHANNELS = """
INSERT INTO channels (
    pbx, unique_id, linked_id, channel, channel_state, channel_state_desc, context, exten, priority, caller_id_name,
    caller_id_num, connected_line_name, connected_line_num, account_code, language, application, application_data,
    bridge_id, hangup_cause, hangup_cause_desc, variables, created, tm_update
)
SELECT 'pbx', n::text, n::text, 'PJSIP/100-' || n, 6, 'Up', 'internal', '100', '1', 'Alice', '100', 'Bob', '200', '',
       'en', 'Dial', 'PJSIP/200', '', 0, '', '{"COLOUR": "blue"}', now(), now()
FROM generate_series(1, $1::int) AS n
"""


def rows(number: int) -> list[Any]:
    return [{"n": n} for n in range(number)]


@pytest.mark.parametrize("number", [0, 1, PIECE_ROWS - 1, PIECE_ROWS, PIECE_ROWS + 1, 3 * PIECE_ROWS])
async def test_joined_pieces_equal_the_whole_json(number: int) -> None:
    pieces = await render(rows(number), NOW, ListOf(lambda row, _: dict(row)), RENDERER)
    assert pieces is not None
    assert b"".join(pieces) == msgspec.json.encode({"list": rows(number)})
    assert size(pieces) == len(b"".join(pieces))
    assert len(pieces) == (1 if number <= PIECE_ROWS else -(-number // PIECE_ROWS) + 1)


async def test_an_object_is_rendered_in_one_piece() -> None:
    assert await render(rows(3), NOW, lambda rows, _: len(rows), RENDERER) == (b"3",)
    assert await render(rows(3), NOW, lambda *_: None, RENDERER) is None


async def test_other_renderers_encode_lists_in_one_piece() -> None:
    other = Renderer("other", "text/plain", lambda result: b"%d" % len(result["list"]), lambda _: (b"<", b">"))
    assert await render(rows(2 * PIECE_ROWS), NOW, ListOf(lambda row, _: dict(row)), other) == (
        b"%d" % (2 * PIECE_ROWS),
    )


@pytest.mark.parametrize(("length", "writes"), [(COPIED_BYTES - 2, 1), (COPIED_BYTES - 1, 3)])
async def test_a_small_body_is_one_write(length: int, writes: int) -> None:
    sent: list[bytes] = []

    class Writer:
        async def write(self, part: bytes) -> None:
            sent.append(part)

    payload = EnvelopePayload((b"<", b"x" * length, b">"), JSON)
    await payload.write(Writer())  # type: ignore[arg-type]
    assert (len(sent), b"".join(sent)) == (writes, payload.decode().encode())


async def test_other_tasks_run_after_each_piece() -> None:
    count, gaps, last = 0, [], 0

    def item(row: Any, _now: datetime) -> int:
        nonlocal count
        count += 1
        number: int = row["n"]
        return number

    async def count_turns() -> None:
        nonlocal last
        while True:
            gaps.append(count - last)
            last = count
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    await render(rows(20 * PIECE_ROWS), NOW, ListOf(item), RENDERER)
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
    assert (count, max(gaps)) == (20 * PIECE_ROWS, PIECE_ROWS)


async def test_two_hundred_thousand_channels_are_served(serve: Serve, ledger: Ledger) -> None:
    client: Client = await serve()
    client.session.headers["Authorization"] = f"Bearer {await admin_token(client)}"
    await ledger.connection.execute(CHANNELS, 200_000)
    views, rendered = client.app[VIEWS], 0
    render_one = views._render

    async def count_and_render(*args: Any) -> Any:
        nonlocal rendered
        rendered += 1
        return await render_one(*args)

    views._render = count_and_render
    async with client.get(VIEW) as reply:
        assert reply.status == 200
        body = await reply.read()
    assert rendered == 1
    assert int(reply.headers["Content-Length"]) == len(body)
    assert body.count(b'"COLOUR":"blue"') == 200_000
    channels = msgspec.json.decode(body, type=dict[str, Any])["result"]["list"]
    assert len({channel["unique_id"] for channel in channels}) == 200_000
