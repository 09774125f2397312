"""Topics and message ids: normal form, order, and errors."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.http.errors import ApiError
from api.jade.stream import CATALOG
from api.stream.messages import LAST_NUMBER, StreamMessage, messages_of, parse_id
from api.stream.topics import TopicFilter, parse_topic, parse_topics, topic_of
from projections.calls.channels import Channel
from projections.calls.parked_calls import ParkedCall
from projections.engine.step import Change, StepFold
from schemas.log import RecordedEvent

AT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("/", "/"),
        ("/core", "/core/"),
        ("/core/", "/core/"),
        ("/core/channels/1.1", "/core/channels/1.1/"),
        ("/queue/members/sales/Al ice", "/queue/members/sales/Al%20ice/"),
        ("/queue/members/sales/Al%20ice", "/queue/members/sales/Al%20ice/"),
        ("/queue/members/%73ales", "/queue/members/sales/"),
        ("/peers/SIP%2f100", "/peers/SIP%2F100/"),
        ("/pjsip/contacts/100;@abc", "/pjsip/contacts/100%3B%40abc/"),
        ("/agents/\udcff", "/agents/%3F/"),
    ],
)
def test_equal_segments_give_the_same_topic(text: str, topic: str) -> None:
    assert parse_topic(text, CATALOG.paths) == topic


@pytest.mark.parametrize("text", ["", "core", "/cor", "/core/channel", "/queue/membersales", "/x/agents", "//cores"])
def test_an_unknown_topic_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="topic: there is no"):
        parse_topic(text, CATALOG.paths)


def test_a_topic_matches_its_prefixes_only() -> None:
    topic = topic_of("/queue/members", ("sales", "a/b"))
    assert topic == "/queue/members/sales/a%2Fb/"
    prefixes = ["/", "/queue", "/queue/members", "/queue/members/sales", "/queue/members/sales/a%2Fb"]
    others = ["/core", "/queue/members/sale", "/queue/members/sales2", "/queue/members/sales/a", "/queue/queues"]
    filters = [TopicFilter(parse_topics([text], CATALOG.paths)) for text in (*prefixes, *others)]
    assert [one.matches(topic, "x") for one in filters] == [True] * 5 + [False] * 5
    assert not TopicFilter(()).matches(topic, "x")
    assert [TopicFilter(("/",), "x").matches(topic, pbx) for pbx in ("x", "y", "")] == [True, False, False]
    assert TopicFilter(parse_topics(["/agents", "/queue", "/agents/"], CATALOG.paths)).topics == ("/agents/", "/queue/")


@pytest.mark.parametrize("text", ["", "x", "-1", "1.", ".1", "1.1.1", " 1", "1e3", "\u0661", "1" * 19, "1." + "1" * 10])
def test_a_malformed_id_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="last_event_id"):
        parse_id(text)


def test_ids_sort_in_the_order_of_their_messages() -> None:
    ids = ["0", "6.1", "6.2", "6.10", "6", "7.1", "7", "70"]
    assert sorted(ids, key=parse_id) == ids
    assert [StreamMessage(parse_id(text), "/", "", b"").id for text in ids] == ids
    assert parse_id("6") == (6, LAST_NUMBER)


def test_the_last_message_has_the_position_as_id() -> None:
    def channel(pbx: str, **more: Any) -> Channel:
        return Channel(pbx=pbx, tm_update=AT, unique_id="1.1", **more)

    def call(lot: str) -> ParkedCall:
        return ParkedCall(pbx="a", tm_update=AT, parkee_unique_id="1.1", parking_lot=lot)

    event = RecordedEvent(7, "a", "ami", "X", AT, b"", AT)
    changes = [
        Change("channels", None, channel("a")),
        Change("channels", channel("a"), channel("a", exten="1")),
        Change("parked_calls", call("one"), call("two")),
        Change("channels", channel("b"), None),
    ]
    messages = messages_of(event, changes, StepFold([], {}), CATALOG)
    assert [(m.id, *msgspec.json.decode(m.data)) for m in messages] == [
        ("7.1", "core.channel.create", "topic", "position", "id"),
        ("7.2", "core.channel.update", "topic", "position", "id"),
        ("7.3", "park.parkedcall.delete", "topic", "position", "id"),
        ("7.4", "park.parkedcall.create", "topic", "position", "id"),
        ("7", "core.channel.delete", "topic", "position", "id"),
    ]
    assert [m.topic for m in messages[2:4]] == ["/park/parkedcalls/one/1.1/", "/park/parkedcalls/two/1.1/"]
