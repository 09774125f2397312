"""Carries out one act: decides whether it may still be sent, sends it once, and appends its outcome."""

import time
from typing import Any, Union

import msgspec
import structlog

from schemas.acts import Act, ActFailed, ActRequested, ActSent, ActSucceeded, ActUnknown, Reason
from schemas.refusals import DENIED
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import Session
from services.commander.actions import ACTIONS
from services.commander.actions.context import ActionContext
from services.commander.config_log import ConfigLog
from services.commander.link import CommanderLink
from services.commander.pending import id_of
from services.commander.sent_acts import Outcome, SentActs
from services.commander.term_log import TermLog

REQUEST_TTL_SECONDS = 4.5
"""A request that is not sent by then never is, because the API responds 504 after five seconds."""
MAX_APPEND_LAG_SECONDS = 60.0
"""A request recorded so long before it was appended was made elsewhere and imported (or a clock is wrong).

If PostgreSQL's clock is behind the log's last time of appending, it was set back. Until it has caught up, a request
counts as appended when it was recorded. A request recorded before the clock was set back has a time in the future. Its
age is unknown, so it expires.
"""
CONNECT_TIMEOUT_SECONDS = 3.0
STALE_LOGIN_SECONDS = 60.0
"""An act that Asterisk denies ends a session of that age: its login may precede a reload of manager.conf.

A user that cannot receive Reload events (class system) needs this; it logs in once a minute at most.
"""

# An import may bring the end of an act together with its request.
LATER = """
SELECT raw FROM ledger.event
WHERE pbx = $1 AND source = 'ringledger' AND position > $2
  AND name IN ('ActSent', 'ActSucceeded', 'ActFailed', 'ActUnknown')
ORDER BY position
"""

REQUESTS = msgspec.json.Decoder(ActRequested)
ACTS: Any = Union[tuple(ACTIONS)]  # noqa: UP007 (a union of a table's keys has no other form)

logger = structlog.get_logger()


class ActExecutor:
    """The acts of one PBX during one term."""

    def __init__(self, pbx: str, link: CommanderLink, sent_acts: SentActs, log: TermLog, config_log: ConfigLog) -> None:
        self._pbx = pbx
        self._link = link
        self._sent_acts = sent_acts
        self._term_log = log
        self._config_log = config_log
        self._log = logger.bind(pbx=pbx)

    async def execute(self, position: int, raw: bytes, requested_at: float, append_lag: float) -> None:
        """Carry out the request at ``position``.

        ``requested_at`` is by the monotonic clock; ``append_lag`` is how long after its recording it was appended.
        """
        try:
            request = REQUESTS.decode(raw)
        except msgspec.ValidationError as error:
            # A request of another version or of another program must not block those behind it.
            self._log.error("act_not_understood", position=position, error=str(error))
            return
        if not await self._is_due(position, request, append_lag):
            return
        expires_at = requested_at + REQUEST_TTL_SECONDS
        try:
            act: Act = msgspec.convert(request.act, ACTS)
        except msgspec.ValidationError as error:
            await self._fail(request, "impossible", f"this commander does not support the act: {error}")
            return
        if time.monotonic() > expires_at:
            await self._fail(request, "expired", "the commander was not free in time; the act will not be sent")
            return
        session = await self._link.session(min(expires_at - time.monotonic(), CONNECT_TIMEOUT_SECONDS))
        if session is None:
            trouble = self._link.trouble
            await self._fail(
                request, "unreachable", f"no link to the PBX {self._pbx}" + (f": {trouble}" if trouble else "")
            )
            return
        await self._term_log.append(ActSent(request.id))
        self._sent_acts.add(request.id)
        outcome = await self._send(session, request, act)
        self._sent_acts.add(request.id, outcome)
        await self._term_log.append(outcome)

    async def _is_due(self, position: int, request: ActRequested, append_lag: float) -> bool:
        """Return whether the request belongs to this time and has not been sent; otherwise append what is missing."""
        if append_lag > MAX_APPEND_LAG_SECONDS:
            self._log.warning("act_of_another_time", id=request.id, late=append_lag)
            return False
        if request.id in self._sent_acts:
            # The log came back without the end of this act, which must not be sent a second time.
            await self._term_log.append(ActSent(request.id))
            await self._term_log.append(self._sent_acts.outcome_of(request.id))
            return False
        if append_lag < -MAX_APPEND_LAG_SECONDS:
            self._log.warning("act_of_another_time", id=request.id, late=append_lag)
            if not await self._has_later_event(position, request.id):
                await self._fail(request, "expired", "the clock was set back before the act could be sent")
            return False
        return True

    async def _send(self, session: Session, request: ActRequested, act: Act) -> Outcome:
        context = ActionContext(session, self._term_log.fetch, self._config_log)
        try:
            return ActSucceeded(request.id, result=await ACTIONS[type(act)](context, act))
        except RefusedError as error:
            if DENIED in str(error):
                self._link.outdate(STALE_LOGIN_SECONDS)
            return ActFailed(request.id, error.reason, str(error))
        except LinkLostError:
            return ActUnknown(request.id, "the link to the PBX was lost before its response")
        except TimeoutError:
            return ActUnknown(request.id, "the PBX did not respond in time")
        except Exception:  # noqa: BLE001 (it is logged and becomes ActUnknown; the next request must be carried out)
            self._log.exception("act_failed", act=request.act.get("act"), id=request.id)
            return ActUnknown(request.id, "an error in Ringledger; see its log")

    async def _fail(self, request: ActRequested, reason: Reason, message: str) -> None:
        await self._term_log.append(ActFailed(request.id, reason, message))

    async def _has_later_event(self, position: int, act_id: str) -> bool:
        """Return whether the log has a later event of the act that was requested at ``position``."""
        rows = await self._term_log.fetch(LATER, self._pbx, position)
        return any(id_of(row["raw"]) == act_id for row in rows)
