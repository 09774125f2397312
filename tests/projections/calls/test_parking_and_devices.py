"""Parked calls, lots and device states in situations that the recordings lack, or lack at the critical moment."""

from datetime import UTC, datetime
from typing import Any

from projections.calls.parked_calls import PARKED_CALLS, ParkedCall
from projections.calls.parking_lots import PARKING_LOTS
from projections.endpoints.device_states import DEVICE_STATES
from schemas.log import NewEvent
from tests.support.folding import FoldSpec, ListSnapshot, block


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def facts(unique_id: str = "1.1", timeout: int = 45, duration: int = 0) -> dict[str, Any]:
    return {
        "ParkeeUniqueid": unique_id,
        "ParkeeChannel": f"C/{unique_id}",
        "Parkinglot": "default",
        "ParkingSpace": "701",
        "ParkingTimeout": timeout,
        "ParkingDuration": duration,
    }


def parked(moment: float = 1000.25, **headers: Any) -> NewEvent:
    return block("ParkedCall", moment, **facts(**headers))


def call(tables: FoldSpec) -> ParkedCall:
    row: ParkedCall = tables.then(PARKED_CALLS)["1.1",]
    return row


def test_a_parked_call_keeps_exact_times_through_lists() -> None:
    tables = FoldSpec(PARKED_CALLS).given([parked()])
    assert (call(tables).parked_at, call(tables).timeout_at) == (at(1000.25), at(1045.25))
    snapshot = ListSnapshot("ParkedCalls", at=1030.9)
    tables.given(
        [snapshot.start, snapshot.item("ParkedCall", **facts(timeout=15, duration=30)), snapshot.end, snapshot.over]
    )
    assert (call(tables).parked_at, call(tables).timeout_at) == (at(1000.25), at(1045.25))


def test_a_listed_call_gets_times_from_its_timeout() -> None:
    snapshot = ListSnapshot("ParkedCalls", at=1030.5)
    tables = FoldSpec(PARKED_CALLS).given(
        [snapshot.start, snapshot.item("ParkedCall", **facts(timeout=15, duration=30))]
    )
    assert (call(tables).parked_at, call(tables).timeout_at) == (at(1000.5), at(1045.5))


def test_a_call_parked_again_restarts_its_times() -> None:
    tables = FoldSpec(PARKED_CALLS).given([parked(), block("UnParkedCall", **facts()), parked(1100.0)])
    assert call(tables).parked_at == at(1100.0)
    assert call(tables.given([parked(1200.0)])).parked_at == at(1200.0)  # its UnParkedCall was missed


def test_a_lot_without_limit_has_no_timeout() -> None:
    for timeout in (0, -30, 2**32 - 30):
        assert call(FoldSpec(PARKED_CALLS).given([parked(timeout=timeout)])).timeout_at is None


def test_a_parked_call_ends_during_a_list() -> None:
    for event, headers in (
        ("UnParkedCall", facts()),
        ("ParkedCallGiveUp", facts()),
        ("ParkedCallTimeOut", facts()),
        ("Hangup", {"Uniqueid": "1.1"}),
    ):
        snapshot = ListSnapshot("ParkedCalls")
        assert FoldSpec(PARKED_CALLS).given([parked(), block(event, **headers)]).then(PARKED_CALLS) == {}
        tables = FoldSpec(PARKED_CALLS).given([snapshot.start, block(event, **headers)])
        tables.given([snapshot.item("ParkedCall", **facts()), snapshot.end, snapshot.over])
        assert tables.then(PARKED_CALLS) == {}, event


def test_a_replacing_channel_keeps_the_parked_time() -> None:
    swap = block("ParkedCallSwap", 1010.0, **facts("2.2", timeout=35, duration=10))
    tables = FoldSpec(PARKED_CALLS).given([parked(1000.0), swap, block("Hangup", Uniqueid="1.1")])
    (row,) = tables.then(PARKED_CALLS).values()
    assert (row.parkee_unique_id, row.parked_at, row.timeout_at) == ("2.2", at(1000), at(1045))


