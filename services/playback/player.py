"""Plays the recording in real time, again and again, and answers actions as the PBX would at this moment."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping

import structlog

from services.playback.blocks import Headers, build_block
from services.playback.contacts import update_answer
from services.playback.recording import ACTION_ID, Answer, Recording, request
from services.playback.shift import Shift
from services.playback.state import CHANNEL, PlaybackState
from services.runtime.tasks import wait_event

LOOP_SECONDS = 1.0
"""Minimum pause before a loop: ids contain seconds, and no two loops may create the same ones."""
BURST_EVENTS = 200
COUNT = re.compile(rb"(\r\n(?:ListItems|Total): )\d+")

logger = structlog.get_logger()

Deliver = Callable[[bytes], None]


_EPOCH_NS = time.time_ns() - time.monotonic_ns()


def now() -> int:
    """Return microseconds since the epoch; setting the machine's clock does not change their pace."""
    return (_EPOCH_NS + time.monotonic_ns()) // 1000


class Player:
    """The recorded PBX: `run` plays it, ``subscribers`` receive every event, `answer` answers an action."""

    def __init__(self, recording: Recording, speed: float = 1.0) -> None:
        self.subscribers: set[Deliver] = set()
        self.loops = 0
        self.banner = recording.banner
        self._recording = recording
        self._speed = speed
        self._begin(now())
        listing = recording.answers[request({"Action": "ListCommands"})][0].blocks[0]
        self._commands = {line.partition(b":")[0].decode().lower() for line in listing.split(b"\r\n")}

    def _begin(self, begin: int) -> None:
        if self._speed == 1.0:
            # Whole seconds between then and now preserve every digit of the recording's fractions.
            begin += -(begin - self._recording.start) % 1_000_000
        self.shift = Shift(self._recording.start, begin, self._speed)
        self.state = PlaybackState(self._recording)
        self._played = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Play until ``stop``."""
        while not stop.is_set():
            await self._play(stop)
            if stop.is_set():
                return
            for headers in self._endings():
                self._publish(self.shift.block(build_block(headers)))
            await _wait_until(self.shift.now + round(LOOP_SECONDS * 1_000_000), stop)
            self.loops += 1
            self._begin(now())
            logger.info("recording_starts_again", loops=self.loops)
            # A listener takes a snapshot after a reload, so it gets the state of the new loop from the lists.
            self._publish(self.shift.block(build_block(self._event("Reload", "system", Module="All", Status="0"))))

    async def _play(self, stop: asyncio.Event) -> None:
        for number, event in enumerate(self._recording.live):
            due = self.shift.time(event.at)
            if due > now():
                await _wait_until(due, stop)
            elif number % BURST_EVENTS == 0:
                await asyncio.sleep(0)
            if stop.is_set():
                return
            self.state.apply(event)
            self._played = number + 1
            if self.subscribers:
                self._publish(self.shift.block(event.block))

    def _publish(self, block: bytes) -> None:
        for deliver in tuple(self.subscribers):
            deliver(block)

    def _recorded_now(self) -> int:
        return self._recording.start + round((now() - self.shift.now) * self._speed)

    def _event(self, name: str, privilege: str, **more: str) -> Headers:
        micro = self._recorded_now()
        stamp = f"{micro // 1_000_000}.{micro % 1_000_000:06}"
        return {"Event": name, "Privilege": f"{privilege},all", "Timestamp": stamp, **more}

    def _endings(self) -> Iterator[Headers]:
        """Yield events that end everything the recording leaves open, so that no client has calls without an end."""
        state = self.state
        for call in list(state.parked.values()):
            yield self._event("ParkedCallGiveUp", "call") | {n: v for n, v in call.items() if n != "Event"}
        for (queue, unique_id), entry in list(state.entries.items()):
            caller = _channel_headers(state, unique_id) | {"Queue": queue, "Position": entry["Position"]}
            yield self._event("QueueCallerAbandon", "agent") | caller | {"OriginalPosition": "1", "HoldTime": "0"}
            yield self._event("QueueCallerLeave", "agent") | caller | {"Count": "0"}
        for agent, unique_id in list(state.agent_channels.items()):
            logoff = {"Agent": agent, "Logintime": "0"}
            yield self._event("AgentLogoff", "agent") | _channel_headers(state, unique_id) | logoff
        for unique_id in list(state.channels):
            cause = {"Cause": "16", "Cause-txt": "Normal Clearing", "TechCause": ""}
            yield self._event("Hangup", "call") | _channel_headers(state, unique_id) | cause

    def fully_booted(self) -> bytes:
        """Return the event that follows a login."""
        up = str(max(1, (now() - self.shift.now) // 1_000_000))
        headers = self._event("FullyBooted", "system", Uptime=up, LastReload=up, Status="Fully Booted")
        return self.shift.block(build_block(headers))

    def has_action(self, action: str) -> bool:
        """Return whether the recorded Asterisk has this action."""
        return action.lower() in self._commands

    def answer(self, headers: Mapping[str, str]) -> list[bytes] | None:
        """Return the blocks that answer an action at this moment, None if the recording has no such action."""
        key = request(headers)
        only_queue = dict(key[1]).get("queue") if key[0] == "queuestatus" else None
        recorded = self._recording.answers.get((key[0], frozenset()) if only_queue is not None else key)
        if recorded is None:
            return None
        latest = next((a for a in reversed(recorded) if a.live_before <= self._played), recorded[0])
        at = self._recorded_now()
        items = self.state.items(key[0], at, latest, self._speed)
        if only_queue:
            items = [item for item in items or [] if item["Queue"] == only_queue]
        blocks = update_answer(key[0], latest.blocks, self.state, at) if items is None else _list_blocks(latest, items)
        action_id = {name.lower(): value for name, value in headers.items()}.get("actionid", "")
        return [_with_action_id(self.shift.block(block), action_id) for block in blocks]


def _list_blocks(latest: Answer, items: list[Headers]) -> list[bytes]:
    last = COUNT.sub(rb"\g<1>%d" % len(items), latest.blocks[-1])
    return [latest.blocks[0], *(build_block(item) for item in items), last]


def _with_action_id(block: bytes, action_id: str) -> bytes:
    plain = ACTION_ID.sub(b"", block)
    if not action_id:
        return plain
    first, _, rest = plain.partition(b"\r\n")
    return first + b"\r\nActionID: " + action_id.encode("utf-8", "surrogateescape") + b"\r\n" + rest


def _channel_headers(state: PlaybackState, unique_id: str) -> Headers:
    channel = state.channels.get(unique_id, {})
    return {name: channel.get(name, "") for name in CHANNEL} | {"Uniqueid": unique_id}


async def _wait_until(when: int, stop: asyncio.Event) -> None:
    await wait_event(stop, max(0.0, (when - now()) / 1_000_000))
