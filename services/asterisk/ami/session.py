"""One login at one PBX: connect, log in, send actions, keep alive. Each attempt makes a new session."""

import asyncio
import hashlib
import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

import structlog
from panoramisk.manager import Manager
from panoramisk.message import Message

from schemas.log import MAX_EXACT_SECONDS
from schemas.settings import Pbx
from services.asterisk.ami.pending_action import ItemFilter, PendingAction
from services.asterisk.ami.protocol import Deliver, LedgerProtocol, LinkLostError
from services.asterisk.tls import tls_context

CONNECT_TIMEOUT_SECONDS = 5
ACTION_TIMEOUT_SECONDS = 30
PING_INTERVAL_SECONDS = 5
PONG_TIMEOUT_SECONDS = 15
MAX_MESSAGE_LENGTH = 500
FLOOD_BYTES_PER_SECOND = 1_000_000
MAX_ROUND_TRIP_SECONDS = 1.0
"""A Pong that takes longer does not measure the PBX's clock: its error is half of the round trip."""

logger = structlog.get_logger()


class LoginRefusedError(Exception):
    """Asterisk refused the login; the message is its own text."""


class Session(Manager):
    """A panoramisk Manager that makes one connection and never reconnects.

    ``lost`` is the future of the reason why the link ended. ``on_login`` is called with Asterisk's greeting as soon as
    the login is accepted, before any later event. ``events`` is ``off`` for a session that only sends actions.
    ``clock_offset`` is how many seconds the PBX's clock is ahead of this machine's, None before the first prompt Pong.
    """

    def __init__(
        self, pbx: Pbx, deliver: Deliver, on_login: Callable[[str], None], events: Literal["on", "off"] = "on"
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pbx = pbx
        self.lost: asyncio.Future[str] = loop.create_future()
        self.link: LedgerProtocol | None = None
        self.clock_offset: float | None = None
        self._on_login = on_login
        self._events = events
        self._numbers = itertools.count(1)
        # The prefix is random, because Asterisk sends this session events that other sessions cause, with their
        # ActionIDs.
        self._prefix = f"rl-{secrets.token_hex(4)}"
        super().__init__(host=pbx.host, port=pbx.port, loop=loop, encoding="utf8")
        self.config["protocol_factory"] = lambda: LedgerProtocol(deliver, self._on_lost)
        self.config["ssl"] = tls_context(pbx) if pbx.tls else None

    def _on_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(f"connection lost: {exc}" if exc else "connection closed by the PBX")

    def connection_made(self, f: asyncio.Future[Any]) -> None:
        """Replace panoramisk's method, which logs in, pings and reconnects."""
        if not f.cancelled():
            f.exception()  # `open` raises it

    async def open(self) -> None:
        """Connect and log in.

        Raises OSError, TimeoutError or LinkLostError, and LoginRefusedError if Asterisk refuses the login.
        """
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            _, self.link = await self.connect()
            challenge = (await self.request("Challenge", AuthType="MD5"))[0]
            if challenge.success:
                key = hashlib.md5(f"{challenge.challenge}{self.pbx.secret}".encode(), usedforsecurity=False).hexdigest()
                proof = {"AuthType": "MD5", "Key": key}
            else:
                proof = {"Secret": self.pbx.secret}
            login = {"Action": "Login", "ActionID": self._number(), "Username": self.pbx.user, "Events": self._events}
            reply = (await self._send(PendingAction(login | proof, self._complete_login)))[0]
        if not reply.success:
            raise LoginRefusedError(str(reply.message)[:MAX_MESSAGE_LENGTH])

    def _complete_login(self, answer: list[Message]) -> None:
        if answer[0].success and self.link is not None:
            self._on_login(self.link.banner)

    async def request(
        self, action: str, action_id: str = "", item_filter: ItemFilter | None = None, /, **headers: str | list[str]
    ) -> list[Message]:
        """Send an action and return its answer; a list becomes one header, repeated.

        ``item_filter`` selects what is stored of each item of a list; the response and the list's end always are.
        Raises LinkLostError, TimeoutError (AnswerTooLongError), or ValueError for a value with CR, LF or NUL.
        """
        fields = {"Action": action, "ActionID": action_id or self._number(), **headers}
        return await self._send(PendingAction(fields, item_filter=item_filter))

    async def _send(self, action: PendingAction) -> list[Message]:
        if self.link is None:
            raise LinkLostError
        try:
            async with asyncio.timeout(ACTION_TIMEOUT_SECONDS):
                answer: list[Message] = await self.link.send(action)
                return answer
        finally:
            self.link.answers.forget(action.id)

    def _number(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    async def keep_alive(self) -> None:
        """Ping until the link is lost; a missing Pong counts as a lost link.

        Two delays are not the PBX's fault: reading is paused, or the Pong is queued behind a flood of events. In both
        cases the link stays, because dropping it would lose all events that wait in the PBX.
        """
        while not self.lost.done() and self.link is not None:
            received, was_paused = self.link.received, self.link.paused
            sent_at, since = time.time(), time.monotonic()
            try:
                async with asyncio.timeout(PONG_TIMEOUT_SECONDS):
                    pong = (await self.request("Ping"))[0]
                    self._measure_clock(pong, sent_at, time.monotonic() - since)
            except TimeoutError:
                flood = self.link.received - received
                if was_paused or self.link.paused or flood > FLOOD_BYTES_PER_SECOND * PONG_TIMEOUT_SECONDS:
                    logger.warning("pong_late", pbx=self.pbx.name, reading=not self.link.paused, received=flood)
                    continue
                silence = time.monotonic() - self.link.read_at
                self._on_lost(
                    TimeoutError(f"no Pong for {PONG_TIMEOUT_SECONDS} s, nothing received for {silence:.0f} s")
                )
                self.close()
                return
            except LinkLostError:
                return
            await asyncio.wait([self.lost], timeout=PING_INTERVAL_SECONDS)

    def _measure_clock(self, pong: Message, sent_at: float, round_trip: float) -> None:
        """Set ``clock_offset`` from the Timestamp of a Pong (main/manager.c, action_ping)."""
        try:
            timestamp = float(str(pong.timestamp))
        except ValueError:
            return  # not every Pong has one
        if round_trip <= MAX_ROUND_TRIP_SECONDS and 0 <= timestamp < MAX_EXACT_SECONDS:
            self.clock_offset = timestamp - (sent_at + round_trip / 2)

    @property
    def is_idle(self) -> bool:
        """Whether no action is pending."""
        return self.link is None or not self.link.answers

    def drop(self, reason: str) -> None:
        """Drop the link for a reason of our own, which becomes the result of ``lost``."""
        if not self.lost.done():
            self.lost.set_result(reason)
        self.close()

    def close(self) -> None:
        """Drop the link, if there is one."""
        if self.link is not None:
            self.link.close()
