"""The output of Asterisk's CLI and Ringledger's tables as the same tuples, and the comparison of the two.

The CLI is read before and after the tables; only if both outputs are the same was there one truth to compare with.
Values that tick (durations, waits) are left out, as are values that no event has (a contact's round trip).
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from tests.e2e.asterisk import Asterisk
from tests.e2e.ledger import Ledger

Rows = dict[str, tuple[Any, ...]]
"""Rows by their key."""


class Kind(Struct, frozen=True):
    """One thing that both sides can list; ``columns`` are compared, ``ours`` yields the key first.

    ``view`` is its path, with the members of an item that make the key and the columns. An empty member is missing
    from the documented view.
    """

    name: str
    columns: tuple[str, ...]
    asterisk: Callable[[Asterisk], Awaitable[Rows]]
    ours: str
    view: tuple[str, tuple[str, ...], str] | None = None

    async def served(self, ledger: Ledger, theirs: Rows) -> Rows:
        """Return the rows of the view; columns that it lacks are taken from ``theirs``."""
        assert self.view
        path, key, members = self.view
        rows: Rows = {}
        for item in await ledger.served(path):
            name = " ".join(str(item[part]) for part in key)
            columns_of = theirs.get(name, (None,) * len(self.columns))
            rows[name] = tuple(
                columns_of[i] if member == "-" else "" if item[member] is None else item[member]
                for i, member in enumerate(members.split())
            )
        return rows


async def channels(asterisk: Asterisk) -> Rows:
    """``core show channels concise``; its duration is left out: it ticks."""
    rows: Rows = {}
    for line in await asterisk.cli("core show channels concise"):
        if "!" in line:
            name, context, exten, priority, state, app, data, number, account, _, _, _, bridge, unique = line.split("!")
            rows[unique] = (
                *(name, context, exten, priority, state),
                *("" if app == "(None)" else app, data, number, account, bridge),
            )
    return rows


CHANNELS = Kind(
    "channels",
    ("channel", "context", "exten", "priority", "state", "application", "data", "number", "account", "bridge"),
    channels,
    """
    SELECT unique_id, channel, context, exten, priority, channel_state_desc, application, application_data,
           caller_id_num, account_code, coalesce(bridge_id, '')
    FROM channels
    """,
    (
        "/v1/admin/core/channels",
        ("unique_id",),
        (
            "channel context exten priority channel_state_desc application application_data"
            " caller_id_num account_code bridge_id"
        ),
    ),
)

QUEUE = re.compile(
    r"(?P<name>\S+) has (?P<calls>\d+) calls \(max (?P<max>\w+)\) in '(?P<strategy>\w+)' strategy"
    r" \((?P<hold>\d+)s holdtime, (?P<talk>\d+)s talktime\), W:(?P<weight>\d+), C:(?P<completed>\d+),"
    r" A:(?P<abandoned>\d+), SL:(?P<perf>[\d.]+)%, SL2:(?P<perf2>[\d.]+)% within (?P<level>\d+)s"
)
MEMBER = re.compile(
    r" {6}(?P<name>[^(]*?)(?: ?\((?!ringinuse )(?P<interface>\S+?)(?: from (?P<state>[^)]+))?\))?"
    r"(?: with penalty (?P<penalty>\d+))?"
    r" \(ringinuse (?P<ringinuse>\w+)\)(?P<flags>(?: \((?:dynamic|realtime|in call|paused.*? was \d+ secs ago)\))*)"
    r" \((?P<status>[\w+ ]+)\) has taken (?P<taken>no|\d+) calls"
)
CALLER = re.compile(r" {6}(?P<position>\d+)\. (?P<channel>\S+) \(wait: (?P<wait>[\d:]+), prio: (?P<priority>\d+)\)")
PAUSED = re.compile(r"\(paused(?::(.*?))? was \d+ secs ago\)")
STATUS = ("Unknown", "Not in use", "In use", "Busy", "Invalid", "Unavailable", "Ringing", "Ring+Inuse", "On Hold")


async def _queue_lines(asterisk: Asterisk, pattern: re.Pattern[str]) -> list[tuple[str, re.Match[str]]]:
    queue, matches = "", []
    for line in await asterisk.cli("queue show"):
        if header := QUEUE.match(line):
            queue = header["name"]
        if match := pattern.match(line):
            matches.append((queue, match))
        assert header or CALLER.match(line) or MEMBER.match(line) or not line.startswith("      "), f"strange: {line!r}"
    return matches


async def queues(asterisk: Asterisk) -> Rows:
    return {
        name: (
            *(int(q["calls"]), 0 if q["max"] == "unlimited" else int(q["max"]), q["strategy"], int(q["weight"])),
            *(int(q["hold"]), int(q["talk"]), int(q["completed"]), int(q["abandoned"])),
            *(float(q["perf"]), float(q["perf2"]), int(q["level"])),
        )
        for name, q in await _queue_lines(asterisk, QUEUE)
    }


QUEUES = Kind(
    "queues",
    ("calls", "max", "strategy", "weight", "hold", "talk", "completed", "abandoned", "perf", "perf2", "level"),
    queues,
    """
    SELECT name, calls, max, strategy, weight, hold_time, talk_time, completed, abandoned, service_level_perf,
           service_level_perf2, service_level
    FROM queues
    """,
    (
        "/v1/admin/queue/queues",
        ("name",),
        "calls max strategy weight hold_time talk_time completed abandoned service_level_perf - service_level",
    ),
)


async def queue_members(asterisk: Asterisk) -> Rows:
    """The members' part of ``queue show``; its seconds since login, pause and last call are left out: they tick."""
    rows: Rows = {}
    for queue, m in await _queue_lines(asterisk, MEMBER):
        paused = PAUSED.search(m["flags"])
        interface = m["interface"] or m["name"]  # printed once where both are the same
        rows[f"{queue} {interface}"] = (
            *(m["name"] or interface, m["state"] or interface, int(m["penalty"] or 0)),
            *("dynamic" if "(dynamic)" in m["flags"] else "static", int("(in call)" in m["flags"])),
            *(int(paused is not None), (paused[1] if paused else "") or ""),
            *(STATUS.index(m["status"]), 0 if m["taken"] == "no" else int(m["taken"])),
        )
    return rows


