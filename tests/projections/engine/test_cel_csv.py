"""A line of a CEL csv is read as the event CEL that cel_manager sends of the same moment."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.engine.decoding import DecodedEvent
from projections.engine.headers import HeaderSubset, headers_of
from schemas.ami import cel
from schemas.ami.cel import CelDetails, CelEvent
from schemas.cel_columns import BRIEF, DEFAULT, ColumnsError, layout, parse_columns
from schemas.log import RecordedEvent, Source
from services.asterisk.ami.framing import Framer
from tests.captures import truth, wire

AT = datetime(2026, 11, 22, tzinfo=UTC)


def decoded(raw: bytes, source: Source = "cel_csv", name: str = cel.NAME) -> CelEvent:
    event = DecodedEvent(RecordedEvent(1, "pbx", source, name, AT, raw, AT))
    shaped: CelEvent = event.convert(CelEvent)
    return shaped


def line(**values: str) -> bytes:
    return (",".join('"' + values.get(name, "").replace('"', '""') + '"' for name in DEFAULT) + "\n").encode()


def members(event: CelEvent) -> tuple[Any, ...]:
    """Return what the columns of the recordings' files have."""
    fields: tuple[str, ...] = (
        "event_name",
        "event_time",
        "caller_id_name",
        "caller_id_num",
        "exten",
        "context",
        "channel",
    )
    fields += ("application", "app_data", "unique_id", "linked_id", "peer", "user_field", "user_event")
    return tuple(getattr(event, field) for field in fields), event.details


@pytest.mark.parametrize("name", ["rich22", "rich16"])
def test_a_file_equals_the_events(name: str) -> None:
    blocks = [block for block in Framer().feed(wire(name)) if block.startswith(b"Event: CEL\r\n")]
    received = Counter(members(decoded(block, "ami")) for block in blocks)
    lines = Counter(members(decoded(text.encode())) for text in truth(name, "cel.csv").splitlines(keepends=True))
    assert received.total() == len(blocks) > 3000
    assert received - lines == Counter()
    types = {key[0][0] for key in lines}
    assert {"CHAN_START", "BRIDGE_ENTER", "HANGUP", "ATTENDEDTRANSFER", "PICKUP"} <= types <= cel.TYPES


def test_extra_is_decoded_whatever_it_holds() -> None:
    hangup = line(
        eventtype="HANGUP", eventextra='{"hangupcause":16,"hangupsource":"dialplan/builtin","dialstatus":"BUSY"}'
    )
    assert decoded(hangup).details == CelDetails(16, "dialplan/builtin", "BUSY")
    old = line(eventtype="HANGUP", eventextra="16,SIP/200-1,ANSWER")
    assert decoded(old).details == CelDetails(16, "SIP/200-1", "ANSWER")
    for text in ("", "{", "[]", "7", '{"hangupcause":"x","bridge_id":{}}', '{"hangupcause":true}', "a,b"):
        assert decoded(line(eventtype="X", eventextra=text)).details == CelDetails()
    huge = decoded(line(eventtype="HANGUP", eventextra='{"hangupcause":' + "9" * 40 + "}"))
    assert huge.details == CelDetails()


def test_a_user_event_has_its_own_name() -> None:
    events = [
        decoded(line(eventtype="USER_DEFINED", userdeftype="Survey", eventextra='{"extra":"5"}')),
        decoded(line(eventtype="Survey")),
        decoded(b"Event: CEL\r\nEventName: USER_DEFINED\r\nUserDefType: Survey\r\n\r\n", "ami"),
    ]
    assert [(e.type, e.user_event) for e in events] == [("USER_DEFINED", "Survey")] * 3
    assert events[0].details.extra == "5"
    assert (decoded(line(eventtype="ANSWER")).type, decoded(line(eventtype="ANSWER")).user_event) == ("ANSWER", "")


def test_old_files_have_fewer_columns() -> None:
    raw = line(eventtype="BRIDGE_START", uniqueid="1.1", linkedid="1.0", peer="SIP/2", userfield="u")
    values = raw.decode().rstrip("\n").split(",")
    for count in (16, 17, 18, 20):
        event = decoded((",".join(values[:count]) + "\r\n").encode())
        assert (event.type, event.unique_id, event.linked_id) == ("BRIDGE_START", "1.1", "1.0")
        assert event.peer == ("SIP/2" if count > 16 else "")
    assert layout(15) == BRIEF
    assert layout(14) is None
    unreadable = decoded(b"CHAN_START,1,2\n")
    assert (unreadable.event_name, unreadable.values) == ("", ("CHAN_START", "1", "2"))


def test_other_columns_are_arranged() -> None:
    columns = parse_columns("eventtime, event_type,uniqueid,linkedid,-,extra,cid_num")
    raw = b'1795308983.5,HANGUP,1.2,1.1,x,"{""hangupcause"":17}","a ""b"", c\nd"\n'
    event = decoded(raw).arranged(columns)
    assert (event.event_name, event.event_time, event.unique_id, event.linked_id) == (
        *("HANGUP", "1795308983.5", "1.2", "1.1"),
    )
    assert (event.caller_id_num, event.details.hangupcause, event.channel) == ('a "b", c\nd', 17, "")
    assert decoded(raw).arranged(()).event_name == ""
    received = decoded(b"Event: CEL\r\nEventName: ANSWER\r\n_values: x\r\n_source: cel_csv\r\n\r\n", "ami")
    assert received.arranged(columns) is received
    short = decoded(b"1795308983.5,HANGUP,1.2\n").arranged(columns)
    assert (short.event_name, short.linked_id) == ("HANGUP", "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("eventtype,eventtime,uniqueid", "linkedid is missing"),
        ("eventtype,eventtime,uniqueid,linkedid,uniqueid", "uniqueid is named twice"),
        ("eventtype,eventtime,uniqueid,linkedid,colour", "'colour' is not a column of CEL"),
        ("", "'' is not a column of CEL"),
    ],
)
def test_columns_are_checked(text: str, error: str) -> None:
    with pytest.raises(ColumnsError, match=error):
        parse_columns(text)


def test_the_usual_columns_need_no_name() -> None:
    assert parse_columns(",".join(DEFAULT)) == parse_columns(",".join(DEFAULT[:18])) == ()
    assert parse_columns(",".join(BRIEF)) == ()
    assert len(parse_columns(",".join([*DEFAULT[:17], "peeraccount"]))) == 18
    assert parse_columns("eventtype,eventtime,uniqueid,linkedid,-,-")[-2:] == ("-", "-")


def test_a_line_without_record_is_an_error() -> None:
    for raw in (b'"a', b'"a"b,c\n', b"a\nb\n", b""):
        event = RecordedEvent(1, "pbx", "cel_csv", cel.NAME, AT, raw, AT)
        with pytest.raises(ValueError, match="not CSV"):
            headers_of(event)
        with pytest.raises(ValueError, match="not CSV"):
            HeaderSubset(["EventName"]).parse(event)
