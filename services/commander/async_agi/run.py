"""One run: a channel, the commands that it is driven through, and what the log has said of it so far."""

import asyncio
import re
import time
from urllib.parse import unquote_plus

from schemas.agi import AgiBreakSent, AgiStep
from schemas.ami.agi import AsyncAgiEvent
from schemas.text import replace_nul

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LONGEST_RESULT = 1 << 16
ARGUMENT = re.compile(r"^agi_arg_1: (.*)$", re.MULTILINE)


class Run:
    """What is known of a run. Whoever waits for more waits for ``news``, which is set at each.

    ``begun``: AgiRunStarted is in the log; ``known``: there is such a master. ``sent`` and ``done`` are how many
    commands were sent, and how many have an outcome; ``failure`` says which failed, if one did, and how. ``results``
    are what came of commands by their id. ``hanging``: the channel is being hung up, ``left``: it is not in AGI any
    more. ``doubtful`` is since when (monotonic) something may have been missed, None: nothing.
    """

    def __init__(self, run_id: str, channel: str, unique_id: str, master: str, start: int) -> None:
        self.id = run_id
        self.channel = channel
        self.unique_id = unique_id
        self.master = master
        self.start = start
        self.steps: tuple[AgiStep, ...] = ()
        self.begun = False
        self.known = True
        self.sent = 0
        self.done = 0
        self.failure = ""
        self.breaks: list[AgiBreakSent] = []
        self.results: dict[str, str] = {}
        self.hanging = False
        self.left = False
        self.doubtful: float | None = None
        self.news = asyncio.Event()

    def hear(self, name: str, event: AsyncAgiEvent) -> None:
        """Take an event of this channel."""
        if name == "AsyncAGIExec":
            if self._is_ours(event.command_id):
                result = replace_nul(unquote_plus(event.result[:LONGEST_RESULT])).strip()
                self.results[event.command_id] = result
        else:
            self.hanging = self.hanging or name != "AsyncAGIEnd"
            self.left = self.left or name in {"AsyncAGIEnd", "Hangup"}
        self.news.set()

    def _is_ours(self, command_id: str) -> bool:
        """Tell whether a command of this run has this id: a PBX may make up any number of others."""
        run_id, _, command = command_id.rpartition("/")
        last = str(len(self.steps))
        numbered = command.isascii() and command.isdecimal() and len(command) <= len(last) and int(command) <= int(last)
        return run_id == self.id and (numbered or command == "break")

    def fail(self, number: int, words: str) -> None:
        """Note that a command failed, in Asterisk's own words."""
        self.failure = f"{self.steps[number - 1].command}: {words}"

    @property
    def waiting(self) -> bool:
        """Whether something was sent whose outcome has not been heard yet."""
        return self.sent > self.done or bool(self.breaks)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to be done with the channel."""
        return self.hanging or self.left

    def leave(self) -> None:
        """Note that the channel is not in AGI any more."""
        self.left = True
        self.news.set()

    def gone(self) -> None:
        """Note that Asterisk has no such channel any more."""
        self.hanging = True
        self.leave()

    def doubt(self) -> None:
        """Note that what is waited for may have been missed."""
        if self.doubtful is None:
            self.doubtful = time.monotonic()
        self.news.set()


def master_of(event: AsyncAgiEvent) -> str | None:
    """Return the uuid that AsyncAGIStart names as the first argument, None when there is none: then it is not ours.

    Arguments stand last in the environment, so what a caller's name may say before them counts for nothing.
    """
    named = ARGUMENT.findall(unquote_plus(event.env))
    master = named[-1].strip().lower() if named else ""
    return master if UUID.fullmatch(master) else None
