"""Samples: the measurements of a PBX at each full minute."""

import random
import re
import uuid
from collections import Counter
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest

from projections.calls.samples import DEVICE_STATES, SAMPLES, epoch_of, time_of, time_uuid
from schemas.log import Minute, NewEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted
from tests.captures import wire
from tests.support.folding import own
from tests.support.story import ami, append, event, fold_log

MINUTE = 1_795_309_260
ACTIONS = ("CoreStatus", "CoreShowChannels", "QueueStatus")


def answer(epoch: int, channels: int, calls: int, callers: tuple[int, ...], members: dict[str, int]) -> list[NewEvent]:
    """Make the answers to a snapshot: queues with these numbers of callers, members with these device states."""
    of = {action: f"ringledger/{epoch}/{action}" for action in ACTIONS}
    queue = {"ActionID": of["QueueStatus"]}
    status = f"Response: Success\r\nActionID: {of['CoreStatus']}\r\nCoreCurrentCalls: {calls}\r\n\r\n"
    return [
        ami(status.encode(), epoch),
        event("CoreShowChannelsComplete", {"ActionID": of["CoreShowChannels"], "ListItems": channels}, epoch),
        *(
            event("QueueParams", {"Queue": f"q{n}", "Calls": waiting} | queue, epoch)
            for n, waiting in enumerate(callers)
        ),
        *(
            event("QueueMember", {"Queue": "q", "Location": location, "Status": state} | queue, epoch)
            for location, state in members.items()
        ),
    ]


def snapshot(epoch: int, answers: list[NewEvent], failed: str = "") -> list[NewEvent]:
    return [
        own(SnapshotStarted(epoch), epoch),
        *answers,
        *(own(SnapshotListed(epoch, a, "failed" if a == failed else "complete"), epoch) for a in ACTIONS),
        own(SnapshotCompleted(epoch, (failed,) if failed else ()), epoch),
    ]


def minute(at: int, link: str = "up", events: int = 600) -> NewEvent:
    return own(Minute(at, "up" if link == "up" else "down", events, 1, 20), at)


async def samples(url: str, story: list[NewEvent], seed: int | None = None) -> list[asyncpg.Record]:
    await append(url, story)
    rows = (await fold_log(url, (SAMPLES,), None if seed is None else random.Random(seed)))["samples"]
    return sorted(rows, key=lambda row: row["minute"])


def numbers(row: asyncpg.Record) -> tuple[int | None, int | None, int | None, dict[str, int]]:
    return row["active_channels"], row["active_calls"], row["callers_waiting"], row["members"]


async def test_a_sample_has_the_counts_of_its_snapshot(url: str) -> None:
    members = {"PJSIP/100": 2, "PJSIP/101": 1, "PJSIP/102": 1}
    story = [minute(MINUTE), *snapshot(MINUTE, answer(MINUTE, 9, 5, (2, 0, 1), members))]
    (row,) = await samples(url, story, seed=3)
    assert row["minute"] == datetime.fromtimestamp(MINUTE, UTC)
    assert numbers(row) == (9, 5, 3, {"NOT_INUSE": 2, "INUSE": 1})
    assert (row["link"], row["events"], row["events_per_second"], row["complete"]) == ("up", 600, 10.0, True)
    assert (row["rejected_blocks"], row["rejected_bytes"]) == (1, 20)
    assert row["devices"] == {}


async def test_a_minute_may_come_during_its_snapshot(url: str) -> None:
    story = snapshot(MINUTE, answer(MINUTE, 9, 5, (2,), {}))
    rows = await samples(url, [*story[:3], minute(MINUTE), *story[3:]])
    assert [(*numbers(row)[:3], row["events"]) for row in rows] == [(9, 5, 2, 600)]


async def test_a_member_of_two_queues_is_one_device(url: str) -> None:
    answers = answer(MINUTE, 1, 1, (0,), {"PJSIP/100": 6})
    (row,) = await samples(url, [minute(MINUTE), *snapshot(MINUTE, [*answers, answers[-1]])])
    assert row["members"] == {"RINGING": 1}