def test_an_empty_list_keeps_a_call_parked_meanwhile() -> None:
    for outcome in ("end", "empty"):
        snapshot = ListSnapshot("ParkedCalls")
        tables = FoldSpec(PARKED_CALLS).given(
            [parked(unique_id="gone"), snapshot.start, parked(), getattr(snapshot, outcome)]
        )
        assert list(tables.then(PARKED_CALLS)) == [("1.1",)]


def test_lots_equal_the_last_list() -> None:
    snapshot = ListSnapshot("Parkinglots")
    lot = snapshot.item("Parkinglot", Name="vip", StartSpace=751, StopSpace=760, Timeout=8)
    tables = FoldSpec(PARKING_LOTS).given([snapshot.start, lot, snapshot.end, snapshot.over])
    row = tables.then(PARKING_LOTS)["vip",]
    assert (row.start_space, row.stop_space, row.timeout) == ("751", "760", 8)
    later = ListSnapshot("Parkinglots", 2)
    assert tables.given([later.start, later.end, later.over]).then(PARKING_LOTS) == {}


def state(device: str, word: str) -> NewEvent:
    return block("DeviceStateChange", Device=device, State=word)


def test_device_states_follow_events_and_lists() -> None:
    snapshot = ListSnapshot("DeviceStateList")
    tables = FoldSpec(DEVICE_STATES).given(
        [state("PJSIP/100", "INUSE"), state("PJSIP/100", "NOT_INUSE"), state("X/1", "BUSY")]
    )
    tables.given([snapshot.start, state("PJSIP/102", "RINGING"), state("PJSIP/100", "ONHOLD")])
    # Asterisk made the list after these events, so its states are newer.
    tables.given([snapshot.item("DeviceStateChange", Device="PJSIP/100", State="INUSE"), snapshot.end, snapshot.over])
    states = {device: row.state for (device,), row in tables.then(DEVICE_STATES).items()}
    assert states == {"PJSIP/100": "INUSE", "PJSIP/102": "RINGING"}


def test_devices_without_a_stored_state_have_no_rows() -> None:
    tables = FoldSpec(DEVICE_STATES).given(
        [state("Local/s@q", "INUSE"), state("CBAnn/1490067847", "INUSE"), state("", "BUSY")]
    )
    assert tables.then(DEVICE_STATES) == {}


def test_an_unchanged_state_changes_no_row() -> None:
    tables = FoldSpec(DEVICE_STATES).given(
        [state("X/1", "BUSY"), block("DeviceStateChange", 2000.0, Device="X/1", State="BUSY")]
    )
    assert tables.then(DEVICE_STATES)["X/1",].tm_update == at(1000)


def test_a_replacing_channel_takes_the_space() -> None:
    # parking_bridge.c: ParkedCallSwap names the new channel only; the old one may exist for a while.
    swap = block("ParkedCallSwap", 1010.0, **facts("2.2", timeout=35, duration=10))
    left = block("BridgeLeave", BridgeType="parking", Uniqueid="1.1")
    tables = FoldSpec(PARKED_CALLS).given([parked(), swap, left])
    assert [row.parkee_unique_id for row in tables.then(PARKED_CALLS).values()] == ["2.2"]


def test_a_channel_leaving_another_bridge_stays_parked() -> None:
    tables = FoldSpec(PARKED_CALLS).given([parked(), block("BridgeLeave", BridgeType="basic", Uniqueid="1.1")])
    assert call(tables).parking_space == "701"


def test_a_renamed_parked_channel_has_its_new_name() -> None:
    tables = FoldSpec(PARKED_CALLS).given([parked(), block("Rename", Uniqueid="1.1", Newname="DAHDI/i1/5550101-2")])
    assert call(tables).parkee_channel == "DAHDI/i1/5550101-2"