QUEUE_MEMBERS = Kind(
    "queue_members",
    ("name", "state_interface", "penalty", "membership", "in_call", "paused", "reason", "status", "taken"),
    queue_members,
    """
    SELECT queue_name || ' ' || location, name, state_interface, penalty, membership, in_call, paused, paused_reason,
           status, calls_taken
    FROM queue_members
    """,
    (
        "/v1/admin/queue/members",
        ("queue_name", "location"),
        "name state_interface penalty membership in_call paused paused_reason status calls_taken",
    ),
)


async def queue_entries(asterisk: Asterisk) -> Rows:
    """The callers' part of ``queue show``, without the wait, which ticks, and the priority, which no event has."""
    return {f"{queue} {c['channel']}": (int(c["position"]),) for queue, c in await _queue_lines(asterisk, CALLER)}


QUEUE_ENTRIES = Kind(
    "queue_entries",
    ("position",),
    queue_entries,
    "SELECT queue_name || ' ' || channel, position FROM queue_entries",
    ("/v1/admin/queue/entries", ("queue_name", "channel"), "position"),
)


async def agents(asterisk: Asterisk) -> Rows:
    """``agent show all``, which has columns of fixed width."""
    rows: Rows = {}
    for line in await asterisk.cli("agent show all"):
        if re.match(r"\d+ ", line):
            rows[line[:8].strip()] = tuple(line[a:b].strip() for a, b in ((9, 29), (30, 41), (42, 72), (73, None)))
    return rows