async def test_a_second_snapshot_in_the_minute_changes_nothing(url: str) -> None:
    first = snapshot(MINUTE, answer(MINUTE, 9, 5, (2,), {"PJSIP/100": 1}))
    second = snapshot(MINUTE + 20, answer(MINUTE + 20, 30, 20, (7,), {"PJSIP/100": 2}))
    (row,) = await samples(url, [minute(MINUTE), *first, *second])
    assert numbers(row) == (9, 5, 2, {"NOT_INUSE": 1})


async def test_the_next_snapshot_replaces_an_incomplete_one(url: str) -> None:
    first = snapshot(MINUTE, answer(MINUTE, 9, 5, (2, 4), {"PJSIP/100": 1}))[:4]
    second = snapshot(MINUTE + 20, answer(MINUTE + 20, 30, 20, (7,), {"PJSIP/101": 2}))
    (row,) = await samples(url, [minute(MINUTE), *first, *second])
    assert numbers(row) == (30, 20, 7, {"INUSE": 1})


async def test_a_sample_without_a_link_has_no_counts(url: str) -> None:
    later = snapshot(MINUTE + 70, answer(MINUTE + 70, 30, 20, (7,), {}))
    story = [minute(MINUTE, "down", 0), minute(MINUTE + 60, "down", 0), *later]
    rows = await samples(url, story)
    assert [(row["link"], *numbers(row)) for row in rows] == [("down", None, None, None, {})] * 2


async def test_the_first_minute_has_no_count_of_events(url: str) -> None:
    (row,) = await samples(url, snapshot(MINUTE + 37, answer(MINUTE + 37, 9, 5, (2,), {})))
    assert row["minute"] == datetime.fromtimestamp(MINUTE, UTC)
    assert (row["events"], row["active_channels"]) == (None, 9)


async def test_failed_lists_count_null_and_empty_ones_zero(url: str) -> None:
    half = snapshot(MINUTE, answer(MINUTE, 9, 5, (2,), {"PJSIP/100": 1}), failed="QueueStatus")
    none = snapshot(MINUTE + 60, answer(MINUTE + 60, 9, 5, (), {}))
    rows = await samples(url, [minute(MINUTE), *half, minute(MINUTE + 60), *none])
    assert [numbers(row)[2:] for row in rows] == [(None, {}), (0, {})]


async def test_answers_to_other_clients_are_not_counted(url: str) -> None:
    foreign = event("QueueParams", {"ActionID": "crm-17", "Queue": "q", "Calls": 5}, MINUTE)
    late = answer(MINUTE - 60, 1, 1, (9,), {})
    story = [minute(MINUTE), own(SnapshotStarted(MINUTE), MINUTE), foreign, *late]
    (row,) = await samples(url, story)
    assert numbers(row) == (None, None, None, {})


async def test_a_repeated_hour_has_samples_of_its_own(url: str) -> None:
    """A clock is set back by an hour: epochs continue to rise, and an hour later each is its minute again."""
    back, later = MINUTE - 3600, MINUTE + 60
    risen = [
        msgspec.structs.replace(e, recorded=back + 1.0)
        for e in snapshot(MINUTE + 1, answer(MINUTE + 1, 3, 2, (1,), {}))
    ]
    story = [minute(MINUTE), *snapshot(MINUTE, answer(MINUTE, 9, 5, (2,), {})), minute(back), *risen]
    story += [minute(later), *snapshot(later, answer(later, 4, 2, (0,), {}))]
    rows = await samples(url, story, seed=5)
    assert [(row["minute"].timestamp(), *numbers(row)[:3]) for row in rows] == [
        (back, 3, 2, 1),
        (MINUTE, 9, 5, 2),
        (later, 4, 2, 0),
    ]


