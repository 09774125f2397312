"""Parking lots, as configured. Asterisk sends no event for a change; the snapshot after a reload has it."""

from typing import Any

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.ami.parking import ParkinglotListed


class ParkingLot(Row):
    """One parking lot; ``timeout`` in seconds, spaces are extensions."""

    name: str
    start_space: str = ""
    stop_space: str = ""
    timeout: int = 0


def by_name(e: Any) -> Key | None:
    return (e.name,) if e.name else None


def apply_list_item(_row: ParkingLot | None, e: ParkinglotListed) -> ParkingLot:
    return ParkingLot(
        pbx=e.pbx,
        tm_update=e.at,
        name=e.name,
        start_space=e.start_space,
        stop_space=e.stop_space,
        timeout=e.timeout,
    )


PARKING_LOTS = ReadModel(
    name="parking_lots",
    version=1,
    row=ParkingLot,
    key=("name",),
    on={"Parkinglot": Handler(ParkinglotListed, by_name, apply_list_item, list_item_wins=True)},
    lists={"Parkinglots": None},
)