AGENTS = Kind(
    "agents",
    ("name", "state", "channel", "talking_with"),
    agents,
    """
    SELECT a.id, a.name, coalesce(d.state, ''), coalesce(c.channel, ''), coalesce(o.channel, '')
    FROM agents a
    LEFT JOIN device_states d ON d.device = 'Agent:' || a.id
    LEFT JOIN channels c ON c.unique_id = a.unique_id
    LEFT JOIN channels o ON a.status = 'AGENT_ONCALL' AND o.bridge_id = c.bridge_id AND o.unique_id <> c.unique_id
    """,
)


async def _lots(asterisk: Asterisk) -> dict[str, list[str]]:
    names = [line.partition(":")[2].strip() for line in await asterisk.cli("parking show") if "Parking Lot:" in line]
    return {name: await asterisk.cli(f"parking show {name}") for name in names}


async def parking_lots(asterisk: Asterisk) -> Rows:
    rows: Rows = {}
    for name, lines in (await _lots(asterisk)).items():
        shown = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        first, _, last = shown["Parking Spaces"].partition("-")
        rows[name] = (first, last, int(shown["Parking Time"].removesuffix(" sec")))
    return rows


PARKING_LOTS = Kind(
    "parking_lots",
    ("start_space", "stop_space", "timeout"),
    parking_lots,
    "SELECT name, start_space, stop_space, timeout FROM parking_lots",
    ("/v1/admin/park/parkinglots", ("name",), "start_space stop_spcae timeout"),
)


async def parked_calls(asterisk: Asterisk) -> Rows:
    rows: Rows = {}
    for name, lines in (await _lots(asterisk)).items():
        values = [line.partition(":")[2].strip() for line in lines[lines.index("Parked Calls") :] if ":" in line]
        for space, channel, parker in zip(values[::3], values[1::3], values[2::3], strict=True):
            rows[f"{name} {space}"] = (channel, parker)
    return rows


PARKED_CALLS = Kind(
    "parked_calls",
    ("channel", "parker"),
    parked_calls,
    "SELECT parking_lot || ' ' || parking_space, parkee_channel, parker_dial_string FROM parked_calls",
    ("/v1/admin/park/parkedcalls", ("parking_lot", "parking_space"), "parkee_channel parker_dial_string"),
)

CONTACT = re.compile(r" +Contact: +(?P<aor>[^/ ]+)/(?P<uri>\S+) +(?P<hash>\w{10}) (?P<status>\w+)")
CONTACT_STATUS = {
    "Avail": "Reachable",
    "Unavail": "Unreachable",
    "NonQual": "NonQualified",
    "Unknown": "Unknown",
    "Created": "Created",
}


async def contacts(asterisk: Asterisk) -> Rows:
    """``pjsip show contacts``; the round trip is left out: not each qualification has an event."""
    matches = map(CONTACT.match, await asterisk.cli("pjsip show contacts"))
    return {f"{m['aor']} {m['uri']}": (m["hash"], CONTACT_STATUS[m["status"]]) for m in matches if m}


CONTACTS = Kind(
    "pjsip_contacts",
    ("hash", "status"),
    contacts,
    "SELECT aor || ' ' || uri, left(split_part(id, ';@', 2), 10), status FROM pjsip_contacts",
    ("/v1/admin/pjsip/contacts", ("aor", "uri"), "- status"),
)


async def endpoints(asterisk: Asterisk) -> Rows:
    matches = (
        re.match(r" Endpoint: +([^/ ]+)\S* +(\S.*?) +\d+ of ", line)
        for line in await asterisk.cli("pjsip show endpoints")
    )
    return {m[1]: (m[2],) for m in matches if m}


ENDPOINTS = Kind(
    "pjsip_endpoints",
    ("state",),
    endpoints,
    "SELECT object_name, device_state FROM pjsip_endpoints",
    ("/v1/admin/pjsip/endpoints", ("object_name",), "device_state"),
)


