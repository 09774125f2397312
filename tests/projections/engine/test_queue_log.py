"""A line of queue_log as folds read it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.cel_csv import cel_headers
from projections.engine.decoding import DecodedEvent
from projections.engine.queue_log import queue_log_headers
from schemas.call_settings import QUEUE_EVENTS
from schemas.log import RecordedEvent
from schemas.queue_log import ANY_OTHER, DIALPLAN, NAMES, QueueLogLine, log_name
from tests.captures import truth

AT = datetime(2026, 11, 22, tzinfo=UTC)


def decoded(raw: bytes) -> QueueLogLine:
    name = log_name(raw.decode().rstrip("\n").split("|")[4])
    shaped: QueueLogLine = DecodedEvent(RecordedEvent(1, "pbx", "queue_log", name, AT, raw, AT)).convert(QueueLogLine)
    return shaped


def test_each_datum_has_a_name() -> None:
    line = decoded(b"1795308684|1795308684.22|sales|NONE|ENTERQUEUE||103|1\n")
    assert (line.call_id, line.queue, line.agent, line.event) == ("1795308684.22", "sales", "", "ENTERQUEUE")
    assert (line.text("number"), line.number("position"), line.text("url")) == ("103", 1, "")
    connect = decoded(b"1795308686.5|1.2|sales|Alice Abel|CONNECT|2|1.25|2\r\n")
    assert (connect.agent, connect.number("hold"), connect.text("bridged"), connect.number("ring")) == (
        *("Alice Abel", 2, "1.25", 2),
    )
    key = decoded(b"1|1.2|q|NONE|EXITWITHKEY|*|1|2|30\n")
    assert (key.text("key"), key.number("position"), key.number("wait")) == ("*", 1, 30)


@pytest.mark.parametrize(
    ("data", "hold", "talk"),
    [("BRIDGE|b-1|3|9|1", 3, 9), ("APP|Park|3|9|1", 3, 9), ("LINK|SIP/1|SIP/2|3|9|1", 3, 9), ("NEW|1|2", None, None)],
)
def test_attended_transfer_data_follow_the_method(data: str, hold: int | None, talk: int | None) -> None:
    line = decoded(f"1|1.2|q|A|ATTENDEDTRANSFER|{data}\n".encode())
    assert (line.number("hold"), line.number("talk"), line.text("method")) == (
        hold,
        talk,
        data.split("|", maxsplit=1)[0] * bool(hold),
    )


def test_older_lines_lack_the_last_data() -> None:
    line = decoded(b"1|1.2|q|NONE|EXITWITHTIMEOUT|1\n")
    assert (line.number("position"), line.number("wait"), line.text("original")) == (1, None, "")
    assert decoded(b"1|1.2|q|A|CONNECT|\n").number("hold") is None
    assert decoded(b"1|1.2|q|A|COMPLETEAGENT|x|9\n").number("hold") is None
    assert decoded(b"1|1.2|q|A|ATTENDEDTRANSFER\n").text("method") == ""


def test_a_dialplan_word_has_a_common_name() -> None:
    assert log_name("CLOSED") == "CLOSED"
    assert log_name("NIGHT") == log_name("connect") == ANY_OTHER
    assert decoded(b"1|1.2|q|NONE|NIGHT|a|b\n").data == ("a", "b")
    assert set(QUEUE_EVENTS) == set(DIALPLAN)
    for name in ("rich22", "rich16"):
        words = {line.split("|")[4] for line in truth(name, "queue_log").splitlines()}
        assert words <= NAMES


@given(st.text(st.sampled_from(list('A1|",\r\n. NONE')), max_size=30))
def test_any_text_is_a_line_or_refused(text: str) -> None:
    for read in (queue_log_headers, cel_headers):
        try:
            headers = read(text)
        except ValueError:
            continue
        assert "" not in [value for name, value in headers.items() if name not in {"_values", "Data"}]
