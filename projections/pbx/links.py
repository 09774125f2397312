"""The link to each PBX: whether it is heard, and whether what we show of it is true again after a gap."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.link import LinkEvent


class Link(Row):
    """One PBX; ``since`` is when ``state`` (up, down) began, times are UTC.

    ``healed``: since the link came up every list has been asked for and answered; from then on what models show is
    what the PBX says. ``failed`` names the lists that healing waits for: ``CoreShowChannels`` was not answered,
    ``CoreShowChannels: Permission denied`` was refused (see `refused_lists`). ``reason`` says why the link was lost
    last, ``refused`` why the login is refused (Asterisk's words) while it is. A listener writes a Minute every
    minute, link or no link: when ``last_minute`` is older than two minutes, no listener runs.
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
    """Return those of `Link.failed` that were not answered."""
    return [item for item in failed if ": " not in item]


def refused_lists(failed: Sequence[str]) -> dict[str, str]:
    """Return those of `Link.failed` that Asterisk refused, with its words."""
    parts = [item.partition(": ") for item in failed]
    return {action: words for action, colon, words in parts if colon}


def is_refused(e: LinkEvent) -> bool:
    """Tell whether Asterisk refused a list for which nothing else is asked (SnapshotListed)."""
    if e.outcome == "refused":
        return not e.instead
    # Until the outcome `refused` came, ModuleCheck was always asked instead of Command.
    return e.outcome == "unsupported" and "permission denied" in e.message.lower() and e.action != "Command"


def followed(memory: dict[str, Any], e: LinkEvent) -> LinkEvent:
    """Follow the link: ``heals`` marks the snapshot that makes the state true, ``gaps`` says which gaps it is about.

    ``gaps`` are the positions of the events that opened them: of the one that a Disconnected opens or a Connected
    closes, or of those that a snapshot heals. ``failed`` becomes all lists not answered since the link came up.
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


def this(_e: LinkEvent) -> Key:
    return ()


def blank(_key: Key, e: LinkEvent) -> Link:
    return Link(pbx=e.pbx, tm_update=e.at, state="down", since=e.at)


def up(row: Link, e: LinkEvent) -> Link:
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


def down(row: Link, e: LinkEvent) -> Link:
    if row.state == "down":
        return replace(row, reason=e.reason, healed=False)
    return replace(row, state="down", since=e.at, reason=e.reason, healed=False)


def refused(row: Link, e: LinkEvent) -> Link:
    return replace(row, address=e.address, refused=e.message)


def asked(row: Link, e: LinkEvent) -> Link:
    return replace(row, epoch=e.epoch)


def listed(row: Link, e: LinkEvent) -> Link:
    return replace(row, failed=e.failed, healed=row.healed and not is_refused(e))


def completed(row: Link, e: LinkEvent) -> Link:
    return replace(row, last_snapshot=e.at, healed=row.healed or e.heals)


def minute(row: Link, e: LinkEvent) -> Link:
    return replace(row, last_minute=e.at)


def on(fold: Any) -> Handler:
    return Handler(LinkEvent, this, fold, initial=blank, context=followed)


LINKS = ReadModel(
    name="links",
    version=2,
    row=Link,
    key=(),
    on={
        "Connected": on(up),
        "Disconnected": on(down),
        "LoginRefused": on(refused),
        "SnapshotStarted": on(asked),
        "SnapshotListed": on(listed),
        "SnapshotCompleted": on(completed),
        "Minute": on(minute),
    },
)
