"""What the log says of a PBX's configuration files, and how it comes to say it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from schemas.configuration import FILES, ConfigurationRead, Section
from schemas.log import RingledgerEvent
from schemas.refusals import DENIED, refused_files
from services.asterisk.ami.actions import RefusedError
from services.asterisk.ami.protocol import LinkLostError
from services.asterisk.ami.session import Session
from services.asterisk.config import files
from services.asterisk.config.secrets import mask_sections
from services.asterisk.config.text import render
from services.database.pool import Fetch
from services.database.secret_store import expire

LOOK_SECONDS = 30.0
READ_SECONDS = 2.0

THERE = "SELECT to_regclass('model.configurations') IS NOT NULL"
TEXT = "SELECT text FROM model.configurations WHERE pbx = $1 AND name = $2"

Append = Callable[[RingledgerEvent], Awaitable[None]]

logger = structlog.get_logger()


class Told:
    """One term's knowledge of what stands in the files. Only a text that differs is written down.

    ``trouble`` says that Asterisk does not show them, where the AMI user lacks the class.
    """

    def __init__(self, pbx: str, ask: Fetch, append: Append) -> None:
        self.trouble = ""
        self._pbx = pbx
        self._ask = ask
        self._append = append
        self._texts: dict[str, str] = {}
        self._session: Session | None = None
        self._next = 0.0

    async def say(self, file: str, sections: Sequence[Section]) -> str:
        """Write down what stands in a file, if that is news; return the text, which holds no secret."""
        text = render(mask_sections(sections))
        if self._texts.get(file) is None and (await self._ask(THERE))[0][0]:
            rows = await self._ask(TEXT, self._pbx, file)
            self._texts[file] = rows[0]["text"] if rows else ""
        if self._texts.get(file) != text:
            await self._append(ConfigurationRead(file, text))
            self._texts[file] = text
        return text

    async def look(self, session: Session | None) -> None:
        """Read all files when the link is new, and every half minute: somebody may have edited them."""
        if session is None or (session is self._session and time.monotonic() < self._next):
            return
        new, self._session = session is not self._session, session
        self._next = time.monotonic() + LOOK_SECONDS
        await expire(self._ask)
        refused: dict[str, str] = {}
        for file in FILES:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    sections = await files.read(session, file)
            except RefusedError as error:
                refused[file] = str(error)
            except (LinkLostError, TimeoutError) as error:
                logger.warning("configuration_unread", pbx=self._pbx, file=file, error=repr(error))
                return
            else:
                if sections is not None:
                    await self.say(file, sections)
        denied = [file for file, words in refused.items() if DENIED in words]
        self.trouble = refused_files(denied) if denied else ""
        if refused and new:
            words = sorted(set(refused.values()))
            logger.warning("configuration_unreadable", pbx=self._pbx, files=[*refused], message="; ".join(words))
