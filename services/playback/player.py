"""Plays the recording against the clock on the wall, again and again, and answers as the PBX would have just now."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping

import structlog

from services.playback.contacts import current
from services.playback.recording import ACTION_ID, Answer, Recording, request
from services.playback.shift import Shift
from services.playback.state import CHANNEL, Headers, State, block

LOOP_SECONDS = 1.0
"""A loop lasts at least so long: ids hold seconds, and no two loops may make the same."""
BURST = 200
COUNT = re.compile(rb"(\r\n(?:ListItems|Total): )\d+")

logger = structlog.get_logger()

Hear = Callable[[bytes], None]


_EPOCH_NS = time.time_ns() - time.monotonic_ns()


def now() -> int:
    """Return microseconds since the epoch; they go on evenly when the machine's clock is set."""
    return (_EPOCH_NS + time.monotonic_ns()) // 1000


class Player:
    """The recorded PBX, alive: `run` plays, ``hearers`` hear every event, `answer` answers an action."""

    def __init__(self, recording: Recording, speed: float = 1.0) -> None:
        self.hearers: set[Hear] = set()
        self.loops = 0
        self.banner = recording.banner
        self._recording = recording
        self._speed = speed
        self._begin(now())
        listing = recording.answers[request({"Action": "ListCommands"})][0].blocks[0]
        self._commands = {line.partition(b":")[0].decode().lower() for line in listing.split(b"\r\n")}

    def _begin(self, begin: int) -> None:
        if self._speed == 1.0:
            # Whole seconds between then and now keep every digit of the recording's fractions.
            begin += -(begin - self._recording.start) % 1_000_000
        self.shift = Shift(self._recording.start, begin, self._speed)
        self.state = State(self._recording)
        self.heard = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Play until ``stop``."""
        while not stop.is_set():
            await self._play(stop)
            if stop.is_set():
                return
            for said in self._endings():
                self._say(self.shift.block(block(said)))
            await _until(self.shift.now + round(LOOP_SECONDS * 1_000_000), stop)
            self.loops += 1
            self._begin(now())
            logger.info("recording_starts_again", loops=self.loops)
            # A listener takes stock after a reload: what no event told of the new start, the lists tell.
            self._say(self.shift.block(block(self._event("Reload", "system", Module="All", Status="0"))))

    async def _play(self, stop: asyncio.Event) -> None:
        for number, event in enumerate(self._recording.live):
            due = self.shift.time(event.at)
            if due > now():
                await _until(due, stop)
            elif number % BURST == 0:
                await asyncio.sleep(0)
            if stop.is_set():
                return
            self.state.apply(event)
            self.heard = number + 1
            if self.hearers:
                self._say(self.shift.block(event.block))

    def _say(self, said: bytes) -> None:
        for hear in tuple(self.hearers):
            hear(said)

    def _recorded_now(self) -> int:
        return self._recording.start + round((now() - self.shift.now) * self._speed)

    def _event(self, name: str, privilege: str, **more: str) -> Headers:
        micro = self._recorded_now()
        stamp = f"{micro // 1_000_000}.{micro % 1_000_000:06}"
        return {"Event": name, "Privilege": f"{privilege},all", "Timestamp": stamp, **more}

    def _endings(self) -> Iterator[Headers]:
        """Hang up what the recording left: whoever listens must not keep calls that nobody will ever end."""
        state = self.state
        for call in list(state.parked.values()):
            yield self._event("ParkedCallGiveUp", "call") | {n: v for n, v in call.items() if n != "Event"}
        for (queue, unique_id), entry in list(state.entries.items()):
            channel = _snapshot(state, unique_id)
            place = {"Queue": queue, "Position": entry["Position"]}
            yield (
                self._event("QueueCallerAbandon", "agent")
                | channel
                | place
                | {"OriginalPosition": "1", "HoldTime": "0"}
            )
            yield self._event("QueueCallerLeave", "agent") | channel | place | {"Count": "0"}
        for agent, unique_id in list(state.agent_channels.items()):
            yield self._event("AgentLogoff", "agent") | _snapshot(state, unique_id) | {"Agent": agent, "Logintime": "0"}
        for unique_id in list(state.channels):
            cause = {"Cause": "16", "Cause-txt": "Normal Clearing", "TechCause": ""}
            yield self._event("Hangup", "call") | _snapshot(state, unique_id) | cause

    def booted(self) -> bytes:
        """Return the event that follows a login."""
        up = str(max(1, (now() - self.shift.now) // 1_000_000))
        said = self._event("FullyBooted", "system", Uptime=up, LastReload=up, Status="Fully Booted")
        return self.shift.block(block(said))

    def knows(self, action: str) -> bool:
        """Tell whether the recorded Asterisk has that action at all."""
        return action.lower() in self._commands

    def answer(self, headers: Mapping[str, str]) -> list[bytes] | None:
        """Return the blocks that answer an action at this moment, None if the recording holds nothing like it."""
        asked = request(headers)
        only = dict(asked[1]).get("queue") if asked[0] == "queuestatus" else None
        recorded = self._recording.answers.get((asked[0], frozenset()) if only is not None else asked)
        if recorded is None:
            return None
        latest = next((a for a in reversed(recorded) if a.heard <= self.heard), recorded[0])
        at = self._recorded_now()
        listed = self.state.listed(asked[0], at, latest, self._speed)
        if only:
            listed = [item for item in listed or [] if item["Queue"] == only]
        blocks = current(asked[0], latest.blocks, self.state, at) if listed is None else _listed(latest, listed)
        action_id = {name.lower(): value for name, value in headers.items()}.get("actionid", "")
        return [_answering(self.shift.block(said), action_id) for said in blocks]


def _listed(latest: Answer, listed: list[Headers]) -> list[bytes]:
    last = COUNT.sub(rb"\g<1>%d" % len(listed), latest.blocks[-1])
    return [latest.blocks[0], *(block(item) for item in listed), last]


def _answering(said: bytes, action_id: str) -> bytes:
    plain = ACTION_ID.sub(b"", said)
    if not action_id:
        return plain
    first, _, rest = plain.partition(b"\r\n")
    return first + b"\r\nActionID: " + action_id.encode("utf-8", "surrogateescape") + b"\r\n" + rest


def _snapshot(state: State, unique_id: str) -> Headers:
    channel = state.channels.get(unique_id, {})
    return {name: channel.get(name, "") for name in CHANNEL} | {"Uniqueid": unique_id}


async def _until(when: int, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, (when - now()) / 1_000_000)):
            await stop.wait()
