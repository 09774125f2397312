"""Takes one run from where it stands to its end: sends a command, waits for its outcome, sends the next."""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable

import structlog

from schemas.agi import AgiBreakSent, AgiRunEnded, AgiStepDone, AgiStepFailed, AgiStepSent, How
from schemas.log import RingledgerEvent
from services.asterisk.ami.actions import RefusedError, done
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import Session
from services.commander.async_agi.run import Run
from services.commander.link import CommanderLink
from services.database.errors import DATABASE_ERRORS

DOUBT_SECONDS = 30.0
SETTLE_SECONDS = 1.0
"""How long after the one the other may come: AsyncAGIEnd after a command that failed, Hangup after AsyncAGIEnd."""
LINK_SECONDS = 1.0
BREAK = "ASYNCAGI BREAK"
BREAKS = 2

GOOD = re.compile(r"200 result=(?!-)")

Append = Callable[[RingledgerEvent], Awaitable[None]]

logger = structlog.get_logger()


class LeftError(Exception):
    """The channel is not in AGI any more, or will not be for long."""


class DoubtError(Exception):
    """What is waited for may have been missed, and did not come."""


class Driver:
    """Drives the runs of one PBX, each by itself; ``append`` returns when the event is durable."""

    def __init__(self, link: CommanderLink, append: Append) -> None:
        self._link = link
        self._append = append

    async def drive(self, run: Run) -> None:
        """Take a run to its end. Raises what `append` raises."""
        how, why = await self._driven(run)
        await self._append(AgiRunEnded(run.id, how, why))

    async def _driven(self, run: Run) -> tuple[How, str]:
        how: How = "interrupted"
        why = "the channel was taken out of AGI"
        try:
            how, why = (run.breaks[-1].how, run.breaks[-1].message) if run.breaks else await self._stepped(run)
            await self._break(run, how, why)
        except LeftError:
            if not run.breaks:
                await self._within(SETTLE_SECONDS, run, lambda: run.hanging)
        except DoubtError:
            how, why = "interrupted", "nobody knows whether the channel is still in AGI"
        except RefusedError as error:
            how, why = "error", why or f"{BREAK}: {error}"
        if run.hanging and how in {"error", "interrupted"}:
            return "hangup", run.failure
        return how, why

    async def _stepped(self, run: Run) -> tuple[How, str]:
        """Do what is left to do, and say how the run ends. Raises LeftError."""
        if not run.known:
            return "unknown master", ""
        try:
            for number in range(run.done + 1, len(run.steps) + 1):
                if not run.failure:
                    await self._step(run, number)
        except DoubtError:
            return "interrupted", f"nobody knows what became of command {run.sent}"
        except (LeftError, *DATABASE_ERRORS):
            raise
        except Exception:
            logger.exception("agi_run_failed", run=run.id)
            return "error", "an error in Ringledger; see its log"
        return ("error", run.failure) if run.failure else ("finished", "")

    async def _step(self, run: Run, number: int) -> None:
        """Send a command unless it has been sent, and wait for its outcome."""
        command, command_id = run.steps[number - 1].command, f"{run.id}/{number}"
        try:
            if run.sent < number:
                session = await self._session(run)
                with self._link.hold():
                    await self._append(AgiStepSent(run.id, number, command))
                    run.sent, run.doubtful = number, None
                    await self._send(run, session, command, command_id)
            await self._until(run, lambda: command_id in run.results or run.left)
            if command_id not in run.results:
                raise LeftError
            result = run.results[command_id]
            words = "" if GOOD.match(result) else result or "no result"
        except RefusedError as error:
            words = str(error)
        if words:
            run.fail(number, words)
            await self._append(AgiStepFailed(run.id, number, words))
        else:
            run.done = number
            await self._append(AgiStepDone(run.id, number, result))

    async def _break(self, run: Run, how: How, why: str) -> None:
        """Have the channel go on in the dialplan, and return when it has.

        Raises LeftError if it was gone before, DoubtError, or RefusedError when Asterisk does not do it.
        """
        if run.failure:
            # Many commands that fail end AGI by themselves; a BREAK that comes too late would end the next one's.
            await self._within(SETTLE_SECONDS, run, lambda: run.left)
        if not run.breaks:
            await self._send_break(run, how, why)
        while True:
            try:
                await self._until(run, lambda: run.left)
            except DoubtError:
                if len(run.breaks) == BREAKS:
                    raise
                await self._send_break(run, how, why)
            else:
                return

    async def _send_break(self, run: Run, how: How, why: str) -> None:
        session = await self._session(run)
        sent = AgiBreakSent(run.id, how, why)
        with self._link.hold():
            await self._append(sent)
            run.breaks.append(sent)
            run.doubtful = None
            await self._send(run, session, BREAK, f"{run.id}/break")

    async def _session(self, run: Run) -> Session:
        """Wait for the link to the PBX, however long that takes. Raises LeftError when there is no need any more."""
        while not run.over:
            session = await self._link.linked(LINK_SECONDS)
            if session is not None and not run.over:
                return session
        raise LeftError

    async def _send(self, run: Run, session: Session, command: str, command_id: str) -> None:
        """Give a command to the channel's queue (AMI AGI). Raises RefusedError, and LeftError for no such channel.

        It goes to the unique id, not to the name, which another call may have after a restart of Asterisk.
        """
        try:
            await done(session, "AGI", Channel=run.unique_id, Command=command, CommandID=command_id)
        except (LinkLostError, TimeoutError):
            run.doubt()
        except RefusedError as error:
            if "does not exist" in str(error):
                run.gone()
                raise LeftError from None
            raise

    async def _until(self, run: Run, heard: Callable[[], bool]) -> None:
        """Wait until it has been heard. Raises DoubtError when it is in doubt for too long."""
        while not heard():
            run.news.clear()
            seconds = None if run.doubtful is None else run.doubtful + DOUBT_SECONDS - time.monotonic()
            if seconds is not None and seconds <= 0:
                raise DoubtError
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await run.news.wait()

    async def _within(self, seconds: float, run: Run, heard: Callable[[], bool]) -> None:
        """Give it so many seconds to be heard."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not heard():
                    run.news.clear()
                    await run.news.wait()
