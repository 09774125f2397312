"""A number is redacted where it occurs as a whole, and nothing else is changed."""

import random

import msgspec
import pytest

from schemas.log import Connected, Redacted, Rejected
from services.retention.redact_pattern import RedactionPattern, RedactionPatternError, parse_pattern
from tests.captures import wire

TOKEN = "redacted-ghijklmnopqr"
NUMBER = "5551234"


def changed(raw: str, number: str = NUMBER, source: str = "ami", name: str = "VarSet") -> str:
    return RedactionPattern("number", number).redact(source, name, raw.encode(), TOKEN).decode().replace(TOKEN, "#")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("CallerIDNum: 5551234\r\n", "CallerIDNum: #\r\n"),
        ("Channel: PJSIP/5551234-0000001a\r\n", "Channel: PJSIP/#-0000001a\r\n"),
        ("Channel: Local/5551234@agents-0000001a;1", "Channel: Local/#@agents-0000001a;1"),
        ("DialString: trunk/5551234&SIP/5551234@x", "DialString: trunk/#&SIP/#@x"),
        ('CallerID: "Jane" <5551234>', 'CallerID: "Jane" <#>'),
        ("URI: sip:5551234@192.0.2.1:5060;user=phone", "URI: sip:#@192.0.2.1:5060;user=phone"),
        ("URI: tel:+5551234", "URI: tel:+#"),
        ("Env: agi_callerid%3A%205551234%0Aagi", "Env: agi_callerid%3A%20#%0Aagi"),
        ("File: out-5551234-20261124-1795308983.349.wav", "File: out-#-20261124-1795308983.349.wav"),
        ("ChanVariable(PJSIP/5551234-0000001a): A=5551234", "ChanVariable(PJSIP/#-0000001a): A=#"),
        ("AppData: x5551234_5551234,5551234.", "AppData: x#_#,#."),
        ("Text: \xff5551234é", "Text: \xff#é"),
        ("Exten: 15551234", "Exten: 15551234"),
        ("Exten: 55512340", "Exten: 55512340"),
        ("Uniqueid: 1795308983.5551234", "Uniqueid: 1795308983.5551234"),
        ("Uniqueid: berlin-1795308983.5551234\r\n", "Uniqueid: berlin-1795308983.5551234\r\n"),
        ("RTT: 0.5551234\r\nSSRC: 0x5551234", "RTT: 0.5551234\r\nSSRC: 0x5551234"),
        ("Event: Cdr\r\nDuration: 5551234\r\nSource: 5551234", "Event: Cdr\r\nDuration: 5551234\r\nSource: #"),
        (f"Old: {TOKEN}", "Old: #"),
    ],
)
def test_a_number_counts_as_a_whole(raw: str, expected: str) -> None:
    assert changed(raw) == expected


@pytest.mark.parametrize(
    ("number", "raw"),
    [
        ("1795308983", "Timestamp: 1795308983.349123\r\nUniqueid: 1795308983.349"),
        ("349123", "Timestamp: 1795308983.349123"),
        ("349", "Uniqueid: x-1795308983.349\r\nStart: 2026-11-24T10:11:12.349+0100"),
        ("2026", "StartTime: 2026-11-24 10:11:12"),
        ("0100", "StartTime: 2026-11-24T10:11:12.5+0100"),
        ("1795308983", "ActionID: ringledger/1795308983/CoreShowChannels\r\nLastCall: 1795308983"),
        ("12345678", "BridgeUniqueid: 12345678-1234-4321-8765-123456789012"),
        ("1001", "Event: 1001\r\n"),
    ],
)
def test_times_and_ids_are_no_numbers(number: str, raw: str) -> None:
    assert changed(raw, number) == raw


@pytest.mark.parametrize(
    ("source", "raw", "expected"),
    [
        (
            "ari",
            '{"n":5551234,"number":"5551234","5551234":["a\\n5551234"]}',
            '{"n":5551234,"number":"#","#":["a\\n#"]}',
        ),
        ("ari", '{"a":"\\u00205551234","b":"\\"5551234\\" <x>"}', '{"a":"\\u0020#","b":"\\"#\\" <x>"}'),
        ("ari", 'no json 5551234 "5551234"', 'no json # "#"'),
        ("ringledger", '{"type":"Connected","address":"5551234"}', '{"type":"Connected","address":"#"}'),
        ("cdr_csv", '"","5551234","x","""J"" <5551234>",12', '"","#","x","""J"" <#>",12'),
        (
            "cdr_csv",
            '"","5551234","x",5551234,5551234,"NO ANSWER","5551234"',
            '"","#","x",5551234,5551234,"NO ANSWER","#"',
        ),
        ("cel_csv", "CHAN_START,5551234,1795308983.5551234", "CHAN_START,#,1795308983.5551234"),
        (
            "queue_log",
            "1795308983|1795308983.34|q|NONE|ENTERQUEUE||5551234|1",
            "1795308983|1795308983.34|q|NONE|ENTERQUEUE||#|1",
        ),
    ],
)
def test_each_source_in_its_own_way(source: str, raw: str, expected: str) -> None:
    assert changed(raw, source=source) == expected


def test_the_second_of_a_queue_log_is_kept() -> None:
    assert changed("1795308983|NONE|1795308983", "1795308983", "queue_log") == "1795308983|NONE|#"


