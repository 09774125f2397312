"""A fake Asterisk 22 that replies to every list of a snapshot, and replies for other tests."""

from collections.abc import Callable

from services.asterisk.ami.lists import FREQUENT
from tests.support.fake_ami import FakeAmi, block


def reply_with_list(*items: str) -> Callable[[dict[str, str]], bytes]:
    """Make a reply with a list; an item is written ``Event|Header: value|...``."""

    def reply(action: dict[str, str]) -> bytes:
        number = f"ActionID: {action['ActionID']}"
        blocks = [block("Response: Success", number, "EventList: start", "Message: A list follows")]
        for item in items:
            event, *headers = item.split("|")
            blocks.append(block(f"Event: {event}", number, *headers))
        return b"".join(blocks) + block("Event: ListComplete", number, "EventList: Complete")

    return reply


def reply_with(*lines: str) -> Callable[[dict[str, str]], bytes]:
    """Make a reply of one block with these lines."""
    return lambda action: block(lines[0], f"ActionID: {action['ActionID']}", *lines[1:])


DENIED = reply_with("Response: Error", "Message: Permission denied")


def pbx22() -> FakeAmi:
    """Return an Asterisk 22 with two PJSIP endpoints, of which one is registered, and an IAX peer."""
    fake = FakeAmi()
    fake.replies = dict.fromkeys(FREQUENT, reply_with_list())
    fake.replies |= {
        "CoreStatus": reply_with("Response: Success", "CoreCurrentCalls: 0"),
        "CoreSettings": reply_with("Response: Success", "AMIversion: 11.0.0"),
        "PJSIPShowEndpoints": reply_with_list("EndpointList|ObjectName: 100", "EndpointList|ObjectName: 101"),
        "PJSIPShowEndpoint": reply_with_list("EndpointDetail|ObjectName: 100"),
        "PJSIPShowContacts": reply_with_list("ContactList|ObjectName: 100;@x|Uri: sip:100@127.0.0.10"),
        "PJSIPShowAors": reply_with_list("AorList|ObjectName: 100", "AorList|ObjectName: 101"),
        "PJSIPShowAuths": reply_with_list("AuthList|ObjectName: 100"),
        "PJSIPShowRegistrationsOutbound": reply_with_list(
            "OutboundRegistrationDetail|ObjectName: p|ClientUri: a|ServerUri: b"
        ),
        "IAXpeerlist": reply_with_list("PeerEntry|Channeltype: IAX|ObjectName: i"),
        "IAXregistry": reply_with_list("RegistryEntry|Host: 127.0.0.1:4569|Username: i"),
        "Command": reply_with("Response: Success", "Output: app_dial.so  Dialing  0  Running  core"),
    }
    return fake


Reply = Callable[[dict[str, str]], bytes]


def queue_status_reply(**members: list[str]) -> Reply:
    """Reply to QueueStatus as Asterisk does: the list of an unknown queue is empty."""

    def reply(action: dict[str, str]) -> bytes:
        number, name = f"ActionID: {action['ActionID']}", action["Queue"]
        blocks = block("Response: Success", number, "EventList: start", "Message: Queue status will follow")
        if name in members:
            blocks += block("Event: QueueParams", f"Queue: {name}", number)
        for interface in members.get(name, []):
            blocks += block("Event: QueueMember", f"Queue: {name}", f"Location: {interface}", number)
        return blocks + block("Event: QueueStatusComplete", number, "EventList: Complete")

    return reply
