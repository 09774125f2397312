"""One login at one PBX: connect, log in, act, keep alive. A new session is made for every attempt."""

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

from schemas.log import LATEST
from schemas.settings import Pbx
from services.asterisk.ami.protocol import Deliver, LedgerProtocol, LinkLostError
from services.asterisk.ami.question import Item, Question
from services.asterisk.tls import tls_context

CONNECT_SECONDS = 5
ACTION_SECONDS = 30
PING_SECONDS = 5
PONG_SECONDS = 15
LONGEST_MESSAGE = 500
POURING_BYTES_A_SECOND = 1_000_000
PROMPT_SECONDS = 1.0
"""A Pong that takes longer is no measure of the PBX's clock: it is right to half of that time only."""

logger = structlog.get_logger()


class LoginRefusedError(Exception):
    """Asterisk said no; the message is its own."""


class Session(Manager):
    """A panoramisk Manager that makes one connection and says when it is gone, instead of reconnecting by itself.

    ``welcomed`` is called with Asterisk's greeting the moment the login is accepted, before any event behind it.
    ``events`` is ``off`` for a session that acts and does not listen. ``clock_offset`` is how many seconds the PBX's
    clock is ahead of ours by the last prompt Pong, None before the first.
    """

    def __init__(
        self, pbx: Pbx, deliver: Deliver, welcomed: Callable[[str], None], events: Literal["on", "off"] = "on"
    ) -> None:
        loop = asyncio.get_running_loop()
        self.pbx = pbx
        self.lost: asyncio.Future[str] = loop.create_future()
        self.link: LedgerProtocol | None = None
        self.clock_offset: float | None = None
        self._welcomed = welcomed
        self._events = events
        self._numbers = itertools.count(1)
        # Other sessions must not guess our ActionIDs: Asterisk sends what they cause to us too.
        self._prefix = f"rl-{secrets.token_hex(4)}"
        super().__init__(host=pbx.host, port=pbx.port, loop=loop, encoding="utf8")
        self.config["protocol_factory"] = lambda: LedgerProtocol(deliver, self._gone)
        self.config["ssl"] = tls_context(pbx) if pbx.tls else None

    def _gone(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(f"connection lost: {exc}" if exc else "connection closed by the PBX")

    def connection_made(self, f: asyncio.Future[Any]) -> None:
        """Replace panoramisk's: no login, ping or reconnect of its own."""
        if not f.cancelled():
            f.exception()  # `open` raises it

    async def open(self) -> None:
        """Connect and log in. Raises OSError, TimeoutError or LinkLostError, and LoginRefusedError for a refusal."""
        async with asyncio.timeout(CONNECT_SECONDS):
            _, self.link = await self.connect()
            challenge = (await self.ask("Challenge", AuthType="MD5"))[0]
            if challenge.success:
                key = hashlib.md5(f"{challenge.challenge}{self.pbx.secret}".encode(), usedforsecurity=False).hexdigest()
                proof = {"AuthType": "MD5", "Key": key}
            else:
                proof = {"Secret": self.pbx.secret}
            login = {"Action": "Login", "ActionID": self._number(), "Username": self.pbx.user, "Events": self._events}
            reply = (await self._ask(Question(login | proof, self._welcome)))[0]
        if not reply.success:
            raise LoginRefusedError(str(reply.message)[:LONGEST_MESSAGE])

    def _welcome(self, answer: list[Message]) -> None:
        if answer[0].success and self.link is not None:
            self._welcomed(self.link.banner)

    async def ask(
        self, action: str, action_id: str = "", item: Item | None = None, /, **headers: str | list[str]
    ) -> list[Message]:
        """Send an action and return its answer; a list is one header, repeated.

        ``item`` says what is kept of each item of a list; the response and the list's end always are. Raises
        LinkLostError, TimeoutError (AnswerTooLongError), or ValueError for a value that no action can carry.
        """
        fields = {"Action": action, "ActionID": action_id or self._number(), **headers}
        return await self._ask(Question(fields, item=item))

    async def _ask(self, question: Question) -> list[Message]:
        if self.link is None:
            raise LinkLostError
        try:
            async with asyncio.timeout(ACTION_SECONDS):
                answer: list[Message] = await self.link.send(question)
                return answer
        finally:
            self.link.forget(question.id)

    def _number(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    async def keep_alive(self) -> None:
        """Ping until the link is lost; a Pong that does not come in time is a lost link.

        Two silences are not the PBX's: while we hold back reading, and while so much pours in that the Pong stands
        behind it. Dropping the link then would lose all that waits in the PBX.
        """
        while not self.lost.done() and self.link is not None:
            received, held = self.link.received, self.link.paused
            sent, since = time.time(), time.monotonic()
            try:
                async with asyncio.timeout(PONG_SECONDS):
                    pong = (await self.ask("Ping"))[0]
                    self._compare_clocks(pong, sent, time.monotonic() - since)
            except TimeoutError:
                poured = self.link.received - received
                if held or self.link.paused or poured > POURING_BYTES_A_SECOND * PONG_SECONDS:
                    logger.warning("pong_late", pbx=self.pbx.name, reading=not self.link.paused, received=poured)
                    continue
                silent = time.monotonic() - self.link.read_at
                self._gone(TimeoutError(f"no Pong for {PONG_SECONDS} s, nothing heard for {silent:.0f} s"))
                self.close()
                return
            except LinkLostError:
                return
            await asyncio.wait([self.lost], timeout=PING_SECONDS)

    def _compare_clocks(self, pong: Message, sent: float, seconds: float) -> None:
        """Take the Timestamp of a Pong, which came ``seconds`` after ``sent`` (main/manager.c, action_ping)."""
        try:
            said = float(str(pong.timestamp))
        except ValueError:
            return  # not every Pong has one
        if seconds <= PROMPT_SECONDS and 0 <= said < LATEST:
            self.clock_offset = said - (sent + seconds / 2)

    @property
    def is_idle(self) -> bool:
        """Whether no action waits for its answer."""
        return self.link is None or not self.link.responses

    def drop(self, reason: str) -> None:
        """Drop the link for a reason of ours, which `lost` returns."""
        if not self.lost.done():
            self.lost.set_result(reason)
        self.close()

    def close(self) -> None:
        """Drop the link, if there is one."""
        if self.link is not None:
            self.link.close()
