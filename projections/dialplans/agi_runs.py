"""Runs: which channels were driven through which master's commands, and how far they came."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from projections.engine.model import Handler, Key, ReadModel, Row
from schemas.agi import AgiRunEvent
from schemas.ami.transfer import AttendedTransfer, Party


class AgiRun(Row):
    """One run; what it was to send in full stands in the log at ``begun``.

    ``channel`` and ``unique_id`` are of the channel that is in AGI now: an attended transfer puts another one there.

    ``state`` is running, or how it ended (`schemas.agi.How`). ``steps`` is how many commands it has, ``step`` the one
    that was sent last (0: none), ``outcome`` what came of that: sent, done or failed. ``message`` is Asterisk's last
    word, or why the run ended.
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


def started(row: AgiRun | None, e: AgiRunEvent) -> AgiRun:
    # A second beginning of the same run is a copy that an import brought.
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
    """Return the run whose channel gives its place in AGI to another, and that channel; None if it is no run's."""
    running, leg, new = memory.get("running", {}), e.replaced(), e.replacement()
    if leg not in running or not new.unique_id:
        return None
    memory["running"] = {channel: run for channel, run in running.items() if channel != leg} | {
        new.unique_id: running[leg]
    }
    return running[leg], new


def of_transfer(e: tuple[str, Party] | None) -> Key | None:
    return (e[0],) if e else None


def moved(row: AgiRun | None, e: tuple[str, Party]) -> AgiRun | None:
    return replace(row, channel=e[1].channel, unique_id=e[1].unique_id) if row else None


def sent(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, step=e.step, outcome="sent", message="") if row else None


def done(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="done", message=e.result) if row else None


def failed(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="failed", message=e.message) if row else None


def ended(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, state=e.how, message=e.message or row.message, ended=e.at) if row else None


AGI_RUNS = ReadModel(
    name="agi_runs",
    version=2,
    row=AgiRun,
    key=("id",),
    on={
        "AgiRunStarted": Handler(AgiRunEvent, by_id, started, context=remember_run),
        "AttendedTransfer": Handler(AttendedTransfer, of_transfer, moved, context=move_run),
        "AgiStepSent": Handler(AgiRunEvent, by_id, sent),
        "AgiStepDone": Handler(AgiRunEvent, by_id, done),
        "AgiStepFailed": Handler(AgiRunEvent, by_id, failed),
        "AgiRunEnded": Handler(AgiRunEvent, by_id, ended, context=forget_run),
    },
    is_state=False,
)
