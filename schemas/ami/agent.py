"""Events about the agents of app_agent_pool."""

from msgspec import field

from schemas.ami import AmiEvent, Int


class AgentEvent(AmiEvent, frozen=True, kw_only=True, gc=False):
    """AgentLogin and AgentLogoff, with the channel that the agent logged in on."""

    agent: str = field(name="Agent", default="")
    unique_id: str = field(name="Uniqueid", default="")


class AgentListed(AgentEvent, frozen=True, kw_only=True, gc=False):
    r"""Agents: one agent of the response to Agents; times are seconds since the epoch.

    Asterisk (16 and 22, app_agent_pool.c) ends the line of CallStarted by LF alone, so its value runs on into the
    next header: ``1795309049\nLoggedInTime: 1795309020``.
    """

    name: str = field(name="Name", default="")
    status: str = field(name="Status", default="")
    logged_in_time: Int | None = field(name="LoggedInTime", default=None)
    call_started: str = field(name="CallStarted", default="")