async def aors(asterisk: Asterisk) -> Rows:
    rows: dict[str, tuple[int, set[str]]] = {}
    for line in await asterisk.cli("pjsip show aors"):
        if m := re.match(r" +Aor: +(\S+) +(\d+)$", line):
            rows[m[1]] = int(m[2]), set()
        elif m := CONTACT.match(line):
            rows[m["aor"]][1].add(f"{m['aor']}/{m['uri']}")
    return {name: (maximum, ",".join(sorted(matches))) for name, (maximum, matches) in rows.items()}


AORS = Kind(
    "pjsip_aors",
    ("max_contacts", "contacts"),
    aors,
    """
    SELECT object_name, max_contacts, coalesce((
        SELECT string_agg(c, ',' ORDER BY c) FROM unnest(string_to_array(contacts, ',')) c WHERE c <> ''
    ), '')
    FROM pjsip_aors
    """,
    ("/v1/admin/pjsip/aors", ("object_name",), "max_contacts contacts"),
)


async def auths(asterisk: Asterisk) -> Rows:
    matches = (re.match(r" +Auth: +([^/]+)/(\S+)", line) for line in await asterisk.cli("pjsip show auths"))
    return {m[1]: (m[2],) for m in matches if m}


AUTHS = Kind(
    "pjsip_auths",
    ("username",),
    auths,
    "SELECT object_name, username FROM pjsip_auths",
    ("/v1/admin/pjsip/auths", ("object_name",), "username"),
)


async def registrations(asterisk: Asterisk) -> Rows:
    matches = (
        re.match(r" +([^/ <]+)/(sip:\S+) +\S+ +(\S.*?)(?: +\(exp\..*\))?$", line)
        for line in await asterisk.cli("pjsip show registrations")
    )
    return {m[1]: (m[2], m[3].strip()) for m in matches if m}


REGISTRATIONS = Kind(
    "pjsip_registrations",
    ("server_uri", "status"),
    registrations,
    "SELECT object_name, server_uri, status FROM pjsip_registrations",
    ("/v1/admin/pjsip/registration_outbounds", ("object_name",), "server_uri status"),
)


async def devices(asterisk: Asterisk) -> Rows:
    """The CLI does not list devices, so this is AMI's list, without those that Asterisk itself forgets."""
    items = await asterisk.ami.items("DeviceStateList")
    return {i["Device"]: (i["State"],) for i in items if not i["Device"].startswith(("Local/", "CBAnn/", "Announcer/"))}


DEVICES = Kind("device_states", ("state",), devices, "SELECT device, state FROM device_states")


async def modules(asterisk: Asterisk) -> Rows:
    matches = (
        re.match(r"(\S+?)(?:\.so)? .* \d+ +(Running|Not Running) +\w+$", line)
        for line in await asterisk.cli("module show")
    )
    return {m[1]: (m[2],) for m in matches if m}


MODULES = Kind(
    "modules",
    ("load",),
    modules,
    "SELECT name, load FROM modules",
    ("/v1/admin/core/modules", ("name",), "load"),
)


async def peers(asterisk: Asterisk) -> Rows:
    """``iax2 show peers`` and, where Asterisk still has it, ``sip show peers``: who is monitored, and how they are."""
    rows: Rows = {}
    for technology, command in (("IAX2", "iax2 show peers"), ("SIP", "sip show peers")):
        if technology == "SIP" and asterisk.version != "16":
            continue
        for line in (await asterisk.cli(command))[1:-1]:
            if m := re.match(r"([^/ ]+).*? (UNKNOWN|UNREACHABLE|Unmonitored|(?:OK|LAGGED) \(\d+ ms\))", line):
                rows[f"{technology}/{m[1]}"] = (m[2],)
    return rows


PEERS = Kind(
    "peers", ("monitor_status",), peers, "SELECT peer, monitor_status FROM peers WHERE peer NOT LIKE 'PJSIP/%'"
)


