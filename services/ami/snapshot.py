"""What makes the state true again: list actions, whose answers enter the log in wire order like everything else."""

import time
from collections.abc import Callable
from typing import Literal

from panoramisk.message import Message

from schemas.log import Ours, SnapshotCompleted, SnapshotListed, SnapshotStarted
from services.ami.session import Session

QUICK: tuple[str, ...] = (
    "CoreStatus",
    "CoreShowChannels",
    "QueueStatus",
    "Agents",
    "ParkedCalls",
    "Parkinglots",
    "DeviceStateList",
)
"""Asked for once a minute and at every connect."""

Outcome = Literal["complete", "empty", "unsupported", "failed"]


async def take(session: Session, epoch: int, actions: tuple[str, ...], write: Callable[[Ours], None]) -> None:
    """Ask for every list; ``write`` puts events of ours into the log, in order with the answers.

    Raises LinkLostError when the link goes; the snapshot is then never completed and nothing is concluded from it.
    """
    write(SnapshotStarted(epoch))
    failed: list[str] = []
    for action in actions:
        outcome: Outcome
        try:
            answer = await session.ask(action, f"ringledger/{epoch}/{action}")
        except TimeoutError:
            outcome, message = "failed", "no answer"
        else:
            outcome, message = _outcome(answer), answer[0].message
        if outcome == "failed":
            failed.append(action)
        write(SnapshotListed(epoch, action, outcome, message))
    write(SnapshotCompleted(epoch, tuple(failed)))


def _outcome(answer: list[Message]) -> Outcome:
    if answer[0].success:
        return "complete" if answer[-1].eventlist.lower() != "cancelled" else "failed"
    said = answer[0].message.lower()
    if said.startswith("no "):
        return "empty"
    if "invalid/unknown command" in said or "permission denied" in said:
        return "unsupported"
    return "failed"


def next_epoch(last: int) -> int:
    """Return an epoch (seconds since the epoch) greater than ``last``."""
    return max(int(time.time()), last + 1)
