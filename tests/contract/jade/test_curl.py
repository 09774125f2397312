"""Every curl line of the seed as it is printed, but for host, token and ids: JSON under the content type of a form."""

import re
from urllib.parse import quote

import msgspec
import pytest

from tests.contract import misfits, operations
from tests.contract.jade import EXERCISES
from tests.contract.jade.asking import ROWS, put_to
from tests.contract.jade.curl import Curl, curls, ours
from tests.contract.jade.documented import shape
from tests.contract.jade.wire import Ask
from tests.contract.jade.world import World

DAMAGED = {"jade.me.chats.messages.create": '{"message": "test message"}'}
"""The body of each printed example that is not JSON, as the contract settles it."""
WITHOUT = re.compile("headed only|example heading|one line of text|no Call/Returns/curl text")


def test_every_row_with_an_example_has_its_line() -> None:
    assert len(curls()) == 81
    assert len({curl.row for curl in curls()}) == 81
    without = set(ROWS) - {curl.row for curl in curls()}
    assert [row for row in without if not WITHOUT.search("; ".join(operations()[row].notes))] == []


@pytest.mark.parametrize("curl", curls(), ids=lambda c: f"{c.row}:{c.lines}")
async def test_it_is_answered_as_printed(world: World, curl: Curl) -> None:
    exercise = EXERCISES[curl.row]
    async with put_to(world, exercise) as (ask, finished):
        target, headers = request(curl, ask)
        data = None
        if curl.body is not None:
            printed = DAMAGED.get(curl.row, curl.body)
            text = ours(printed, ask.body, {name for name, member in exercise.members.items() if member.ours})
            data = text.encode()
            ask.body = msgspec.json.decode(text)
        if curl.row in DAMAGED:
            async with world.unchanged():
                assert (await world.sent(curl.method, target, (curl.body or "").encode(), headers)).status == 400
        reply = await world.sent(curl.method, target, data, headers)
        assert reply.status == 200, reply.body
        await finished(reply)
    response, optional = shape(curl.row)
    assert misfits(reply.body, response, optional) == []


def request(curl: Curl, ask: Ask) -> tuple[str, dict[str, str]]:
    """Return path and query, as printed but for ids, and the headers that curl sends besides the content type."""
    headers = {"Accept": "*/*", "User-Agent": "curl/7.58.0"}
    ids = ask.query | {"authtoken": ask.token}
    query = "&".join(f"{name}={quote(ids.get(name, value), safe='')}" for name, value in curl.query.items())
    if curl.basic:
        headers |= ask.headers
    elif "authtoken" not in curl.query:
        headers["Authorization"] = f"Bearer {ask.token}"  # the older examples show none
    path = curl.form.replace("{detail}", quote(ask.detail, safe=":"))
    return path + (f"?{query}" if query else ""), headers
