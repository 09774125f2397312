"""Events that add a member to a queue."""

from tests.support.fake_ami import block


def dynamic_member_added(queue: str, name: str) -> bytes:
    return (
        f"Event: QueueMemberAdded\r\nQueue: {queue}\r\nMemberName: {name}\r\nInterface: PJSIP/{name}\r\n"
        f"StateInterface: PJSIP/{name}\r\nMembership: dynamic\r\nPenalty: 0\r\nCallsTaken: 0\r\nLastCall: 0\r\n"
        "LastPause: 0\r\nInCall: 0\r\nStatus: 1\r\nPaused: 0\r\nPausedReason: \r\nRinginuse: 1\r\n\r\n"
    ).encode()


def member_added(queue: str, name: str, interface: str) -> bytes:
    who = (f"Queue: {queue}", f"MemberName: {name}", f"Interface: {interface}")
    return block("Event: QueueMemberAdded", *who, "Penalty: 0", "Paused: 0", "PausedReason: ", "Ringinuse: 0")
