"""The oldest families, without /admin: agents, device_states, peers, registries (seed 001:67-585).

Here ``/agents`` is the list and ``/agents/`` the detail, whose key comes in the body of the GET.
"""

from aiohttp import web

from api.auth import needs
from api.jade.resource import Resource, get, in_body

PEERS = """
SELECT pbx, peer FROM peers
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, peer
"""

# The seed asks for agent-01 and gets SIP/agent-01: the technology may be left out.
PEER = """
SELECT pbx, peer, status, address, monitor_status, channel_type, chan_object_type, dynamic, auto_comedia,
       auto_force_port, acl, comedia, description, force_port, realtime_device, text_support, video_support, tm_update
FROM peers
WHERE ($1::text IS NULL OR pbx = $1) AND (peer = $2::text OR substr(peer, strpos(peer, '/') + 1) = $2)
ORDER BY peer = $2 DESC, pbx, peer
"""

REGISTRIES = """
SELECT pbx, account FROM registries
WHERE ($1::text IS NULL OR pbx = $1) AND $2::text IS NULL
ORDER BY pbx, account
"""

# The seed lists 2345@sip_proxy:5060 and asks for 2345@sip_proxy: the port may be left out.
REGISTRY = """
SELECT pbx, account, state, username, domain, domain_port, host, port, refresh, registration_time, tm_update
FROM registries
WHERE ($1::text IS NULL OR pbx = $1)
  AND (account = $2::text OR regexp_replace(account, ':[0-9]+$', '') = $2 OR account || ':' || domain_port = $2)
ORDER BY account = $2 DESC, pbx, account
"""


def root(listed: Resource, found: Resource, path: str, *, opened: bool) -> list[web.RouteDef]:
    """Routes of a family; ``opened`` lets anybody read the forms without version."""
    all_, one = get(listed.all), get(found.one)
    return [
        web.get(path, all_ if opened else needs("admin", all_)),
        web.get(path + "/", one if opened else needs("admin", one)),
        web.get("/v1" + path, needs("admin", all_)),
        web.get(f"/v1{path}/", needs("admin", one)),
    ]


def routes(*, opened: bool) -> list[web.RouteDef]:
    return [
        *root(
            Resource("peers", PEERS, ("peers",)),
            Resource("peer", PEER, ("peers",), one_by=in_body("peer")),
            "/peers",
            opened=opened,
        ),
        *root(
            Resource("registries", REGISTRIES, ("registries",)),
            Resource("registry", REGISTRY, ("registries",), one_by=in_body("account")),
            "/registries",
            opened=opened,
        ),
    ]
