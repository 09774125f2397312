"""Lines of queue_log from before, during and after a link count each passage once."""

import random
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from projections.calls.calls import CALLS
from projections.queues.agent_sessions import AGENT_SESSIONS
from services.transfer.import_asterisk import import_asterisk
from services.transfer.import_content import read_contents
from services.transfer.import_ledger import NOTHING
from tests.captures import truth
from tests.support.asterisk_files import fetch_rows
from tests.support.queue_log_truth import read_queue_log
from tests.support.recorded_link import part_of
from tests.support.story import append, fold_log

PASSAGES = "SELECT queue, outcome, agent, wait_seconds, ring_no_answers FROM model.queue_passages"


async def imported(url: str, file: Path) -> str:
    [output] = [one async for one in import_asterisk(url, read_contents([file], "queue_log"), "pbx", "")]
    return output.partition(": ")[2]


async def passages(url: str) -> Counter[tuple[object, ...]]:
    """Return the passages that Asterisk has a line of: it writes none for callers who may not join."""
    rows: list[asyncpg.Record] = await fetch_rows(url, PASSAGES)
    return Counter(tuple(row) for row in rows if row["outcome"] != "join_empty")


@pytest.mark.parametrize("name", ["rich22", "rich16"])
@pytest.mark.parametrize("order", ["before", "after", "around"])
async def test_passages_beside_a_link_count_once(url: str, tmp_path: Path, name: str, order: str) -> None:
    """The link begins and ends while callers wait and talk: the file has the rest of them."""
    text, link = truth(name, "queue_log"), part_of(name)
    first, file = tmp_path / "first", tmp_path / "queue_log"
    file.write_text(text)
    first.write_text("".join(text.splitlines(keepends=True)[:90]))
    if order != "after":
        assert "skipped" not in await imported(url, file if order == "before" else first)
    await append(url, link)
    if order != "before":
        output = await imported(url, file)
        assert ("90 skipped: imported before" in output) == (order == "around")
        assert "the listener was connected" not in output
    assert await imported(url, file) == NOTHING
    await fold_log(url, (AGENT_SESSIONS, CALLS), random.Random(1))
    log = read_queue_log(text).passages
    assert await passages(url) == Counter(
        (p.queue, p.outcome, p.agent or None, p.wait_seconds, p.ring_no_answers) for p in log
    )
    sources = Counter(row["sources"] for row in await fetch_rows(url, "SELECT sources FROM model.calls"))
    assert {len(one) > 2 for one in sources} == {True}
