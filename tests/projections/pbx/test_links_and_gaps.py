"""Links and gaps: whether a PBX is connected, when its rows are healed, and the times without a link."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.pbx.gaps import GAPS
from projections.pbx.links import LINKS
from schemas.log import (
    Connected,
    Disconnected,
    LoginRefused,
    Minute,
    RingledgerEvent,
    SnapshotCompleted,
    SnapshotListed,
    SnapshotStarted,
)
from tests.support.folding import own
from tests.support.story import append, fold_log

START = 1_795_000_000.0
UP = Connected("127.0.0.1:5038", "Asterisk Call Manager/11.0.0")


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def snapshot(epoch: int, *failed: str) -> list[RingledgerEvent]:
    return [
        SnapshotStarted(epoch),
        *(
            SnapshotListed(epoch, action, "failed" if action in failed else "complete")
            for action in ("CoreStatus", "Agents")
        ),
        SnapshotCompleted(epoch, failed),
    ]


async def after(
    url: str, story: Sequence[RingledgerEvent], seed: int | None = None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Append the story, one event a second from `START`, and return the rows of the link and of the gaps."""
    await append(url, [own(event, START + second) for second, event in enumerate(story)])
    tables = await fold_log(url, (LINKS, GAPS), None if seed is None else random.Random(seed))
    return dict(tables["links"][0]) if tables["links"] else None, [dict(row) for row in tables["gaps"]]


async def test_the_first_snapshot_heals_the_first_connect(url: str) -> None:
    link, gaps = await after(url, [UP, *snapshot(5)])
    assert link is not None
    assert (link["state"], link["healed"], link["since"], link["epoch"]) == ("up", True, at(0), 5)
    assert (link["address"], link["banner"]) == (UP.address, UP.banner)
    assert link["last_snapshot"] == at(4)
    assert gaps == []


async def test_a_link_heals_only_with_a_complete_snapshot(url: str) -> None:
    link, _ = await after(url, [UP, *snapshot(5)[:-1]])
    assert link is not None
    assert (link["state"], link["healed"]) == ("up", False)


async def test_a_list_without_a_response_delays_healing(url: str) -> None:
    story = [UP, *snapshot(5, "Agents")]
    link, _ = await after(url, story)
    assert link is not None
    assert (link["healed"], link["failed"]) == (False, ["Agents"])
    # The next snapshot requests other lists only, so the failed list is still missing.
    without = [e for e in snapshot(6) if not (isinstance(e, SnapshotListed) and e.action == "Agents")]
    await append(url, [own(e, START + 10) for e in without], writer=2)
    tables = await fold_log(url, (LINKS,))
    assert tables["links"][0]["healed"] is False
    await append(url, [own(e, START + 20) for e in snapshot(7)], writer=3)
    tables = await fold_log(url, (LINKS,))
    assert (tables["links"][0]["healed"], tables["links"][0]["failed"]) == (True, [])


async def test_a_failure_after_healing_keeps_the_link_healed(url: str) -> None:
    link, _ = await after(url, [UP, *snapshot(5), *snapshot(6, "Agents")])
    assert link is not None
    assert link["healed"] is True


@pytest.mark.parametrize(
    ("listed", "healed"),
    [
        (SnapshotListed(5, "Agents", "refused", "Permission denied"), False),
        (SnapshotListed(5, "Command", "refused", "Permission denied"), False),
        (SnapshotListed(5, "Command", "refused", "Permission denied", instead="ModuleCheck"), True),
        # Logs from before the outcome `refused`.
        (SnapshotListed(5, "Agents", "unsupported", "Permission denied"), False),
        (SnapshotListed(5, "Command", "unsupported", "Permission denied"), True),
        (SnapshotListed(5, "SIPpeers", "unsupported", "Invalid/unknown command: SIPpeers."), True),
    ],
)
async def test_a_refused_list_heals_nothing(url: str, listed: SnapshotListed, healed: bool) -> None:  # noqa: FBT001
    first, *lists, end = snapshot(5)
    story = [UP, Disconnected("cut", START), UP, first, *lists, listed, end]
    link, gaps = await after(url, story)
    assert link is not None
    assert link["healed"] is healed
    assert link["failed"] == ([] if healed else [f"{listed.action}: Permission denied"])
    assert [gap["healed_time"] is not None for gap in gaps] == [healed]


async def test_a_list_heals_once_it_is_allowed(url: str) -> None:
    first, *lists, end = snapshot(5)
    refusal = SnapshotListed(5, "Agents", "refused", "Permission denied")
    link, gaps = await after(url, [UP, Disconnected("cut", START), UP, first, *lists, refusal, end, *snapshot(6)])
    assert link is not None
    assert (link["healed"], link["failed"]) == (True, [])
    assert [gap["healed_time"] for gap in gaps] == [at(11)]


