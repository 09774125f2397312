"""Agents of app_agent_pool, as in the action Agents, and between its responses too.

An agent is on call exactly while its channel is in a bridge that is not of type ``agent_hold``. The device state
``Agent:<id>`` is no substitute: it is INUSE while a call is offered and during wrapup as well (it is in
``device_states``, and is the State that `agent show all` prints). The channel's own columns are a join of ``unique_id``
with ``channels``; who the agent talks to is the other channel of its bridge.
"""

from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.agent import AgentEvent, AgentListed
from schemas.ami.channel import BridgeMember, HangupEvent, NewExten
from schemas.ami.transfer import AttendedTransfer

LOGGED_OFF, IDLE, ON_CALL = "AGENT_LOGGEDOFF", "AGENT_IDLE", "AGENT_ONCALL"


class Agent(Row):
    """One agent, logged in or not; times are seconds since the epoch.

    ``unique_id`` is that of the agent's channel. That channel's linked id changes with its calls, so it comes from
    the join too. Events lack the agent's name: an agent whose first event is a login has no name until the next list.
    """

    id: str
    name: str = ""
    status: str = LOGGED_OFF
    logged_in_time: int | None = None
    call_started: int | None = None
    unique_id: str | None = None


def by_id(e: Any) -> Key | None:
    return (e.agent,) if e.agent else None


def by_channel(e: Any) -> Key | None:
    return (e.unique_id,) if e.unique_id else None


def by_application(e: NewExten) -> Key | None:
    return (e.app_data.split(",")[0].strip(),) if e.application == "AgentLogin" and e.app_data else None


def entering_bridge(e: BridgeMember) -> Key | None:
    if e.bridge_type != "agent_hold":
        return by_channel(e)
    return (e.swap_unique_id,) if e.swap_unique_id else None


def left_bridge(e: BridgeMember) -> Key | None:
    return by_channel(e) if e.bridge_type != "agent_hold" else None


def by_replaced(e: AttendedTransfer) -> Key | None:
    return (e.replaced(),) if e.replaced() and e.replacement().unique_id else None


def log_in(row: Agent | None, e: NewExten) -> Agent | None:
    """Log the agent in at the start of the application AgentLogin, before its greeting.

    The event AgentLogin comes after the greeting; Asterisk's own login time is that of the application's start.
    """
    if row is None or row.status != LOGGED_OFF:
        return row
    return replace(row, status=IDLE, logged_in_time=int(e.at.timestamp()), unique_id=e.unique_id)


def complete_login(row: Agent | None, e: AgentEvent) -> Agent:
    if row is not None and row.unique_id == e.unique_id:
        return row
    return Agent(
        pbx=e.pbx,
        tm_update=e.at,
        id=e.agent,
        name=row.name if row else "",
        status=IDLE,
        logged_in_time=int(e.at.timestamp()),
        unique_id=e.unique_id,
    )


def log_off(row: Agent | None, _e: AgentEvent | HangupEvent) -> Agent | None:
    if row is None:
        return None
    return replace(row, status=LOGGED_OFF, logged_in_time=None, call_started=None, unique_id=None)


def enter(row: Agent, e: BridgeMember) -> Agent:
    """Start an agent's call, or record the channel that replaces the agent's one in the holding bridge.

    The agent stays logged in, on that channel (app_agent_pool.c, bridge_agent_hold_push).
    """
    if e.bridge_type == "agent_hold":
        return replace(row, unique_id=e.unique_id)
    return row if row.status == ON_CALL else replace(row, status=ON_CALL, call_started=int(e.at.timestamp()))


def release(row: Agent, _e: BridgeMember) -> Agent:
    return replace(row, status=IDLE, call_started=None)


def transfer(row: Agent, e: AttendedTransfer) -> Agent:
    """Record the agent's new channel after a transfer during the greeting of AgentLogin, outside a bridge."""
    return replace(row, unique_id=e.replacement().unique_id)


def apply_list_item(row: Agent | None, e: AgentListed) -> Agent:
    started, _, rest = e.call_started.partition("\n")
    call_started, login = seconds(started), seconds(rest.partition(":")[2])
    if row is not None and row.status == e.status == ON_CALL and row.unique_id == e.unique_id:
        call_started = row.call_started
    return Agent(
        pbx=e.pbx,
        tm_update=e.at,
        id=e.agent,
        name=e.name,
        status=e.status,
        logged_in_time=login if e.logged_in_time is None else e.logged_in_time,
        call_started=call_started,
        unique_id=e.unique_id or None,
    )


def seconds(text: str) -> int | None:
    """Return seconds since the epoch, None for an empty text. Raises ValueError for any other text."""
    if not text.strip():
        return None
    value = int(text)
    if not 0 <= value < 2**53:
        raise ValueError(f"no time: {value}")
    return value


AGENTS = ReadModel(
    name="agents",
    version=2,
    row=Agent,
    key=("id",),
    on={
        "Agents": Handler(AgentListed, by_id, apply_list_item, list_item_wins=True),
        "AgentLogin": Handler(AgentEvent, by_id, complete_login),
        "AgentLogoff": Handler(AgentEvent, by_id, log_off),
        "Newexten": Handler(NewExten, by_application, log_in),
        "BridgeEnter": Handler(BridgeMember, entering_bridge, enter, match_column="unique_id"),
        "BridgeLeave": Handler(BridgeMember, left_bridge, release, match_column="unique_id"),
        "AttendedTransfer": Handler(AttendedTransfer, by_replaced, transfer, match_column="unique_id"),
        "Hangup": Handler(HangupEvent, by_channel, log_off, match_column="unique_id"),
    },
    lists={"Agents": None},
)
