"""Recordings of real Asterisks as a listener logs them, between events of its own."""

import re
import time

import msgspec

from schemas.log import Connected, Minute, NewEvent, RingledgerEvent, SnapshotCompleted, SnapshotListed, SnapshotStarted

MINUTE = int(time.time()) // 60 * 60


def listener_events(data: bytes) -> list[bytes | RingledgerEvent | NewEvent]:
    """Return a recording between the events of a listener, with its responses to CoreStatus and CoreSettings."""
    responses: list[NewEvent] = []
    for action, member in (("CoreStatus", b"CoreStartupDate"), ("CoreSettings", b"AMIversion")):
        match = re.search(rb"Response: Success\r\nActionID: [^\r]*(\r\n" + member + rb":.*?\r\n\r\n)", data, re.DOTALL)
        assert match
        raw = f"Response: Success\r\nActionID: ringledger/{MINUTE}/{action}".encode() + match[1]
        responses.append(NewEvent("ami", f"Response:{action}", None, time.time(), raw))
    return [
        Connected("127.0.0.1:5038", "Asterisk Call Manager/11.0.0"),
        *(Minute(MINUTE - 60 * n, "up", 6000) for n in (3, 2, 1)),
        data,
        # Recorded in its own minute, however long ago that was by the time of this test.
        NewEvent("ringledger", "SnapshotStarted", None, MINUTE, msgspec.json.encode(SnapshotStarted(MINUTE))),
        *responses,
        SnapshotListed(MINUTE, "CoreStatus", "complete"),
        SnapshotCompleted(MINUTE),
        Minute(MINUTE, "up", 6000),
    ]
