"""Agents of app_agent_pool: logging in and out, pausing with reasons, serving a queue."""

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger
from tests.e2e.phone import Call
from tests.e2e.stories import wait_agent_state
from tests.e2e.truth import AGENTS, agree
from tests.support.polling import eventually


async def log_in(asterisk: Asterisk, user: str, agent: str, how: str = "22") -> Call:
    call = await (await asterisk.phone(user)).call(how + agent).up()
    await wait_agent_state(asterisk, agent, "NOT_INUSE")
    return call


async def test_agents_log_in_and_out(ledger: Ledger, asterisk: Asterisk) -> None:
    ann, ben = await log_in(asterisk, "103", "1001"), await log_in(asterisk, "104", "1002", how="21")
    tables = await agree(ledger, asterisk, "two are logged in")
    assert [row[1] for _, row in sorted(tables["agents"].items())][:3] == ["NOT_INUSE", "NOT_INUSE", "UNAVAILABLE"]
    await ann.hang_up()
    await wait_agent_state(asterisk, "1001", "UNAVAILABLE")
    await agree(ledger, asterisk, "one hung up")
    await asterisk.ami.act("AgentLogoff", Agent="1002", Soft="false")
    await ben.over()
    await wait_agent_state(asterisk, "1002", "UNAVAILABLE")
    await agree(ledger, asterisk, "the other was logged off")


async def test_another_agent_serves_during_a_pause(ledger: Ledger, asterisk: Asterisk) -> None:
    await log_in(asterisk, "103", "1001")
    ben = await log_in(asterisk, "104", "1002")
    await asterisk.ami.act("QueuePause", Interface="Local/1001@agents/n", Paused="true", Reason="coffee")
    tables = await agree(ledger, asterisk, "one is paused")
    assert tables["queue_members"]["billing Local/1001@agents/n"][5:7] == (1, "coffee")
    caller = await (await asterisk.phone("105")).call("202").up()
    await wait_agent_state(asterisk, "1002", "INUSE")

    async def talking() -> bool:
        return bool((await AGENTS.asterisk(asterisk))["1002"][3])

    await eventually(talking, "the agent has the caller")
    tables = await agree(ledger, asterisk, "the other serves")
    assert tables["agents"]["1001"][3] == ""
    await caller.hang_up()
    await wait_agent_state(asterisk, "1002", "INUSE")  # wrap-up
    await agree(ledger, asterisk, "wrapping up")
    await wait_agent_state(asterisk, "1002", "NOT_INUSE")
    await agree(ledger, asterisk, "ready again")
    await asterisk.ami.act("QueuePause", Interface="Local/1001@agents/n", Paused="false")
    await ben.hang_up()
    await wait_agent_state(asterisk, "1002", "UNAVAILABLE")
    await agree(ledger, asterisk, "one is left")
