"""The comparison of acts names every difference."""

import hashlib
from typing import Any

import msgspec
import pytest

from schemas.acts import ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown, builtins
from schemas.acts.channel import ChannelHangup
from schemas.log import RingledgerEvent
from tests.chaos.acts import compare
from tests.chaos.wire import DifferenceError, Entry


def entries(*events: RingledgerEvent) -> list[Entry]:
    return [
        Entry(at, "ringledger", type(event).__name__, float(at), msgspec.json.encode(event), None)
        for at, event in enumerate(events, 1)
    ]


def requested(act_id: str, key: str = "") -> ActRequested:
    hashed = hashlib.sha256(key.encode()).hexdigest() if key else ""
    return ActRequested(act_id, builtins(ChannelHangup(f"PJSIP/{act_id}")), hashed)


def test_true_acts_are_counted() -> None:
    log = entries(
        *(requested("a", "k"), ActSent("a"), requested("b"), ActSucceeded("a")),
        *(ActFailed("b", "expired", ""), requested("c"), ActSent("c"), ActUnknown("c", ""), ActSucceeded("c")),
        *(requested("d"), ActSent("d"), ActFailed("d", "absent", "No such channel")),
    )
    tally = compare(log, {"k": ["no answer", "200"], "never": ["503"]}, ["PJSIP/a", "PJSIP/d"])
    assert tally.outcomes == {"ActSucceeded": 2, "ActFailed": 2}
    assert tally.on_the_wire == 2


DONE = (requested("a", "k"), ActSent("a"), ActSucceeded("a"))
UNTRUE: dict[str, Any] = {
    "no outcome": ((requested("a"), ActSent("a")), {}, []),
    "never requested": ((ActSent("a"), ActSucceeded("a")), {}, []),
    "sent twice": ((requested("a"), ActSent("a"), ActSent("a"), ActSucceeded("a")), {}, []),
    "two outcomes": ((*DONE, ActFailed("a", "refused", "")), {}, []),
    "done without saying so": ((requested("a"), ActSucceeded("a")), {}, []),
    "expired and sent": ((requested("a"), ActSent("a"), ActFailed("a", "expired", "")), {}, []),
    "a key that asked twice": ((*DONE, requested("b", "k"), ActSent("b"), ActSucceeded("b")), {"k": ["200"]}, []),
    "200 for what failed": ((requested("a", "k"), ActFailed("a", "expired", "")), {"k": ["200"]}, []),
    "200 for what is not there": ((), {"k": ["200"]}, []),
    "on the wire only": (DONE, {}, ["PJSIP/a", "PJSIP/a"]),
}


@pytest.mark.parametrize("untrue", UNTRUE)
def test_each_untrue_act_is_named(untrue: str) -> None:
    events, responses, hung_up = UNTRUE[untrue]
    with pytest.raises(DifferenceError):
        compare(entries(*events), responses, hung_up)
