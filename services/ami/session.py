"""One login at one PBX: connect, log in, act, keep alive. A new session is made for every attempt."""

import asyncio
import hashlib
import itertools
import ssl
import time
from typing import Any

from panoramisk.actions import Action
from panoramisk.manager import Manager
from panoramisk.message import Message

from schemas.settings import Pbx
from services.ami.protocol import Deliver, LedgerProtocol, LinkLostError

CONNECT_SECONDS = 5
ACTION_SECONDS = 30
PING_SECONDS = 5
PONG_SECONDS = 15


class LoginRefusedError(Exception):
    """Asterisk said no; the message is its own."""


class Question(Action):
    """An action that knows when its answer is complete, whatever Asterisk's English says.

    An error, or a success that starts no list, is an answer; a list ends with ``EventList: Complete`` or an event
    whose name ends in ``Complete``. panoramisk would wait for ever when a list is answered by an error.
    """

    def add_message(self, message: Message) -> bool:
        """Take one block; return True when the answer is whole."""
        self.responses.append(message)
        if "event" not in message:
            # Asterisk 16 announces some lists by Message only ("... will follow").
            following = message.eventlist.lower() == "start" or message.message.lower().endswith("will follow")
            done = not (message.success and following)
        else:
            done = message.eventlist.lower() in {"complete", "cancelled"} or message.event.endswith("Complete")
        if done and not self.future.done():
            self.future.set_result(self.responses)
        return done


class Session(Manager):
    """A panoramisk Manager that makes one connection and says when it is gone, instead of reconnecting by itself."""

    def __init__(self, pbx: Pbx, deliver: Deliver) -> None:
        self.pbx = pbx
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.link: LedgerProtocol
        self._deliver = deliver
        self._numbers = itertools.count(1)
        super().__init__(host=pbx.host, port=pbx.port, loop=asyncio.get_running_loop(), encoding="utf8")
        self.config["protocol_factory"] = lambda: LedgerProtocol(deliver, self._gone)
        self.config["ssl"] = _tls(pbx)

    def _gone(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(f"connection lost: {exc}" if exc else "connection closed by the PBX")

    def connection_made(self, f: asyncio.Future[Any]) -> None:
        """Replace panoramisk's: no login, ping or reconnect of its own."""
        if f.cancelled() or f.exception() is not None:
            return
        _, self.link = f.result()
        self.protocol = self.link
        self.link.responses = {}

    async def open(self) -> None:
        """Connect and log in. Raises OSError or TimeoutError without a link, LoginRefusedError for a refusal."""
        async with asyncio.timeout(CONNECT_SECONDS):
            await self.connect()
            await asyncio.sleep(0)  # let connection_made run: it is a callback of the task just awaited
            challenge = (await self.ask("Challenge", AuthType="MD5"))[0]
            if challenge.success:
                key = hashlib.md5(f"{challenge.challenge}{self.pbx.secret}".encode(), usedforsecurity=False).hexdigest()
                proof = {"AuthType": "MD5", "Key": key}
            else:
                proof = {"Secret": self.pbx.secret}
            reply = (await self.ask("Login", Username=self.pbx.user, Events="on", **proof))[0]
        if not reply.success:
            raise LoginRefusedError(reply.message)

    async def ask(self, action: str, action_id: str = "", **headers: str) -> list[Message]:
        """Send an action and return its whole answer. Raises LinkLostError, TimeoutError, or ValueError (bad value)."""
        question = Question({"Action": action, "ActionID": action_id or f"rl-{next(self._numbers)}", **headers})
        try:
            async with asyncio.timeout(ACTION_SECONDS):
                answer: list[Message] = await self.link.send(question)
                return answer
        finally:
            self.link.responses.pop(question.id, None)

    async def keep_alive(self) -> None:
        """Ping until the link is lost; a Pong that does not come in time is a lost link."""
        while not self.lost.done():
            try:
                async with asyncio.timeout(PONG_SECONDS):
                    await self.ask("Ping")
            except TimeoutError:
                silent = time.time() - self.link.heard
                self._gone(TimeoutError(f"no Pong for {PONG_SECONDS} s, nothing heard for {silent:.0f} s"))
                self.close()
                return
            except LinkLostError:
                return
            await asyncio.wait([self.lost], timeout=PING_SECONDS)

    def close(self) -> None:
        """Drop the link, if there is one."""
        if getattr(self, "link", None) is not None:
            self.link.close()


def _tls(pbx: Pbx) -> ssl.SSLContext | None:
    if not pbx.tls:
        return None
    context = ssl.create_default_context(cafile=pbx.ca_file or None)
    if not pbx.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