@pytest.mark.parametrize("name", ["rich22", "rich16"])
async def test_answers_of_a_real_asterisk_fill_a_sample(url: str, name: str) -> None:
    """The lists at the end of a recording are folded as the answers to a snapshot."""
    blocks = wire(name).split(b"\r\n\r\n")
    ends = (b"CoreCurrentCalls: ", b"Event: CoreShowChannelsComplete", b"Event: QueueStatusComplete")
    action_ids = [
        re.findall(rb"ActionID: (\S+)", [b for b in blocks if end in b and b"rec-19" not in b][-1])[0] for end in ends
    ]
    ids = dict(zip(action_ids, ACTIONS, strict=True))
    answers = []
    for block in blocks:
        match = re.search(rb"\r\nActionID: (\S+)", block)
        if match and match[1] in ids:
            action_id = f"ringledger/{MINUTE}/{ids[match[1]]}".encode()
            answers.append(ami(block.replace(match[1], action_id) + b"\r\n\r\n", MINUTE))
    (row,) = await samples(url, [minute(MINUTE), *snapshot(MINUTE, answers)])
    wire_text = b"".join(e.raw for e in answers)
    devices = dict(re.findall(rb"Event: QueueMember\r\n.*?Location: (\S+)\r\n.*?Status: (\d)", wire_text, re.DOTALL))
    assert numbers(row) == (
        9,
        int(re.findall(rb"CoreCurrentCalls: (\d+)", wire_text)[0]),
        sum(int(n) for n in re.findall(rb"\r\nCalls: (\d+)", wire_text)),
        dict(Counter(DEVICE_STATES[int(state)] for state in devices.values())),
    )
    assert len(devices) > 5


@pytest.mark.parametrize("seed", range(3))
async def test_random_cuts_make_the_same_samples(url: str, seed: int) -> None:
    chance = random.Random(seed)
    story: list[NewEvent] = []
    for number in range(60):
        at = MINUTE + 60 * number
        story.append(minute(at, chance.choice(("up", "up", "down"))))
        epoch = at + chance.choice((0, 0, 25))
        devices = {f"PJSIP/{n}": chance.randrange(9) for n in range(3)}
        taken = snapshot(epoch, answer(epoch, chance.randrange(50), 2, (chance.randrange(5),), devices))
        story += taken[: chance.choice((3, len(taken), len(taken)))]
    cut = await samples(url, story, seed)
    await append(url, story, pbx="whole")
    whole = [row for row in (await fold_log(url, (SAMPLES,)))["samples"] if row["pbx"] == "whole"]
    assert len(whole) == 60
    assert [tuple(r)[4:] for r in sorted(whole, key=lambda r: r["minute"])] == [tuple(r)[4:] for r in cut]


def test_sample_uuids_are_unique_and_contain_their_time() -> None:
    start = datetime(2026, 11, 22, 0, 56, tzinfo=UTC).timestamp()
    minutes = [datetime.fromtimestamp(start + 60 * n, UTC) for n in range(5000)]
    made = [time_uuid(m, pbx) for m in minutes for pbx in ("pbx", "other")]
    assert len(set(made)) == len(made)
    assert {uuid.UUID(text).version for text in made} == {1}
    assert {uuid.UUID(text).variant for text in made} == {uuid.RFC_4122}
    assert [time_of(text) for text in made[::2]] == minutes
    assert [uuid.UUID(text).time for text in made[::2]] == sorted(uuid.UUID(text).time for text in made[::2])
    assert time_uuid(minutes[0], "pbx") == made[0]
    # The cospace document's example is from March 2012.
    assert time_of("c7c1e972-7747-11e1-85ea-0024e8f90cc0").strftime("%Y-%m") == "2012-03"


@pytest.mark.parametrize("text", ["", "pbx", "d8c42a00-7747-41e1-a938-0024e8f90cc0"])
def test_other_texts_have_no_uuid_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"UUID"):
        time_of(text)


@pytest.mark.parametrize("epoch", ["²", "9" * 5000, "-1", ""])
def test_a_similar_action_id_has_no_epoch(epoch: str) -> None:
    assert epoch_of(f"ringledger/{epoch}/CoreStatus") is None