async def systems(asterisk: Asterisk) -> Rows:
    shown = {k.strip(): v.strip() for k, _, v in (x.partition(":") for x in await asterisk.cli("core show settings"))}
    version = shown["Version"]
    return {"pbx": (version, shown["Startup time"], shown["Last reload time"])}


SYSTEMS = Kind(
    "systems",
    ("ast_version", "startup_time", "reload_time"),
    systems,
    "SELECT pbx, ast_version, startup_time, reload_time FROM systems",
    ("/v1/admin/core/systems", ("pbx",), "ast_version startup_time reload_time"),
)

CORE = (MODULES, PEERS, SYSTEMS)
CALLS = (CHANNELS, DEVICES)
SERVICE = (QUEUES, QUEUE_MEMBERS, QUEUE_ENTRIES, AGENTS)
PARKING = (PARKING_LOTS, PARKED_CALLS)
PJSIP = (CONTACTS, ENDPOINTS, AORS, AUTHS, REGISTRATIONS)
ALL = (*CALLS, *SERVICE, *PARKING, *PJSIP)


def difference(kind: Kind, theirs: Rows, ours: Rows, untold: tuple[str, ...]) -> str:
    """Say what differs, key by key; empty when nothing does. ``untold`` columns are not compared."""
    lines = []
    for key in sorted(theirs.keys() | ours.keys()):
        if key not in ours:
            lines.append(f"  {key}: Asterisk has it, we do not: {theirs[key]}")
        elif key not in theirs:
            lines.append(f"  {key}: we have it, Asterisk does not: {ours[key]}")
        else:
            lines += [
                f"  {key} {column}: Asterisk {a!r}, we {b!r}"
                for column, a, b in zip(kind.columns, theirs[key], ours[key], strict=True)
                if a != b and f"{kind.name}.{column}" not in untold
            ]
    return f"{kind.name} differ:\n" + "\n".join(lines) if lines else ""


ROUNDS = 8


async def agree(
    ledger: Ledger,
    asterisk: Asterisk,
    when: str,
    kinds: tuple[Kind, ...] = ALL,
    *,
    seconds: float = 3.0,
    untold: tuple[str, ...] = (),
) -> dict[str, Rows]:
    """Fail unless our tables agree with Asterisk within ``seconds``; return their rows, by kind's name.

    A slow machine has longer: it compares `ROUNDS` times at least. All earlier events are folded each time.

    ``untold`` names the columns (``kind.column``) that no event of the story has, only a snapshot.
    """
    deadline = time.monotonic() + seconds
    wrong = "Asterisk never said the same twice"
    rounds = 0
    while True:
        rounds += 1
        before = [await kind.asterisk(asterisk) for kind in kinds]
        await ledger.caught_up(asterisk)
        ours = [{str(row[0]): tuple(row)[1:] for row in await ledger.rows(kind.ours)} for kind in kinds]
        after = [await kind.asterisk(asterisk) for kind in kinds]
        views = {
            kind.name: await kind.served(ledger, theirs) for kind, theirs in zip(kinds, after, strict=True) if kind.view
        }
        if before == after == [await kind.asterisk(asterisk) for kind in kinds]:
            pairs = list(zip(kinds, after, ours, strict=True))
            wrong = "\n".join(
                filter(
                    None,
                    (
                        *(difference(*three, untold) for three in pairs),
                        *(
                            difference(kind, theirs, views[kind.name], untold).replace("differ:", "differ over HTTP:")
                            for kind, theirs, _ in pairs
                            if kind.view
                        ),
                    ),
                )
            )
            if not wrong:
                return {kind.name: rows for kind, rows in zip(kinds, ours, strict=True)}
        if time.monotonic() > deadline and rounds >= ROUNDS:
            raise AssertionError(f"{when}, Asterisk {asterisk.version}: {wrong}")
