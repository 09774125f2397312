"""Call records as the import appends lines of Master.csv."""

from datetime import UTC, datetime
from typing import Any

from schemas.log import NewEvent

BASE: dict[str, Any] = {
    "account": "",
    "source": "100",
    "destination": "101",
    "context": "internal",
    "caller_id": '""Alice Abel"" <100>',
    "channel": "PJSIP/100-00000001",
    "to": "PJSIP/101-00000002",
    "application": "Dial",
    "data": "PJSIP/101",
}


def record(
    start: float, answer: float | None, end: float, unique_id: str, *, disposition: str = "ANSWERED", **more: Any
) -> NewEvent:
    """Return a line; times are seconds, by a PBX whose zone is UTC. ``linked`` gives the new columns as well."""
    facts = BASE | more
    billable = 0 if answer is None else end - answer
    columns = [facts[name] for name in list(BASE)]
    columns += [_text(start), "" if answer is None else _text(answer), _text(end)]
    quoted = ",".join(f'"{column}"' for column in columns)
    line = f'{quoted},{end - start:.0f},{billable:.0f},"{disposition}","DOCUMENTATION","{unique_id}"'
    line += f',"{facts.get("user_field", "")}"'
    if "linked" in facts:
        line += f',"","{facts["linked"]}",1'
    return NewEvent("cdr_csv", "Cdr", end, end, f"{line}\n".encode())


def _text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
