"""AMI events made from lines of CEL."""

from typing import Any

from schemas.ami.cel import CelEvent


def shape(kind: type[Any], e: CelEvent, **members: Any) -> Any:
    """Return an AMI event of the line's moment and channel."""
    facts: dict[str, Any] = {"pbx": e.pbx, "at": e.at, "recorded": e.recorded, "position": e.position}
    names = kind.__struct_fields__
    shown = {"unique_id": e.unique_id, "linked_id": e.linked_id, "channel": e.channel}
    facts |= {name: value for name, value in shown.items() if name in names}
    return kind(**(facts | members))


def real_id(text: str) -> str:
    """Return an id, empty where Asterisk has none."""
    return "" if text == "N/A" else text
