"""One run: a channel, the commands that it is driven through, and its state according to the log."""

import asyncio
import re
import time
from urllib.parse import unquote_plus

from schemas.agi import AgiBreakSent, AgiStep
from schemas.ami.agi import AsyncAgiEvent
from schemas.text import replace_nul

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_RESULT_LENGTH = 1 << 16
ARGUMENT = re.compile(r"^agi_arg_1: (.*)$", re.MULTILINE)


class Run:
    """The state of a run; ``changed`` is set at each change.

    ``is_started``: AgiRunStarted is in the log. ``has_master``: the master exists. ``sent`` and ``done`` are how many
    commands were sent, and how many have an outcome. ``failure`` is the failed command with its error, empty without
    one. ``results`` are the results of commands by their id. ``is_hanging_up``: the channel is being hung up.
    ``has_left``: it is no longer in AGI. ``doubtful_since`` (monotonic) is set while an event may have been missed.
    """

    def __init__(self, run_id: str, channel: str, unique_id: str, master: str, start: int) -> None:
        self.id = run_id
        self.channel = channel
        self.unique_id = unique_id
        self.master = master
        self.start = start
        self.steps: tuple[AgiStep, ...] = ()
        self.is_started = False
        self.has_master = True
        self.sent = 0
        self.done = 0
        self.failure = ""
        self.breaks: list[AgiBreakSent] = []
        self.results: dict[str, str] = {}
        self.is_hanging_up = False
        self.has_left = False
        self.doubtful_since: float | None = None
        self.changed = asyncio.Event()

    def apply(self, name: str, event: AsyncAgiEvent) -> None:
        """Apply an event of this channel."""
        if name == "AsyncAGIExec":
            if self._is_own_command(event.command_id):
                result = replace_nul(unquote_plus(event.result[:MAX_RESULT_LENGTH])).strip()
                self.results[event.command_id] = result
        else:
            self.is_hanging_up = self.is_hanging_up or name != "AsyncAGIEnd"
            self.has_left = self.has_left or name in {"AsyncAGIEnd", "Hangup"}
        self.changed.set()

    def _is_own_command(self, command_id: str) -> bool:
        """Return whether a command of this run has this id; a PBX may send any number of others."""
        run_id, _, command = command_id.rpartition("/")
        last = str(len(self.steps))
        is_number = command.isascii() and command.isdecimal() and len(command) <= len(last)
        is_step = is_number and int(command) <= int(last)
        return run_id == self.id and (is_step or command == "break")

    def fail(self, number: int, message: str) -> None:
        """Record that a command failed, with Asterisk's own text."""
        self.failure = f"{self.steps[number - 1].command}: {message}"

    @property
    def is_waiting(self) -> bool:
        """Whether a command was sent whose outcome is not known yet."""
        return self.sent > self.done or bool(self.breaks)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be done with the channel."""
        return self.is_hanging_up or self.has_left

    def leave(self) -> None:
        """Record that the channel is no longer in AGI."""
        self.has_left = True
        self.changed.set()

    def vanish(self) -> None:
        """Record that Asterisk no longer has such a channel."""
        self.is_hanging_up = True
        self.leave()

    def doubt(self) -> None:
        """Record that an expected event may have been missed."""
        if self.doubtful_since is None:
            self.doubtful_since = time.monotonic()
        self.changed.set()


def master_of(event: AsyncAgiEvent) -> str | None:
    """Return the uuid that AsyncAGIStart has as first argument, None if the channel is not one of Ringledger's.

    Arguments are the last lines of the environment, so text in a caller's name before them has no effect.
    """
    arguments = ARGUMENT.findall(unquote_plus(event.env))
    master = arguments[-1].strip().lower() if arguments else ""
    return master if UUID.fullmatch(master) else None
