"""Runs of async dialplans: which channel executes which master's commands, and how far it has come."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.agi import AgiRunEvent
from schemas.ami.transfer import AttendedTransfer, Party


class AgiRun(Row):
    """One run; its commands are in the log at position ``begun``.

    ``channel`` and ``unique_id`` are those of the channel that is in AGI now: an attended transfer replaces it.

    ``state`` is running, or how the run ended (`schemas.agi.How`). ``steps`` is the number of commands, ``step`` the
    one sent last (0: none), ``outcome`` its result: sent, done or failed. ``message`` is Asterisk's last reply, or why
    the run ended.
    """

    id: str
    channel: str
    unique_id: str
    master: str
    state: str
    begun: int
    started: datetime
    steps: int
    step: int = 0
    outcome: str = ""
    message: str = ""
    ended: datetime | None = None


def by_id(e: AgiRunEvent) -> Key:
    return (e.id,)


def start(row: AgiRun | None, e: AgiRunEvent) -> AgiRun:
    # A second start of the same run is a copy from an import.
    return row or AgiRun(
        pbx=e.pbx,
        tm_update=e.at,
        id=e.id,
        channel=e.channel,
        unique_id=e.unique_id,
        master=e.master,
        state="running",
        begun=e.position,
        started=e.at,
        steps=len(e.steps),
    )


def remember_run(memory: dict[str, Any], e: AgiRunEvent) -> AgiRunEvent:
    """Remember the run by its channel's unique id."""
    memory["running"] = memory.get("running", {}) | {e.unique_id: e.id}
    return e


def forget_run(memory: dict[str, Any], e: AgiRunEvent) -> AgiRunEvent:
    memory["running"] = {channel: run for channel, run in memory.get("running", {}).items() if run != e.id}
    return e


def move_run(memory: dict[str, Any], e: AttendedTransfer) -> tuple[str, Party] | None:
    """Return the run whose channel in AGI is replaced, and the new channel; None for a channel of no run."""
    running, leg, new = memory.get("running", {}), e.replaced(), e.replacement()
    if leg not in running or not new.unique_id:
        return None
    memory["running"] = {channel: run for channel, run in running.items() if channel != leg} | {
        new.unique_id: running[leg]
    }
    return running[leg], new


def of_transfer(e: tuple[str, Party] | None) -> Key | None:
    return (e[0],) if e else None


def move(row: AgiRun | None, e: tuple[str, Party]) -> AgiRun | None:
    return replace(row, channel=e[1].channel, unique_id=e[1].unique_id) if row else None


def mark_sent(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, step=e.step, outcome="sent", message="") if row else None


def mark_done(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="done", message=e.result) if row else None


def mark_failed(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="failed", message=e.message) if row else None


def end(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, state=e.how, message=e.message or row.message, ended=e.at) if row else None


AGI_RUNS = ReadModel(
    name="agi_runs",
    version=2,
    row=AgiRun,
    key=("id",),
    on={
        "AgiRunStarted": Handler(AgiRunEvent, by_id, start, context=remember_run),
        "AttendedTransfer": Handler(AttendedTransfer, of_transfer, move, context=move_run),
        "AgiStepSent": Handler(AgiRunEvent, by_id, mark_sent),
        "AgiStepDone": Handler(AgiRunEvent, by_id, mark_done),
        "AgiStepFailed": Handler(AgiRunEvent, by_id, mark_failed),
        "AgiRunEnded": Handler(AgiRunEvent, by_id, end, context=forget_run),
    },
    is_state=False,
)