async def test_a_gap_opens_closes_and_heals(url: str) -> None:
    lost = Disconnected("no Pong for 15 s", START + 4.25)
    link, gaps = await after(url, [UP, *snapshot(5), lost])
    assert link is not None
    assert (link["state"], link["healed"], link["since"], link["reason"]) == ("down", False, at(5), lost.reason)
    assert len(gaps) == 1
    assert (gaps[0]["from_position"], gaps[0]["from_time"], gaps[0]["reason"]) == (6, at(4.25), lost.reason)
    assert (gaps[0]["until_time"], gaps[0]["until_position"], gaps[0]["healed_time"]) == (None, None, None)
    await append(url, [own(e, START + 30 + n) for n, e in enumerate([UP, *snapshot(9)])], writer=2)
    tables = await fold_log(url, (LINKS, GAPS))
    gap = tables["gaps"][0]
    assert (gap["until_position"], gap["until_time"], gap["healed_time"]) == (7, at(30), at(34))
    assert (tables["links"][0]["state"], tables["links"][0]["healed"]) == ("up", True)


async def test_a_gap_never_ends_before_it_begins(url: str) -> None:
    _, gaps = await after(url, [UP, *snapshot(5), Disconnected("connection lost", START + 4.25)])
    await append(url, [own(UP, START - 3600)], writer=2)
    [gap] = (await fold_log(url, (GAPS,)))["gaps"]
    assert (gap["from_time"], gap["until_time"]) == (gaps[0]["from_time"], at(4.25))


async def test_a_complete_snapshot_heals_all_earlier_gaps(url: str) -> None:
    lost = Disconnected("connection closed by the PBX", 0)
    story = [UP, *snapshot(5), lost, UP, SnapshotStarted(9), lost, UP, *snapshot(12)]
    link, gaps = await after(url, story, seed=1)
    assert link is not None
    assert link["healed"] is True
    assert [(g["from_position"], g["until_position"]) for g in gaps] == [(6, 7), (9, 10)]
    assert {g["healed_time"] for g in gaps} == {at(13)}


async def test_a_snapshot_of_an_earlier_link_heals_nothing(url: str) -> None:
    lost = Disconnected("connection closed by the PBX", 0)
    link, gaps = await after(url, [UP, SnapshotStarted(5), lost, UP, SnapshotCompleted(5)])
    assert link is not None
    assert link["healed"] is False
    assert gaps[0]["healed_time"] is None


async def test_two_losses_in_a_row_are_one_gap(url: str) -> None:
    first, second = Disconnected("connection lost", START + 1), Disconnected("the listener died", START + 1)
    link, gaps = await after(url, [UP, first, second, UP])
    assert link is not None
    assert (link["state"], link["since"]) == ("up", at(3))
    assert [(g["from_position"], g["until_position"], g["reason"]) for g in gaps] == [(2, 4, "connection lost")]


async def test_an_unreached_pbx_has_a_down_link(url: str) -> None:
    link, gaps = await after(url, [Minute(60, "down", 0), LoginRefused("pbx:5038", "Authentication failed")])
    assert link is not None
    assert (link["state"], link["healed"], link["since"]) == ("down", False, at(0))
    assert (link["refused"], link["last_minute"]) == ("Authentication failed", at(0))
    assert gaps == []


async def test_a_successful_login_clears_the_refusal(url: str) -> None:
    link, _ = await after(url, [LoginRefused("pbx:5038", "Authentication failed"), UP])
    assert link is not None
    assert (link["state"], link["refused"], link["since"]) == ("up", "", at(1))


async def test_each_pbx_has_its_own_link(url: str) -> None:
    await append(url, [own(e, START) for e in (UP, *snapshot(5), Disconnected("lost", START))], pbx="a")
    await append(url, [own(e, START) for e in (UP, *snapshot(5))], pbx="b")
    tables = await fold_log(url, (LINKS, GAPS))
    assert [(r["pbx"], r["state"], r["healed"]) for r in tables["links"]] == [("a", "down", False), ("b", "up", True)]
    assert [r["pbx"] for r in tables["gaps"]] == ["a"]


@pytest.mark.parametrize("seed", range(3))
async def test_random_stories_fold_alike_at_random_cuts(url: str, seed: int) -> None:
    chance = random.Random(seed)
    story = [
        chance.choice(
            (
                UP,
                Disconnected(f"reason {second}", START + second - 0.5),
                *snapshot(chance.randrange(3), *chance.choice(((), (), ("Agents",)))),
                Minute(60, "up", 3),
            )
        )
        for second in range(400)
    ]
    events = [own(event, START + second) for second, event in enumerate(story)]
    await append(url, events, pbx="cut")
    cut = await fold_log(url, (LINKS, GAPS), chance)
    await append(url, events, pbx="whole")
    whole = await fold_log(url, (LINKS, GAPS))
    shift = len(events)
    assert len(cut["gaps"]) > 5
    for table in ("links", "gaps"):
        of_whole = [dict(r) for r in whole[table] if r["pbx"] == "whole"]
        for row in of_whole:
            row["pbx"] = "cut"
            for column in {"from_position", "until_position"} & row.keys():
                row[column] = row[column] and row[column] - shift
        assert of_whole == [dict(r) for r in cut[table]]
    # A gap is closed before the next one opens, and healed after it is closed.
    ends = [g["until_position"] for g in cut["gaps"]]
    assert all(end and end <= gap["from_position"] for end, gap in zip(ends, cut["gaps"][1:], strict=False))
    assert all(g["healed_time"] is None or g["healed_time"] >= g["until_time"] for g in cut["gaps"])
