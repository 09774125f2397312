"""The link to each PBX: whether it is up, and whether the state in the views is true again after a gap."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.link import LinkEvent


class Link(Row):
    """One PBX; ``since`` is when ``state`` (up, down) began, times are UTC.

    ``healed``: every list was complete since the link came up, so the models show the state of the PBX. ``failed``
    names the lists that prevent it: ``CoreShowChannels`` had no response, ``CoreShowChannels: Permission denied`` was
    refused (see `refused_lists`). ``reason`` is why the link was last lost, ``refused`` why Asterisk refuses the login
    at present, in its words. A listener writes a Minute every minute, with or without a link: when ``last_minute`` is
    older than two minutes, no listener runs.
    """

    state: str
    since: datetime
    healed: bool = False
    address: str = ""
    banner: str = ""
    reason: str = ""
    refused: str = ""
    epoch: int | None = None
    last_snapshot: datetime | None = None
    failed: list[str] = field(default_factory=list)
    last_minute: datetime | None = None


def unanswered_lists(failed: Sequence[str]) -> list[str]:
    """Return the lists in `Link.failed` that had no response."""
    return [item for item in failed if ": " not in item]


def refused_lists(failed: Sequence[str]) -> dict[str, str]:
    """Return the lists in `Link.failed` that Asterisk refused, with its message."""
    parts = [item.partition(": ") for item in failed]
    return {action: words for action, colon, words in parts if colon}


def is_refused(e: LinkEvent) -> bool:
    """Return whether Asterisk refused a list (SnapshotListed) that no other action replaces."""
    if e.outcome == "refused":
        return not e.instead
    # Before the outcome ``refused`` existed, ModuleCheck always replaced Command.
    return e.outcome == "unsupported" and "permission denied" in e.message.lower() and e.action != "Command"


def follow_link(memory: dict[str, Any], e: LinkEvent) -> LinkEvent:
    """Return the event with ``heals``, ``gaps`` and ``failed``, which depend on earlier events of the link.

    ``heals`` marks the snapshot that makes the state true. ``gaps`` are the positions of the events that opened the
    gaps concerned: the one that a Disconnected opens or a Connected closes, or those that a snapshot heals. ``failed``
    holds all lists without a response since the link came up.
    """
    match e.type:
        case "Disconnected" if memory.get("open") is None:
            memory["open"] = e.position
            return replace(e, gaps=[e.position])
        case "Connected":
            closed = [began] if (began := memory.get("open")) is not None else []
            unhealed = memory.get("unhealed", []) + closed
            memory |= {"open": None, "unhealed": unhealed, "healed": False, "epoch": None, "failed": []}
            return replace(e, gaps=closed)
        case "SnapshotStarted":
            memory["epoch"] = e.epoch
        case "SnapshotListed":
            failed = {item.partition(": ")[0]: item for item in memory.get("failed", [])}
            failed.pop(e.action, None)
            if e.outcome == "failed":
                failed[e.action] = e.action
            elif is_refused(e):
                failed[e.action] = f"{e.action}: {e.message}"
                memory["healed"] = False
            memory["failed"] = sorted(failed.values())
            return replace(e, failed=memory["failed"])
        case "SnapshotCompleted" if memory.get("epoch") == e.epoch and not memory.get("failed"):
            healed, gaps = memory.get("healed", False), memory.get("unhealed", [])
            memory |= {"healed": True, "unhealed": []}
            return replace(e, heals=not healed, gaps=gaps)
    return e


def only_row(_e: LinkEvent) -> Key:
    return ()


def initial(_key: Key, e: LinkEvent) -> Link:
    return Link(pbx=e.pbx, tm_update=e.at, state="down", since=e.at)


def mark_up(row: Link, e: LinkEvent) -> Link:
    return replace(
        row,
        state="up",
        since=e.at,
        healed=False,
        address=e.address,
        banner=e.banner,
        refused="",
        failed=[],
    )


def mark_down(row: Link, e: LinkEvent) -> Link:
    if row.state == "down":
        return replace(row, reason=e.reason, healed=False)
    return replace(row, state="down", since=e.at, reason=e.reason, healed=False)


def refuse_login(row: Link, e: LinkEvent) -> Link:
    return replace(row, address=e.address, refused=e.message)


def start_snapshot(row: Link, e: LinkEvent) -> Link:
    return replace(row, epoch=e.epoch)


def complete_list(row: Link, e: LinkEvent) -> Link:
    return replace(row, failed=e.failed, healed=row.healed and not is_refused(e))


def complete_snapshot(row: Link, e: LinkEvent) -> Link:
    return replace(row, last_snapshot=e.at, healed=row.healed or e.heals)


def set_minute(row: Link, e: LinkEvent) -> Link:
    return replace(row, last_minute=e.at)


def handler(fold: Any) -> Handler:
    return Handler(LinkEvent, only_row, fold, initial=initial, context=follow_link)


LINKS = ReadModel(
    name="links",
    version=2,
    row=Link,
    key=(),
    on={
        "Connected": handler(mark_up),
        "Disconnected": handler(mark_down),
        "LoginRefused": handler(refuse_login),
        "SnapshotStarted": handler(start_snapshot),
        "SnapshotListed": handler(complete_list),
        "SnapshotCompleted": handler(complete_snapshot),
        "Minute": handler(set_minute),
    },
)
