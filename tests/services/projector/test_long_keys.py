"""Names of a hostile PBX that are too long for an index of PostgreSQL: only their events are rejected."""

import random
import time

import asyncpg

from projections import ALL
from schemas.log import SnapshotListed, SnapshotStarted
from services.projector.projector import Projector
from tests.support.folding import own
from tests.support.story import ami, append, event

LONG = random.Random(7).randbytes(4000).hex()


async def test_a_key_too_long_for_indexes_is_rejected(url: str, connection: asyncpg.Connection) -> None:
    now = time.time()
    module = f"{LONG}.so   Module    0   Running   core"
    hostile = [
        event("Newchannel", {"Uniqueid": LONG, "Linkedid": LONG, "Channel": f"PJSIP/{LONG}", "Context": LONG}),
        event("DeviceStateChange", {"Device": LONG, "State": "INUSE"}),
        event("QueueMemberAdded", {"Queue": LONG, "MemberName": LONG, "Interface": LONG}),
        event("QueueCallerJoin", {"Queue": LONG, "Uniqueid": LONG, "Channel": LONG, "Position": "1"}),
        event("ParkedCall", {"ParkeeUniqueid": LONG, "ParkeeChannel": LONG, "ParkingLot": LONG, "ParkingSpace": "1"}),
        event("ContactStatus", {"URI": LONG, "ContactStatus": "Created", "AOR": LONG, "EndpointName": LONG}),
        event("PeerStatus", {"Peer": f"SIP/{LONG}", "PeerStatus": "Registered"}),
        event("AgentLogin", {"Agent": LONG, "Channel": LONG, "Uniqueid": LONG}),
        event("Load", {"Module": LONG, "Status": "Success"}),
        event(
            "Cdr",
            {
                "UniqueID": LONG,
                "LinkedID": LONG,
                "Source": LONG,
                "Destination": LONG,
                "StartTime": "2026-11-29 12:00:00",
            },
        ),
        own(SnapshotStarted(7), now),
        event("EndpointList", {"ActionID": "ringledger/7/PJSIPShowEndpoints", "ObjectName": LONG}),
        event("AorList", {"ActionID": "ringledger/7/PJSIPShowAors", "ObjectName": LONG}),
        event("AuthList", {"ActionID": "ringledger/7/PJSIPShowAuths", "ObjectName": LONG}),
        event("QueueParams", {"ActionID": "ringledger/7/QueueStatus", "Queue": LONG}),
        event("Parkinglot", {"ActionID": "ringledger/7/Parkinglots", "Name": LONG}),
        ami(f"Response: Success\r\nActionID: ringledger/7/Command/modules\r\nOutput: {module}\r\n\r\n".encode()),
        own(SnapshotListed(7, "Command", "complete"), now),
    ]
    await append(url, [*hostile, event("Newchannel", {"Uniqueid": "1.1", "Linkedid": "1.1", "Channel": "PJSIP/1-1"})])
    projector = Projector(connection, ALL)
    await projector.open()
    while await projector.advance():
        pass
    assert projector.stopped == {}
    assert [row["unique_id"] for row in await connection.fetch("SELECT unique_id FROM channels")] == ["1.1"]
    unfit = await connection.fetch("SELECT model, name, error FROM ledger.unfit")
    assert {row["model"] for row in unfit} >= {"channels", "device_states", "queue_members", "modules", "pjsip_aors"}
    assert all(row["error"].startswith("a key of ") for row in unfit)