def test_numbers_in_json_stay_numbers() -> None:
    raw = msgspec.json.encode(
        Redacted(5551234, "number", TOKEN, "5551234", "root", ((5551234, "5551234" + "0" * 57, "f" * 64),))
    )
    again = msgspec.json.decode(
        RedactionPattern("number", NUMBER).redact("ringledger", "Redacted", raw, TOKEN), type=Redacted
    )
    assert (again.reason, again.changes) == (TOKEN, ((5551234, "5551234" + "0" * 57, "f" * 64),))


def test_rejected_events_are_redacted() -> None:
    rejected = Rejected("ami", "VarSet", "no 5551234", b"Event: VarSet\r\nValue: 5551234\xff\r\n\r\n")
    raw = RedactionPattern("number", NUMBER).redact("ringledger", "Rejected", msgspec.json.encode(rejected), TOKEN)
    again = msgspec.json.decode(raw, type=Rejected)
    assert again == Rejected(
        "ami", "VarSet", f"no {TOKEN}", f"Event: VarSet\r\nValue: {TOKEN}".encode() + b"\xff\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("text", "source", "raw", "expected"),
    [
        (
            "Jane Roe",
            "ami",
            b"CallerIDName: Jane Roe\r\nX: Jane Roebuck, Jane Roe.",
            b"CallerIDName: #\r\nX: Jane Roebuck, #.",
        ),
        ("Jane Roe", "ami", b"Env: agi_calleridname%3A%20Jane%20Roe%0A", b"Env: agi_calleridname%3A%20#%0A"),
        ("Jürgen Roß", "ami", "A: Jürgen Roß\r\nB: ".encode() + b"J\xfcrgen Ro\xdf", b"A: #\r\nB: #"),
        (
            'J "R" Röe',
            "ari",
            rb'{"a":"x\nJ \"R\" R\u00f6e","b":"J \"R\" R' + "öe".encode() + b'"}',
            rb'{"a":"x\n#","b":"#"}',
        ),
        ("Channel", "ami", b"Event: Channel\r\nChannel: Channel", b"Event: Channel\r\nChannel: #"),
        ("channel", "ari", b'{"type":"channel","channel":"channel"}', b'{"type":"channel","channel":"#"}'),
        ("redacted", "ami", b"A: " + TOKEN.encode(), b"A: #"),
    ],
)
def test_a_name_counts_as_a_whole(text: str, source: str, raw: bytes, expected: bytes) -> None:
    result = RedactionPattern("text", text).redact(source, "VarSet", raw, TOKEN)
    assert result.replace(TOKEN.encode(), b"#") == expected


@pytest.mark.parametrize("capture", ["rich22", "rich16"])
def test_every_other_byte_of_a_recording_stays(capture: str) -> None:
    """Replacing the token by the number restores the recording."""
    dice = random.Random(5)
    for block in dice.sample(wire(capture).split(b"\r\n\r\n"), 4000):
        for number in (b"5551234", b"5550100", b"112"):
            new = RedactionPattern("number", number.decode()).redact("ami", "VarSet", block, TOKEN)
            assert new.replace(TOKEN.encode(), number) == block
            assert (new != block) <= (number in block)


@pytest.mark.parametrize(
    ("number", "text", "says"),
    [
        (None, None, "one of them"),
        ("5551234", "Jane Roe", "one of them"),
        ("", None, "3 to 20 digits"),
        ("12", None, "3 to 20 digits"),
        ("1" * 21, None, "3 to 20 digits"),
        ("555-1234", None, "3 to 20 digits"),
        ("٥٥٥١٢٣٤", None, "3 to 20 digits"),
        ("5551234\n", None, "3 to 20 digits"),
        ("1001", None, "less than 5 digits"),
        ("1795308983", None, "a time in seconds"),
        (None, "Jo", "5 characters with 3 letters"),
        (None, "Jane", "5 characters with 3 letters"),
        (None, "5551234", "5 characters with 3 letters"),
        (None, " Jane Roe", "printable"),
        (None, "Jane\nRoe", "printable"),
    ],
)
def test_invalid_patterns_are_refused(number: str | None, text: str | None, says: str) -> None:
    with pytest.raises(RedactionPatternError, match=says) as refused:
        parse_pattern(number, text, force=False)
    assert "\n" not in str(refused.value)
    for argument in (number, text):
        assert not argument or argument.strip() not in str(refused.value).replace("3 to 20", "").replace("5 char", "")


def test_force_accepts_short_numbers() -> None:
    assert parse_pattern("1001", None, force=True).text == "1001"
    assert parse_pattern("+5551234", None, force=False).text == "5551234"
    assert parse_pattern("1795308983", None, force=True).text == "1795308983"
    assert parse_pattern(None, "Jane", force=True).text == "Jane"
    assert repr(parse_pattern("5551234", None, force=False)).count("5551234") == 0


def test_patterns_are_literal() -> None:
    assert RedactionPattern("text", "50%_a\\b").like_patterns[-1].count(b"\\") >= 3
    assert RedactionPattern("number", NUMBER).like_patterns == [b"%5551234%"]
    assert msgspec.json.encode(Connected("x")) == b'{"type":"Connected","address":"x","banner":""}'
