"""The oldest families, without /admin: agents, device_states, peers, registries (seed 001:67-585).

Here ``/agents`` is the list and ``/agents/`` the detail, whose key comes in the body of the GET.
"""

from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from api.jade.resource import Resource, in_body
from api.stream.resources import StreamResource, segments_of, without
from projections.engine.step import StepFold

AGENTS_SQL = """
SELECT pbx, id FROM agents
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, id
"""

# The channel of an agent is a join; an agent who is logged off has none.
AGENT_SQL = """
SELECT a.pbx, a.id, a.name, a.status, coalesce(a.logged_in_time, 0) AS logged_in_time, a.call_started,
       coalesce(c.channel, '') AS channel_name, coalesce(c.channel_state, 0) AS channel_state,
       coalesce(c.channel_state_desc, '') AS channel_state_desc,
       coalesce(c.caller_id_name, '') AS caller_id_name, coalesce(c.caller_id_num, '') AS caller_id_num,
       coalesce(c.connected_line_name, '') AS connected_line_name,
       coalesce(c.connected_line_num, '') AS connected_line_num,
       coalesce(c.context, '') AS context, coalesce(c.exten, '') AS exten, coalesce(c.priority, '') AS priority,
       coalesce(c.account_code, '') AS account_code, coalesce(c.language, '') AS language,
       coalesce(a.unique_id, '') AS unique_id, coalesce(c.linked_id, '') AS linked_id,
       greatest(a.tm_update, c.tm_update) AS tm_update
FROM agents a
LEFT JOIN channels c ON c.pbx = a.pbx AND c.unique_id = a.unique_id
WHERE ($1::text IS NULL OR a.pbx = $1) AND a.id = $2::text
ORDER BY a.pbx
"""

DEVICES_SQL = """
SELECT pbx, device FROM device_states
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, device
"""

DEVICE_SQL = """
SELECT pbx, device, state, tm_update FROM device_states
WHERE ($1::text IS NULL OR pbx = $1) AND device = $2::text
ORDER BY pbx
"""

PEERS_SQL = """
SELECT pbx, peer FROM peers
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, peer
"""

# The seed asks for agent-01 and gets SIP/agent-01: the technology may be left out.
PEER_SQL = """
SELECT pbx, peer, status, address, monitor_status, channel_type, chan_object_type, dynamic, auto_comedia,
       auto_force_port, acl, comedia, description, force_port, realtime_device, text_support, video_support, tm_update
FROM peers
WHERE ($1::text IS NULL OR pbx = $1) AND (peer = $2::text OR substr(peer, strpos(peer, '/') + 1) = $2)
ORDER BY peer = $2 DESC, pbx, peer
"""

REGISTRIES_SQL = """
SELECT pbx, account FROM registries
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, account
"""

# The seed lists 2345@sip_proxy:5060 and asks for 2345@sip_proxy: the port may be left out.
REGISTRY_SQL = """
SELECT pbx, account, state, username, domain, domain_port, host, port, refresh, registration_time, tm_update
FROM registries
WHERE ($1::text IS NULL OR pbx = $1)
  AND (account = $2::text OR regexp_replace(account, ':[0-9]+$', '') = $2 OR account || ':' || domain_port = $2)
ORDER BY account = $2 DESC, pbx, account
"""

AGENTS = Resource("agents", AGENTS_SQL, ("agents",))
AGENT = Resource("agent", AGENT_SQL, ("agents", "channels"), one_by=in_body("id"))
DEVICES = Resource("device_states", DEVICES_SQL, ("device_states",))
DEVICE = Resource("device_state", DEVICE_SQL, ("device_states",), one_by=in_body("device"))
PEERS = Resource("peers", PEERS_SQL, ("peers",))
PEER = Resource("peer", PEER_SQL, ("peers",), one_by=in_body("peer"))
REGISTRIES = Resource("registries", REGISTRIES_SQL, ("registries",))
REGISTRY = Resource("registry", REGISTRY_SQL, ("registries",), one_by=in_body("account"))


AGENT_TEXTS = (
    *("channel_state_desc", "caller_id_name", "caller_id_num", "connected_line_name", "connected_line_num"),
    *("context", "exten", "priority", "account_code", "language", "linked_id"),
)


def streamed_agent(row: Any, _at: datetime, step: StepFold) -> dict[str, Any]:
    """Return the object of an agent's detail: the members of the channel are those of the agent's channel."""
    channel = step.rows("channels").get((row.pbx, row.unique_id))
    item = asdict(row)
    item["logged_in_time"] = row.logged_in_time or 0
    item["unique_id"] = row.unique_id or ""
    item["channel_name"] = channel.channel if channel else ""
    item["channel_state"] = channel.channel_state if channel else 0
    for column in AGENT_TEXTS:
        item[column] = getattr(channel, column) if channel else ""
    if channel is not None:
        item["tm_update"] = max(row.tm_update, channel.tm_update)
    return item


AGENT_STREAM = StreamResource("agent.agent", "/agents", "agents", segments_of("id"), streamed_agent)
DEVICE_STREAM = StreamResource("device.state", "/device_states", "device_states", segments_of("device"), without())
PEER_STREAM = StreamResource("sip.peer", "/peers", "peers", segments_of("peer"), without())
REGISTRY_STREAM = StreamResource(
    "sip.registry", "/registries", "registries", segments_of("account"), without("channel_type")
)
