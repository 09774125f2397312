"""Runs: which channels were driven through which master's commands, and how far they came."""

from datetime import datetime

from msgspec.structs import replace

from projections.kit import Key, Model, On, Row
from schemas.agi import AgiRunEvent


class AgiRun(Row):
    """One run; what it was to send in full stands in the log at ``begun``.

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


def sent(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, step=e.step, outcome="sent", message="") if row else None


def done(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="done", message=e.result) if row else None


def failed(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, outcome="failed", message=e.message) if row else None


def ended(row: AgiRun | None, e: AgiRunEvent) -> AgiRun | None:
    return replace(row, state=e.how, message=e.message or row.message, ended=e.at) if row else None


AGI_RUNS = Model(
    name="agi_runs",
    version=1,
    row=AgiRun,
    key=("id",),
    on={
        "AgiRunStarted": On(AgiRunEvent, by_id, started),
        "AgiStepSent": On(AgiRunEvent, by_id, sent),
        "AgiStepDone": On(AgiRunEvent, by_id, done),
        "AgiStepFailed": On(AgiRunEvent, by_id, failed),
        "AgiRunEnded": On(AgiRunEvent, by_id, ended),
    },
    live=False,
)
