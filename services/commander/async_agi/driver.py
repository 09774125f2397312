"""Takes one run from its state to its end: sends a command, waits for its outcome, sends the next."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable

import structlog

from schemas.agi import AgiBreakSent, AgiRunEnded, AgiStepDone, AgiStepFailed, AgiStepSent, How
from schemas.log import RingledgerEvent
from services.asterisk.ami.actions import RefusedError, send_action
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import Session
from services.commander.async_agi.run import Run
from services.commander.link import CommanderLink
from services.database.errors import DATABASE_ERRORS

DOUBT_TIMEOUT_SECONDS = 30.0
SETTLE_SECONDS = 1.0
"""How long the second of two events may take: AsyncAGIEnd after a failed command, Hangup after AsyncAGIEnd."""
LINK_POLL_SECONDS = 1.0
BREAK = "ASYNCAGI BREAK"
MAX_BREAKS = 2

OK_REPLY = re.compile(r"200 result=(?!-)")

Append = Callable[[RingledgerEvent], Awaitable[None]]

logger = structlog.get_logger()


class LeftError(Exception):
    """The channel is no longer in AGI, or will leave it soon."""


class DoubtError(Exception):
    """An expected event may have been missed, and did not come in time."""


class Driver:
    """Drives the runs of one PBX, each by itself; ``append`` returns when the event is durable."""

    def __init__(self, link: CommanderLink, append: Append) -> None:
        self._link = link
        self._append = append

    async def drive(self, run: Run) -> None:
        """Take a run to its end. Raises the errors of ``append``."""
        how, why = await self._finish(run)
        await self._append(AgiRunEnded(run.id, how, why))

    async def _finish(self, run: Run) -> tuple[How, str]:
        how: How = "interrupted"
        why = "the channel was taken out of AGI"
        try:
            how, why = (run.breaks[-1].how, run.breaks[-1].message) if run.breaks else await self._run_steps(run)
            await self._break(run, how, why)
        except LeftError:
            if not run.breaks:
                await self._wait_briefly(SETTLE_SECONDS, run, lambda: run.is_hanging_up)
        except DoubtError:
            how, why = "interrupted", "unknown whether the channel is still in AGI"
        except RefusedError as error:
            how, why = "error", why or f"{BREAK}: {error}"
        if run.is_hanging_up and how in {"error", "interrupted"}:
            return "hangup", run.failure
        return how, why

    async def _run_steps(self, run: Run) -> tuple[How, str]:
        """Send the remaining commands, and return how the run ends. Raises LeftError."""
        if not run.has_master:
            return "unknown master", ""
        try:
            for number in range(run.done + 1, len(run.steps) + 1):
                if not run.failure:
                    await self._step(run, number)
        except DoubtError:
            return "interrupted", f"the outcome of command {run.sent} is unknown"
        except (LeftError, *DATABASE_ERRORS):
            raise
        except Exception:
            logger.exception("agi_run_failed", run=run.id)
            return "error", "an error in Ringledger; see its log"
        return ("error", run.failure) if run.failure else ("finished", "")

    async def _step(self, run: Run, number: int) -> None:
        """Send a command unless it was sent before, and wait for its outcome."""
        command, command_id = run.steps[number - 1].command, f"{run.id}/{number}"
        try:
            if run.sent < number:
                session = await self._session(run)
                with self._link.hold():
                    await self._append(AgiStepSent(run.id, number, command))
                    run.sent, run.doubtful_since = number, None
                    await self._send(run, session, command, command_id)
            await self._wait(run, lambda: command_id in run.results or run.has_left)
            if command_id not in run.results:
                raise LeftError
            result = run.results[command_id]
            failure = "" if OK_REPLY.match(result) else result or "no result"
        except RefusedError as error:
            failure = str(error)
        if failure:
            run.fail(number, failure)
            await self._append(AgiStepFailed(run.id, number, failure))
        else:
            run.done = number
            await self._append(AgiStepDone(run.id, number, result))

    async def _break(self, run: Run, how: How, why: str) -> None:
        """Let the channel continue in the dialplan, and return when it does.

        Raises LeftError if the channel left before, DoubtError, or RefusedError if Asterisk refuses.
        """
        if run.failure:
            # Many failed commands end AGI by themselves; a late BREAK would end the channel's next AGI.
            await self._wait_briefly(SETTLE_SECONDS, run, lambda: run.has_left)
        if not run.breaks:
            await self._send_break(run, how, why)
        while True:
            try:
                await self._wait(run, lambda: run.has_left)
            except DoubtError:
                if len(run.breaks) == MAX_BREAKS:
                    raise
                await self._send_break(run, how, why)
            else:
                return

    async def _send_break(self, run: Run, how: How, why: str) -> None:
        session = await self._session(run)
        event = AgiBreakSent(run.id, how, why)
        with self._link.hold():
            await self._append(event)
            run.breaks.append(event)
            run.doubtful_since = None
            await self._send(run, session, BREAK, f"{run.id}/break")

    async def _session(self, run: Run) -> Session:
        """Wait for the link to the PBX without a limit. Raises LeftError if it is no longer needed."""
        while not run.is_over:
            session = await self._link.session(LINK_POLL_SECONDS)
            if session is not None and not run.is_over:
                return session
        raise LeftError

    async def _send(self, run: Run, session: Session, command: str, command_id: str) -> None:
        """Put a command into the channel's queue (AMI AGI).

        The action names the unique id, because another call may have the channel's name after a restart of Asterisk.
        Raises RefusedError, and LeftError if there is no such channel.
        """
        try:
            await send_action(session, "AGI", Channel=run.unique_id, Command=command, CommandID=command_id)
        except (LinkLostError, TimeoutError):
            run.doubt()
        except RefusedError as error:
            if "does not exist" in str(error):
                run.vanish()
                raise LeftError from None
            raise

    async def _wait(self, run: Run, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. Raises DoubtError after `DOUBT_TIMEOUT_SECONDS` of doubt."""
        while not condition():
            run.changed.clear()
            since = run.doubtful_since
            seconds = None if since is None else since + DOUBT_TIMEOUT_SECONDS - time.monotonic()
            if seconds is not None and seconds <= 0:
                raise DoubtError
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await run.changed.wait()

    async def _wait_briefly(self, seconds: float, run: Run, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, at most ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    run.changed.clear()
                    await run.changed.wait()
