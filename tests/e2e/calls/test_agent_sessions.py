"""Agents who log in with AgentLogin: their session is no call; pauses and logins in the figures of agents."""

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest

from services.log.times import rfc3339
from tests.e2e.calls.queue_steps import log_in, log_out, members
from tests.e2e.calls.scene import Scene
from tests.e2e.calls.story import Story, story_of
from tests.e2e.files import queue_log
from tests.e2e.stories import wait_agent_state
from tests.support.queue_log_sessions import Sessions

SESSION = Story("103", "221001", "pbx_only", "caller 103", destination="221001")


async def test_an_agent_serves_a_caller(scene: Scene) -> None:
    session = await log_in(scene, "103", "1001")
    caller = await (await scene.phone("105")).call("249").up()
    await scene.wait_talk("105", "103")
    await caller.hang_up()
    await log_out(scene, session, "1001")
    assert [story_of(call) for call in await scene.ended(2)] == [SESSION, served("caller 105", "caller")]


async def test_an_agent_ends_a_call_by_key(scene: Scene) -> None:
    """The key takes the Local channel out of the queue's bridge: Asterisk reports that the caller ended the call."""
    session = await log_in(scene, "103", "1001")
    caller = await (await scene.phone("105")).call("249").up()
    await scene.wait_talk("105", "103")
    while not caller.ended.is_set():  # Asterisk may lose a digit on its way through two bridges
        await session.press("*0")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await caller.over()
    await log_out(scene, session, "1001")
    assert [story_of(call) for call in await scene.ended(2)] == [SESSION, served("pbx", "caller")]


async def test_an_agent_transfers_by_key(scene: Scene) -> None:
    session = await log_in(scene, "103", "1001")
    caller = await (await scene.phone("105")).call("249").up()
    await scene.wait_talk("105", "103")
    carol = await scene.phone("102")
    await session.press("#1102")
    third = await carol.rung()
    third.answer()
    await scene.wait_talk("105", "102")
    await third.hang_up()
    await caller.over()
    await log_out(scene, session, "1001")
    story = served("callee 102", "transfer")
    story.transfers = ["blind by 103: 105 to 102 (102) answered"]
    story.rings, story.talks, story.holds = ["105 > 102 answered"], ["105 103", "105 102"], ["103"]
    story.callees = ["102"]
    assert [story_of(call) for call in await scene.ended(2)] == [SESSION, story]


async def test_logins_and_pauses_are_those_of_queue_log(scene: Scene) -> None:
    """The queue_log has whole seconds, and names a dynamic member's login by his interface."""
    act, start = scene.asterisk.ami.act, datetime.now(UTC)
    length = len(await queue_log(scene.asterisk))
    async with members(scene, "care", "PJSIP/104"), members(scene, "team", "PJSIP/104"):
        await act("QueuePause", Interface="PJSIP/104", Paused="true", Reason="lunch")
        session = await log_in(scene, "103", "1001")
        caller = await (await scene.phone("105")).call("249").up()
        await scene.wait_talk("105", "103")
        await caller.hang_up()
        await wait_agent_state(scene.asterisk, "1001", "NOT_INUSE")  # two seconds of wrap-up
        await act("QueuePause", Interface="PJSIP/104", Paused="false")
        await act("QueuePause", Queue="care", Interface="PJSIP/104", Paused="true", Reason="post")
        await log_out(scene, session, "1001")
        await act("QueuePause", Queue="team", Interface="PJSIP/104", Paused="true", Reason="coffee")
    await scene.ended(2)
    log, end = Sessions((await queue_log(scene.asterisk))[length:]), datetime.now(UTC)
    params = {"from": rfc3339(start, "microseconds"), "to": rfc3339(end, "microseconds")}
    async with scene.ledger.client.get("/v1/statistics/agents", params=params) as reply:
        totals = {row["name"]: row for row in (await reply.json())["totals"]}
    until, erin, ann = end.timestamp(), totals["Erin Eng"], totals["Agent Ann"]
    assert erin["login_seconds"] == pytest.approx(log.login_seconds("PJSIP/104", until), abs=2)
    lunch = next(pause for pause in log.pauses if pause.text == "lunch")
    assert lunch.ended_at is not None
    assert erin["pauses"]["lunch"] == pytest.approx(lunch.ended_at - lunch.started_at, abs=1.1)
    assert erin["pauses"].keys() == {"lunch", "coffee"}, "paused in one queue of two is no pause"
    assert erin["pause_seconds"] == pytest.approx(sum(erin["pauses"].values()))
    assert ann["login_seconds"] == pytest.approx(log.login_seconds("1001", until), abs=1.1)
    assert (erin["offered"], ann["pause_seconds"], ann["answered"], "1001" in totals) == (0, 0, 1, False)


def served(hangup: str, ended_by: str) -> Story:
    """Return the story of a caller 105 whom the agent 103 has served; the queue rings no phone."""
    story = Story("105", "249", "answered", hangup, "103", "103", talks=["105 103"], agents=["103"])
    story.queues = [f"billing: 105 answered by Agent Ann, ended by {ended_by}"]
    return story
